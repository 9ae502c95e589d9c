"""What each sender's frames are like: how many, how far apart, whether they change, and what marks they bear."""

from __future__ import annotations

from typing import Final

import numpy as np

from udprism.columns.runs import distinct
from udprism.columns.turns import Turns
from udprism.columns.types import (
    NEVER_NS,
    NS_PER_S,
    BoolColumn,
    F64Column,
    I32Column,
    I64Column,
    Rows,
    U16Column,
    U32Column,
    U64Column,
)

PLACES: Final = 16
"""How many parts of one frame are told apart."""
WINDOW_NS: Final = 10 * NS_PER_S
"""The shortest and longest pause are those of the last one to two such windows."""
_SAMPLES: Final = 8
_PART: Final = 480
_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_MOST_WORDS: Final = 8192
_WEIGHTS: Final = (np.arange(1, _MOST_WORDS + 1, dtype=np.uint64) * _STEP) | np.uint64(1)


def digests(rows: Rows, length: I32Column, at: int) -> U64Column:
    """uint64[n]: the same for equal contents from byte `at` on, and hardly ever for others. Not for adversaries.

    Bytes beyond the rows' width are left out.
    """
    end = np.minimum(length, rows.shape[1])
    digest = end.astype(np.uint64)
    first = int(end[0]) if len(end) else 0
    if (end == first).all():
        digest += _digest(rows, at, first)
        return digest
    for one in distinct(end).tolist():
        which = np.flatnonzero(end == one)
        digest[which] += _digest(rows[which], at, one)
    return digest


def _digest(rows: Rows, at: int, end: int) -> U64Column:
    words = max(0, end - at) // 8
    middle = at + 8 * words
    digest: U64Column = np.zeros(len(rows), np.uint64)
    if words:
        digest += rows[:, at:middle].view(np.uint64) @ _WEIGHTS[:words]
    if middle < end:
        digest += rows[:, middle:end] @ _WEIGHTS[words : words + end - middle]
    return digest


