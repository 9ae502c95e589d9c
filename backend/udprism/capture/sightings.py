"""What a recording knows of each datagram: where and when it was seen, and its fate.

A datagram is seen at two points: as it leaves its sender, and as it arrives. Both sightings have the same key. Its fate
becomes known later, so sightings wait in a window. The caller decides for how long.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, NamedTuple, Self

import numpy as np

from udprism.capture.known import FirstKeys, KnownNotes
from udprism.capture.weave import Strand
from udprism.columns.types import BoolColumn, I32Column, I64Column, Rows, U16Column, U64Column

_MAX_SESSIONS: Final = 1 << 20
UNNUMBERED: Final = 0
"""The key of a datagram that carries no number: it cannot be found at the other point."""


class Point(IntEnum):
    """Where a datagram was seen: the index of the file's interface."""

    SENDER = 0
    RECEIVER = 1


@dataclass(slots=True)
class Seen:
    """n datagrams at one point.

    key: uint64[n], the same at both points: a session in the upper half and its number in the lower; or UNNUMBERED.
    time_ns: int64[n], Unix. addresses: uint8[n, 36], see `frames`. length: int32[n], bytes of each. kept: int32[n],
    how many of them are in `rows`, uint8[n, width]. note: uint16[n], what is known so far; the bits are the caller's.
    """

    key: U64Column
    time_ns: I64Column
    addresses: Rows
    length: I32Column
    kept: I32Column
    rows: Rows
    note: U16Column

    def __len__(self) -> int:
        return len(self.key)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return len(self) * (8 + 8 + 36 + 4 + 4 + 2 + int(self.rows.shape[1]))

    def part(self, which: BoolColumn | I64Column) -> Self:
        """The rows of a mask or of indices."""
        return type(self)(
            self.key[which],
            self.time_ns[which],
            self.addresses[which],
            self.length[which],
            self.kept[which],
            self.rows[which],
            self.note[which],
        )


@dataclass(slots=True)
class Told:
    """n sightings in the order of their time, ready to be written. point: int32[n]. The others as in `Seen`."""

    point: I32Column
    key: U64Column
    time_ns: I64Column
    addresses: Rows
    payloads: Strand
    length: I64Column
    note: U16Column

    def part(self, which: slice | BoolColumn | I64Column) -> Self:
        """Some that follow each other, or the rows of a mask or of indices."""
        payloads = Strand(self.payloads.data, self.payloads.at[which], self.payloads.length[which])
        return type(self)(
            self.point[which],
            self.key[which],
            self.time_ns[which],
            self.addresses[which],
            payloads,
            self.length[which],
            self.note[which],
        )


class _Batch(NamedTuple):
    """One batch that waits, and between which times it was seen."""

    seen: Seen
    first_ns: int
    last_ns: int


