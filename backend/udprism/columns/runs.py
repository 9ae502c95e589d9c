"""Runs of equal values in a sorted column: a batch's rows by client."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from udprism.columns.types import I64Column


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
