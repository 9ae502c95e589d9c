"""Which of a target's addresses is asked next."""

from __future__ import annotations

from udprism.columns.types import NS_PER_S
from udprism.serving.routes import LOOK_UP_AGAIN_NS, Route

SIX, FOUR = ("::1", 5000), ("127.0.0.1", 5000)


def test_addresses_are_asked_in_turn() -> None:
    route = Route([SIX, FOUR])
    assert [route.choose(number) for number in range(4)] == [SIX, FOUR, SIX, FOUR]


def test_an_address_that_refuses_is_left_out_while_another_one_does_not() -> None:
    route = Route([SIX, FOUR])
    assert route.refuse(SIX)
    assert [route.choose(number) for number in range(2)] == [FOUR, FOUR]
    assert not route.refuse(FOUR)
    assert [route.choose(number) for number in range(2)] == [SIX, FOUR]
    route.pardon(FOUR)
    assert route.choose(0) == FOUR


def test_the_only_address_may_refuse_as_it_likes() -> None:
    route = Route([FOUR])
    assert not route.refuse(FOUR), "there is no other to hurry to"
    assert not route.has_refused(FOUR)
    assert route.choose(3) == FOUR


def test_the_address_that_answers_is_the_first_from_then_on_whatever_order_the_name_server_gives() -> None:
    route = Route([SIX, FOUR], is_name=True)
    route.answer(FOUR)
    route.learn([SIX, FOUR])
    assert route.choose(0) == FOUR
    route.learn([SIX])
    assert route.choose(0) == SIX


def test_what_has_no_address_is_looked_up_at_every_try_and_a_name_that_has_now_and_then() -> None:
    now_ns = 5 * NS_PER_S
    route = Route(is_name=True)
    assert route.wants_look_up(0, now_ns)
    assert not route.wants_look_up(1, now_ns + 1)
    assert route.wants_look_up(1, now_ns + NS_PER_S)
    route.learn([FOUR])
    assert not route.wants_look_up(1, now_ns + 2 * NS_PER_S)
    assert not route.wants_look_up(0, now_ns + NS_PER_S + LOOK_UP_AGAIN_NS), (
        "the first try goes where it is known to be"
    )
    assert route.wants_look_up(1, now_ns + NS_PER_S + LOOK_UP_AGAIN_NS)


def test_an_address_that_was_given_is_never_looked_up_again() -> None:
    assert not Route([FOUR]).wants_look_up(9, 1000 * NS_PER_S)


def test_the_first_address_stays_the_first_when_it_answers_again() -> None:
    route = Route([SIX, FOUR])
    route.refuse(SIX)
    route.answer(SIX)
    assert route.in_turn == (SIX, FOUR)
    route.answer(("127.0.0.2", 5000))  # not one of its addresses any more
    assert route.in_turn == (SIX, FOUR)