class Window:
    """Sightings that wait until it is known what became of their datagrams."""

    def __init__(self, unknown: int, shared: int) -> None:
        """unknown: the note of a numbered datagram that was seen at its sender only, and whose fate was never reported.

        shared: the bits that are shown at the receiver as well; all other bits are shown at the sender only.
        """
        self.left_out = 0
        """Arrivals of datagrams that were on their way when their sender was seen for the first time."""
        self._unknown = unknown
        self._shared = np.uint16(shared)
        self._seen: dict[Point, list[_Batch]] = {point: [] for point in Point}
        self._notes = KnownNotes()
        """Until their datagram's sighting at its sender is written."""
        self._shared_notes = KnownNotes()
        """Of datagrams that may be seen at the receiver for some time more."""
        self._first = FirstKeys(_MAX_SESSIONS)
        self._new_keys: list[U64Column] = []
        """Of the sender's point, since the last turn."""
        self._seen_bytes = 0

    def __len__(self) -> int:
        """How many sightings wait."""
        return sum(len(batch.seen) for some in self._seen.values() for batch in some)

    @property
    def waiting_bytes(self) -> int:
        """How much memory those take, and what became of them."""
        return self._seen_bytes + self._notes.nbytes + self._shared_notes.nbytes

    @property
    def newest_ns(self) -> int:
        """When the newest that waits was seen; 0 if none does."""
        return max((batch.last_ns for some in self._seen.values() for batch in some), default=0)

    def see(self, point: Point, seen: Seen) -> None:
        """More sightings, in any order."""
        if len(seen):
            self._keep(point, seen)
            if point == Point.SENDER:
                self._new_keys.append(seen.key)
            else:
                numbered = seen.key != UNNUMBERED
                self.note(int(seen.time_ns[-1]), seen.key[numbered], seen.note[numbered])

    def note(self, time_ns: int, key: U64Column, note: U16Column) -> None:
        """Fates of datagrams, whether they were seen or will be. Several notes of one add up, bit by bit."""
        if len(key):
            self._notes.add(time_ns, key, note)
            is_shared = note & self._shared != 0
            if is_shared.any():
                self._shared_notes.add(time_ns, key[is_shared], note[is_shared])

    def take(self, until_ns: int, *, forget_ns: int) -> Told | None:
        """All that was seen before `until_ns`, with its notes; None if nothing was. Notes before `forget_ns` go."""
        self._first.see(_column(self._new_keys, np.uint64))
        self._new_keys.clear()
        told = _told({point: self._before(point, until_ns) for point in Point})
        arrived = told.point == Point.RECEIVER
        ours = ~arrived | self._first.since_then(told.key)
        if not ours.all():
            self.left_out += int(np.count_nonzero(~ours))
            told, arrived = told.part(ours), arrived[ours]
        if len(told.key):
            told.note = told.note | self._known(told.key, arrived)
        for notes in (self._notes, self._shared_notes):
            notes.forget(forget_ns)
        return told.part(np.argsort(told.time_ns, kind="stable")) if len(told.key) else None

    def _known(self, key: U64Column, arrived: BoolColumn) -> U16Column:
        """uint16[n]: what is known of these sightings besides what was seen at their own point."""
        found = np.zeros(len(key), np.uint16)
        here = np.flatnonzero(arrived & (key != UNNUMBERED))
        found[here] = self._shared_notes.find(key[here])[1] & self._shared
        there = np.flatnonzero(~arrived & (key != UNNUMBERED))
        there = there[np.argsort(key[there])]
        known, note = self._notes.take(key[there])
        found[there] = np.where(known, note, np.uint16(self._unknown))
        return found

    def _keep(self, point: Point, seen: Seen) -> None:
        self._seen[point].append(_Batch(seen, int(seen.time_ns.min()), int(seen.time_ns.max())))
        self._seen_bytes += seen.nbytes

    def _before(self, point: Point, until_ns: int) -> list[Seen]:
        batches, self._seen[point] = self._seen[point], []
        taken = []
        for batch in batches:
            if batch.first_ns >= until_ns:
                self._seen[point].append(batch)
                continue
            self._seen_bytes -= batch.seen.nbytes
            if batch.last_ns < until_ns:
                taken.append(batch.seen)
            else:
                due = batch.seen.time_ns < until_ns
                taken.append(batch.seen.part(due))
                self._keep(point, batch.seen.part(~due))
        return taken


def _told(parts: dict[Point, list[Seen]]) -> Told:
    """Concatenates batches, whose rows may have different widths."""
    points = [point for point, some in parts.items() for _ in some]
    some = [seen for parts_of_point in parts.values() for seen in parts_of_point]
    counts = np.array([len(seen) for seen in some], np.int64)
    widths = np.array([seen.rows.shape[1] for seen in some], np.int64)
    sizes = counts * widths
    place = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    at = np.repeat(np.cumsum(sizes) - sizes, counts) + place * np.repeat(widths, counts)
    length = _column([seen.kept for seen in some], np.int64)
    return Told(
        np.repeat(np.array(points, np.int32), counts),
        _column([seen.key for seen in some], np.uint64),
        _column([seen.time_ns for seen in some], np.int64),
        _column([seen.addresses.reshape(-1) for seen in some], np.uint8).reshape(-1, 36),
        Strand(_column([seen.rows.reshape(-1) for seen in some], np.uint8), at, length),
        _column([seen.length for seen in some], np.int64),
        _column([seen.note for seen in some], np.uint16),
    )


def _column(parts: list[Any], kind: type[np.generic]) -> Any:
    return np.concatenate([np.zeros(0, kind), *parts], dtype=kind, casting="same_kind")
