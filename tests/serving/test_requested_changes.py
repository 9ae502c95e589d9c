"""What a client was told to ask for is said again until what comes agrees."""

from __future__ import annotations

import numpy as np

from udprism.columns.types import NS_PER_S
from udprism.serving.clients import ClientTable, HostedClient, Mode, State
from udprism.serving.requested_changes import LONGEST_WAIT_NS, RequestedChanges


class Rig:
    """One live client whose stream comes at a rate of the test's choice."""

    def __init__(self, asked_hz: float, sent_hz: float, colours: int = 1) -> None:
        self.now_ns = 0
        self.sent_hz = sent_hz
        self.number = 0.0
        self.colours: int | None = 1
        self.table = ClientTable(4)
        address = ("127.0.0.1", 5000)
        client = HostedClient("c", "c", "127.0.0.1:5000", address, True, Mode.AUTO, asked_hz, colours, True)
        self.slot = self.table.add(client, NS_PER_S, 0)
        self.table.state[self.slot], self.table.stream[self.slot] = State.LIVE, Mode.MEASURED
        self.requested = RequestedChanges(self.table)
        self.requested.begin(self.slot)

    def repeats(self, seconds: float, agree_after: int = 1_000_000) -> list[float]:
        """Instants at which it is said again, in s; the server heeds the one of that number."""
        said: list[float] = []
        for _ in range(round(seconds * 4)):
            self.now_ns += NS_PER_S // 4
            self.number += self.sent_hz / 4
            if self.requested.unmet(self.now_ns, lambda slot: int(self.number), lambda slot: self.colours):
                said.append(self.now_ns / NS_PER_S)
                if len(said) == agree_after:
                    self.sent_hz = self.table.clients[self.slot].rate_hz
        return said


def test_a_wish_that_is_met_is_not_said_again() -> None:
    rig = Rig(asked_hz=50, sent_hz=50)
    rig.requested.changed(rig.slot, 0, 0)
    assert rig.repeats(300) == []


def test_a_wish_that_is_not_heard_is_said_at_growing_distances_until_it_is() -> None:
    rig = Rig(asked_hz=100, sent_hz=10)
    rig.requested.changed(rig.slot, 0, 0)
    assert rig.repeats(300, agree_after=3) == [1, 3, 7]


def test_a_rate_that_a_server_caps_is_asked_for_once_a_minute_at_most() -> None:
    rig = Rig(asked_hz=1000, sent_hz=20)
    rig.requested.changed(rig.slot, 0, 0)
    said = rig.repeats(600)
    assert np.diff(said).max() == LONGEST_WAIT_NS / NS_PER_S
    assert len(said) < 16


def test_a_slow_rate_is_agreed_to_when_enough_has_come() -> None:
    rig = Rig(asked_hz=0.2, sent_hz=0.2)
    rig.requested.changed(rig.slot, 0, 0)
    said = rig.repeats(300)
    assert said[:4] == [1, 3, 7, 15]
    assert len(said) <= 5


def test_another_number_of_colours_shows_in_what_comes() -> None:
    rig = Rig(asked_hz=50, sent_hz=50, colours=3)
    rig.requested.changed(rig.slot, 0, 0)
    assert rig.repeats(2) == [1]
    rig.colours = 3
    assert rig.repeats(300) == []


def test_what_is_still_on_its_way_after_a_disconnect_is_not_unwanted() -> None:
    rig = Rig(asked_hz=50, sent_hz=50)
    slots = np.array([rig.slot], np.int32)
    rig.table.state[rig.slot] = State.PAUSED
    rig.table.timer_ns[rig.slot] = 1 << 62
    rig.requested.paused(rig.slot, 0)
    rig.requested.hear_unwanted(slots, NS_PER_S - 1)
    assert not len(rig.table.due(NS_PER_S - 1))
    rig.requested.hear_unwanted(slots, NS_PER_S)
    assert rig.table.due(NS_PER_S).tolist() == [rig.slot]
    rig.requested.disconnect_again(rig.slot, NS_PER_S)
    rig.requested.hear_unwanted(slots, 3 * NS_PER_S - 1)
    assert not len(rig.table.due(3 * NS_PER_S))
