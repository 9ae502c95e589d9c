"""The recordings of this program: starts, shows, stops and deletes them. Their files outlive the program."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from udprism.capture.sightings import Point, Seen
from udprism.columns.types import NS_PER_MS, NS_PER_S, U16Column, U64Column
from udprism.errors import RequestError
from udprism.node.assembly import Assembly
from udprism.node.bodies import recordings as bodies
from udprism.node.receivers import Receivers
from udprism.node.recorded_flows import RecordedFlows, sort_out
from udprism.node.recorder import FileFormat, Recording, RecordingPlan
from udprism.node.recording_files import files_in
from udprism.node.relays import Relays
from udprism.udp.sight import Recorder

MAX_RUNNING: Final = 4
MAX_SHOWN: Final = 1000
"""The newest recordings that are listed."""
MIN_FILE_BYTES: Final = 1 << 20
USUAL_FILES: Final = 4
FOLDER: Final = "recordings"
_SETTLE_NS: Final = 300 * NS_PER_MS
"""Losses are declared some sweeps after they are due."""


def _together(recorders: list[Recorder]) -> Recorder | None:
    return recorders[0] if len(recorders) == 1 else _All(recorders) if recorders else None


class _All:
    """Several recorders as one."""

    def __init__(self, recorders: list[Recorder]) -> None:
        self._recorders = recorders

    def see(self, point: Point, seen: Seen) -> None:
        for one in self._recorders:
            one.see(point, seen)

    def note(self, key: U64Column, note: U16Column) -> None:
        for one in self._recorders:
            one.note(key, note)


class Recordings:
    """Coroutines belong to one event loop; files are written and read by other threads."""

    def __init__(
        self,
        assembly: Assembly,
        relays: Relays,
        receivers: Receivers,
        folder: Path | None,
        given_up: Callable[[BaseException | None], None] = lambda error: None,
    ) -> None:
        """folder: where files lie; None if nothing is stored. given_up: told of a bug on a recording's thread."""
        self._assembly, self._relays, self._receivers = assembly, relays, receivers
        self._folder, self._given_up = folder, given_up
        self._connecting = threading.Lock()
        self._recordings: dict[str, Recording] = {}
        self._shown: dict[str, RecordedFlows] = {}
        """Of each recording that runs."""
        self._changing = asyncio.Lock()
        self._beginning: str | None = None
        """The id of one whose first file may be there already."""
        self._recorded_gone = self._missed_gone = 0
        """Of recordings that were deleted: counters never fall."""

    # -- what there is

    async def every(self) -> list[bodies.Recording]:
        """The running ones and those on the disk, oldest first."""
        return await asyncio.to_thread(self._every)

    async def get(self, recording_id: str) -> bodies.Recording:
        """One. Raises: RequestError (404)."""
        if recording_id in self._recordings:
            return await asyncio.to_thread(bodies.of_running, self._recordings[recording_id])
        return bodies.of_files(recording_id, await self.files(recording_id))

    def is_running(self, recording_id: str) -> bool:
        """Whether its newest file still grows."""
        recording = self._recordings.get(recording_id)
        return recording is not None and recording.running

    async def files(self, recording_id: str) -> list[Path]:
        """Its files, oldest first. Raises: RequestError (404)."""
        found = await asyncio.to_thread(files_in, self._folder, recording_id)
        if recording_id not in found:
            raise _not_found(recording_id)
        return found[recording_id]

    def counters(self) -> dict[str, int]:
        """For /metrics."""
        running = list(self._recordings.values())
        return {
            "recordings_running": sum(one.running for one in running),
            "recorded_datagrams_total": self._recorded_gone + sum(sum(one.recorded.values()) for one in running),
            "recording_missed_datagrams_total": self._missed_gone + sum(sum(one.missed.values()) for one in running),
        }

    # -- what is done

    async def add(
        self, flows: list[str] | None, file_format: FileFormat, max_bytes: int, max_files: int | None = None
    ) -> bodies.Recording:
        """Begin to record these flows, or all. max_files: USUAL_FILES, or fewer if max_bytes is small.

        Raises: RequestError (409, 422, 507).
        """
        max_files = max(1, min(USUAL_FILES, max_bytes // MIN_FILE_BYTES)) if max_files is None else max_files
        async with self._changing:
            if self._folder is None:
                raise RequestError("nothing is stored (--ephemeral), so nothing can be recorded", kind="not-stored")
            if sum(one.running for one in self._recordings.values()) >= MAX_RUNNING:
                raise RequestError(f"at most {MAX_RUNNING} recordings may run at once", kind="too-many-recordings")
            if max_bytes < MIN_FILE_BYTES * max_files:
                needed = MIN_FILE_BYTES * max_files
                raise RequestError(f"{max_files} files take at least {needed} bytes", field="max_bytes")
            sources = self._assembly, self._relays, self._receivers
            wanted = None if flows is None else await asyncio.to_thread(sort_out, flows, *sources)
            shown = RecordedFlows(*sources, wanted)
            names = {} if wanted is None else {"names": ", ".join(wanted.names)}
            plan = RecordingPlan(f"rec-{secrets.token_hex(6)}", file_format, max_bytes, max_files, flows, **names)
            self._beginning = plan.id
            try:
                recording = await asyncio.to_thread(partial(self._begin, plan, self._folder, shown))
            except OSError as error:
                raise RequestError(
                    f"no file can be written in {self._folder}: {error.strerror or error}", kind="not-kept"
                ) from error
            finally:
                self._beginning = None
            self._assembly.note("recording", f"recording {plan.id} begun", None)
            return bodies.of_running(recording)

    async def stop_one(self, recording_id: str) -> bodies.Recording:
        """Write what waits and close the file; nothing happens to one that has ended. Raises: RequestError (404)."""
        async with self._changing:
            recording = self._recordings.get(recording_id)
            if recording is None:
                return await self.get(recording_id)
            was_running = recording.running
            await asyncio.to_thread(recording.end)
            self._connect()
            if was_running:
                self._assembly.note("recording", f"recording {recording_id} ended", None)
            return bodies.of_running(recording)

    async def remove(self, recording_id: str) -> None:
        """Stop it and delete its files. Raises: RequestError (404, 507)."""
        if recording_id not in self._recordings:
            await self.files(recording_id)
        else:
            await self.stop_one(recording_id)
        async with self._changing:
            try:
                for path in (await asyncio.to_thread(files_in, self._folder, recording_id)).get(recording_id, []):
                    await asyncio.to_thread(partial(path.unlink, missing_ok=True))
            except OSError as error:
                reason = error.strerror or error
                raise RequestError(f"the recording has ended, and its file stays: {reason}", kind="not-kept") from error
            gone = self._recordings.pop(recording_id, None)
            if gone is not None:
                self._recorded_gone += sum(gone.recorded.values())
                self._missed_gone += sum(gone.missed.values())

    def stop(self) -> None:
        """End all of them; their files stay."""
        for recording in self._recordings.values():
            recording.end()

    # -- how

    def _begin(self, plan: RecordingPlan, folder: Path, shown: RecordedFlows) -> Recording:
        folder.mkdir(parents=True, exist_ok=True)

        def turned(recording: Recording) -> None:
            shown.refresh()
            shown.look(recording)
            if shown.are_gone(self._assembly.clock.now_ns()):
                recording.end_soon("none of its flows is there any more")
            self._connect_receivers()

        recording = Recording(plan, folder, self._assembly.clock.unix_ns, self._hold_ns, turned, self._ended)
        shown.begin(recording)
        self._recordings[plan.id], self._shown[plan.id] = recording, shown
        self._connect()
        return recording

    def _hold_ns(self) -> int:
        """After so long it is known what became of a datagram: its link holds it, and then it is missed."""
        assembly = self._assembly
        loss_after_ns = round(assembly.settings.loss_after_s * NS_PER_S)
        behind_ns = max(0, assembly.clock.now_ns() - assembly.pool.accounting.settled_ns)
        return behind_ns + loss_after_ns + assembly.server.send_log.hold_ns + _SETTLE_NS

    def _ended(self, bug: BaseException | None) -> None:
        self._connect()
        if bug is not None:
            self._given_up(bug)

    def _connect(self) -> None:
        """Show the datagrams to the recordings that run. Any thread."""
        with self._connecting:
            for name in [name for name in self._shown if not self.is_running(name)]:
                self._shown.pop(name).end(name)
            running = list(self._shown.values())
            # The sender first: what arrives has then been seen there.
            self._assembly.server.outlet.tap.recorder = _together([one.recorders[Point.SENDER] for one in running])
            self._assembly.pool.accounting.tap.recorder = _together([one.recorders[Point.RECEIVER] for one in running])
        self._connect_receivers()

    def _connect_receivers(self) -> None:
        """The same for their thread, which the first receiver begins."""
        listening = self._receivers.listening
        if listening is not None:
            heard = (one.heard for one in list(self._shown.values()))
            listening.tap.recorders = tuple(one for one in heard if one is not None)

    def _every(self) -> list[bodies.Recording]:
        # In this order: one that is being begun is known by one name or the other once its file can be seen.
        on_disk, beginning, running = files_in(self._folder), self._beginning, list(self._recordings.values())
        known = {one.plan.id for one in running} | {beginning}
        kept = [bodies.of_files(name, paths) for name, paths in on_disk.items() if name not in known]
        shown = [*kept, *map(bodies.of_running, running)]
        return sorted(shown, key=lambda one: one["began_unix_ms"] or one["ended_unix_ms"] or 0)[-MAX_SHOWN:]


def _not_found(recording_id: str) -> RequestError:
    return RequestError(f"no recording {recording_id!r}", kind="not-found")
