"""The newest datagrams of each flow, whole, so that a picture can be shown as soon as a viewer opens it."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from udprism.columns.types import I32Column, I64Column, Rows

KEPT: Final = 4
"""Datagrams of each flow. Memory is taken only once they are written."""


class Newest:
    """Columns [capacity]; one thread only. width: bytes of a datagram that are kept."""

    def __init__(self, capacity: int, width: int) -> None:
        self.width = width
        self._bytes = np.zeros((capacity * KEPT, width), np.uint8)
        self._length = np.zeros(capacity * KEPT, np.int32)
        self._count = np.zeros(capacity, np.int64)

    def reset(self, slots: I32Column) -> None:
        """New flows in these slots."""
        self._count[slots] = 0

    def record(self, slot: I32Column, rank: I64Column | int, length: I32Column, rows: Rows) -> None:
        """One batch in order of arrival. rank: int64[n], a row's place among those of its flow in this batch, from 0;
        0 if no flow comes twice."""
        at = slot * np.int64(KEPT) + (self._count[slot] + rank) % KEPT
        longest = min(int(length.max()), self.width, rows.shape[1])
        if longest:
            _as_values(self._bytes, longest)[at] = _as_values(rows, longest)
        self._length[at] = length
        np.add.at(self._count, slot, 1)

    def of(self, slot: int) -> list[bytes]:
        """A flow's newest datagrams, as far as they are kept, newest last."""
        count = int(self._count[slot])
        places = [slot * KEPT + number % KEPT for number in range(max(0, count - KEPT), count)]
        return [self._bytes[at, : self._length[at]].tobytes() for at in places]

    def sizes(self, slot: int) -> list[int]:
        """Their true lengths, which may exceed what is kept."""
        count = int(self._count[slot])
        return [int(self._length[slot * KEPT + number % KEPT]) for number in range(max(0, count - KEPT), count)]


def _as_values(rows: Rows, width: int) -> npt.NDArray[np.void]:
    """Each row's first bytes as one value, which is copied faster than as bytes; a view."""
    values: npt.NDArray[np.void] = rows[:, :width].view(np.dtype((np.void, width)))[:, 0]
    return values
