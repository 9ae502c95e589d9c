"""Jitter by the RFC's own recursion, and percentiles by sorting."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udprism.columns.types import NS_PER_MS, NS_PER_S
from udprism.ledger.delays import BUCKETS, EDGES, Delays, bucket_of

SLOTS = np.arange(2, dtype=np.int32)
ONCE = np.ones(100_000, np.bool_)


def delays_of(transits_ns: list[int], *, shared_clock: bool = True, slot: int = 0) -> Delays:
    delays = Delays(2, np.full(2, shared_clock))
    append(delays, transits_ns, slot)
    return delays


def append(delays: Delays, transits_ns: list[int], slot: int = 0) -> None:
    count = len(transits_ns)
    delays.append(np.full(count, slot, np.int64), np.array(transits_ns, np.int64), ONCE[:count])


@given(st.lists(st.integers(0, 60 * NS_PER_S), min_size=1, max_size=100))
def test_a_delay_lies_between_the_edges_of_its_bucket(delays_ns: list[int]) -> None:
    column = np.array(delays_ns, np.int64)
    bucket = bucket_of(column)
    assert (EDGES[bucket] <= column).all()
    assert ((column < EDGES[bucket + 1]) | (bucket == BUCKETS - 1)).all()


def test_buckets_are_an_eighth_wide_at_most_and_cover_half_a_minute() -> None:
    assert EDGES[0] == 0
    assert (np.diff(EDGES) <= EDGES[:-1] / 8 + 1024).all()
    assert EDGES[-1] > 30 * NS_PER_S


def test_a_delay_below_zero_is_in_the_first_bucket() -> None:
    assert bucket_of(np.array([-1, -(2**62)]))[:].tolist() == [0, 0]


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(-NS_PER_S, NS_PER_S)), max_size=200), st.integers(1, 50))
def test_jitter_is_the_recursion_of_rfc_3550(arrivals: list[tuple[int, int]], settled_every: int) -> None:
    delays = Delays(2, np.ones(2, np.bool_))
    jitter_ns, before = [0.0, 0.0], [None, None]  # type: tuple[list[float], list[int | None]]
    for place, (slot, transit_ns) in enumerate(arrivals):
        append(delays, [transit_ns], slot)
        last = before[slot]
        if last is not None:
            jitter_ns[slot] += (abs(transit_ns - last) - jitter_ns[slot]) / 16
        before[slot] = transit_ns
        if place % settled_every == 0:
            delays.settle()
    delays.settle()
    assert delays.jitter_ns.tolist() == pytest.approx(jitter_ns)


def test_jitter_keeps_its_nanoseconds_where_the_clocks_are_years_apart() -> None:
    years_ns = 50 * 365 * 86_400 * NS_PER_S
    delays = delays_of([years_ns, years_ns + 16])
    delays.settle()
    assert delays.jitter_ns[0] == pytest.approx(1.0)


def test_more_arrivals_than_the_buffer_holds_are_all_counted() -> None:
    rng = np.random.default_rng(1)
    transits = rng.integers(0, NS_PER_MS, 50_000).tolist()
    delays = delays_of(transits)
    expected = 0.0
    for last, transit in itertools.pairwise(transits):
        expected += (abs(transit - last) - expected) / 16
    delays.settle()
    assert delays.jitter_ns[0] == pytest.approx(expected)
    assert delays.percentiles(SLOTS[:1], (0.0, 1.0))[0].tolist() == [min(transits), max(transits)]


@given(st.lists(st.integers(0, 20 * NS_PER_S), min_size=1, max_size=300))
def test_percentiles_are_off_by_an_eighth_at_most_and_the_extremes_by_nothing(transits_ns: list[int]) -> None:
    ratios = (0.0, 0.5, 0.95, 0.99, 1.0)
    values = delays_of(transits_ns).percentiles(SLOTS[:1], ratios)[0].tolist()
    ordered = sorted(transits_ns)
    for ratio, value in zip(ratios, values, strict=True):
        exact = ordered[max(0, int(np.ceil(ratio * len(ordered))) - 1)]
        assert abs(value - exact) <= exact / 8 + 1024
    assert (values[0], values[-1]) == (ordered[0], ordered[-1])
    assert values == sorted(values)


def test_delays_longer_than_the_histogram_end_at_the_exact_maximum() -> None:
    body = delays_of([50 * NS_PER_S, 60 * NS_PER_S]).body(0)
    assert body["max"] == 60_000
    assert body["p50"] is not None
    assert 34_000 < body["p50"] <= 60_000


def test_nothing_measured_is_null_and_not_zero() -> None:
    delays = Delays(2, np.ones(2, np.bool_))
    assert delays.body(1) == {"min": None, "p50": None, "p95": None, "p99": None, "max": None}
    assert np.isnan(delays.p50_ns).all()


def test_without_a_shared_clock_delays_count_from_the_smallest() -> None:
    body = delays_of([-(10**17) + 5 * NS_PER_MS, -(10**17), -(10**17) + NS_PER_MS], shared_clock=False).body(0)
    assert body["min"] == 0
    assert body["max"] == 5
    assert body["p50"] == pytest.approx(1.0, rel=1 / 8)


def test_stamps_from_the_future_are_counted_where_the_clock_is_shared() -> None:
    delays = delays_of([-1, 5, -NS_PER_S])
    delays.settle()
    assert delays.negative[0] == 2
    apart = delays_of([-1, 5, -NS_PER_S], shared_clock=False)
    apart.settle()
    assert apart.negative[0] == 0


@pytest.mark.parametrize("transit_ns", [2**63 - 1, -(2**63) + 1])
def test_absurd_stamps_spoil_nothing_but_their_own_clients_figures(transit_ns: int) -> None:
    delays = delays_of([0, transit_ns, 0])
    append(delays, [NS_PER_MS, NS_PER_MS], slot=1)
    assert delays.body(1)["max"] == 1
    assert delays.jitter_ns[1] == 0
    assert np.isfinite(delays.jitter_ns[0])


def test_duplicates_count_for_jitter_and_not_as_delays() -> None:
    delays = Delays(2, np.ones(2, np.bool_))
    delays.append(np.zeros(2, np.int64), np.array([NS_PER_MS, 17 * NS_PER_MS]), np.array([True, False]))
    assert delays.body(0)["max"] == 1
    assert delays.jitter_ns[0] == NS_PER_MS


def test_a_restart_forgets_one_client_and_no_other() -> None:
    delays = delays_of([NS_PER_MS, 3 * NS_PER_MS])
    append(delays, [NS_PER_MS], slot=1)
    delays.restart(SLOTS[:1])
    assert delays.body(0)["max"] is None
    assert delays.body(1)["max"] == 1
    append(delays, [9 * NS_PER_MS])
    delays.settle()
    assert delays.jitter_ns[0] == 0  # the first arrival after it has no predecessor


def test_refresh_comes_round_to_every_client() -> None:
    count = 5_000
    delays = Delays(count, np.ones(count, np.bool_))
    delays.append(np.arange(count), np.full(count, NS_PER_MS), ONCE[:count])
    rounds = 0
    while np.isnan(delays.p50_ns).any():
        delays.refresh(count)
        rounds += 1
        assert rounds <= count // 128 + 1
    assert delays.p50_ns == pytest.approx(NS_PER_MS)
    delays.append(np.array([4_321]), np.array([3 * NS_PER_MS]), ONCE[:1])
    delays.append(np.array([4_321]), np.array([3 * NS_PER_MS]), ONCE[:1])
    delays.refresh(count)
    assert delays.p50_ns[4_321] == pytest.approx(3 * NS_PER_MS, rel=1 / 8)


def test_the_histogram_of_all_has_an_edge_per_octave_and_ends_at_infinity() -> None:
    delays = delays_of([NS_PER_MS] * 3)
    append(delays, [100 * NS_PER_MS], slot=1)
    delays.settle()
    found = delays.histogram()
    assert found.edges_s[-1] == float("inf")
    assert found.edges_s == sorted(found.edges_s)
    assert (found.below[0], found.below[-1]) == (0, 4)
    between = [below for edge, below in zip(found.edges_s, found.below, strict=True) if 0.003 < edge < 0.09]
    assert set(between) == {3}
    assert found.sum_s == pytest.approx(0.103)