class Frames:
    """Columns [capacity]; one thread only. Instants are the wall clock's, as the kernel stamped the datagrams.

    A frame begins with its first part: each datagram with levels of a format without parts is one. frames: int64, how
    many began. last_ns: int64, when the newest one did; 0 none. changed_ns: int64, when a datagram last differed from
    the one before at its place. repeats: int64, frames since then. marks: uint16, `Mark`s ever seen, or-ed.
    shortest_bytes, longest_bytes: int32, of all datagrams. rate_hz: float64, frames a second of the last 2 s.
    """

    def __init__(self, capacity: int) -> None:
        self.frames = np.zeros(capacity, np.int64)
        self.last_ns = np.zeros(capacity, np.int64)
        self.changed_ns = np.zeros(capacity, np.int64)
        self.repeats = np.zeros(capacity, np.int64)
        self.marks = np.zeros(capacity, np.uint16)
        self.shortest_bytes = np.zeros(capacity, np.int32)
        self.longest_bytes = np.zeros(capacity, np.int32)
        self.rate_hz = np.zeros(capacity)
        self._digest = np.zeros((capacity, PLACES), np.uint64)
        self._shortest_ns = np.full((2, capacity), NEVER_NS, np.int64)
        self._longest_ns = np.zeros((2, capacity), np.int64)
        self._window_ends_ns = 0
        self._sampled = np.zeros((_SAMPLES, capacity), np.int64)
        self._sampled_ns = np.zeros((_SAMPLES, capacity), np.int64)
        self._samples = 0

    def reset(self, slots: I32Column, now_ns: int) -> None:
        """New flows in these slots, at this monotonic instant."""
        for column in (self.frames, self.last_ns, self.changed_ns, self.repeats, self.rate_hz):
            column[slots] = 0
        self.marks[slots] = 0
        self.longest_bytes[slots] = 0
        self.shortest_bytes[slots] = np.iinfo(np.int32).max
        self._digest[slots] = 0
        self._shortest_ns[:, slots] = NEVER_NS
        self._longest_ns[:, slots] = 0
        self._sampled[:, slots] = 0
        self._sampled_ns[:, slots] = now_ns

    def update(
        self,
        slot: I32Column,
        received_unix_ns: I64Column,
        length: I32Column,
        digest: U64Column,
        part: U32Column | None,
        marks: U16Column,
        has_levels: BoolColumn,
        *,
        once: bool = False,
    ) -> None:
        """One batch in order of arrival. part: as `Decoded.part`. has_levels: bool[n], False for rows without any.

        once: no flow comes twice.
        """
        if (marks & ~self.marks[slot]).any():
            np.bitwise_or.at(self.marks, slot, marks)
        if not has_levels.all():
            slot, received_unix_ns = slot[has_levels], received_unix_ns[has_levels]
            length, digest = length[has_levels], digest[has_levels]
            part = None if part is None else part[has_levels]
        if not len(slot):
            return
        if (length < self.shortest_bytes[slot]).any():
            np.minimum.at(self.shortest_bytes, slot, length)
        if (length > self.longest_bytes[slot]).any():
            np.maximum.at(self.longest_bytes, slot, length)
        place = np.zeros(len(slot), np.int64) if part is None else _place(part)
        is_new = self._digest[slot, place] != digest
        self._digest[slot, place] = digest
        self.changed_ns[slot[is_new]] = received_unix_ns[is_new]
        begins = np.ones(len(slot), np.bool_) if part is None else part == 0
        again = slot[begins & ~is_new]
        if len(again):
            np.add.at(self.repeats, again, 1)
        self.repeats[slot[is_new]] = 0
        if once and part is None:
            self._time_once(slot, received_unix_ns)
        else:
            self._time(slot, received_unix_ns, begins)

    def _time_once(self, slot: I32Column, stamp: I64Column) -> None:
        """As `_time`, where every row begins a frame of a flow of its own."""
        last = self.last_ns[slot]
        pause = np.maximum(stamp - last, 0)
        if not last.all():  # the first frame of a flow ends no pause
            known = last > 0
            some = slot[known]
            self._shortest_ns[0, some] = np.minimum(self._shortest_ns[0, some], pause[known])
            self._longest_ns[0, some] = np.maximum(self._longest_ns[0, some], pause[known])
        else:
            self._shortest_ns[0, slot] = np.minimum(self._shortest_ns[0, slot], pause)
            self._longest_ns[0, slot] = np.maximum(self._longest_ns[0, slot], pause)
        self.last_ns[slot] = stamp
        self.frames[slot] += 1

    def _time(self, slot: I32Column, received_unix_ns: I64Column, begins: BoolColumn) -> None:
        if not begins.any():
            return
        turns = Turns(slot, begins)
        stamp = received_unix_ns[turns.rows]
        last = self.last_ns[turns.slots]
        pause = np.maximum(stamp - turns.before(stamp, np.where(last == 0, stamp[turns.starts], last)), 0)
        longest = np.maximum.reduceat(pause, turns.starts)
        is_first = last == 0
        if is_first.any():  # the first frame of a flow ends no pause
            pause[turns.starts[is_first]] = NEVER_NS
        shortest = np.minimum.reduceat(pause, turns.starts)
        self._shortest_ns[0, turns.slots] = np.minimum(self._shortest_ns[0, turns.slots], shortest)
        self._longest_ns[0, turns.slots] = np.maximum(self._longest_ns[0, turns.slots], longest)
        self.last_ns[turns.slots] = stamp[turns.last()]
        self.frames[turns.slots] += turns.lengths

    def sample(self, now_ns: int, high: int) -> None:
        """Work out the rates of slots 0 … high - 1; four times per second. now_ns: monotonic."""
        place, used = self._samples % _SAMPLES, slice(0, high)
        since_s = np.maximum(now_ns - self._sampled_ns[place, used], 1) / NS_PER_S
        self.rate_hz[used] = (self.frames[used] - self._sampled[place, used]) / since_s
        self._sampled[place, used] = self.frames[used]
        self._sampled_ns[place, used] = now_ns
        self._samples += 1
        if now_ns >= self._window_ends_ns:
            self._window_ends_ns = now_ns + WINDOW_NS
            for column, nothing in ((self._shortest_ns, NEVER_NS), (self._longest_ns, 0)):
                column[1] = column[0]
                column[0] = nothing

    def pauses_ns(self, slot: int) -> tuple[int, int] | None:
        """The shortest and the longest time between two frames of late; None if there were not two."""
        shortest, longest = int(self._shortest_ns[:, slot].min()), int(self._longest_ns[:, slot].max())
        return None if shortest == NEVER_NS else (shortest, longest)

    def repeats_after_ns(self, slots: I32Column | I64Column) -> F64Column:
        """float64[k]: how long after each other a still picture's repeats come, on average; NaN without one."""
        repeats = self.repeats[slots]
        held_ns = (self.last_ns[slots] - self.changed_ns[slots]).astype(np.float64)
        return np.where(repeats > 0, held_ns / np.maximum(repeats, 1), np.nan)


def _place(part: U32Column) -> I64Column:
    """Which of a frame's places a part has: senders' parts are some 480 pixels or 1,440 bytes apart."""
    return (part // _PART % PLACES).astype(np.int64)
