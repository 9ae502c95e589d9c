"""Turns sightings into a recording's files. Runs in a process of its own: see `recording_process`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from udprism import __version__
from udprism.capture import pcap_writer, pcapng_writer
from udprism.capture.frames import Frames, make_frames
from udprism.capture.pcapng_writer import INBOUND, MAX_COMMENT_BYTES, OUTBOUND, Described, Marks
from udprism.capture.sightings import Point, Told, Window
from udprism.columns.types import NS_PER_S, U8Column
from udprism.node.recording_files import FileRing
from udprism.udp.sight import Note, comments
from udprism.udp.sight_queue import Notes, SightQueue

FileFormat: TypeAlias = Literal["pcapng", "pcap"]
MAX_WAITING_BYTES: Final = 256 << 20
"""Of sightings whose datagrams' fates are not known yet; further ones are not recorded, and counted."""
_FORGET_NS: Final = 10 * NS_PER_S
"""So long after the window a note of a datagram is still worth keeping: its sighting came late."""
_BYTES_BESIDE: Final = 512
"""Of a packet beside its payload, at most, but for the last one's comment: headers, options, a fate."""
_AT_ONCE: Final = 8192
"""Packets that are made together: more do not fit into a processor's cache, and take longer each."""
_COMMENTS: Final = comments()
_MOST_ABOUT: Final = 2000
_ABOUT: Final = {
    Point.SENDER: "datagrams as they leave udprism's colour server or reach its relays, before their links",
    Point.RECEIVER: "datagrams as udprism's clients and receivers hear them, or as its relays send them on",
}


@dataclass(frozen=True, slots=True)
class RecordingPlan:
    """What is recorded, and into how much room. flows: ids; None for all. names: of those flows, in one text."""

    id: str
    file_format: FileFormat
    max_bytes: int
    max_files: int
    flows: list[str] | None
    names: str = "all flows"

    def to_json(self) -> dict[str, Any]:
        """`RecordingPlan(**that)` is the same."""
        return asdict(self)


class Writer:
    """One thread. Raises: OSError, from every method that writes."""

    def __init__(self, plan: RecordingPlan, folder: Path) -> None:
        """Opens the first file."""
        self.recorded = dict.fromkeys(Point, 0)
        """Datagrams that were written, by point."""
        self.turned_away = dict.fromkeys(Point, 0)
        """Datagrams that came here and found no room."""
        self._plan = plan
        self._missed = dict.fromkeys(Point, 0)
        """Those, and what found no room on the way here."""
        self._untold = dict.fromkeys(Point, 0)
        self._window = Window(Note.UNKNOWN, Note.CORRUPT)
        header = pcapng_writer.file_header(f"udprism {__version__}", _interfaces(plan.names))
        header = pcap_writer.FILE_HEADER if plan.file_format == "pcap" else header
        self._files = FileRing(folder, plan.id, plan.file_format, header, plan.max_bytes, plan.max_files)

    @property
    def left_out(self) -> dict[Point, int]:
        """What is neither recorded nor missed: see `Window.left_out`."""
        return {Point.SENDER: 0, Point.RECEIVER: self._window.left_out}

    @property
    def paths(self) -> list[Path]:
        """Of the files that there are, oldest first."""
        return self._files.paths

    def take_in(self, queues: Sequence[SightQueue], now_ns: int) -> None:
        """All that has come. What finds no room is counted."""
        # What has arrived has been sent before: a mark set at the first queue is never ahead of the others'.
        marks = [(queue, queue.written) for queue in reversed(queues)]
        for queue, until in reversed(marks):
            for message in queue.take(until):
                if isinstance(message, Notes):
                    self._window.note(now_ns, *message)
                    continue
                point, seen = message
                if self._window.waiting_bytes > MAX_WAITING_BYTES:
                    self.turned_away[point] += len(seen)
                else:
                    self._window.see(point, seen)
        self._missed = {
            point: self.turned_away[point] + sum(queue.turned_away[point] for queue in queues) for point in Point
        }

    def write(self, now_ns: int, hold_ns: int) -> None:
        """Write what was seen more than `hold_ns` ago: its fate is known."""
        # The newest waits for the next turn, so that there is a last packet to carry the sums.
        self._turn(min(now_ns - hold_ns, self._window.newest_ns), now_ns, last=False)

    def end(self, now_ns: int) -> None:
        """Write what waits, with the sums."""
        self._turn(1 << 62, now_ns, last=True)

    def close(self) -> None:
        """The file stays."""
        self._files.close()

    def _turn(self, until_ns: int, now_ns: int, *, last: bool) -> None:
        told = self._window.take(until_ns, forget_ns=min(until_ns, now_ns) - _FORGET_NS)
        if told is None:
            return
        # Small enough that a file takes several: the bound of the files holds.
        longest = int(told.payloads.length.max()) + _BYTES_BESIDE
        count = max(1, min(_AT_ONCE, self._files.bytes_a_file // 4 // longest))
        for start in range(0, len(told.key), count):
            part = told.part(slice(start, start + count))
            self._write(part, last=last and start + count >= len(told.key))

    def _write(self, told: Told, *, last: bool) -> None:
        frames = make_frames(told.addresses, told.payloads, told.length)
        if self._plan.file_format == "pcap":
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
            missed, at = self._missed[point], np.flatnonzero(told.point == point)
            if len(at):
                drops[at[0]], self._untold[point] = missed - self._untold[point], missed
        direction = np.where(told.point == Point.SENDER, OUTBOUND, INBOUND).astype(np.uint32)
        marks = Marks(told.point, direction, told.key, drops, comment)
        return pcapng_writer.blocks(told.time_ns, frames, marks, texts)

    def _sums(self, told: Told) -> str:
        recorded = {point: self.recorded[point] + int(np.count_nonzero(told.point == point)) for point in Point}
        words = [
            f"{recorded[point]} datagrams recorded at the {point.name.lower()}, {self._missed[point]} not recorded"
            for point in Point
        ]
        return ("end of the recording: " + "; ".join(words))[:MAX_COMMENT_BYTES]


def _interfaces(names: str) -> list[Described]:
    return [Described(point.name.lower(), f"{_ABOUT[point]}: {names}"[:_MOST_ABOUT]) for point in Point]
