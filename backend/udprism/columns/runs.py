"""What a column holds: runs of equal values (a batch's rows by client), distinct values, members of a set, the median.

NumPy has the last three, but the first call of `numpy.unique`, `numpy.median` and at times of `numpy.isin` imports
`numpy.ma` (NumPy 2.4.6): 30 ms on the thread that called, 3 MiB that stay, and an OSError that ends the thread if no
file descriptor is left. Threads that serve call these instead.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from udprism.columns.types import BoolColumn, I64Column

Scalar = TypeVar("Scalar", bound=np.generic)


class Runs(NamedTuple):
    """Where each run starts, and how many rows it has: int64[number of runs]."""

    starts: I64Column
    lengths: I64Column

    def rank(self) -> I64Column:
        """int64[n]: each row's place in its run, from 0."""
        return np.arange(int(self.lengths.sum())) - np.repeat(self.starts, self.lengths)


def runs_of(column: npt.NDArray[np.integer]) -> Runs:
    """The runs of a sorted column of at least one row."""
    inner = np.flatnonzero(column[1:] != column[:-1])
    bounds = np.empty(len(inner) + 2, np.int64)
    bounds[0] = 0
    np.add(inner, 1, out=bounds[1:-1])
    bounds[-1] = len(column)
    return Runs(bounds[:-1], bounds[1:] - bounds[:-1])


def distinct(column: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    """Each value of a column once, sorted: [k] of the same dtype."""
    values = np.sort(column)
    first = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=first[1:])
    return values[first]


def is_among(column: npt.NDArray[np.integer], members: npt.NDArray[np.integer]) -> BoolColumn:
    """Which values of a column are among the members, in any order: bool[n]."""
    if not len(members):
        return np.zeros(len(column), np.bool_)
    ordered = np.sort(members)
    place = np.minimum(np.searchsorted(ordered, column), len(ordered) - 1)
    found: BoolColumn = ordered[place] == column
    return found


def median(column: npt.NDArray[np.floating]) -> float:
    """The middle value, or the mean of the two in the middle. The column has a row at least and no NaN."""
    ordered = np.sort(column)
    middle = len(ordered) // 2
    return float(ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2)
