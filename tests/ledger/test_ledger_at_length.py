"""Millions of datagrams through ledger, history and latest: no drift, no growth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.ledgers import UNIX_NS, closes, counts_agree, no_drops
from udprism.columns.types import NS_PER_MS, NS_PER_S, BoolColumn, I64Column
from udprism.ledger.fates import NEW
from udprism.ledger.history import History
from udprism.ledger.latest import Latest
from udprism.ledger.ledger import Ledger

CLIENTS = 2_000
ROUND_NS = 100 * NS_PER_MS
_STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    """What this process has in memory now; 0 where the system does not say."""
    return int(_STATM.read_text().split()[1]) * 4096 if _STATM.exists() else 0


class Stream:
    """Every client gets one number a round; some are lost, some come twice, some a round too late."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(7)
        self.now_ns = 1_000 * NS_PER_S
        self.ledger = Ledger(CLIENTS, window=256, loss_after_ns=NS_PER_S, loss_after_arrivals=64)
        self.history = History(CLIENTS)
        self.latest = Latest(CLIENTS)
        self.everyone = np.arange(CLIENTS, dtype=np.int32)
        for one in (self.ledger, self.history, self.latest):
            one.reset(self.everyone)
        remote = np.zeros(CLIENTS, np.bool_)
        self.ledger.begin_session(self.everyone, remote, ~remote)
        self.round = 0
        self.dropped = np.zeros(CLIENTS, np.int64)
        self.duplicates = np.zeros(CLIENTS, np.int64)
        self.reordered = np.zeros(CLIENTS, np.int64)
        self.came = 0
        self._delayed: BoolColumn = np.zeros(CLIENTS, np.bool_)
        self._rows = np.zeros((4 * CLIENTS, 24), np.uint8)

    def play_round(self) -> None:
        """One batch: the earlier round's stragglers come after this round's datagrams."""
        draw = self.rng.random(CLIENTS)
        lost, delayed = draw < 0.01, (draw >= 0.01) & (draw < 0.015)
        twice = draw >= 0.995
        now = np.flatnonzero(~lost & ~delayed)
        stragglers, copies = np.flatnonzero(self._delayed), np.flatnonzero(twice)
        self.dropped += lost
        self.duplicates += twice
        self.reordered[stragglers] += ~(lost | delayed)[stragglers]
        slot = np.concatenate((self.rng.permutation(now), stragglers, copies))
        number = np.full(len(slot), self.round)
        number[len(now) : len(now) + len(stragglers)] -= 1
        self._delayed = delayed
        self._take(slot, number)
        self.round += 1
        self.now_ns += ROUND_NS
        if self.round % 2 == 0:
            self.latest.take_frame(CLIENTS)
            declared = self.ledger.expire(self.now_ns, no_drops, 0)
            self.history.mark_lost(*declared)
            self.ledger.delays.refresh(CLIENTS)

    def _take(self, slot: I64Column, number: I64Column) -> None:
        count = len(slot)
        received = np.full(count, UNIX_NS + self.now_ns)
        sent = received - np.where(number & 1, NS_PER_MS, 2 * NS_PER_MS)
        slots, rows = slot.astype(np.int32), self._rows[:count]
        outcome = self.ledger.update(slots, number.astype(np.uint32), sent, received, self.now_ns)
        length = np.full(count, 23, np.int32)
        self.history.record(slots, outcome.extended, received, length, rows, rows[:, :3], outcome.flags)
        self.latest.update(slots, rows[:, :3], received, outcome.flags)
        self.came += int(np.count_nonzero(outcome.flags & NEW))


@pytest.mark.parametrize("datagrams", [300_000, pytest.param(10_000_000, marks=pytest.mark.slow)])
def test_many_datagrams_leave_no_drift_and_no_growth(datagrams: int) -> None:
    stream = Stream()
    rounds = datagrams // CLIENTS
    for _ in range(min(rounds, 600)):
        stream.play_round()
    settled_bytes = resident_bytes()
    for _ in range(rounds - stream.round):
        stream.play_round()
    assert resident_bytes() - settled_bytes < 4 << 20
    stream.now_ns += 2 * NS_PER_S
    stream.ledger.expire(stream.now_ns, no_drops, 0)
    ledger, latest = stream.ledger, stream.latest
    # what nobody has come after is not known to have been sent: the last round's losses and stragglers
    tail = ledger.highest[:CLIENTS] + 1 < rounds
    assert tail.mean() < 0.05
    whole = ~tail
    assert (ledger.sent[whole] == rounds).all()
    assert (ledger.received + ledger.lost[:CLIENTS] == ledger.sent).all()
    missing = stream.dropped + stream._delayed
    assert (ledger.lost[:CLIENTS][whole] == missing[whole]).all()
    assert (ledger.duplicates[:CLIENTS] == stream.duplicates).all()
    assert (ledger.reordered[:CLIENTS] == stream.reordered).all()
    assert ledger.received.sum() == stream.came == latest.version.sum()
    assert all(closes(ledger, slot) for slot in range(0, CLIENTS, 97))
    assert counts_agree(ledger)
    # the delay alternates between one and two milliseconds: |D| is one, but for what is missing or repeated
    assert ledger.jitter_ns[:CLIENTS].mean() == pytest.approx(NS_PER_MS, rel=0.05)
    assert (np.abs(ledger.delays.percentiles(stream.everyone, (0.0, 1.0)) - [NS_PER_MS, 2 * NS_PER_MS]) == 0).all()
