"""When the datagrams of one tick enter the link."""

from __future__ import annotations

import numpy as np

from udprism.columns.types import NS_PER_MS, I64Column

PACE_NS = 3_000
"""How far apart datagrams enter the link at least: what one takes to be sent. Those that enter at once are due at once
when their delay is over, and the last one would be late by what the sending of the others takes."""
_MOST_SHIFT_NS = 50 * NS_PER_MS
"""What was due longer ago, on a machine with too much to do, enters a link within that time."""


class Pace:
    """Spreads the datagrams that a tick sends together. One thread's.

    A tick gathers what was due within some milliseconds; what leaves a link has to leave in its time, not in lumps. So
    each enters by a shift after it was due, which is as long as the latest tick was late with its first, and grows
    shorter by a tenth of the time: no datagram overtakes the one before it.
    """

    def __init__(self) -> None:
        self._shift_ns = self._shifted_ns = 0

    def enter(self, due_ns: I64Column, now_ns: int) -> I64Column:
        """When those that were due then enter the link, int64[n]: as far apart as they were due, 3 µs at least."""
        order = np.argsort(due_ns, kind="stable")
        paced_ns = PACE_NS * np.arange(len(due_ns))
        after_ns = np.maximum.accumulate(due_ns[order] - due_ns[order[0]] - paced_ns) + paced_ns
        if after_ns[-1] > _MOST_SHIFT_NS:
            after_ns = after_ns * _MOST_SHIFT_NS // after_ns[-1]
        late_ns = now_ns - int(due_ns[order[0]])
        shift_ns = max(late_ns, self._shift_ns - (now_ns - self._shifted_ns) // 10)
        self._shift_ns, self._shifted_ns = min(shift_ns, _MOST_SHIFT_NS), now_ns
        enters_ns = np.empty(len(due_ns), np.int64)
        enters_ns[order] = now_ns + (shift_ns - late_ns) + after_ns
        return enters_ns
