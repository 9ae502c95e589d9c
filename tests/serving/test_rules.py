"""One client's rules: tries and their waits. What follows from them is in `test_conversation` and `udp/test_asking`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udprism.columns.types import NS_PER_S
from udprism.serving.clients import ClientTable, HostedClient, Mode, State
from udprism.serving.rules import Rules, attempt

draws = st.floats(0, 1, exclude_max=True)


@given(draws)
def test_two_measured_tries_a_second_apart_come_before_the_bare_connect(draw: float) -> None:
    tries = [attempt(Mode.AUTO, number, near=False, unheard=False, draw=draw) for number in range(5)]
    assert [one.measured for one in tries] == [True, True, False, False, False]
    assert [one.wait_ns for one in tries[:2]] == [NS_PER_S, NS_PER_S]


def test_a_target_that_once_sent_a_measured_stream_is_asked_for_another_kind_only_after_a_while() -> None:
    tries = [attempt(Mode.AUTO, n, near=True, unheard=False, draw=0.5, spoke_measured=True) for n in range(11)]
    assert [one.measured for one in tries] == [True] * 8 + [False] * 3


@given(draws, st.integers(0, 1000), st.sampled_from([Mode.AUTO, Mode.MEASURED, Mode.PLAIN]), st.booleans())
def test_waits_stay_between_1_and_30_seconds(draw: float, number: int, mode: Mode, unheard: bool) -> None:
    one = attempt(mode, number, near=False, unheard=unheard, draw=draw)
    assert NS_PER_S <= one.wait_ns <= 30 * NS_PER_S


def test_waits_grow_and_are_drawn_over_their_whole_range() -> None:
    longest = [attempt(Mode.MEASURED, n, near=False, unheard=True, draw=0.999).wait_ns / NS_PER_S for n in range(8)]
    assert longest == pytest.approx([1, 2, 4, 8, 16, 30, 30, 30], rel=0.01)
    assert attempt(Mode.MEASURED, 7, near=False, unheard=True, draw=0.0).wait_ns == NS_PER_S


def test_near_by_nobody_waits_longer_than_four_seconds() -> None:
    assert attempt(Mode.AUTO, 50, near=True, unheard=True, draw=0.999).wait_ns <= 4 * NS_PER_S


def test_a_try_that_nobody_heard_is_no_reason_to_fall_back() -> None:
    assert all(attempt(Mode.AUTO, n, near=True, unheard=True, draw=0.5).measured for n in range(10))


@pytest.mark.parametrize(("mode", "measured"), [(Mode.MEASURED, True), (Mode.PLAIN, False)])
def test_a_client_told_what_to_ask_for_asks_for_nothing_else(mode: Mode, measured: bool) -> None:
    assert {attempt(mode, n, near=True, unheard=False, draw=0.5).measured for n in range(10)} == {measured}


def test_the_measured_connect_is_said_while_the_bare_one_has_to_wait() -> None:
    assert attempt(Mode.AUTO, 5, near=True, unheard=False, draw=0.5, bare_wait_ns=1).measured
    assert not attempt(Mode.PLAIN, 5, near=True, unheard=False, draw=0.5, bare_wait_ns=1).measured


def rules_of(state: State, *, loopback: bool = True) -> tuple[ClientTable, Rules]:
    table = ClientTable(1)
    rules = Rules(table, lambda: 0.5)
    one = HostedClient("c-1", "n", "", ("127.0.0.1", 5000), loopback, Mode.AUTO, 10, 1, connected=True)
    table.add(one, 3 * NS_PER_S, 0)
    rules.begin(0)
    table.state[0] = state
    return table, rules


def test_a_paused_client_adopts_no_session_and_does_not_come_back_after_a_bye() -> None:
    table, rules = rules_of(State.PAUSED)
    assert not rules.may_adopt(0, 10 * NS_PER_S)
    before = table.timer_ns[0]
    rules.ended(0, NS_PER_S)
    assert (table.state[0], table.timer_ns[0]) == (State.PAUSED, before)


def test_after_a_bye_a_client_asks_again_within_a_second() -> None:
    table, rules = rules_of(State.LIVE)
    version = table.roster_version
    rules.ended(0, NS_PER_S)
    assert table.state[0] == State.CONNECTING
    assert 1.2 * NS_PER_S <= table.timer_ns[0] < 2 * NS_PER_S
    assert table.changed_in[0] == table.roster_version > version


def test_a_change_of_the_network_begins_the_tries_anew_from_a_new_socket() -> None:
    table, rules = rules_of(State.SILENT)
    table.attempts[0] = 7
    rules.moved(0)
    assert table.attempts[0] == 0
    assert rules.ask(0, NS_PER_S).new_socket


def test_another_address_is_asked_as_if_it_had_never_answered() -> None:
    table, rules = rules_of(State.CONNECTING)
    table.session_id[0] = 7
    slots, came = np.zeros(1, np.int32), NS_PER_S
    rules.begin_sessions(slots, came)
    table.state[0], table.attempts[0] = State.SILENT, 4
    assert rules.ask(0, came).measured, "it spoke measured"
    rules.readdressed(0)
    table.attempts[0] = 4
    assert not rules.ask(0, came).measured


def test_a_plain_stream_s_silence_is_its_own_even_when_the_rate_that_was_asked_for_changes() -> None:
    table, rules = rules_of(State.CONNECTING)
    slots = np.zeros(1, np.int32)
    rules.hear_plain(slots, NS_PER_S)
    table.stream[0] = Mode.PLAIN
    rules.set_silence(0, 4 * NS_PER_S)
    assert table.silent_after_ns[0] >= 4 * NS_PER_S
    assert table.silent_after_ns[0] != 4 * NS_PER_S
