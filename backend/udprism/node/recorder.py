"""One recording: sightings of datagrams into a ring of files, by a thread of its own that nothing else waits for."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np

from udprism import __version__
from udprism.capture import pcap_writer, pcapng_writer
from udprism.capture.frames import Frames, make_frames
from udprism.capture.pcapng_writer import INBOUND, MAX_COMMENT_BYTES, OUTBOUND, Described, Marks
from udprism.capture.sightings import Point, Seen, Told, Window
from udprism.columns.types import NS_PER_S, U8Column, U64Column
from udprism.node.recording_files import FileRing
from udprism.udp.sight import Note, comments

log = logging.getLogger(__name__)

FileFormat: TypeAlias = Literal["pcapng", "pcap"]
MAX_WAITING: Final = 1 << 19
"""Sightings that wait to be written; further ones are not recorded, and counted."""
_EVERY_S: Final = 0.1
_FORGET_NS: Final = 10 * NS_PER_S
"""So long after the window a note of a datagram is still worth keeping: its sighting came late."""
_BYTES_BESIDE: Final = 512
"""Of a packet beside its payload, at most, but for the last one's comment: headers, options, a fate."""
_ENDPOINT: Final = np.dtype("S18")  # of one width, so that trailing zeros tell nothing apart wrongly
_COMMENTS: Final = comments()
_INTERFACES: Final = {
    Point.SENDER: Described("sender", "datagrams as they leave udprism's colour server, before its links"),
    Point.RECEIVER: Described("receiver", "datagrams as udprism's clients receive them"),
}


@dataclass(frozen=True, slots=True)
class RecordingPlan:
    """What is recorded, and into how much room. clients: ids; None for everything."""

    id: str
    file_format: FileFormat
    max_bytes: int
    max_files: int
    clients: list[str] | None


