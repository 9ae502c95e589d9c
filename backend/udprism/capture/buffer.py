"""One buffer, read at many offsets at once."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from udprism.columns.types import I64Column, Rows, U8Column, U16Column

ByteOrder: TypeAlias = Literal["<", ">"]
Words: TypeAlias = npt.NDArray[np.uint32]
"""A 32-bit number at every offset: words[i] is bytes i to i + 3. Index with an array or a slice, and never `take`,
which copies the whole buffer first because its items overlap."""


class Buffer:
    """The bytes of a capture file: uint8[size], in memory or mapped."""

    def __init__(self, data: U8Column) -> None:
        self.data: Final = data
        self.size: Final = len(data)

    def words(self, order: ByteOrder) -> Words:
        """uint32[size - 3], overlapping; empty if the buffer is shorter than a word."""
        return np.ndarray((max(0, self.size - 3),), f"{order}u4", self.data, strides=(1,))

    def rows(self, at: I64Column, width: int) -> Rows:
        """uint8[n, width]: the bytes from each offset on; 0 beyond the buffer's end. 0 <= at <= size."""
        if not len(at):
            return np.empty((0, width), np.uint8)
        last = self.size - width
        if int(at.max()) <= last:
            return _gathered(self.data, at, width)
        rows = np.empty((len(at), width), np.uint8)
        inside = at <= last
        if inside.any():
            rows[inside] = _gathered(self.data, at[inside], width)
        tail_at = max(0, last)
        tail = np.concatenate((self.data[tail_at:], np.zeros(width, np.uint8)))
        rows[~inside] = _gathered(tail, at[~inside] - tail_at, width)
        return rows

    def windows(self, at: I64Column, count: int, order: ByteOrder) -> Words:
        """uint32[n, count]: the words at each of the `count` offsets that begin at each of `at`; 0 beyond the end."""
        width = count + 3
        return np.ndarray((len(at), count), f"{order}u4", self.rows(at, width), strides=(width, 1))

    def bytes(self, at: int, length: int) -> bytes:
        """One piece; shorter if the buffer ends before it does."""
        return self.data[at : at + length].tobytes()


class Joined:
    """A buffer, and other bytes behind its end: offsets from `first.size` on are theirs."""

    def __init__(self, first: Buffer, then: bytes) -> None:
        self.first: Final = first
        self._then = Buffer(np.frombuffer(then, np.uint8))

    def rows(self, at: I64Column, width: int) -> Rows:
        """See Buffer."""
        if not self._then.size:
            return self.first.rows(at, width)
        rows = np.empty((len(at), width), np.uint8)
        behind = at >= self.first.size
        rows[~behind] = self.first.rows(at[~behind], width)
        rows[behind] = self._then.rows(at[behind] - self.first.size, width)
        return rows

    def bytes(self, at: int, length: int) -> bytes:
        """See Buffer."""
        return self.first.bytes(at, length) if at < self.first.size else self._then.bytes(at - self.first.size, length)


def number16(rows: Rows, at: int) -> U16Column:
    """uint16[n]: the number in network byte order at one place of each row."""
    return rows[:, at : at + 2].view(">u2")[:, 0].astype(np.uint16)


def _gathered(data: U8Column, at: I64Column, width: int) -> Rows:
    """One copy of `width` bytes per offset: items of that size lie at every offset, and overlap."""
    items = np.ndarray((len(data) - width + 1,), f"V{width}", data, strides=(1,))
    return items[at].view(np.uint8).reshape(len(at), width)
