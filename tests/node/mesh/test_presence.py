"""Who is there, by the hearer's own clock."""

from __future__ import annotations

from typing import Any

import pytest

from udprism.node.mesh.presence import FORGET_S, LATE_S, LIVE_S, MAX_NODES, Presence

WEST = "n-00000001"


@pytest.fixture
def presence() -> Presence:
    return Presence("n-00000000", "mine")


def body(instance: str = "first", **more: Any) -> dict[str, Any]:
    return {"name": "west", "instance": instance, **more}


def test_a_node_is_live_then_late_then_gone(presence: Presence) -> None:
    presence.hear(WEST, body(), 100.0)
    assert presence.state(WEST, 100.0 + LIVE_S) == "live"
    assert presence.state(WEST, 100.1 + LIVE_S) == "late"
    assert presence.state(WEST, 100.1 + LATE_S) == "gone"
    presence.hear(WEST, body(), 120.0)
    assert presence.state(WEST, 120.0) == "live"


def test_one_that_said_goodbye_has_left_and_its_restart_is_live(presence: Presence) -> None:
    presence.hear(WEST, body(leaving=True), 100.0)
    assert presence.state(WEST, 150.0) == "left"
    presence.hear(WEST, body("second"), 151.0)
    assert presence.state(WEST, 151.0) == "live"


def test_a_node_that_nobody_listens_for_is_late_until_it_is_heard_again(presence: Presence) -> None:
    presence.hear(WEST, body(), 100.0)
    presence.nobody_listens(WEST, 100.5)
    assert presence.state(WEST, 100.5) == "late"
    presence.hear(WEST, body(), 101.0)
    assert presence.state(WEST, 101.0) == "live"


def test_two_instances_under_one_id_are_twice_and_a_restart_after_its_time_is_not(presence: Presence) -> None:
    presence.hear(WEST, body("first"), 100.0)
    presence.hear(WEST, body("second"), 101.0)
    assert presence.state(WEST, 101.0) == "twice"
    presence.hear(WEST, body("second"), 101.5 + LIVE_S)
    assert presence.state(WEST, 101.5 + LIVE_S) == "live"


def test_our_own_id_from_another_instance_makes_this_node_double(presence: Presence) -> None:
    presence.hear("n-00000000", body("mine"), 100.0)
    assert not presence.is_double(100.0)
    presence.hear("n-00000000", body("copy"), 100.0)
    assert presence.is_double(100.0 + LIVE_S)
    assert not presence.is_double(100.1 + LIVE_S)
    assert presence.nodes() == []


def test_without_a_connection_of_ones_own_nothing_is_known_of_the_others(presence: Presence) -> None:
    presence.hear(WEST, body(), 100.0)
    assert presence.state(WEST, 130.0, cut_off=True) == "unknown"


def test_the_number_of_nodes_is_bounded_and_those_left_out_are_counted(presence: Presence) -> None:
    for number in range(MAX_NODES + 5):
        presence.hear(f"n-{number + 1:08x}", body(), 100.0)
    assert len(presence.nodes()) == MAX_NODES
    assert presence.left_out == 5
    presence.hear("n-ffffffff", body(), 101.0 + FORGET_S)
    assert [node.id for node in presence.nodes()] == ["n-ffffffff"]


def test_a_node_is_found_by_id_or_name(presence: Presence) -> None:
    presence.hear(WEST, body(), 100.0)
    presence.hear("n-00000002", body(), 100.0)
    assert [node.id for node in presence.find(WEST)] == [WEST]
    assert len(presence.find("west")) == 2
    assert presence.find("north") == []
