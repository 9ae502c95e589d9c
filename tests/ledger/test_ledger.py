"""The ledger against a plain, slow one, and against what must be true of any ledger."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from random import Random
from types import FrameType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.ledgers import START_NS, UNIX_NS, WINDOW, closes, counts_agree, declared, ledger_of, take
from support.plain_ledger import PlainLedger
from udprism.columns.types import NS_PER_MS, NS_PER_S
from udprism.ledger.fates import BEYOND, DUPLICATE, LATE, NEW, REORDERED
from udprism.ledger.ledger import BatchResult, Ledger


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
        for _ in range(rng.choice([1, 2, 8, 100, 300])):
            client = rng.choice(left)
            if waiting[client]:
                arrivals.append((client, waiting[client].pop(), rng.randint(-1_000, 3 * NS_PER_MS)))
        after_ns = rng.choice([0, 1, NS_PER_MS, 125 * NS_PER_MS, NS_PER_S, 1_100 * NS_PER_MS])
        if arrivals:
            steps.append(Step(arrivals, after_ns, rng.random() < 0.5))
    return steps


SEEDS = st.integers(0, 2**32 - 1)
"""Everything in a test follows from one such number: a failure replays from it."""


def update(ledger: Ledger, arrivals: list[tuple[int, int, int]], now_ns: int) -> BatchResult:
    slot, number, transit_ns = (np.array(column) for column in zip(*arrivals, strict=True))
    received = np.full(len(slot), UNIX_NS + now_ns)
    return ledger.update(slot.astype(np.int32), number.astype(np.uint32), received - transit_ns, received, now_ns)


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
        assert counts_agree(ledger)


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
            assert whole.delays.body(slot) == single.delays.body(slot)


def flags_of(outcome: BatchResult) -> list[int]:
    return outcome.flags.tolist()


def test_what_comes_in_order_is_received_once_each() -> None:
    ledger = ledger_of()
    outcome = take(ledger, 0, 1, 2)
    assert outcome.extended.tolist() == [0, 1, 2]
    assert flags_of(outcome) == [NEW, NEW, NEW]
    assert (ledger.received[0], ledger.sent[0], ledger.lost[0]) == (3, 3, 0)


def test_reordered_is_what_came_after_a_higher_number() -> None:
    ledger = ledger_of()
    assert flags_of(take(ledger, 0, 3, 1, 2, 4)) == [NEW, NEW, NEW | REORDERED, NEW | REORDERED, NEW]
    assert (ledger.reordered[0], ledger.received[0]) == (2, 5)


def test_a_duplicate_counts_apart_even_in_the_batch_of_its_first_copy() -> None:
    ledger = ledger_of()
    assert flags_of(take(ledger, 0, 0, 1, 1, 1)) == [NEW, DUPLICATE, NEW, DUPLICATE, DUPLICATE]
    assert (ledger.received[0], ledger.duplicates[0]) == (2, 3)


def test_a_hole_is_lost_after_a_second_and_not_before() -> None:
    ledger = ledger_of()
    take(ledger, 0, 2)
    assert declared(ledger, START_NS + NS_PER_S - 1) == []
    assert ledger.body(0)["in_flight"] == 1
    later_ns = START_NS + NS_PER_S + 20 * NS_PER_MS  # ticks are 16.8 ms
    assert [number for _, number, _ in declared(ledger, later_ns)] == [1]
    assert ledger.body(0)["in_flight"] == 0
    assert declared(ledger, later_ns + NS_PER_S) == []


def test_a_hole_is_lost_after_so_many_later_arrivals() -> None:
    ledger = ledger_of(loss_after_arrivals=16)
    take(ledger, 0, *range(2, 17))
    assert declared(ledger, START_NS) == []
    take(ledger, 17)
    assert [number for _, number, _ in declared(ledger, START_NS)] == [1]


def test_a_late_datagram_moves_from_lost_to_received() -> None:
    ledger = ledger_of()
    take(ledger, 0, 2)
    declared(ledger, START_NS + 2 * NS_PER_S)
    assert (ledger.lost[0], ledger.received[0]) == (1, 2)
    assert flags_of(take(ledger, 1, 1)) == [NEW | REORDERED | LATE, DUPLICATE]
    assert (ledger.lost[0], ledger.received[0], ledger.late[0]) == (0, 3, 1)
    assert closes(ledger)


def test_numbers_go_on_across_the_wrap() -> None:
    ledger = ledger_of()
    first = 2**32 - 3
    take(ledger, first)
    outcome = take(ledger, first + 1, first + 3, first + 2, first + 4, first + 4)
    assert outcome.extended.tolist() == [first + 1, first + 3, first + 2, first + 4, first + 4]
    assert flags_of(outcome) == [NEW, NEW, NEW | REORDERED, NEW, DUPLICATE]
    assert ledger.received[0] == 5


def test_many_wraps_lose_nothing() -> None:
    ledger = ledger_of()
    number = 0
    for _ in range(3 * 2**32 // 2**29):
        take(ledger, number, number + 1)
        number += 2**29
    assert ledger.highest[0] == number - 2**29 + 1
    assert closes(ledger)


def test_a_stream_that_is_met_in_its_midst_counts_from_there() -> None:
    ledger = ledger_of()
    assert flags_of(take(ledger, 50_000, 50_001, 49_999)) == [NEW, NEW, BEYOND]
    assert (ledger.sent[0], ledger.received[0], ledger.lost[0]) == (2, 2, 0)


def test_a_stream_whose_first_datagrams_are_missing_counts_them() -> None:
    ledger = ledger_of()
    take(ledger, 3)
    assert ledger.body(0)["in_flight"] == 3
    assert len(declared(ledger, START_NS + 2 * NS_PER_S)) == 3


def test_a_new_session_begins_at_zero_and_keeps_the_totals() -> None:
    ledger = ledger_of()
    take(ledger, 0, 1, 3)
    slots = np.zeros(1, np.int32)
    ledger.begin_session(slots, np.array([False]), np.array([True]))
    assert ledger.highest[0] == -1
    assert closes(ledger)
    assert ledger.body(0)["in_flight"] == 1
    declared(ledger, START_NS)
    assert ledger.lost[0] == 1  # what the earlier session left open comes no more
    assert flags_of(take(ledger, 0, 1)) == [NEW, NEW]
    assert (ledger.sent[0], ledger.received[0]) == (6, 5)
    assert closes(ledger)


def test_a_reset_forgets_one_client_and_no_other() -> None:
    ledger = ledger_of(2)
    take(ledger, 0, 2, 2)
    take(ledger, 0, 2, slot=1)
    ledger.reset(np.zeros(1, np.int32))
    assert (ledger.received.tolist(), ledger.sent.tolist()) == ([0, 2], [0, 3])
    assert ledger.body(0)["sent"] is None
    ledger.begin_session(np.zeros(1, np.int32), np.array([False]), np.array([True]))
    assert flags_of(take(ledger, 2)) == [NEW]
    assert counts_agree(ledger)


def test_plain_datagrams_are_numbered_by_their_arrival() -> None:
    ledger = Ledger(2, window=WINDOW, loss_after_ns=NS_PER_S, loss_after_arrivals=16)
    ledger.reset(np.arange(2, dtype=np.int32))
    slots = np.array([0, 1, 0, 0], np.int32)
    assert ledger.update_plain(slots, np.zeros(4, np.int64)).tolist() == [0, 0, 1, 2]
    assert ledger.update_plain(slots[:2], np.zeros(2, np.int64)).tolist() == [3, 1]
    assert ledger.received.tolist() == [4, 2]
    assert ledger.next_sequence(0) == 4


# -- hostile senders


def test_one_wild_number_is_not_believed_and_two_in_a_row_are() -> None:
    ledger = ledger_of()
    take(ledger, 0, 1)
    assert flags_of(take(ledger, 1_000_000, 2)) == [BEYOND, NEW]
    assert (ledger.highest[0], ledger.jumps[0], ledger.beyond_window[0]) == (2, 0, 1)
    assert flags_of(take(ledger, 2_000_000, 2_000_001)) == [BEYOND, NEW]
    assert (ledger.highest[0], ledger.jumps[0], ledger.beyond_window[0]) == (2_000_001, 1, 1)
    assert ledger.received[0] == 5  # the first of the two is believed after all
    assert closes(ledger)
    declared(ledger, START_NS + 2 * NS_PER_S)
    assert ledger.lost[0] == 2_000_000 - 3


def test_a_datagram_in_order_clears_its_sender_of_suspicion() -> None:
    ledger = ledger_of()
    take(ledger, 0)
    take(ledger, 1_000_000)
    take(ledger, 1)
    assert flags_of(take(ledger, 1_000_001)) == [BEYOND]
    assert ledger.jumps[0] == 0


def test_a_batch_that_is_longer_than_the_window_clears_each_place_once() -> None:
    ledger = ledger_of()
    take(ledger, 0, 2)
    declared(ledger, START_NS + 2 * NS_PER_S)
    take(ledger, *range(3, 3 + 3 * WINDOW))
    assert counts_agree(ledger)
    assert ledger.received[0] == 2 + 3 * WINDOW


def test_a_sender_that_numbers_anew_is_followed_and_the_sums_still_close() -> None:
    ledger = ledger_of()
    take(ledger, *range(200))
    take(ledger, 202)
    assert flags_of(take(ledger, 0, 1, 2)) == [BEYOND, NEW, NEW]
    assert (ledger.highest[0], ledger.jumps[0]) == (2, 1)
    assert ledger.received[0] == 204
    assert closes(ledger)
    declared(ledger, START_NS + 2 * NS_PER_S)
    assert ledger.lost[0] == 2
    assert ledger.sent[0] == 206


def test_in_our_own_process_no_sender_numbers_anew() -> None:
    ledger = ledger_of(in_process=True)
    take(ledger, *range(200))
    assert flags_of(take(ledger, 0, 1, 2, 200)) == [BEYOND, BEYOND, BEYOND, NEW]


def test_in_our_own_process_a_number_is_believed_that_was_sent() -> None:
    ledger = ledger_of(in_process=True)
    ledger.ask_sender = lambda slots: np.full(len(slots), 5_000)
    take(ledger, 0, 1, 5)
    assert flags_of(take(ledger, 4_000, 3_999, 1_000_000, 5_000)) == [NEW, NEW | REORDERED, BEYOND, BEYOND]
    assert (ledger.highest[0], ledger.beyond_window[0], ledger.sent[0]) == (4_000, 2, 5_000)
    assert closes(ledger)


@pytest.mark.parametrize("clients", [1, 20])
def test_in_our_own_process_a_number_shortly_ahead_that_was_not_sent_is_none(clients: int) -> None:
    """A link that damages headers makes such numbers: of the last ones of a session nothing would ever come."""
    ledger = ledger_of(clients, in_process=True)
    ledger.ask_sender = lambda slots: np.full(len(slots), 3)
    for number, flags in ((0, NEW), (4, BEYOND), (2, NEW)):
        arrivals = [(client, number, NS_PER_MS) for client in range(clients)]
        assert set(flags_of(update(ledger, arrivals, START_NS))) == {flags}
    assert ledger.sent.tolist() == [3] * clients


def test_in_our_own_process_a_stream_is_followed_from_its_beginning() -> None:
    ledger = ledger_of(in_process=True)
    ledger.ask_sender = lambda slots: np.full(len(slots), 1_001)
    take(ledger, 1_000)
    assert (ledger.sent[0], ledger.received[0]) == (1_001, 1)
    assert closes(ledger)


def test_one_number_for_ever_is_one_datagram_and_many_duplicates() -> None:
    ledger = ledger_of()
    take(ledger, *[7] * 5_000)
    assert (ledger.received[0], ledger.duplicates[0], ledger.highest[0]) == (1, 4_999, 7)


def test_one_wild_number_for_ever_is_never_believed() -> None:
    ledger = ledger_of()
    take(ledger, 0)
    take(ledger, *[1_000_000] * 1_000)
    assert (ledger.received[0], ledger.beyond_window[0]) == (1, 1_000)


def test_a_sender_that_goes_backwards_is_followed_no_further_than_the_window() -> None:
    ledger = ledger_of()
    take(ledger, 10)
    take(ledger, *[10 - back for back in range(1, 1_000)])
    assert ledger.received[0] == 11
    assert closes(ledger)


def test_stamps_from_the_future_are_counted() -> None:
    ledger = ledger_of()
    take(ledger, 0, 1, 2, transit_ns=-5 * NS_PER_S)
    assert ledger.negative_delays[0] == 3
    assert ledger.anomalies(0) == {"jumps": 0, "beyond_window": 0, "negative_delays": 3}


class CallCounter:
    """How many Python and C functions are called: what work is done, without a clock."""

    def __init__(self) -> None:
        self.calls = 0

    def __enter__(self) -> CallCounter:
        sys.setprofile(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _count(self, frame: FrameType, event: str, arg: object) -> None:
        self.calls += event in ("call", "c_call")


@pytest.mark.parametrize("step", [2, 9, WINDOW, WINDOW + 1, 1_000_000, -1, -WINDOW, -1_000_000, 2**31, 0])
def test_a_hostile_datagram_costs_no_more_than_a_few_hundred_calls(step: int) -> None:
    ledger = ledger_of()
    take(ledger, 0)
    numbers = [(7 + place * step) % 2**32 for place in range(500)]
    with CallCounter() as counter:
        take(ledger, *numbers)
        declared(ledger, START_NS + 2 * NS_PER_S)
    assert counter.calls / len(numbers) < 150
    assert closes(ledger)


def test_a_hostile_client_changes_nothing_for_the_others() -> None:
    rng = Random(5)
    alone, beside = ledger_of(2), ledger_of(2)
    for number in range(300):
        take(alone, number)
        wild = [rng.getrandbits(32) for _ in range(5)]
        batch = [(0, number, NS_PER_MS)] + [(1, one, -NS_PER_S) for one in wild]
        rng.shuffle(batch)
        update(beside, batch, START_NS)
    assert alone.body(0) == beside.body(0)
    assert alone.delays.body(0) == beside.delays.body(0)
    assert closes(beside, 1)