class Recording:
    """A `udp.sight.Recorder`: shown datagrams by any thread, written by its own."""

    def __init__(
        self,
        plan: RecordingPlan,
        folder: Path,
        unix_ns: Callable[[], int],
        hold_ns: Callable[[], int],
        wanted: Callable[[], set[bytes]] | None,
        ended: Callable[[BaseException | None], None] = lambda bug: None,
    ) -> None:
        """hold_ns: for how long to wait for a datagram's fate. wanted: endpoints of the recorded clients; None for all.

        ended: called on the recording's thread when it ends, with the bug that it met or None.
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
        self._unix_ns, self._hold_ns, self._ended = unix_ns, hold_ns, ended
        self._chosen = None if wanted is None else Chosen(wanted)
        self._window = Window(Note.UNKNOWN, Note.CORRUPT)
        self._incoming: deque[tuple[Point, Seen] | tuple[None, tuple[U64Column, U8Column]]] = deque()
        self._waiting = 0
        self._taken = dict.fromkeys(Point, 0)
        self._drops_written = dict.fromkeys(Point, 0)
        interfaces = [_INTERFACES[point] for point in Point]
        header = pcapng_writer.file_header(f"udprism {__version__}", interfaces)
        header = pcap_writer.FILE_HEADER if plan.file_format == "pcap" else header
        self._files = FileRing(folder, plan.id, plan.file_format, header, plan.max_bytes, plan.max_files)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="udprism-recording", daemon=True)
        self._thread.start()

    # -- from any thread

    def see(self, point: Point, seen: Seen) -> None:
        """Sightings, copied. What finds no room is counted; once it is to end, nothing is taken, and nothing missed."""
        if not self._takes:
            return
        if self._waiting + len(seen) > MAX_WAITING:
            self.missed[point] += len(seen if self._chosen is None else self._chosen.of(seen))
            return
        self._waiting += len(seen)
        self._incoming.append((point, seen))

    def note(self, key: U64Column, note: U8Column) -> None:
        """What became of datagrams."""
        if self._takes:
            self._incoming.append((None, (key, note)))

    @property
    def files(self) -> list[Path]:
        """Oldest first."""
        return list(self._files.paths)

    @property
    def size_bytes(self) -> int:
        """Of the files that there are."""
        total = 0
        for path in self.files:
            try:
                total += path.stat().st_size
            except OSError:
                continue  # somebody took it away
        return total

    @property
    def running(self) -> bool:
        """Whether it still records."""
        return self.ended_unix_ns is None and self.fault is None

    @property
    def _takes(self) -> bool:
        return self.running and not self._ending.is_set()

    def end(self) -> None:
        """Write what waits, and close the file. Blocks for that long."""
        self._ending.set()
        self._thread.join()

    # -- the recording's thread

    def _run(self) -> None:
        bug: BaseException | None = None
        try:
            while not self._ending.wait(_EVERY_S):
                # The newest waits for the next turn, so that there is a last packet to carry the sums.
                self._turn(min(self._unix_ns() - self._hold_ns(), self._window.newest_ns), last=False)
            self._turn(1 << 62, last=True)
        except OSError as error:
            self.fault = error.strerror or str(error)
        except Exception as error:
            self.fault, bug = "a bug; the log says more", error
            log.exception("a bug in a recording")
        finally:
            self.ended_unix_ns = self._unix_ns()
            self._files.close()
            self._forget()
            self._ended(bug)

    def _forget(self) -> None:
        """What was taken and not written was missed."""
        self._take_in(self._unix_ns())
        for point in Point:
            known = self.recorded[point] + (self._window.left_out if point == Point.RECEIVER else 0)
            self.missed[point] += self._taken[point] - known
        self._window = Window(Note.UNKNOWN, Note.CORRUPT)

    def _turn(self, until_ns: int, *, last: bool) -> None:
        now_ns = self._unix_ns()
        self._take_in(now_ns)
        told = self._window.take(until_ns, forget_ns=min(until_ns, now_ns) - _FORGET_NS)
        self._waiting = len(self._window) + sum(len(one[1]) for one in list(self._incoming) if one[0] is not None)
        if told is None:
            return
        # Small enough that a file takes several: the bound of the files holds.
        longest = int(told.payloads.length.max()) + _BYTES_BESIDE
        count = max(1, self._files.bytes_a_file // 4 // longest)
        for start in range(0, len(told.key), count):
            part = told.part(slice(start, start + count))
            self._write(part, last=last and start + count >= len(told.key))

    def _take_in(self, now_ns: int) -> None:
        if self._chosen is not None:
            self._chosen.refresh(now_ns)
        for _ in range(len(self._incoming)):
            point, what = self._incoming.popleft()
            if point is None:
                self._window.note(now_ns, *what)  # type: ignore[misc]
                continue
            assert isinstance(what, Seen)
            seen = what if self._chosen is None else self._chosen.of(what)
            self._taken[point] += len(seen)
            self._window.see(point, seen)

    def _write(self, told: Told, *, last: bool) -> None:
        frames = make_frames(told.addresses, told.payloads, told.length)
        if self.plan.file_format == "pcap":
            self._files.write(pcap_writer.records(told.time_ns, frames))
        else:
            self._files.write(self._blocks(told, frames, last=last))
        for point in Point:
            self.recorded[point] += int(np.count_nonzero(told.point == point))

    def _blocks(self, told: Told, frames: Frames, *, last: bool) -> U8Column:
        texts, comment = _COMMENTS, told.note.astype(np.int32)
        if last:
            words = _COMMENTS[int(told.note[-1])]
            texts = [*_COMMENTS, f"{words}; {self._sums(told)}" if words else self._sums(told)]
            comment[-1] = len(texts) - 1
        drops = np.zeros(len(told.key), np.uint64)
        for point in Point:
            missed, at = self.missed[point], np.flatnonzero(told.point == point)
            if len(at):
                drops[at[0]], self._drops_written[point] = missed - self._drops_written[point], missed
        direction = np.where(told.point == Point.SENDER, OUTBOUND, INBOUND).astype(np.uint32)
        marks = Marks(told.point, direction, told.key, drops, comment)
        return pcapng_writer.blocks(told.time_ns, frames, marks, texts)

    def _sums(self, told: Told) -> str:
        recorded = {point: self.recorded[point] + int(np.count_nonzero(told.point == point)) for point in Point}
        words = [
            f"{recorded[point]} datagrams recorded at the {point.name.lower()}, {self.missed[point]} not recorded"
            for point in Point
        ]
        return ("end of the recording: " + "; ".join(words))[:MAX_COMMENT_BYTES]


class Chosen:
    """Which sightings are of the clients that are recorded. `refresh` by one thread, `of` by any."""

    def __init__(self, wanted: Callable[[], set[bytes]]) -> None:
        """wanted: the clients' endpoints now, 18 bytes each."""
        self._wanted = wanted
        self._until_ns: dict[bytes, int] = {}
        self._sorted = np.zeros(0, _ENDPOINT)

    def refresh(self, now_ns: int) -> None:
        """Where they are now. What one left behind counts for some seconds more: its last datagrams still wait."""
        for one in self._wanted():
            self._until_ns[one] = now_ns + _FORGET_NS
        self._until_ns = {one: until_ns for one, until_ns in self._until_ns.items() if until_ns > now_ns}
        self._sorted = np.array(sorted(self._until_ns), _ENDPOINT)

    def of(self, seen: Seen) -> Seen:
        """Theirs."""
        chosen = self._sorted
        if not len(chosen):
            return seen.part(np.zeros(len(seen), np.bool_))
        # At both points the client is the target.
        client = np.concatenate((seen.addresses[:, 16:32], seen.addresses[:, 34:36]), axis=1).view(_ENDPOINT)[:, 0]
        at = np.minimum(np.searchsorted(chosen, client), len(chosen) - 1)
        return seen.part(chosen[at] == client)
