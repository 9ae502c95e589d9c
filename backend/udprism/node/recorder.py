"""One recording: sightings of datagrams into a ring of files, by a thread of its own that nothing else waits for."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np

from udprism import __version__
from udprism.capture import pcap_writer, pcapng_writer
from udprism.capture.frames import make_frames
from udprism.capture.pcapng_writer import INBOUND, MAX_COMMENT_BYTES, OUTBOUND, Described, Marks
from udprism.capture.sightings import Point, Seen, Told, Window
from udprism.columns.types import NS_PER_S, U8Column, U64Column
from udprism.udp.sight import Note, comments

log = logging.getLogger(__name__)

FileFormat: TypeAlias = Literal["pcapng", "pcap"]
MAX_WAITING: Final = 1 << 19
"""Sightings that wait to be written; further ones are not recorded, and counted."""
_EVERY_S: Final = 0.1
_FORGET_NS: Final = 10 * NS_PER_S
"""So long after the window a note of a datagram is still worth keeping: its sighting came late."""
_END_WORDS_BYTES: Final = 160
_COMMENTS: Final = comments()
_INTERFACES: Final = {
    Point.SENDER: Described("sender", "datagrams as they leave udprism's colour server, before its links"),
    Point.RECEIVER: Described("receiver", "datagrams as udprism's clients receive them"),
}


@dataclass(frozen=True, slots=True)
class RecordingPlan:
    """What is recorded, and into how much room. `targets`: endpoints (18 bytes each) of clients; None for all."""

    id: str
    file_format: FileFormat
    max_bytes: int
    max_files: int
    clients: list[str] | None

    @property
    def bytes_a_file(self) -> int:
        """Of how many bytes a file is before the next one begins."""
        return self.max_bytes // self.max_files


class Recording:
    """A `udp.sight.Recorder`: taken by any thread, written by its own."""

    def __init__(
        self,
        plan: RecordingPlan,
        folder: Path,
        unix_ns: Callable[[], int],
        hold_ns: Callable[[], int],
        wanted: Callable[[], set[bytes]] | None,
        given_up: Callable[[BaseException | None], None] = lambda error: None,
    ) -> None:
        """hold_ns: for how long to wait for a datagram's fate. wanted: endpoints of the recorded clients; None for all.

        given_up: told of a bug on the recording's thread.

        Raises: OSError if no file can be made there.
        """
        self.plan = plan
        self.began_unix_ns = unix_ns()
        self.ended_unix_ns: int | None = None
        self.fault: str | None = None
        self.recorded = dict.fromkeys(Point, 0)
        """Datagrams that were written, by point."""
        self.missed = dict.fromkeys(Point, 0)
        """Datagrams that were not: the thread or the disk could not keep up."""
        self.files: list[Path] = []
        self.bytes_written = 0
        self._folder, self._unix_ns, self._hold_ns, self._wanted = folder, unix_ns, hold_ns, wanted
        self._given_up = given_up
        self._window = Window(Note.UNKNOWN, Note.CORRUPT)
        self._incoming: deque[tuple[Point, Seen] | tuple[None, tuple[U64Column, U8Column]]] = deque()
        self._waiting = 0
        self._untold = dict.fromkeys(Point, 0)
        self._number = 0
        self._file_bytes = 0
        self._fd = self._open_next()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="udprism-recording", daemon=True)
        self._thread.start()

    # -- from any thread

    def see(self, point: Point, seen: Seen) -> None:
        """Sightings, copied. What finds no room is counted."""
        if self._waiting + len(seen) > MAX_WAITING or self.fault is not None:
            self.missed[point] += len(seen)
            return
        self._waiting += len(seen)
        self._incoming.append((point, seen))

    def note(self, key: U64Column, note: U8Column) -> None:
        """What became of datagrams."""
        self._incoming.append((None, (key, note)))

    @property
    def size_bytes(self) -> int:
        """Of the files that there are."""
        total = 0
        for path in list(self.files):
            try:
                total += path.stat().st_size
            except OSError:
                continue  # somebody took it away
        return total

    @property
    def running(self) -> bool:
        """Whether it still records."""
        return self.ended_unix_ns is None and self.fault is None

    def end(self) -> None:
        """Write what waits, and close the file. Blocks for that long."""
        self._ending.set()
        self._thread.join()

    # -- the recording's thread

    def _run(self) -> None:
        try:
            while not self._ending.wait(_EVERY_S):
                self._turn(self._unix_ns() - self._hold_ns(), last=False)
            self._turn(1 << 62, last=True)
        except OSError as error:
            self.fault = error.strerror or str(error)
        except Exception as error:
            self.fault = "a bug; the log says more"
            log.exception("the recording met a bug")
            self._given_up(error)
        finally:
            self.ended_unix_ns = self._unix_ns()
            os.close(self._fd)
            self._incoming.clear()

    def _turn(self, until_ns: int, *, last: bool) -> None:
        now_ns = self._unix_ns()
        wanted = None if self._wanted is None else self._wanted()
        for _ in range(len(self._incoming)):
            point, what = self._incoming.popleft()
            if point is None:
                self._window.note(now_ns, *what)  # type: ignore[misc]
            else:
                self._see(point, what, wanted)  # type: ignore[arg-type]
        told = self._window.take(until_ns, forget_ns=min(until_ns, now_ns) - _FORGET_NS)
        self._waiting = len(self._window) + sum(len(one[1]) for one in list(self._incoming) if one[0] is not None)
        if told is not None:
            self._write(told, last=last)

    def _see(self, point: Point, seen: Seen, wanted: set[bytes] | None) -> None:
        if wanted is not None:
            ip, port = (slice(16, 32), slice(34, 36))  # both points have the client as the target
            client = np.concatenate((seen.addresses[:, ip], seen.addresses[:, port]), axis=1)
            mine = np.array([row.tobytes() in wanted for row in client], np.bool_)
            seen = seen.part(mine)
        self._window.see(point, seen)

    def _write(self, told: Told, *, last: bool) -> None:
        count = len(told.key)
        frames = make_frames(told.addresses, told.payloads, told.length)
        if self.plan.file_format == "pcap":
            data = pcap_writer.records(told.time_ns, frames)
        else:
            texts, comment = _COMMENTS, told.note.astype(np.int32)
            if last:
                words = _COMMENTS[int(told.note[-1])]
                texts = [*_COMMENTS, f"{words}; {self._sums(told)}" if words else self._sums(told)]
                comment[-1] = len(texts) - 1
            drops = np.zeros(count, np.uint64)
            for point in Point:
                missed, at = self.missed[point], np.flatnonzero(told.point == point)
                if len(at):
                    drops[at[0]], self._untold[point] = missed - self._untold[point], missed
            direction = np.where(told.point == Point.SENDER, OUTBOUND, INBOUND).astype(np.uint32)
            data = pcapng_writer.blocks(
                told.time_ns, frames, Marks(told.point, direction, told.key, drops, comment), texts
            )
        if self._file_bytes and self._file_bytes + len(data) > self.plan.bytes_a_file:
            self._next_file()
        self._put(data)
        for point in Point:
            self.recorded[point] += int(np.count_nonzero(told.point == point))

    def _sums(self, told: Told) -> str:
        recorded = {point: self.recorded[point] + int(np.count_nonzero(told.point == point)) for point in Point}
        words = [
            f"{recorded[point]} datagrams recorded at the {point.name.lower()}, {self.missed[point]} not recorded"
            for point in Point
        ]
        return ("end of the recording: " + "; ".join(words))[:MAX_COMMENT_BYTES]

    def _put(self, data: U8Column | bytes) -> None:
        view = memoryview(data)  # type: ignore[arg-type]  # NumPy arrays are buffers
        while len(view):
            written = os.write(self._fd, view)
            view = view[written:]
            self._file_bytes += written
            self.bytes_written += written

    def _next_file(self) -> None:
        os.close(self._fd)
        self._fd = self._open_next()
        while len(self.files) > self.plan.max_files:
            self.files.pop(0).unlink(missing_ok=True)

    def _open_next(self) -> int:
        self._number += 1
        path = self._folder / f"{self.plan.id}-{self._number:03}.{self.plan.file_format}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        self.files = [*self.files, path]
        self._file_bytes = 0
        self._fd = fd
        if self.plan.file_format == "pcap":
            self._put(pcap_writer.FILE_HEADER)
        else:
            self._put(pcapng_writer.file_header(f"udprism {__version__}", [_INTERFACES[point] for point in Point]))
        return fd
