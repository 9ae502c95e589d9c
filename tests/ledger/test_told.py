"""Losses of which another node tells: they wait for its word, and then have the causes that they had in truth."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from support.ledgers import START_NS, WINDOW, closes, counts_agree, ledger_of, no_drops, slots_of, take
from udprism.columns.types import NS_PER_MS, NS_PER_S
from udprism.ledger.fates import Cause
from udprism.ledger.ledger import Ledger

SLOT = slots_of(0)
ROW = np.zeros(1, np.int64)


def told_ledger(*, whole: bool = True) -> Ledger:
    ledger = ledger_of()
    ledger.of_told.begin(0, whole=whole)
    return ledger


def causes(ledger: Ledger, row: int = 0) -> dict[Cause, int]:
    return {cause: int(ledger.lost_by_cause[cause, row]) for cause in Cause if ledger.lost_by_cause[cause, row]}


def hear(ledger: Ledger, word: int, lost: dict[int, Cause] | None = None, drops: int = 0) -> None:
    numbers = np.array(list(lost or {}), np.int64)
    ledger.report_unsent(np.zeros(len(numbers), np.int32), numbers, np.array(list((lost or {}).values()), np.uint8))
    ledger.set_sent(SLOT, np.array([word]))
    ledger.of_told.hear(ROW, np.array([word]), lambda slots: np.full(len(slots), drops))


def test_a_loss_waits_for_the_word_of_its_sender_s_node() -> None:
    ledger = told_ledger()
    take(ledger, 0, 3)
    ledger.expire(START_NS + 2 * NS_PER_S, no_drops, 0)
    assert causes(ledger) == {Cause.AWAITING: 2}
    assert ledger.body(0)["lost_by_cause"]["awaiting"] == 2
    hear(ledger, 2, {1: Cause.LINK})
    assert causes(ledger) == {Cause.LINK: 1, Cause.AWAITING: 1}
    hear(ledger, 4)
    assert causes(ledger) == {Cause.LINK: 1, Cause.PATH: 1}
    assert closes(ledger)


def test_what_the_word_covers_already_is_lost_on_the_path_at_once() -> None:
    ledger = told_ledger()
    take(ledger, 0)
    hear(ledger, 4)
    take(ledger, 3)
    ledger.expire(START_NS + 2 * NS_PER_S, no_drops, 0)
    assert causes(ledger) == {Cause.PATH: 2}


def test_the_kernel_here_comes_before_the_path_and_after_the_sender() -> None:
    ledger = told_ledger()
    take(ledger, 0, 4)
    ledger.expire(START_NS + 2 * NS_PER_S, lambda slots: np.full(len(slots), 1), 0)
    assert causes(ledger) == {Cause.AWAITING: 3}
    hear(ledger, 5, {1: Cause.SENDER_KERNEL}, drops=1)
    assert causes(ledger) == {Cause.SENDER_KERNEL: 1, Cause.RECEIVER_KERNEL: 1, Cause.PATH: 1}


def test_what_comes_after_all_is_late_and_no_loss() -> None:
    ledger = told_ledger()
    take(ledger, 0, 3)
    ledger.expire(START_NS + 2 * NS_PER_S, no_drops, 0)
    take(ledger, 1, now_ns=START_NS + 2 * NS_PER_S)
    hear(ledger, 4)
    assert causes(ledger) == {Cause.PATH: 1}
    assert ledger.late[0] == 1
    assert closes(ledger)


def test_what_is_missing_of_the_word_makes_a_cause_unknown_and_never_path() -> None:
    ledger = told_ledger(whole=False)
    assert causes(ledger) == {}
    ledger = told_ledger()
    take(ledger, 0, 3)
    ledger.expire(START_NS + 2 * NS_PER_S, no_drops, 0)
    ledger.of_told.miss(0)
    take(ledger, 5)
    hear(ledger, 6, {2: Cause.LINK})
    ledger.expire(START_NS + 4 * NS_PER_S, no_drops, 0)
    assert causes(ledger) == {Cause.LINK: 1, Cause.UNKNOWN_PATH: 1, Cause.PATH: 1}
    ledger.of_told.end(0)
    assert ledger.body(0)["lost_by_cause"]["awaiting"] is None


def test_a_session_that_is_told_of_later_or_no_longer_has_no_loss_that_waits() -> None:
    ledger = ledger_of()
    take(ledger, 0, 2)
    ledger.expire(START_NS + 2 * NS_PER_S, no_drops, 0)
    assert causes(ledger) == {Cause.UNKNOWN_PATH: 1}
    ledger.of_told.begin(0, whole=True)
    assert causes(ledger) == {Cause.AWAITING: 1}
    ledger.of_told.end(0)
    assert causes(ledger) == {Cause.UNKNOWN_PATH: 1}
    assert closes(ledger)


def test_an_earlier_session_is_told_of_until_all_of_it_was_said() -> None:
    ledger = ledger_of()
    ledger.begin_session(SLOT, np.array([False]), np.array([True]), np.array([7], np.uint32))
    ledger.of_told.begin(0, whole=True)
    take(ledger, 0, 4)
    ledger.expire(START_NS + 2 * NS_PER_S, no_drops, 0)
    take(ledger, 6, now_ns=START_NS + 2 * NS_PER_S)
    ledger.begin_session(SLOT, np.array([False]), np.array([True]), np.array([8], np.uint32))
    assert ledger.past.told() == {7: 7}
    for at_s in (10, 20):
        ledger.expire(START_NS + at_s * NS_PER_S, no_drops, 0)
    assert causes(ledger) == {Cause.AWAITING: 3}
    ledger.past.tell_unsent(7, 1, Cause.LINK)
    ledger.past.tell_unsent(7, 5, Cause.SENDER_KERNEL)
    ledger.past.tell_over(7, whole=True)
    for at_s in (30, 40):
        ledger.expire(START_NS + at_s * NS_PER_S, no_drops, 0)
    assert causes(ledger) == {Cause.LINK: 1, Cause.SENDER_KERNEL: 1, Cause.PATH: 2}
    assert closes(ledger)


@pytest.mark.parametrize("seed", range(20))
def test_causes_are_the_true_ones_however_long_the_word_stays_away(seed: int) -> None:
    """Also for losses that have left the window meanwhile: which they were is forgotten then, how many is not."""
    rng, ledger = Random(seed), told_ledger()
    truth: dict[Cause, int] = {}
    issued, heard, unsaid = 0, 0, dict[int, Cause]()
    now_ns, silent_until = START_NS, 0
    for turn in range(400):
        for _ in range(rng.randrange(8)):
            cause = rng.choices((Cause.NONE, Cause.LINK, Cause.SENDER_KERNEL, Cause.PATH), (80, 10, 2, 8))[0]
            if cause is Cause.NONE:
                take(ledger, issued, now_ns=now_ns)
            else:
                truth[cause] = truth.get(cause, 0) + 1
            if cause in (Cause.LINK, Cause.SENDER_KERNEL):
                unsaid[issued] = cause
            issued += 1
        now_ns += 100 * NS_PER_MS
        ledger.expire(now_ns, no_drops, 0)
        if turn == silent_until and rng.random() < 0.1:
            silent_until = turn + rng.randrange(3 * WINDOW)  # up to several windows' worth of numbers
        if turn >= silent_until:
            silent_until = turn + 1
            behind = rng.randrange(4)
            said = {number: cause for number, cause in unsaid.items() if number < issued - behind}
            hear(ledger, max(heard, issued - behind), said)
            heard, unsaid = max(heard, issued - behind), {n: c for n, c in unsaid.items() if n not in said}
        assert closes(ledger)
    hear(ledger, issued, unsaid)
    for _ in range(3):
        now_ns += 2 * NS_PER_S
        ledger.expire(now_ns, no_drops, 0)
    hear(ledger, issued)
    assert causes(ledger) == truth
    assert counts_agree(ledger)
    assert closes(ledger)


def test_losses_that_have_left_the_window_wait_for_a_word_beyond_what_had_left_when_it_was_last_heard() -> None:
    ledger = told_ledger()
    take(ledger, 0, 4)
    ledger.expire(START_NS + 2 * NS_PER_S, no_drops, 0)
    take(ledger, *range(5, 100))
    hear(ledger, 2)
    hear(ledger, 20, {1: Cause.LINK})
    assert causes(ledger) == {Cause.LINK: 1, Cause.AWAITING: 2}
    take(ledger, *range(102, 200), now_ns=START_NS + 2 * NS_PER_S)
    ledger.expire(START_NS + 4 * NS_PER_S, no_drops, 0)
    assert causes(ledger) == {Cause.LINK: 1, Cause.AWAITING: 4}
    hear(ledger, 100 - WINDOW)
    assert causes(ledger) == {Cause.LINK: 1, Cause.PATH: 2, Cause.AWAITING: 2}
    hear(ledger, 200)
    assert causes(ledger) == {Cause.LINK: 1, Cause.PATH: 4}
    assert closes(ledger)
