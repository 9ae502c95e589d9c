"""Delayed datagrams: the usual sizes in the delay line's rows, larger ones in a store of their own."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from udprism.columns.types import BoolColumn, I64Column, Rows, U8Column, U64Column
from udprism.link.delay_line import DelayLine, DueDatagrams

CAPACITY = 65_536
ROW_BYTES = 2048
BIG_STORE_BYTES = 16 << 20
_META_BYTES = 8  # tos, ttl, whether it is a copy that we made
_TOS, _TTL, _COPY = 0, 1, 2


class Released(NamedTuple):
    """n datagrams whose time has come. direction, number, length: int64[n]; address: uint64[n]; tos, ttl: uint8[n]."""

    due: DueDatagrams
    direction: I64Column
    number: I64Column
    length: I64Column
    address: U64Column
    tos: U8Column
    ttl: U8Column
    copy: BoolColumn


class DelayedDatagrams:
    """Relay's loop only."""

    def __init__(self) -> None:
        self.line = DelayLine(CAPACITY, _META_BYTES + ROW_BYTES)
        self._base = self.line.rows.ctypes.data
        self._stride = self.line.rows.strides[0]
        self._big: dict[tuple[int, int], tuple[np.ndarray[tuple[int], np.dtype[np.uint8]], int]] = {}
        self._big_bytes = 0

    def __len__(self) -> int:
        return len(self.line)

    @property
    def next_release_ns(self) -> int:
        """When the next one is due; NEVER_NS if none is held."""
        return self.line.next_release_ns

    def hold(
        self,
        release_ns: I64Column,
        direction: I64Column,
        number: I64Column,
        length: I64Column,
        payload: Rows,
        tos: U8Column,
        ttl: U8Column | None,
        copy: BoolColumn,
    ) -> BoolColumn:
        """bool[n]: True for those that found no room. payload: uint8[n, widest], a view is enough: it is copied."""
        n = len(direction)
        rows = np.zeros((n, _META_BYTES + min(ROW_BYTES, payload.shape[1])), np.uint8)
        rows[:, _TOS], rows[:, _COPY] = tos, copy
        if ttl is not None:
            rows[:, _TTL] = ttl
        rows[:, _META_BYTES:] = payload[:, :ROW_BYTES]
        no_room = np.zeros(n, np.bool_)
        for place in np.flatnonzero(length > ROW_BYTES).tolist():
            no_room[place] = not self._store(
                int(direction[place]), int(number[place]), payload[place, : int(length[place])]
            )
        fits = np.flatnonzero(~no_room)
        overflow = self.line.push(
            release_ns[fits],
            direction[fits].astype(np.int32),
            number[fits],
            length[fits].astype(np.int32),
            rows[fits],
            np.zeros(len(fits), np.bool_),
        )
        no_room[fits[overflow]] = True
        return no_room

    def _store(self, direction: int, number: int, payload: U8Column) -> bool:
        data, users = self._big.get((direction, number), (None, 0))
        if data is None:
            if self._big_bytes + len(payload) > BIG_STORE_BYTES:
                return False
            data = payload.copy()
            self._big_bytes += len(data)
        self._big[direction, number] = data, users + 1
        return True

    def take_due(self, until_ns: int, at_most: int) -> Released:
        """Those whose time has come, in order; they stay where they are until `give_back`."""
        return self._released(self.line.take_due(until_ns, at_most))

    def take_flow(self, direction: int) -> Released:
        """All of one direction, due or not."""
        return self._released(self.line.take_slot(direction))

    def _released(self, due: DueDatagrams) -> Released:
        direction, number, length = due.slot.astype(np.int64), due.sequence, due.length.astype(np.int64)
        address = (self._base + _META_BYTES + due.places * self._stride).astype(np.uint64)
        for place in np.flatnonzero(length > ROW_BYTES).tolist():
            address[place] = self._big[int(direction[place]), int(number[place])][0].ctypes.data
        meta = self.line.rows[due.places, :_META_BYTES]
        copy: BoolColumn = meta[:, _COPY] != 0
        return Released(due, direction, number, length, address, meta[:, _TOS], meta[:, _TTL], copy)

    def payloads(self, released: Released) -> Rows:
        """uint8[n, longest]: the datagrams themselves."""
        widest = int(released.length.max(initial=0))
        rows = np.zeros((len(released.length), widest), np.uint8)
        kept = min(widest, ROW_BYTES)
        rows[:, :kept] = self.line.rows[released.due.places, _META_BYTES : _META_BYTES + kept]
        for place in np.flatnonzero(released.length > ROW_BYTES).tolist():
            data = self._big[int(released.direction[place]), int(released.number[place])][0]
            rows[place, : len(data)] = data
        return rows

    def give_back(self, released: Released) -> None:
        """These have left, or will never leave."""
        for place in np.flatnonzero(released.length > ROW_BYTES).tolist():
            key = int(released.direction[place]), int(released.number[place])
            data, users = self._big[key]
            if users > 1:
                self._big[key] = data, users - 1
            else:
                del self._big[key]
                self._big_bytes -= len(data)
        self.line.give_back(released.due)
