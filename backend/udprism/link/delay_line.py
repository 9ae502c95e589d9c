"""Datagrams that wait for their time: bounded, in columns."""

from __future__ import annotations

import numpy as np

from udprism.columns.types import NEVER_NS, BoolColumn, I32Column, I64Column, Rows


class DueDatagrams:
    """Datagrams taken out of the line, by release and then by the order in which they were pushed.

    A look at where they lie until their places are given back: a column is copied when it is asked for. All are [n].
    """

    def __init__(self, line: DelayLine, places: I64Column, release_ns: I64Column) -> None:
        self.line = line
        self.places = places
        """int64[n]: which of the line's rows these are."""
        self.release_ns = release_ns
        """int64[n]: when each was to leave."""

    def __len__(self) -> int:
        return len(self.places)

    def part(self, which: BoolColumn | I64Column | slice) -> DueDatagrams:
        """Some of them: places that are to be given back, or put back, apart from the others'."""
        return DueDatagrams(self.line, self.places[which], self.release_ns[which])

    @property
    def slot(self) -> I32Column:
        """int32[n]."""
        return self.line._slot.take(self.places)

    @property
    def sequence(self) -> I64Column:
        """int64[n]."""
        return self.line._sequence.take(self.places)

    @property
    def length(self) -> I32Column:
        """int32[n]: bytes of each."""
        return self.line._length.take(self.places)

    @property
    def dropped(self) -> BoolColumn:
        """bool[n]: a marker, nothing to send, only its fate to report."""
        return self.line._dropped.take(self.places)

    @property
    def rows(self) -> Rows:
        """uint8[n, width], a copy as wide as the longest of them."""
        width = int(self.length.max(initial=0))
        return self.line.rows[:, :width][self.places]


class DelayLine:
    """Holds at most `capacity` datagrams of at most `row_bytes` each. One thread at a time.

    Free places are reused last in, first out, so that memory is touched, and searched, only as far as the line was
    ever full.
    """

    def __init__(self, capacity: int, row_bytes: int, rows: Rows | None = None) -> None:
        """rows: uint8[capacity, row_bytes], if others than the line have to read them."""
        self.capacity = capacity
        self.next_release_ns = NEVER_NS
        self._release_ns = np.full(capacity, NEVER_NS, dtype=np.int64)
        self._order = np.zeros(capacity, dtype=np.int64)
        self._slot = np.zeros(capacity, dtype=np.int32)
        self._sequence = np.zeros(capacity, dtype=np.int64)
        self._length = np.zeros(capacity, dtype=np.int32)
        self._dropped = np.zeros(capacity, dtype=np.bool_)
        self.rows: Rows = np.zeros((capacity, row_bytes), dtype=np.uint8) if rows is None else rows
        self._free = np.arange(capacity - 1, -1, -1, dtype=np.int64)
        self._n_free = capacity
        self._top = 0
        self._pushed = 0
        self._none = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        """How many places are taken."""
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

        Arguments as in `DueDatagrams`; rows may be narrower than the line's, never wider.
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
        self.rows[places, : rows.shape[1]] = rows[:fits]
        self._top = max(self._top, int(places.max()) + 1)
        self.next_release_ns = min(self.next_release_ns, int(release_ns[:fits].min()))
        return overflow

    def take_due(self, until_ns: int, at_most: int | None = None) -> DueDatagrams:
        """Take out those whose release is at or before `until_ns`, the first `at_most` of them.

        They keep their places until these are given back.
        """
        if until_ns < self.next_release_ns:
            return DueDatagrams(self, self._none, self._none)
        places = np.flatnonzero(self._release_ns[: self._top] <= until_ns)
        release_ns = self._release_ns[places]
        first = np.lexsort((self._order[places], release_ns))[:at_most]
        return self._take(places[first], release_ns[first])

    def put_back(self, due: DueDatagrams) -> None:
        """Hold these again, as if they had not been taken out."""
        self._release_ns[due.places] = due.release_ns
        self.next_release_ns = min(self.next_release_ns, int(due.release_ns.min(initial=NEVER_NS)))

    def give_back(self, due: DueDatagrams) -> None:
        """The places of these, which were taken out, are free."""
        places = due.places
        self._free[self._n_free : self._n_free + len(places)] = places[::-1]
        self._n_free += len(places)
        if self._n_free == self.capacity:
            # An empty line starts afresh at its front, so that one burst does not widen the search for ever.
            self._free[self.capacity - self._top :] = np.arange(self._top - 1, -1, -1)
            self._top = 0

    @property
    def last_release_ns(self) -> int:
        """When the last of those that wait now leaves; -NEVER_NS if none does."""
        held = self._release_ns[: self._top]
        return int(held[held != NEVER_NS].max(initial=-NEVER_NS))

    def take_slot(self, slot: int) -> DueDatagrams:
        """Take out all of this slot's datagrams, due or not, in the order in which they were pushed."""
        held = self._release_ns[: self._top] != NEVER_NS
        places = np.flatnonzero(held & (self._slot[: self._top] == slot))
        places = places[np.argsort(self._order[places])]
        return self._take(places, self._release_ns[places])

    def _take(self, places: I64Column, release_ns: I64Column) -> DueDatagrams:
        self._release_ns[places] = NEVER_NS
        self.next_release_ns = int(self._release_ns[: self._top].min(initial=NEVER_NS))
        return DueDatagrams(self, places, release_ns)
