"""The ledger against a plain, slow one, and against what must be true of any ledger."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.plain_ledger import PlainLedger
from udprism.core.ledger import Ledger, Outcome
from udprism.core.types import NS_PER_MS, NS_PER_S, I32Column, I64Column

WINDOW = 64
START_NS = 1_000 * NS_PER_S
UNIX_NS = 1_700_000_000 * NS_PER_S


def no_drops(slots: I32Column) -> I64Column:
    return np.zeros(len(slots), np.int64)


def slots_of(*slots: int) -> I32Column:
    return np.array(slots, np.int32)


def ledger_of(
    clients: int = 1,
    *,
    window: int = WINDOW,
    loss_after_arrivals: int = 16,
    in_process: bool = False,
    shared_clock: bool = True,
) -> Ledger:
    ledger = Ledger(clients, window=window, loss_after_ns=NS_PER_S, loss_after_arrivals=loss_after_arrivals)
    slots = np.arange(clients, dtype=np.int32)
    ledger.reset(slots)
    ledger.begin_session(slots, np.full(clients, in_process), np.full(clients, shared_clock))
    return ledger


def take(ledger: Ledger, *numbers: int, slot: int = 0, now_ns: int = START_NS, transit_ns: int = NS_PER_MS) -> Outcome:
    """One client's datagrams as one batch."""
    count = len(numbers)
    received = np.full(count, UNIX_NS + now_ns)
    return ledger.update(
        np.full(count, slot, np.int32),
        (np.array(numbers, np.int64) & 0xFFFFFFFF).astype(np.uint32),
        received - transit_ns,
        received,
        now_ns,
    )


def closes(ledger: Ledger, slot: int = 0) -> bool:
    body = ledger.body(slot)
    causes = sum(count for count in body["lost_by_cause"].values() if count is not None)
    whole = body["sent"] == body["received"] + body["lost"] + body["in_flight"]
    return whole and body["lost"] == causes and body["in_flight"] >= 0


@dataclass(frozen=True)
class Step:
    """A batch of (client, number, transit) and how long after the one before it comes."""

    arrivals: list[tuple[int, int, int]]
    after_ns: int
    expire: bool


def stream(rng: Random, length: int) -> list[int]:
    """One client's numbers: mostly in order, with gaps, repeats, swaps, jumps and the wrap."""
    at = rng.choice([0, 0, 0, 3, 1_000, 2**32 - 20, 2**31])
    wild = rng.choice([0.0, 0.1, 0.5])
    numbers = []
    for _ in range(length):
        if rng.random() >= wild:
            at += rng.choice([1, 1, 1, 1, 1, 1, 2])
            numbers.append(at)
            continue
        kind = rng.randrange(6)
        if kind == 0:
            numbers.append(at + rng.randint(-2 * WINDOW, 2 * WINDOW))
        elif kind == 1:
            numbers.append(rng.getrandbits(32))
        elif kind == 2:
            at += rng.randint(1, WINDOW + 4)
            numbers.append(at)
        elif kind == 3:
            at += rng.choice([-1_000_000, 1_000_000, 2**31, -5 * WINDOW, 5 * WINDOW])
            numbers.append(at)
        else:
            numbers.append(at - rng.randint(0, WINDOW + 4))
    return [number % 2**32 for number in numbers]


