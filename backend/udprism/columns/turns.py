"""A batch's rows in turns of their slots, and what runs along each of them: maxima and sums, without a walk row by row.

A link's queue, its order and its bursts depend on the row before, of the same slot. Each of them is a scan with an
associative operation, so that a slot with a whole batch costs as much as a batch of slots with one row each.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from udprism.columns.runs import runs_of
from udprism.columns.types import BoolColumn, I32Column, I64Column


class Turns:
    """The rows of a batch that `which` names, by slot, each slot's rows in their order.

    rows: int64[n], indices into the batch. slots: int32[k], each slot once. starts, lengths: int64[k], a slot's part
    of `rows`. Columns that the methods take and return are [n], in the order of `rows`.
    """

    def __init__(self, slots: I32Column, which: BoolColumn) -> None:
        self.rows: I64Column = np.flatnonzero(which)
        mine = slots if len(self.rows) == len(slots) else slots[self.rows]
        if (mine[1:] < mine[:-1]).any():
            order = np.argsort(mine, kind="stable")
            self.rows, mine = self.rows[order], mine[order]
        runs = runs_of(mine)
        self.starts, self.lengths = runs.starts, runs.lengths
        self.slots: I32Column = mine[self.starts]

    def spread(self, column: I64Column) -> I64Column:
        """int64[n]: a slot's value, int64[k], for each of its rows."""
        return np.repeat(column, self.lengths)

    def sum_before(self, column: I64Column) -> I64Column:
        """int64[n]: the sum over the earlier rows of the same slot."""
        total = np.cumsum(column) - column
        return total - self.spread(total[self.starts])

    def max_until(self, column: I64Column) -> I64Column:
        """int64[n]: the largest of this row's value and those of the earlier rows of its slot."""
        if len(self.starts) == 1:
            return np.maximum.accumulate(column)
        if len(self.starts) == len(column):
            return column
        # Each value's place among all is small, so a slot's number in front of it keeps slots apart and nothing wraps.
        order = np.argsort(column, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(column))
        before = self.spread(np.arange(len(self.starts)) * len(column))
        largest: I64Column = column[order[np.maximum.accumulate(place + before) - before]]
        return largest

    def before(self, column: I64Column, first: I64Column) -> I64Column:
        """int64[n]: the value of the row before, of the same slot; of its first row `first`, int64[k]."""
        earlier = np.empty_like(column)
        earlier[1:] = column[:-1]
        earlier[self.starts] = first
        return earlier

    def last(self) -> I64Column:
        """int64[k]: the place of each slot's last row."""
        return self.starts + self.lengths - 1

    def each(self, chosen: I64Column) -> Iterator[tuple[int, slice]]:
        """The chosen slots, int64[m] of places in `slots`, each with its part of the columns."""
        for place in chosen.tolist():
            start = int(self.starts[place])
            yield int(self.slots[place]), slice(start, start + int(self.lengths[place]))
