"""Hosted clients' table: attempts, timers, silence, the roster. No socket, no sleep."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from udprism.columns.types import NEVER_NS, NS_PER_S
from udprism.serving.clients import ClientTable, HostedClient, Mode, State, attempt

draws = st.floats(0, 1, exclude_max=True)


def client(number: int) -> HostedClient:
    return HostedClient(
        id=f"c-{number}",
        name=f"client-{number:03d}",
        target="127.0.0.1:12345",
        address=("127.0.0.1", 12345),
        loopback=True,
        mode=Mode.AUTO,
        rate_hz=10,
        colours=1,
        connected=True,
    )


@given(draws)
def test_two_measured_tries_a_second_apart_come_before_the_bare_connect(draw: float) -> None:
    tries = [attempt(Mode.AUTO, number, loopback=False, refused=False, draw=draw) for number in range(5)]
    assert [one.measured for one in tries] == [True, True, False, True, False]
    assert [one.wait_ns for one in tries[:2]] == [NS_PER_S, NS_PER_S]


def test_a_target_that_once_sent_a_measured_stream_is_asked_for_another_kind_only_after_a_while() -> None:
    tries = [attempt(Mode.AUTO, n, loopback=True, refused=False, draw=0.5, was_measured=True) for n in range(11)]
    assert [one.measured for one in tries] == [True] * 8 + [False, True, False]


@given(draws, st.integers(0, 1000), st.sampled_from([Mode.AUTO, Mode.MEASURED, Mode.PLAIN]), st.booleans())
def test_waits_stay_between_1_and_30_seconds(draw: float, number: int, mode: Mode, refused: bool) -> None:
    one = attempt(mode, number, loopback=False, refused=refused, draw=draw)
    assert NS_PER_S <= one.wait_ns <= 30 * NS_PER_S


def test_waits_grow_and_are_drawn_over_their_whole_range() -> None:
    longest = [attempt(Mode.MEASURED, n, loopback=False, refused=True, draw=0.999).wait_ns / NS_PER_S for n in range(8)]
    assert longest == pytest.approx([1, 2, 4, 8, 16, 30, 30, 30], rel=0.01)
    assert attempt(Mode.MEASURED, 7, loopback=False, refused=True, draw=0.0).wait_ns == NS_PER_S


def test_on_loopback_nobody_waits_longer_than_four_seconds() -> None:
    assert attempt(Mode.AUTO, 50, loopback=True, refused=True, draw=0.999).wait_ns <= 4 * NS_PER_S


def test_a_target_that_refuses_is_no_reason_to_fall_back() -> None:
    assert all(attempt(Mode.AUTO, n, loopback=True, refused=True, draw=0.5).measured for n in range(10))


@pytest.mark.parametrize(("mode", "measured"), [(Mode.MEASURED, True), (Mode.PLAIN, False)])
def test_a_client_told_what_to_ask_for_asks_for_nothing_else(mode: Mode, measured: bool) -> None:
    assert {attempt(mode, n, loopback=True, refused=False, draw=0.5).measured for n in range(10)} == {measured}


def test_only_live_clients_fall_silent_and_only_after_their_own_time() -> None:
    table = ClientTable(4)
    quick, slow, paused = (table.add(client(number), 2 * NS_PER_S, 0) for number in range(3))
    table.state[[quick, slow]] = State.LIVE
    table.state[paused] = State.PAUSED
    table.last_arrival_ns[[quick, slow, paused]] = 10 * NS_PER_S
    table.silent_after_ns[slow] = 300 * NS_PER_S
    assert table.fell_silent(12 * NS_PER_S).tolist() == []
    assert table.fell_silent(12 * NS_PER_S + 1).tolist() == [quick]


def test_a_removed_slot_is_free_again_and_has_no_timer() -> None:
    table = ClientTable(2)
    slot = table.add(client(1), NS_PER_S, 5)
    assert table.due(5).tolist() == [slot]
    table.remove(slot)
    assert table.next_timer_ns() == NEVER_NS
    assert table.state[slot] == State.FREE
    assert table.add(client(2), NS_PER_S, 5) == slot


def test_the_roster_version_grows_with_every_change() -> None:
    table = ClientTable(4)
    versions = [table.roster_version]
    slot = table.add(client(1), NS_PER_S, 0)
    versions.append(table.roster_version)
    table.touch([slot])
    versions.append(table.roster_version)
    table.remove(slot)
    versions.append(table.roster_version)
    assert versions == sorted(set(versions))
    assert list(table.removals) == [(versions[-1], slot)]
