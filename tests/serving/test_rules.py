"""One client's rules: tries and their waits. What follows from them is in `test_conversation` and `udp/test_asking`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from udprism.columns.types import NS_PER_S
from udprism.serving.clients import Mode
from udprism.serving.rules import attempt

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
