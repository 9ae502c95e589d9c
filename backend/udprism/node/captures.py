"""Capture files: uploaded ones, in pieces, and what is in a file, of these or of a recording's."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from udprism.errors import RequestError
from udprism.node.bodies import captures as bodies

MAX_CAPTURES: Final = 16
"""The oldest is deleted to make room for the next one."""
MAX_CAPTURE_BYTES: Final = 1 << 30
FOLDER: Final = "captures"
CAPTURE: Final = "cap-"
"""Ids of captures begin so."""
_READ_WITHIN_S: Final = 300.0
_TEMPORARY: Final = "udprism-captures-"
"""Begins the names of temporary folders; their program's process follows."""


@dataclass(slots=True)
class Capture:
    """One that is being uploaded, or is here. received: bytes of it that are on the disk."""

    id: str
    name: str
    bytes: int
    path: Path
    received: int = 0


class Captures:
    """Coroutines belong to one event loop. Nothing outlives the program: a file is still where it came from."""

    def __init__(self, folder: Path | None) -> None:
        """folder: where they lie; None for a temporary one."""
        self._wanted = folder
        self._folder: Path | None = None
        self._captures: dict[str, Capture] = {}
        self._dropped = 0
        if folder is None:
            _remove_stale()
        self._changing = asyncio.Lock()
        self._reading = asyncio.Lock()

    def every(self) -> list[bodies.Capture]:
        """All of them, in the order in which they were started."""
        return [bodies.of_capture(one.id, one.name, one.bytes, one.received) for one in self._captures.values()]

    def get(self, capture_id: str) -> bodies.Capture:
        """One. Raises: RequestError (404)."""
        one = self._capture(capture_id)
        return bodies.of_capture(one.id, one.name, one.bytes, one.received)

    def path(self, capture_id: str) -> Path:
        """The file of one that is here as a whole. Raises: RequestError (404, 409)."""
        one = self._capture(capture_id)
        if one.received < one.bytes:
            raise RequestError(f"{one.received} of its {one.bytes} bytes have been received so far", kind="not-whole")
        return one.path

    def counters(self) -> dict[str, int]:
        """For /metrics."""
        return {"captures_dropped_total": self._dropped}

    async def add(self, name: str, size: int) -> bodies.BegunCapture:
        """One of `size` bytes will come, by `write`. Raises: RequestError (422, 507)."""
        async with self._changing:
            if size > MAX_CAPTURE_BYTES:
                raise RequestError(f"at most {MAX_CAPTURE_BYTES:,} bytes; `udprism inspect` reads more", field="bytes")
            dropped = None
            while len(self._captures) >= MAX_CAPTURES:
                dropped = next(iter(self._captures))
                await self._forget(dropped)
                self._dropped += 1
            one = Capture(f"{CAPTURE}{secrets.token_hex(6)}", name, size, Path())
            await self._to_disk(partial(self._begin, one))
            self._captures[one.id] = one
            return {**self.get(one.id), "dropped": dropped}

    async def write(self, capture_id: str, at: int, data: bytes) -> bodies.Capture:
        """The bytes from `at` on. What was received already is written again.

        Raises: RequestError (404, 409 if it is whole, 422, 507).
        """
        async with self._changing:
            one = self._capture(capture_id)
            if one.received == one.bytes:
                raise RequestError("all of its bytes have come: a whole capture does not change", kind="whole")
            if at > one.received:
                raise RequestError(f"the next bytes are those from {one.received} on", field="at")
            if at + len(data) > one.bytes:
                raise RequestError(f"the file was to have {one.bytes} bytes", field="at")
            await self._to_disk(partial(_put, one.path, at, data))
            one.received = max(one.received, at + len(data))
            return self.get(capture_id)

    async def remove(self, capture_id: str) -> None:
        """Delete it; a replay of it goes on. Raises: RequestError (404)."""
        async with self._changing:
            self._capture(capture_id)
            await self._forget(capture_id)

    async def inspect(self, *paths: Path) -> dict[str, Any]:
        """What is in capture files, read as one: flows, ledgers, delays; as `udprism inspect --json`.

        Raises: RequestError (422). A process of its own reads: the program's threads share no lock with it. One at a
        time.
        """
        async with self._reading:
            return await _inspected(paths)

    def stop(self) -> None:
        """Delete all of them."""
        self._captures.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _capture(self, capture_id: str) -> Capture:
        if capture_id not in self._captures:
            raise RequestError(f"no capture {capture_id!r}", kind="not-found")
        return self._captures[capture_id]

    def _begin(self, one: Capture) -> None:
        if self._folder is None:
            if self._wanted is None:
                self._folder = Path(tempfile.mkdtemp(prefix=f"{_TEMPORARY}{os.getpid()}-"))
            else:
                shutil.rmtree(self._wanted, ignore_errors=True)  # those of a program that was killed
                self._wanted.mkdir(parents=True)
                self._folder = self._wanted
        self._folder.mkdir(parents=True, exist_ok=True)  # somebody may have taken it away
        one.path = self._folder / one.id
        one.path.touch(exist_ok=False)

    async def _forget(self, capture_id: str) -> None:
        gone = self._captures.pop(capture_id)
        with suppress(OSError):
            await asyncio.to_thread(partial(gone.path.unlink, missing_ok=True))

    async def _to_disk(self, work: partial[None]) -> None:
        try:
            await asyncio.to_thread(work)
        except OSError as error:
            raise RequestError(f"the file cannot be stored: {error.strerror or error}", kind="not-kept") from error


def _remove_stale() -> None:
    """Remove the temporary folders of programs that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{_TEMPORARY}*"):
        process = path.name.removeprefix(_TEMPORARY).partition("-")[0]
        if not process.isdecimal() or not _runs(int(process)):
            shutil.rmtree(path, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _put(path: Path, at: int, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        written = 0
        while written < len(data):
            written += os.pwrite(fd, data[written:], at + written)
    finally:
        os.close(fd)


async def _inspected(paths: Sequence[Path]) -> dict[str, Any]:
    on_a_leash = "from udprism.cli.leash import run; run()"
    command = [sys.executable, "-c", on_a_leash, "inspect", *map(str, paths), "--json"]
    try:
        code, out, err = await _output_of(command)
    except TimeoutError:
        raise RequestError(f"reading takes longer than {_READ_WITHIN_S:.0f} s", kind="unreadable") from None
    except OSError as error:
        raise RequestError(f"no process to read it: {error.strerror or error}", kind="busy") from error
    if not all(path.exists() for path in paths):
        raise RequestError("it was deleted while it was read", kind="not-found")
    if not out:
        reason = err.decode(errors="replace").strip().rpartition("\n")[2]
        reason = reason.removeprefix("udprism: ")
        for path in paths:
            reason = reason.removeprefix(f"{path}: ")
        raise RequestError(reason, kind="unreadable")
    try:
        body: dict[str, Any] = json.loads(out)
    except ValueError:  # it was killed while it wrote
        raise RequestError(f"the process that read it ended with {code}", kind="unreadable") from None
    return body


async def _output_of(command: list[str]) -> tuple[int | None, bytes, bytes]:
    """Exit code, output and errors of a command that also ends with this program, or as soon as nobody waits for it.

    Raises: OSError, TimeoutError.
    """
    leash, held = os.pipe()
    process = None
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=leash, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(_READ_WITHIN_S):
            out, err = await process.communicate()
    finally:
        os.close(leash)
        os.close(held)
        if process is not None and process.returncode is None:
            process.kill()
            await process.communicate()  # closes its pipes
    return process.returncode, out, err
