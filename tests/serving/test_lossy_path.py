"""Sender and receiver joined by a lossy link: the sums close at every step, and every cause is the true one."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from support.ledgers import counts_agree
from support.lossy_path import SETTLE_TICKS, TICK_NS, LossyPath
from udprism.columns.types import NS_PER_MS, NS_PER_S
from udprism.ledger.fates import Cause
from udprism.link.link import Burst, Link

SEEDS = st.integers(0, 2**32 - 1)
"""Everything follows from one such number: a failure replays from it."""


def any_link(rng: Random) -> Link:
    def maybe(value: float) -> float:
        return value if rng.random() < 0.4 else 0.0

    return Link(
        loss_ratio=maybe(rng.random() * 0.3),
        burst=Burst(enter_ratio=0.05, leave_ratio=0.3, loss_ratio=0.9) if rng.random() < 0.3 else Burst(),
        delay_ms=maybe(rng.choice([3, 50, 400, 1500])),
        jitter_ms=maybe(rng.choice([2, 30, 300])),
        distribution=rng.choice(["uniform", "normal", "pareto"]),
        keep_order=rng.random() < 0.3,
        duplicate_ratio=maybe(0.1),
        corrupt_ratio=maybe(0.1),
        rate_kbit_s=rng.choice([None, None, 100.0]),
        queue_datagrams=20,
        blackout=rng.random() < 0.05,
        seed=rng.getrandbits(32),
    )


def assert_closes(path: LossyPath) -> None:
    for slot in range(path.clients):
        body = path.ledger.body(slot)
        causes = body["lost_by_cause"]
        assert body["sent"] == body["received"] + body["lost"] + body["in_flight"]
        assert body["lost"] == sum(causes.values())
        assert body["in_flight"] >= 0
        assert causes["unexplained"] == 0


def fall_silent(path: LossyPath) -> None:
    """Send no more, until all is settled that was."""
    path.put_link(None)
    quiet_ns = 2 * NS_PER_S + max(0, path.line.last_release_ns - path.now_ns)
    for _ in range(2 * quiet_ns // TICK_NS + 2 * SETTLE_TICKS):
        path.tick(sending_ratio=0.0)


@given(SEEDS)
@settings(max_examples=25)
def test_the_sums_close_at_every_step_and_end_at_the_truth(seed: int) -> None:
    rng = Random(seed)
    path = LossyPath(
        seed,
        rng.choice([1, 4]),
        any_link(rng),
        refused_ratio=rng.choice([0.0, 0.0, 0.05]),
        overflow_ratio=rng.choice([0.0, 0.0, 0.05]),
    )
    for _ in range(rng.randint(1, 4)):
        for _ in range(rng.randint(1, 200)):
            path.tick(sending_ratio=rng.choice([0.1, 0.9]))
            assert_closes(path)
        path.put_link(rng.choice([None, any_link(rng)]))
    fall_silent(path)
    assert_closes(path)
    assert counts_agree(path.ledger)
    assert path.beyond == 0
    for slot in range(path.clients):
        body = path.ledger.body(slot)
        assert body["in_flight"] == 0
        assert body["sent"] == path.next_sequence[slot]
        assert body["received"] == path.received[slot]
        truth = path.lost_in_truth(slot)
        assert body["lost"] == truth.total()
        assert {cause: int(path.ledger.lost_by_cause[cause, slot]) for cause in Cause if cause} == {
            cause: truth[cause] for cause in Cause if cause
        }
        for row in path.history.rows(slot, 256, int(path.next_sequence[slot]), shared_clock=True):
            came = (slot, row["sequence"]) in path.arrived
            assert row["fate"] in ({"received", "late"} if came else {"lost"})


@given(SEEDS)
@settings(max_examples=10)
def test_a_link_that_damages_headers_leaves_nothing_unexplained(seed: int) -> None:
    """Damaged numbers are other numbers, far ahead or long received; damaged session ids are nobody's."""
    rng = Random(seed)
    link = Link(corrupt_ratio=0.2, corrupt_header=True, loss_ratio=0.05, delay_ms=rng.choice([0, 20]), seed=seed)
    path = LossyPath(seed, 2, link, refused_ratio=0.0, overflow_ratio=0.0)
    for _ in range(500):
        path.tick(sending_ratio=rng.choice([0.1, 0.9]))
        assert_closes(path)
    fall_silent(path)
    assert_closes(path)


def test_a_link_that_holds_back_for_long_makes_datagrams_late_and_leaves_none_unexplained() -> None:
    path = LossyPath(1, 2, Link(delay_ms=1500, reorder_ratio=0.5, seed=3), refused_ratio=0.0, overflow_ratio=0.0)
    most_lost = 0
    for _ in range(800):
        path.tick(sending_ratio=0.5)
        assert_closes(path)
        most_lost = max(most_lost, int(path.ledger.lost_by_cause[Cause.LINK, 0]))
    for _ in range(2 * 3 * NS_PER_S // TICK_NS):
        path.tick(sending_ratio=0.0)
    body = path.ledger.body(0)
    assert most_lost > 0  # held back beyond the limit: called lost, on the link's account
    assert body["late"] > 100
    assert body["lost"] == 0
    assert body["in_flight"] == 0


def test_a_blackout_shows_as_lost_at_once_and_leaves_nothing_in_flight() -> None:
    path = LossyPath(1, 1, Link(), refused_ratio=0.0, overflow_ratio=0.0)
    for _ in range(100):
        path.tick(sending_ratio=1.0)
    path.put_link(Link(blackout=True))
    for _ in range(400):
        path.tick(sending_ratio=1.0)
    path.settle()
    body = path.ledger.body(0)
    assert body["lost_by_cause"]["link"] == 400
    assert body["in_flight"] == 0


def test_what_the_receivers_kernel_drops_at_the_end_of_a_stream_is_found_by_time_alone() -> None:
    path = LossyPath(1, 1, Link(), refused_ratio=0.0, overflow_ratio=0.0)
    for _ in range(100):
        path.tick(sending_ratio=1.0)
    path.overflow_ratio = 1.0
    for _ in range(300):
        path.tick(sending_ratio=1.0)
    path.settle()
    assert path.ledger.body(0)["in_flight"] > 0
    for _ in range(3 * NS_PER_S // TICK_NS):
        path.tick(sending_ratio=0.0)
    body = path.ledger.body(0)
    assert body["lost_by_cause"]["receiver_kernel"] == 300
    assert body["received"] == 100
    assert body["in_flight"] == 0
    assert NS_PER_MS < TICK_NS
