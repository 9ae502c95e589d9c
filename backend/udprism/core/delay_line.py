"""Datagrams that wait for their time: bounded, in columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from udprism.core.types import NEVER_NS, BoolColumn, I32Column, I64Column, Rows


@dataclass(frozen=True, slots=True)
class Due:
    """Datagrams whose time has come, by release and then by the order in which they were pushed.

    release_ns: int64[n]. slot: int32[n]. sequence: int64[n]. length: int32[n]. rows: uint8[n, width], a copy as wide as
    its longest datagram. dropped: bool[n], a marker: nothing to send, only its fate to report.
    """

    release_ns: I64Column
    slot: I32Column
    sequence: I64Column
    length: I32Column
    rows: Rows
    dropped: BoolColumn

    def __len__(self) -> int:
        return len(self.slot)


class DelayLine:
    """Holds at most `capacity` datagrams of at most `row_bytes` each. One thread at a time.

    Free places are reused last in, first out, so that memory is touched, and searched, only as far as the line was
    ever full.
    """

    def __init__(self, capacity: int, row_bytes: int) -> None:
        self.capacity = capacity
        self.next_release_ns = NEVER_NS
        self._release_ns = np.full(capacity, NEVER_NS, dtype=np.int64)
        self._order = np.zeros(capacity, dtype=np.int64)
        self._slot = np.zeros(capacity, dtype=np.int32)
        self._sequence = np.zeros(capacity, dtype=np.int64)
        self._length = np.zeros(capacity, dtype=np.int32)
        self._dropped = np.zeros(capacity, dtype=np.bool_)
        self._rows = np.zeros((capacity, row_bytes), dtype=np.uint8)
        self._free = np.arange(capacity - 1, -1, -1, dtype=np.int64)
        self._n_free = capacity
        self._top = 0
        self._pushed = 0

    def __len__(self) -> int:
        return self.capacity - self._n_free

    def push(
        self,
        release_ns: I64Column,
        slot: I32Column,
        sequence: I64Column,
        length: I32Column,
        rows: Rows,
        dropped: BoolColumn,
    ) -> BoolColumn:
        """Hold n datagrams; bool[n], True for those that did not fit (the last ones): the caller drops them.

        Arguments as in `Due`; rows may be narrower than the line's, never wider.
        """
        n = len(slot)
        fits = min(n, self._n_free)
        overflow = np.arange(n) >= fits
        if fits == 0:
            return overflow
        places = self._free[self._n_free - fits : self._n_free][::-1]
        self._n_free -= fits
        self._release_ns[places] = release_ns[:fits]
        self._order[places] = np.arange(self._pushed, self._pushed + fits)
        self._pushed += fits
        self._slot[places] = slot[:fits]
        self._sequence[places] = sequence[:fits]
        self._length[places] = length[:fits]
        self._dropped[places] = dropped[:fits]
        self._rows[places, : rows.shape[1]] = rows[:fits]
        self._top = max(self._top, int(places.max()) + 1)
        self.next_release_ns = min(self.next_release_ns, int(release_ns[:fits].min()))
        return overflow

    def pop_due(self, now_ns: int) -> Due:
        """Take out all whose release is at or before `now_ns`."""
        if now_ns < self.next_release_ns:
            return self._take(np.empty(0, dtype=np.int64))
        places = np.flatnonzero(self._release_ns[: self._top] <= now_ns)
        due = self._take(places[np.lexsort((self._order[places], self._release_ns[places]))])
        self._release(places)
        return due

    @property
    def last_release_ns(self) -> int:
        """When the last of those that wait now leaves; -NEVER_NS where none does."""
        held = self._release_ns[: self._top]
        return int(held[held != NEVER_NS].max(initial=-NEVER_NS))

    def forget(self, slot: int) -> Due:
        """Take out all of this slot's datagrams, due or not, in the order in which they were pushed."""
        held = self._release_ns[: self._top] != NEVER_NS
        places = np.flatnonzero(held & (self._slot[: self._top] == slot))
        due = self._take(places[np.argsort(self._order[places])])
        self._release(places)
        return due

    def _take(self, places: I64Column) -> Due:
        length = self._length[places]
        width = int(length.max()) if len(length) else 0
        return Due(
            self._release_ns[places],
            self._slot[places],
            self._sequence[places],
            length,
            self._rows[:, :width][places],
            self._dropped[places],
        )

    def _release(self, places: I64Column) -> None:
        self._release_ns[places] = NEVER_NS
        self._free[self._n_free : self._n_free + len(places)] = places[::-1]
        self._n_free += len(places)
        if self._n_free == self.capacity:
            # An empty line starts afresh at its front, so that one burst does not widen the search for ever.
            self._free[self.capacity - self._top :] = np.arange(self._top - 1, -1, -1)
            self._top = 0
            self.next_release_ns = NEVER_NS
        else:
            self.next_release_ns = int(self._release_ns[: self._top].min())
