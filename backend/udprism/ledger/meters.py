"""What other meters would report for the same datagrams, computed the way they compute it.

Each of these counts arrivals where we count numbers, so a copy makes up for a loss in their figures, and one that was
overtaken is a loss until it comes. Sources: RFC 3550, appendix A.3; iperf3's `iperf_udp_recv` (iperf_udp.c, 3.12).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from udprism.columns.turns import Turns
from udprism.columns.types import I64Column


class Said(NamedTuple):
    """What a meter would report."""

    lost: int
    loss_ratio: float | None


def as_rfc3550(expected: int, received: int, duplicates: int) -> Said:
    """A receiver report's cumulative loss: expected less received, where copies count as received; may be negative.

    expected: numbers from the first to the highest. received: each number once. duplicates: arrivals beyond that.
    """
    lost = expected - received - duplicates
    return Said(lost, lost / expected if expected else None)


class Iperf3:
    """iperf3's server, for many flows at once: [flows] each, changed in place.

    int64 all: highest, the highest number so far and 1 (iperf3 counts from 1, and 0 is nothing); lost; out_of_order.
    """

    def __init__(self, highest: I64Column, lost: I64Column, out_of_order: I64Column) -> None:
        self._highest, self._lost, self._out_of_order = highest, lost, out_of_order

    def arrive(self, flow: I64Column, number: I64Column) -> None:
        """n datagrams in their order of arrival. flow, number: int64[n], numbers from 0.

        A number above the highest adds what lies between to the losses. Any other is out of order, and takes one off
        the losses, unless there are none: so where the losses touched zero matters, and that is a scan as well.
        """
        turns = Turns(flow.astype(np.int32), np.ones(len(flow), np.bool_))
        packet, flows = number[turns.rows] + 1, turns.slots
        before = turns.before(
            turns.max_until(np.maximum(packet, turns.spread(self._highest[flows]))), self._highest[flows]
        )
        change = np.where(packet > before, packet - before - 1, -1)
        start = turns.spread(self._lost[flows])
        total = start + turns.sum_before(change) + change
        # Reflected at zero: raised by as much as the running total was ever below it.
        raised = np.maximum(turns.max_until(-total), 0)
        last = turns.last()
        self._lost[flows] = (total + raised)[last]
        self._out_of_order[flows] += np.add.reduceat((change < 0).astype(np.int64), turns.starts)
        self._highest[flows] = np.maximum(before, packet)[last]
