"""Figures over time of a relay's flows, from what its memory holds."""

from __future__ import annotations

import numpy as np
import pytest

from support.clock import FakeClock
from udprism.columns.types import NS_PER_S
from udprism.ledger.fates import Cause
from udprism.ledger.timeline import CAUSES, Steps
from udprism.node.relay_history import RelayHistory
from udprism.relay.memory import DOWN, FLOW, UP, Count, Snapshot, State, Sum

MAX_FLOWS = 4


class Carried:
    """A relay's memory with one flow in row 1, and its history."""

    def __init__(self, *, keeps_flows: bool = True) -> None:
        self.clock = FakeClock()
        self.history = RelayHistory(MAX_FLOWS, self.clock, keeps_flows=keeps_flows)
        self.ledger = np.zeros((len(Sum), 4), np.int64)
        self.flows = np.zeros(2, FLOW)
        self.begin()

    def begin(self) -> None:
        """A new flow, in the row of the one before it."""
        self.ledger[:] = 0
        self.flows[1]["state"], self.flows[1]["born_ns"] = State.BOTH, self.clock.now_ns()
        self.sample()

    def sample(self) -> None:
        counts, hits = np.zeros(len(Count), np.int64), np.zeros(0, np.int64)
        self.history.sample(Snapshot(self.ledger.copy(), self.flows.copy(), counts, hits))

    def go_on(self, seconds: int, left: int, link: int = 0, queue: int = 0, kernel: int = 0) -> None:
        """So many datagrams per second, upwards."""
        for _ in range(seconds):
            self.ledger[[Sum.LEFT, Sum.LINK, Sum.QUEUE, Sum.KERNEL], 2 + UP] += (left, link, queue, kernel)
            self.clock.advance(1)
            self.sample()

    def steps(self, direction: int, step_s: float | None = None) -> Steps:
        return self.history.steps(1, direction, 0, self.clock.unix_ns() + NS_PER_S, step_s)


def rate_hz(steps: Steps) -> list[float]:
    return [float(one["received"] / one["length_s"]) for one in steps.steps]


def test_what_left_and_what_was_lost_here_by_cause() -> None:
    relay = Carried()
    relay.go_on(60, left=90, link=7, queue=2, kernel=1)
    up, down = relay.steps(UP, 10.0), relay.steps(DOWN, 10.0)
    assert up.step_s == 10
    assert set(rate_hz(up)[1:]) == {90.0}
    lost = dict(zip(CAUSES, up.steps["lost"][1].tolist(), strict=True))
    assert lost.pop(Cause.LINK) == 90
    assert lost.pop(Cause.SENDER_KERNEL) == 10
    assert set(lost.values()) == {0}
    assert np.isnan(up.steps["delay_ms"]).all()
    assert set(rate_hz(down)) == {0.0}


def test_a_flow_that_is_looked_at_has_steps_of_one_second() -> None:
    relay = Carried(keeps_flows=False)
    assert len(relay.steps(UP).steps) == 0
    relay.go_on(5, left=3)
    steps = relay.steps(UP)
    assert steps.step_s == 1
    assert rate_hz(steps) == pytest.approx([3.0] * 5)


def test_another_flow_in_the_same_row_begins_anew() -> None:
    relay = Carried()
    relay.go_on(30, left=90)
    relay.begin()
    assert len(relay.steps(UP).steps) == 0
    relay.go_on(30, left=5)
    assert set(rate_hz(relay.steps(UP, 10.0))) <= {5.0}