def steps_of(rng: Random, clients: int) -> list[Step]:
    """Batches for some clients; each client's stream keeps its order."""
    waiting = {client: stream(rng, rng.randint(0, 400 // clients))[::-1] for client in range(clients)}
    steps = []
    while left := [client for client, numbers in waiting.items() if numbers]:
        arrivals = []
        for _ in range(rng.choice([1, 2, 8, 100])):
            client = rng.choice(left)
            if waiting[client]:
                arrivals.append((client, waiting[client].pop(), rng.randint(-1_000, 3 * NS_PER_MS)))
        after_ns = rng.choice([0, 1, NS_PER_MS, 125 * NS_PER_MS, NS_PER_S, 1_100 * NS_PER_MS])
        if arrivals:
            steps.append(Step(arrivals, after_ns, rng.random() < 0.5))
    return steps


SEEDS = st.integers(0, 2**32 - 1)
"""Everything in a test follows from one such number: a failure replays from it."""


def update(ledger: Ledger, arrivals: list[tuple[int, int, int]], now_ns: int) -> Outcome:
    slot, number, transit_ns = (np.array(column) for column in zip(*arrivals, strict=True))
    received = np.full(len(slot), UNIX_NS + now_ns)
    return ledger.update(slot.astype(np.int32), number.astype(np.uint32), received - transit_ns, received, now_ns)


def declared(ledger: Ledger, now_ns: int, hold_ns: int = 0) -> list[tuple[int, int, int]]:
    """(slot, number, cause) of what `expire` declares."""
    slot, number, cause = ledger.expire(now_ns, no_drops, hold_ns)
    return list(zip(slot.tolist(), number.tolist(), cause.tolist(), strict=True))


COUNTERS = ("highest", "received", "sent", "lost", "late", "reordered", "duplicates", "beyond_window", "jumps")


@given(SEEDS)
@settings(max_examples=200)
def test_a_batch_gives_what_the_plain_ledger_gives_one_at_a_time(seed: int) -> None:
    rng = Random(seed)
    clients, in_process, loss_after_arrivals = rng.choice([1, 3, 40]), rng.random() < 0.5, rng.choice([1, 7, 16])
    steps = steps_of(rng, clients)
    ledger = ledger_of(clients, in_process=in_process, loss_after_arrivals=loss_after_arrivals)
    plain = [PlainLedger(WINDOW, NS_PER_S, loss_after_arrivals, in_process) for _ in range(clients)]
    now_ns = START_NS
    for step in steps:
        now_ns += step.after_ns
        outcome = update(ledger, step.arrivals, now_ns)
        expected = [plain[client].take(number, transit, now_ns) for client, number, transit in step.arrivals]
        assert list(zip(outcome.extended.tolist(), outcome.flags.tolist(), strict=True)) == expected
        if step.expire:
            assert declared(ledger, now_ns) == [
                (client, number, cause) for client in range(clients) for number, cause in plain[client].expire(now_ns)
            ]
        for client, one in enumerate(plain):
            assert ledger.highest[client] == one.highest
            assert ledger.received[client] == one.received
            assert ledger.lost[client] == sum(one.lost_by_cause.values())
            assert ledger.duplicates[client] == one.duplicates
            assert ledger.reordered[client] == one.reordered
            assert ledger.late[client] == one.late
            assert ledger.beyond_window[client] == one.beyond
            assert ledger.jumps[client] == one.jumps
            for cause, count in one.lost_by_cause.items():
                assert ledger.lost_by_cause[cause, client] == count
            assert ledger.body(client)["in_flight"] == len(one.holes) + one.pushed_out
            assert ledger.jitter_ns[client] == pytest.approx(one.jitter_ns)
            assert closes(ledger, client)


@given(SEEDS)
@settings(max_examples=50)
def test_a_batch_is_the_same_as_its_datagrams_one_by_one(seed: int) -> None:
    rng = Random(seed)
    clients = rng.choice([1, 3, 40])
    steps = steps_of(rng, clients)
    whole, single = ledger_of(clients), ledger_of(clients)
    now_ns = START_NS
    for step in steps:
        now_ns += step.after_ns
        outcome = update(whole, step.arrivals, now_ns)
        alone = [update(single, [arrival], now_ns) for arrival in step.arrivals]
        assert outcome.extended.tolist() == [int(one.extended[0]) for one in alone]
        assert outcome.flags.tolist() == [int(one.flags[0]) for one in alone]
        if step.expire:
            assert declared(whole, now_ns) == declared(single, now_ns)
        for name in COUNTERS:
            assert getattr(whole, name).tolist() == getattr(single, name).tolist()
        np.testing.assert_allclose(whole.jitter_ns, single.jitter_ns)
        for slot in range(clients):
            assert whole.delay_body(slot) == single.delay_body(slot)
