"""Sequence numbers by RFC 1982, and their extension."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from udprism.ledger.numbers import SEQUENCES, distance, extend

NUMBERS = st.integers(0, SEQUENCES - 1)


@pytest.mark.parametrize(
    ("sequence", "origin", "ahead"),
    [
        (1, 0, 1),
        (0, 1, -1),
        (0, SEQUENCES - 1, 1),
        (SEQUENCES - 1, 0, -1),
        (2**31 - 1, 0, 2**31 - 1),
        (2**31, 0, -(2**31)),  # undefined by RFC 1982: behind, here
        (2**31 + 1, 0, -(2**31) + 1),
    ],
)
def test_distance_goes_the_shorter_way_round(sequence: int, origin: int, ahead: int) -> None:
    assert distance(sequence, origin) == ahead


@given(NUMBERS, NUMBERS)
def test_of_two_numbers_one_is_ahead_of_the_other(one: int, other: int) -> None:
    there, back = distance(one, other), distance(other, one)
    assert (other + there) % SEQUENCES == one
    assert there == -back or there == back == -(2**31)


@given(st.integers(-1, 2**60), st.integers(-(2**31), 2**31 - 1))
def test_a_number_within_half_the_space_is_extended_to_itself(highest: int, away: int) -> None:
    assert extend((highest + away) % SEQUENCES, highest) == highest + away


def test_the_first_number_of_a_session_follows_none() -> None:
    assert extend(0, -1) == 0
    assert extend(SEQUENCES - 1, -1) == -1
