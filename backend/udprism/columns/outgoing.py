"""Datagrams on their way out: a batch of columns that the outlet takes, from whichever flows."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from udprism.columns.types import I32Column, I64Column, Rows

Stamp: TypeAlias = Callable[[Rows, int | I64Column], None]
"""Writes when they leave (wall clock, Unix ns: one for all, or int64[n]) into rows of a format that says so."""


class Outgoing(NamedTuple):
    """n datagrams that leave together. A flow comes at most once, or in the order of its numbers.

    flow: int32[n], the slot of each. number: int64[n], extended: never wraps. length: int32[n], bytes.
    rows: uint8[n, width], C-ordered; the outlet may change them. stamp: None for a format that carries no send time.
    """

    flow: I32Column
    number: I64Column
    length: I32Column
    rows: Rows
    stamp: Stamp | None = None

    def part(self, which: I64Column) -> Outgoing:
        """A copy of these rows."""
        return Outgoing(self.flow[which], self.number[which], self.length[which], self.rows[which], self.stamp)
