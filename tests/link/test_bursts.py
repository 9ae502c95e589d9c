"""Gilbert and Elliott's chain: stepping through every number and looking back agree."""

import numpy as np
import pytest

from udprism.columns.turns import Turns
from udprism.link.bursts import Bursts
from udprism.link.philox import WORD_RANGE

CLIENTS = 40


def words_of(slots: np.ndarray, sequence: np.ndarray) -> np.ndarray:
    """Any fixed function of slot and number whose values are spread evenly."""
    mixed = (slots.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) ^ (
        (sequence.astype(np.uint64) + np.uint64(1)) * np.uint64(0xD1342543DE82EF95)
    )
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return mixed >> np.uint64(32)


def chain(enter_ratio: float, leave_ratio: float) -> Bursts:
    bursts = Bursts(CLIENTS)
    bursts.enter[:] = round(enter_ratio * WORD_RANGE)
    bursts.leave[:] = round(leave_ratio * WORD_RANGE)
    return bursts


def advance(bursts: Bursts, sequence: int) -> np.ndarray:
    slots, numbers = np.arange(CLIENTS, dtype=np.int32), np.full(CLIENTS, sequence)
    return bursts.advance(Turns(slots, numbers >= 0), numbers, words_of(slots, numbers), words_of)


def plain_states(enter_ratio: float, leave_ratio: float, numbers: int) -> np.ndarray:
    """bool[numbers, CLIENTS], one step at a time."""
    states = np.zeros((numbers, CLIENTS), np.bool_)
    for slot in range(CLIENTS):
        bad = False
        for number in range(numbers):
            word = int(words_of(np.array([slot]), np.array([number]))[0]) / WORD_RANGE
            bad = word < (1 - leave_ratio if bad else enter_ratio)
            states[number, slot] = bad
    return states


# The last ones enter more readily than they stay: between the two a step turns the state over.
RATIOS = [(0.05, 0.2), (0.3, 0.7), (0.0, 0.5), (1.0, 0.25), (0.5, 0.5), (0.6, 0.7), (0.9, 0.9), (0.1, 1.0), (1.0, 1.0)]


@pytest.mark.parametrize(("enter_ratio", "leave_ratio"), RATIOS)
def test_stepping_through_all_numbers_is_the_chain(enter_ratio: float, leave_ratio: float) -> None:
    bursts = chain(enter_ratio, leave_ratio)
    expected = plain_states(enter_ratio, leave_ratio, 120)
    for number in range(120):
        assert (advance(bursts, number) == expected[number]).all()


@pytest.mark.parametrize(("enter_ratio", "leave_ratio"), RATIOS)
def test_looking_back_from_anywhere_finds_the_same_state(enter_ratio: float, leave_ratio: float) -> None:
    expected = plain_states(enter_ratio, leave_ratio, 120)
    for number in (1, 2, 15, 16, 17, 33, 100, 119):
        assert (advance(chain(enter_ratio, leave_ratio), number) == expected[number]).all()


def test_a_restarted_slot_looks_back_again() -> None:
    bursts = chain(0.3, 0.3)
    expected = plain_states(0.3, 0.3, 50)
    advance(bursts, 20)
    bursts._bad[:] = True
    bursts.restart(np.arange(CLIENTS, dtype=np.int32))
    assert (advance(bursts, 21) == expected[21]).all()


def test_looking_back_gives_up_after_its_limit() -> None:
    # Entered at its first number with hardly any way out: merged nowhere within reach, so it counts as good.
    looks = []

    def draw(slots: np.ndarray, sequence: np.ndarray) -> np.ndarray:
        looks.append(len(slots))
        return np.full(len(slots), WORD_RANGE // 2, np.uint64)

    bursts = chain(0.0, 1e-9)
    slots = np.zeros(1, np.int32)
    only = Turns(slots, np.ones(1, np.bool_))
    bad = bursts.advance(only, np.array([1_000_000]), np.array([WORD_RANGE // 2], np.uint64), draw)
    assert not bad[0]
    assert sum(looks) == 256


def test_a_chain_goes_on_from_where_a_state_was_taken() -> None:
    bursts = chain(0.3, 0.3)
    for number in range(20):
        advance(bursts, number)
    state = bursts.state(0)
    once = [advance(bursts, number).tolist() for number in range(20, 60)]
    bursts.restore(0, state)
    assert bursts.state(0) == state
    assert [advance(bursts, number).tolist() for number in range(20, 60)] == once
