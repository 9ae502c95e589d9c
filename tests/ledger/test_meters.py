"""Other meters' figures, against their own rules walked datagram by datagram."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from udprism.ledger.meters import Iperf3, as_rfc3550

FLOWS = 3


class PlainIperf3:
    """iperf_udp_recv of iperf3 3.12, as it stands there."""

    def __init__(self) -> None:
        self.packet_count = self.cnt_error = self.outoforder_packets = 0

    def receive(self, pcount: int) -> None:
        if pcount >= self.packet_count + 1:
            if pcount > self.packet_count + 1:
                self.cnt_error += (pcount - 1) - self.packet_count
            self.packet_count = pcount
        else:
            self.outoforder_packets += 1
            if self.cnt_error > 0:
                self.cnt_error -= 1


arrivals = st.lists(st.tuples(st.integers(0, FLOWS - 1), st.integers(0, 40)), min_size=1, max_size=60)


@given(st.lists(arrivals, min_size=1, max_size=4))
def test_iperf3_is_the_walk_of_its_own_source(batches: list[list[tuple[int, int]]]) -> None:
    highest, lost, out_of_order = (np.zeros(FLOWS, np.int64) for _ in range(3))
    meter, plain = Iperf3(highest, lost, out_of_order), [PlainIperf3() for _ in range(FLOWS)]
    for batch in batches:
        meter.arrive(np.array([flow for flow, _ in batch]), np.array([number for _, number in batch]))
        for flow, number in batch:
            plain[flow].receive(number + 1)
        assert highest.tolist() == [one.packet_count for one in plain]
        assert lost.tolist() == [one.cnt_error for one in plain]
        assert out_of_order.tolist() == [one.outoforder_packets for one in plain]


def test_a_receiver_report_takes_copies_for_arrivals() -> None:
    assert as_rfc3550(1000, 942, 34) == (24, 0.024)
    assert as_rfc3550(1000, 1000, 50).lost == -50
    assert as_rfc3550(0, 0, 0).loss_ratio is None


def test_iperf3_s_losses_never_fall_below_zero_and_grow_by_each_gap() -> None:
    highest, lost, out_of_order = (np.zeros(2, np.int64) for _ in range(3))
    meter = Iperf3(highest, lost, out_of_order)
    meter.arrive(np.array([0, 1, 0, 0, 0]), np.array([0, 3, 0, 4, 2]))  # a copy counts as out of order
    assert (highest.tolist(), lost.tolist(), out_of_order.tolist()) == ([5, 4], [2, 3], [2, 0])
