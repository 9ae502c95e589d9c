"""A link's rate: datagrams wait for their turn on the wire, in a bounded queue."""

from __future__ import annotations

import numpy as np

from udprism.columns.turns import Turns
from udprism.columns.types import BoolColumn, I32Column, I64Column


class Bottleneck:
    """The queue of each slot. One thread at a time.

    A token bucket as deep as one datagram (the generic cell rate algorithm, ITU-T I.371): each one leaves when the
    one before it has had its time on the wire, and the queue is what has not left yet, in datagrams of this one's
    size.
    """

    def __init__(self, capacity: int) -> None:
        self._ns_per_byte = np.zeros(capacity, np.float64)
        self._most_waiting = np.zeros(capacity, np.int64)
        self._header_bytes = np.zeros(capacity, np.int64)
        self._free_at_ns = np.zeros(capacity, np.int64)

    def restart(
        self, slots: I32Column, rate_kbit_s: float | None, most_waiting: int, header_bytes: int | I64Column
    ) -> None:
        """These slots have this rate (None: no limit) and an empty queue."""
        self._ns_per_byte[slots] = 8e6 / rate_kbit_s if rate_kbit_s else 0.0
        self._most_waiting[slots] = most_waiting
        self._header_bytes[slots] = header_bytes
        self._free_at_ns[slots] = 0

    def judge(
        self,
        slots: I32Column,
        size_bytes: I32Column,
        waits: BoolColumn,
        lost: BoolColumn,
        enters_ns: I64Column,
    ) -> tuple[I64Column, BoolColumn]:
        """When each datagram may leave, int64[n], and which ones found the queue full, bool[n].

        waits: bool[n], False for those that bypass the queue. lost: bool[n]; what is lost already takes no place,
        but its fate is reported in its turn: ahead of the queue it would make those that wait in it look overdue.

        As a scan: the wire is free after `before` ns of work since the last row that found it idle.
        """
        leaves_ns, queue_full = enters_ns.copy(), np.zeros(len(slots), np.bool_)
        limited = (self._ns_per_byte[slots] > 0) & waits
        if not limited.any():
            return leaves_ns, queue_full
        turns = Turns(slots, limited)
        rows, taken = turns.rows, ~lost[turns.rows]
        mine, enters_ns = slots[rows], enters_ns[rows]
        wire_ns = ((size_bytes[rows] + self._header_bytes[mine]) * self._ns_per_byte[mine]).astype(np.int64)
        work_ns = np.where(taken, wire_ns, 0)
        before_ns, free_ns = turns.sum_before(work_ns), self._free_at_ns[turns.slots]
        floor_ns = turns.spread(free_ns)
        idle_ns = turns.max_until(np.where(taken, np.maximum(enters_ns - before_ns, floor_ns), floor_ns))
        starts_ns = np.maximum(enters_ns, before_ns + turns.before(idle_ns, free_ns))
        full = taken & (-((enters_ns - starts_ns) // wire_ns) > self._most_waiting[mine])
        self._free_at_ns[turns.slots] = (idle_ns + before_ns + work_ns)[turns.last()]
        if full.any():
            for slot, part in turns.each(np.flatnonzero(np.logical_or.reduceat(full, turns.starts))):
                self._free_at_ns[slot] = int(floor_ns[part.start])
                self._walk(slot, enters_ns[part], wire_ns[part], taken[part], starts_ns[part], full[part])
        queue_full[rows], leaves_ns[rows] = full, starts_ns
        return leaves_ns, queue_full

    def _walk(
        self,
        slot: int,
        enters_ns: I64Column,
        wire_ns: I64Column,
        taken: BoolColumn,
        starts_ns: I64Column,
        full: BoolColumn,
    ) -> None:
        """One slot's rows, row by row: whom the queue turns away depends on whom it turned away before.

        Changes starts_ns and full in place.
        """
        most, free_at_ns = int(self._most_waiting[slot]), int(self._free_at_ns[slot])
        starts, turned_away = [], []
        for enter_ns, its_wire_ns, is_taken in zip(enters_ns.tolist(), wire_ns.tolist(), taken.tolist(), strict=True):
            start_ns = max(free_at_ns, enter_ns)
            is_full = is_taken and (start_ns - enter_ns + its_wire_ns - 1) // its_wire_ns > most
            if is_taken and not is_full:
                free_at_ns = start_ns + its_wire_ns
            starts.append(start_ns)
            turned_away.append(is_full)
        starts_ns[:], full[:] = starts, turned_away
        self._free_at_ns[slot] = free_at_ns
