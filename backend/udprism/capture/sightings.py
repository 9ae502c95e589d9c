"""What a recording knows of each datagram: where and when it was seen, and what became of it.

A datagram is seen at two points: as it leaves its sender, and as it arrives. Both sightings have the same key. Its fate
becomes known later, so sightings wait in a window. The caller decides for how long.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

import numpy as np

from udprism.capture.weave import Strand
from udprism.columns.runs import distinct, runs_of
from udprism.columns.types import BoolColumn, I32Column, I64Column, Rows, U8Column, U64Column

_SESSION_SHIFT: Final = np.uint64(32)
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
    how many of them are in `rows`, uint8[n, width]. note: uint8[n], what is known so far; the bits are the caller's.
    """

    key: U64Column
    time_ns: I64Column
    addresses: Rows
    length: I32Column
    kept: I32Column
    rows: Rows
    note: U8Column

    def __len__(self) -> int:
        return len(self.key)

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
    note: U8Column

    def part(self, which: slice) -> Self:
        """Some that follow each other."""
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


class Window:
    """Sightings that wait until it is known what became of their datagrams."""

    def __init__(self, unknown: int, shared: int) -> None:
        """unknown: the note of a numbered datagram that was seen at its sender only, and whose fate was never reported.

        shared: the bits that are shown at the receiver as well; all other bits are shown at the sender only.
        """
        self.left_out = 0
        """Arrivals of datagrams that were on their way when their sender was seen for the first time."""
        self._unknown = unknown
        self._shared = np.uint8(shared)
        self._seen: dict[Point, list[Seen]] = {point: [] for point in Point}
        self._noted: list[tuple[int, U64Column, U8Column]] = []
        self._first: dict[int, int] = {}
        """By session, the upper half of a key: the first key that was seen at its sender."""

    def __len__(self) -> int:
        """How many sightings wait."""
        return sum(len(one) for some in self._seen.values() for one in some)

    @property
    def newest_ns(self) -> int:
        """When the newest that waits was seen; 0 if none does."""
        return max((int(one.time_ns.max()) for some in self._seen.values() for one in some), default=0)

    def see(self, point: Point, seen: Seen) -> None:
        """More sightings, in any order."""
        if len(seen):
            self._seen[point].append(seen)
            if point == Point.SENDER:
                self._begin(seen.key)
            if point == Point.RECEIVER:
                self.note(int(seen.time_ns[-1]), seen.key, seen.note)

    def note(self, time_ns: int, key: U64Column, note: U8Column) -> None:
        """What became of datagrams, whether they were seen or will be. Several notes of one add up, bit by bit."""
        if len(key):
            self._noted.append((time_ns, key, note))

    def take(self, until_ns: int, *, forget_ns: int) -> Told | None:
        """All that was seen before `until_ns`, with its notes; None if nothing was. Notes before `forget_ns` go."""
        parts = {point: self._before(point, until_ns) for point in Point}
        key, note = self._notes()
        for point, seen in parts.items():
            if point == Point.RECEIVER:
                ours = seen.part(self._is_ours(seen.key))
                self.left_out += len(seen) - len(ours)
                parts[point] = seen = ours
            known, found = _found(key, note, seen.key)
            if point == Point.SENDER:
                found[~known & (seen.key != UNNUMBERED)] = self._unknown
            else:
                found &= self._shared
            seen.note = seen.note | found
        self._noted = [one for one in self._noted if one[0] >= forget_ns]
        return _told(parts) if any(map(len, parts.values())) else None

    def _begin(self, key: U64Column) -> None:
        key = np.sort(key)
        starts = runs_of((key >> _SESSION_SHIFT).view(np.int64)).starts
        if len(self._first) > _MAX_SESSIONS:
            self._first.clear()
        for one in key[starts].tolist():
            self._first.setdefault(one >> int(_SESSION_SHIFT), one)

    def _is_ours(self, key: U64Column) -> BoolColumn:
        """False for what was on its way already when its sender was seen for the first time: half of it is missing."""
        session = (key >> _SESSION_SHIFT).astype(np.int64)
        known = distinct(session)
        first = np.array([self._first.get(one, 0) for one in known.tolist()], np.uint64)
        ours: BoolColumn = key >= first[np.searchsorted(known, session)] if len(key) else np.ones(0, np.bool_)
        return ours

    def _before(self, point: Point, until_ns: int) -> Seen:
        taken, kept = [], []
        for seen in self._seen[point]:
            due = seen.time_ns < until_ns
            if due.any():
                taken.append(seen if due.all() else seen.part(due))
            if not due.all():
                kept.append(seen if not due.any() else seen.part(~due))
        self._seen[point] = kept
        return _joined(taken)

    def _notes(self) -> tuple[U64Column, U8Column]:
        """Each key that something is known of, sorted, and all that is known of it."""
        if not self._noted:
            return np.zeros(0, np.uint64), np.zeros(0, np.uint8)
        key = np.concatenate([one for _, one, _ in self._noted])
        note = np.concatenate([one for _, _, one in self._noted])
        order = np.argsort(key, kind="stable")
        key, note = key[order], note[order]
        starts = runs_of(key.view(np.int64)).starts
        return key[starts], np.bitwise_or.reduceat(note, starts)


def _found(key: U64Column, note: U8Column, wanted: U64Column) -> tuple[BoolColumn, U8Column]:
    """For each wanted key whether it is among the sorted ones, and its note; 0 if not."""
    if not len(key):
        return np.zeros(len(wanted), np.bool_), np.zeros(len(wanted), np.uint8)
    at = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
    known = (key[at] == wanted) & (wanted != UNNUMBERED)
    return known, np.where(known, note[at], np.uint8(0))


def _joined(parts: list[Seen]) -> Seen:
    """One behind the other; narrower rows are filled up with zeros."""
    width = max((seen.rows.shape[1] for seen in parts), default=0)
    count = sum(map(len, parts))
    rows = np.zeros((count, width), np.uint8)
    at = 0
    for seen in parts:
        rows[at : at + len(seen), : seen.rows.shape[1]] = seen.rows
        at += len(seen)
    empty = Seen(
        np.zeros(0, np.uint64),
        np.zeros(0, np.int64),
        np.zeros((0, 36), np.uint8),
        np.zeros(0, np.int32),
        np.zeros(0, np.int32),
        rows[:0],
        np.zeros(0, np.uint8),
    )
    some = [*parts, empty]
    return Seen(
        np.concatenate([seen.key for seen in some]),
        np.concatenate([seen.time_ns for seen in some]),
        np.concatenate([seen.addresses for seen in some]),
        np.concatenate([seen.length for seen in some]),
        np.concatenate([seen.kept for seen in some]),
        rows,
        np.concatenate([seen.note for seen in some]),
    )


def _told(parts: dict[Point, Seen]) -> Told:
    point = np.concatenate([np.full(len(seen), point, np.int32) for point, seen in parts.items()])
    seen = _joined(list(parts.values()))
    order = np.argsort(seen.time_ns, kind="stable")
    payloads = Strand(seen.rows.reshape(-1), order * seen.rows.shape[1], seen.kept[order].astype(np.int64))
    return Told(
        point[order],
        seen.key[order],
        seen.time_ns[order],
        seen.addresses[order],
        payloads,
        seen.length[order].astype(np.int64),
        seen.note[order],
    )
