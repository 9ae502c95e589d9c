"""Interarrival jitter in ticks of the sender's own clock, if the wire carries its time and the rate is known.

RFC 3550 section 6.4.1: D is how much further apart two successive datagrams arrived than their times say, and
J += (|D| - J)/16 for each datagram. Differences of times are signed and modulo 2**32.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from udprism.columns.turns import Turns
from udprism.columns.types import NS_PER_S, BoolColumn, F64Column, I32Column, I64Column, U32Column

_KEPT: Final = 15 / 16
"""What one arrival leaves of the jitter so far: J + (|D| - J)/16 is 15/16 J + |D|/16."""


class MediaJitter:
    """Columns [capacity]; one thread only.

    ticks: float64, the jitter. hz: int32, ticks per second; 0 if unknown, and then there is no jitter.
    """

    def __init__(self, capacity: int) -> None:
        self.ticks = np.zeros(capacity)
        self.hz = np.zeros(capacity, np.int32)
        self._received_unix_ns = np.zeros(capacity, np.int64)
        self._time = np.zeros(capacity, np.uint32)
        self._follows = np.zeros(capacity, np.bool_)
        """Whether the next datagram is compared with the last one."""

    def reset(self, slots: I32Column) -> None:
        """New flows in these slots."""
        self.ticks[slots] = 0
        self.hz[slots] = 0
        self._follows[slots] = False

    def interrupted(self, slots: I32Column) -> None:
        """Nothing arrived for a while, or the sender ended the flow: the next datagram may have any time."""
        self._follows[slots] = False

    def update(self, slot: I32Column, received_unix_ns: I64Column, time: U32Column, hz: I32Column) -> None:
        """One batch in order of arrival. time: as on the wire. hz: int32[n], 0 for rows whose clock is unknown.

        Where a flow's clock changes, its jitter begins anew.
        """
        known = hz > 0
        if not known.any():
            return
        turns = Turns(slot, known)
        flow = turns.slots
        hz, stamp, sent = hz[turns.rows], received_unix_ns[turns.rows], time[turns.rows].astype(np.int64)
        before_hz = turns.before(hz.astype(np.int64), self.hz[flow].astype(np.int64))
        is_pair: BoolColumn = before_hz == hz
        is_pair[turns.starts] &= self._follows[flow]
        apart_ns = (stamp - turns.before(stamp, self._received_unix_ns[flow])).astype(np.float64)
        apart = (sent - turns.before(sent, self._time[flow].astype(np.int64))).astype(np.int32)
        change = np.where(is_pair, np.abs(apart_ns * hz / NS_PER_S - apart), 0.0)
        self.ticks[flow] = self._after(turns, change, before_hz != hz)
        last = turns.last()
        self.hz[flow], self._received_unix_ns[flow], self._time[flow] = hz[last], stamp[last], sent[last]
        self._follows[flow] = True

    def _after(self, turns: Turns, change: F64Column, anew: BoolColumn) -> F64Column:
        """The flows' jitters after the batch: (15/16)**n J_0 + the sum of (15/16)**(n - i) |D_i|/16."""
        row = np.arange(len(change))
        first = np.maximum.reduceat(np.where(anew, row, -1), turns.starts)
        change = np.where(row > np.repeat(first, turns.lengths), change, 0.0)
        still_to_come = np.repeat(turns.last(), turns.lengths) - row
        sums = np.add.reduceat(_KEPT**still_to_come * (change * (1 - _KEPT)), turns.starts)
        jitter: F64Column = np.where(first >= 0, 0.0, _KEPT**turns.lengths * self.ticks[turns.slots]) + sums
        return jitter

    def ms(self, slots: I32Column | I64Column | slice) -> F64Column:
        """float64[k]: the jitter in milliseconds; NaN where the clock is unknown."""
        hz = self.hz[slots]
        return np.where(hz > 0, self.ticks[slots] * 1000 / np.maximum(hz, 1), np.nan)
