"""When a tick's datagrams enter the link: spread, in order, and never before now."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from udprism.columns.types import NS_PER_MS
from udprism.udp.pace import PACE_NS, Pace

NOW_NS = 10**12


def test_what_was_due_at_once_enters_a_pace_apart() -> None:
    entered_ns = Pace().enter(np.full(4, NOW_NS), NOW_NS)
    assert np.diff(entered_ns).tolist() == [PACE_NS] * 3


@given(st.lists(st.integers(0, 200 * NS_PER_MS), min_size=1, max_size=50))
def test_no_datagram_overtakes_one_that_was_due_before_it_and_none_enters_in_the_past(late_ns: list[int]) -> None:
    due_ns = NOW_NS - np.array(late_ns)
    entered_ns = Pace().enter(due_ns, NOW_NS)
    order = np.argsort(due_ns, kind="stable")
    assert (np.diff(entered_ns[order]) >= 0).all()
    assert entered_ns.min() >= NOW_NS
    assert entered_ns.max() <= NOW_NS + 50 * NS_PER_MS
