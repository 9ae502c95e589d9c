"""Runs of equal values in a sorted column: a batch's rows by client; and the distinct values of any column."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from udprism.columns.types import I64Column

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
    """Each value of a column once, sorted: [k] of the same dtype.

    Not `numpy.unique`: its first call imports `numpy.ma` (NumPy 2.4.6: 30 ms on the receiving thread, 3 MiB that stay).
    """
    values = np.sort(column)
    first = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=first[1:])
    return values[first]
