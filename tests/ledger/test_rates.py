"""Figures over the last seconds."""

from __future__ import annotations

import numpy as np
import pytest

from udprism.columns.types import NS_PER_S, I32Column
from udprism.ledger.fates import Cause
from udprism.ledger.ledger import Ledger
from udprism.ledger.rates import FLAG_CORRUPT, FLAG_DUPLICATE, FLAG_LOST, FLAG_REORDERED, SAMPLES_HZ, Rates

STEP_NS = NS_PER_S // SAMPLES_HZ
SLOTS: I32Column = np.arange(3, dtype=np.int32)


class Play:
    """A ledger of three clients that is sampled in simulated time."""

    def __init__(self) -> None:
        self.now_ns = 1_000 * NS_PER_S
        self.ledger = Ledger(3, window=256, loss_after_ns=NS_PER_S, loss_after_arrivals=64)
        self.rates = Rates(3)
        self.asked_hz = np.full(3, 100.0)
        self.ledger.reset(SLOTS)
        self.rates.reset(SLOTS)
        self.ledger.begin_session(SLOTS[:2], np.ones(2, np.bool_), np.ones(2, np.bool_))
        self.next = 0

    def take(self, *numbers: int) -> None:
        count = len(numbers)
        stamps = np.full(count, self.now_ns)
        self.ledger.update(np.zeros(count, np.int32), np.array(numbers, np.uint32), stamps, stamps, self.now_ns)

    def step(self, received: int = 0, lost: int = 0) -> None:
        """A quarter of a second in which client 0 receives some and loses some, and a sample."""
        if lost:
            numbers = np.arange(self.next, self.next + lost)
            self.ledger.report_unsent(np.zeros(lost, np.int32), numbers, np.full(lost, Cause.LINK, np.uint8))
        self.next += lost
        self.take(*range(self.next, self.next + received))
        self.next += received
        self.now_ns += STEP_NS
        self.rates.sample(self.now_ns, self.ledger, 3, self.asked_hz)


def test_the_rate_is_that_of_the_last_two_seconds() -> None:
    play = Play()
    for _ in range(12):
        play.step(received=25)
    assert play.rates.rate_hz[0] == pytest.approx(100)
    for _ in range(4):
        play.step()
    assert play.rates.rate_hz[0] == pytest.approx(50)
    for _ in range(4):
        play.step()
    assert play.rates.rate_hz.tolist() == [0, 0, 0]


def test_a_new_client_has_its_rate_from_its_second_sample_on() -> None:
    play = Play()
    play.step(received=1)
    assert play.rates.rate_hz[0] == 0
    play.step(received=25)
    assert play.rates.rate_hz[0] == pytest.approx(100)


def test_a_slow_stream_is_looked_at_for_longer() -> None:
    play = Play()
    play.asked_hz[0] = 0.1
    rates = []
    for step in range(4 * 240):
        play.step(received=int(step % 40 == 0))
        rates.append(float(play.rates.rate_hz[0]))
    assert min(rates[4 * 125 :]) == pytest.approx(0.1, rel=0.1)
    assert max(rates[4 * 125 :]) == pytest.approx(0.1, rel=0.1)


def test_what_was_sent_lately_counts_losses_and_is_unknown_at_first() -> None:
    play = Play()
    for _ in range(30):
        play.step(received=20, lost=5)
    assert np.isnan(play.rates.sent_recent_hz).all()
    for _ in range(30):
        play.step(received=20, lost=5)
    assert play.rates.sent_recent_hz[0] == pytest.approx(100)
    for _ in range(44):
        play.step(received=10)
    assert play.rates.sent_recent_hz[0] == pytest.approx(40)


def test_a_reused_slot_starts_at_zero() -> None:
    play = Play()
    for _ in range(40):
        play.step(received=50, lost=5)
    play.ledger.reset(SLOTS)
    play.rates.reset(SLOTS)
    play.next = 0
    play.ledger.begin_session(SLOTS, np.ones(3, np.bool_), np.ones(3, np.bool_))
    for _ in range(2):
        play.step(received=25)
    assert play.rates.rate_hz[0] == pytest.approx(100)
    assert play.rates.loss_recent[0] == 0


def test_recent_loss_is_that_of_the_last_ten_seconds_and_unknown_without_datagrams() -> None:
    play = Play()
    for _ in range(40):
        play.step(received=3, lost=1)
    assert play.rates.loss_recent[0] == pytest.approx(0.25)
    assert np.isnan(play.rates.loss_recent[1:]).all()
    for _ in range(44):
        play.step(received=4)
    assert play.rates.loss_recent[0] == 0
    for _ in range(44):
        play.step()
    assert np.isnan(play.rates.loss_recent[0])


def test_a_plain_stream_has_a_rate_and_no_loss() -> None:
    play = Play()
    play.step()
    play.ledger.update_plain(np.full(25, 2, np.int32), np.zeros(25, np.int64))
    play.step()
    assert play.rates.rate_hz[2] == pytest.approx(100)
    assert np.isnan(play.rates.loss_recent[2])


def test_flags_stay_for_a_second() -> None:
    play = Play()
    play.step(received=1)
    play.take(2, 1, 1)
    play.next = 3
    play.step(lost=1)
    assert play.rates.flags.tolist() == [FLAG_LOST | FLAG_REORDERED | FLAG_DUPLICATE, 0, 0]
    play.ledger.report_corrupt(SLOTS[:1], np.array([1]))
    play.step()
    assert play.rates.flags[0] & FLAG_CORRUPT
    for _ in range(3):
        play.step()
    assert play.rates.flags.tolist() == [FLAG_CORRUPT, 0, 0]
    play.step()
    assert play.rates.flags.tolist() == [0, 0, 0]


def test_a_loss_that_turns_out_late_is_no_negative_loss() -> None:
    play = Play()
    play.take(0, 2)
    play.now_ns += 2 * NS_PER_S
    play.ledger.expire(play.now_ns, lambda slots: np.zeros(len(slots), np.int64), 0)
    for _ in range(4):
        play.next = 3
        play.step()
    play.take(1)
    play.step()
    assert play.rates.loss_recent[0] >= 0
