"""Concatenates rows of different lengths: this is how columns become blocks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from udprism.columns.types import I64Column, Rows, U8Column


class Strand(NamedTuple):
    """n pieces of bytes. data: uint8, flat; at, length: int64[n], where each begins in it and how long it is."""

    data: U8Column
    at: I64Column
    length: I64Column


def strand_of(rows: Rows) -> Strand:
    """The rows of a contiguous matrix, each whole."""
    count, width = rows.shape
    return Strand(rows.reshape(-1), np.arange(count) * width, np.full(count, width))


def weave(strands: list[Strand], pad: int = 1) -> tuple[U8Column, I64Column]:
    """For each of n rows its piece of each strand, then the next row: (the bytes, int64[n]: where each row begins).

    Each row is filled up with zeros to a multiple of `pad` bytes.
    """
    size = np.sum([strand.length for strand in strands], axis=0)
    size += -size % pad
    end = np.cumsum(size)
    begin = end - size
    out = np.zeros(int(end[-1]) if len(end) else 0, np.uint8)
    place = begin.copy()
    for strand in strands:
        copy_runs(out, place, strand)
        place += strand.length
    return out, begin


def copy_runs(out: U8Column, to: I64Column, strand: Strand) -> None:
    """Copy each piece to its place in `out`: pieces of one length at once, others in powers of two of their length."""
    data, at, length = strand
    if not len(length):
        return
    longest = int(length.max())
    if longest == int(length.min()):
        _copy(out, to, data, at, longest)
        return
    done = np.zeros(len(length), np.int64)
    for bit in range(longest.bit_length() - 1, -1, -1):
        size = 1 << bit
        which = np.flatnonzero(length & size)
        if len(which):
            _copy(out, to[which] + done[which], data, at[which] + done[which], size)
            done[which] += size


def _copy(out: U8Column, to: I64Column, data: U8Column, at: I64Column, size: int) -> None:
    """Pieces of one size: items of that size lie at every offset of both."""
    if size:
        items = np.ndarray((len(out) - size + 1,), f"V{size}", out, strides=(1,))
        items[to] = np.ndarray((len(data) - size + 1,), f"V{size}", data, strides=(1,))[at]
