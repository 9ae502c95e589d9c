"""What was asked is what happens: over a million datagrams each figure within 1 %, or within its confidence interval.

The interval is 3.3 standard errors (99.9 %), and stated with each figure; the seed is fixed, so a run never fails by
chance.
"""

import math
from typing import Any

import numpy as np
import pytest

from udprism.link.jitter import TABLES
from udprism.link.link import Link
from udprism.link.model import LinkModel, Verdict

CLIENTS = 10_000
DATAGRAMS = 1_000_000
ERRORS = 3.3
MS = 1_000_000


def run(body: dict[str, Any], clients: int = CLIENTS, size_bytes: int = 23, tick_ns: int = 10 * MS) -> Verdict:
    """The fates of a million datagrams, [DATAGRAMS / clients, clients]; release_ns counted from the sending."""
    model = LinkModel(clients)
    slots = np.arange(clients, dtype=np.int32)
    model.assign(slots, Link.from_body({"seed": 2026, **body}), np.arange(clients, dtype=np.uint64), payload_at=20)
    size = np.full(clients, size_bytes, np.int32)
    ticks = [model.judge(slots, np.full(clients, tick), size, tick * tick_ns) for tick in range(DATAGRAMS // clients)]
    sent_ns = np.arange(len(ticks))[:, None] * tick_ns
    return Verdict(
        np.stack([tick.dropped for tick in ticks]),
        np.stack([tick.release_ns for tick in ticks]) - sent_ns,
        np.stack([tick.duplicate for tick in ticks]),
        np.stack([tick.duplicate_release_ns for tick in ticks]) - sent_ns,
        np.stack([tick.corrupt_bit for tick in ticks]),
        np.stack([tick.queue_full for tick in ticks]),
        np.stack([tick.part for tick in ticks]),
    )


def agrees(measured: float, asked: float, standard_error: float) -> bool:
    return abs(measured - asked) <= max(0.01 * asked, ERRORS * standard_error)


def ratio_agrees(hits: np.ndarray, asked: float) -> bool:
    return agrees(float(hits.mean()), asked, math.sqrt(asked * (1 - asked) / hits.size))


@pytest.mark.parametrize("asked", [0.001, 0.02, 0.3, 0.9])
def test_loss(asked: float) -> None:
    assert ratio_agrees(run({"loss_ratio": asked}).dropped, asked)


def test_losses_are_independent_of_their_neighbours_and_of_other_clients() -> None:
    dropped = run({"loss_ratio": 0.3}).dropped
    both = 0.3 * 0.3
    # A pair of neighbours is one trial; pairs overlap, which widens the error by at most a factor of sqrt(3).
    for first, second in ((dropped[1:], dropped[:-1]), (dropped[:, 1:], dropped[:, :-1])):
        error = math.sqrt(3 * both * (1 - both) / first.size)
        assert agrees(float((first & second).mean()), both, error)


def test_loss_duplication_corruption_and_reordering_are_independent_of_each_other() -> None:
    fates = run({"loss_ratio": 0.5, "duplicate_ratio": 0.5, "corrupt_ratio": 0.5, "reorder_ratio": 0.5, "delay_ms": 9})
    left = ~fates.dropped
    for share in (fates.duplicate[left], fates.corrupt_bit[left] >= 0, fates.release_ns[left] == 0):
        assert ratio_agrees(share, 0.5)
    assert ratio_agrees((fates.release_ns == 0) & fates.dropped, 0.25)
    assert ratio_agrees(fates.duplicate & (fates.corrupt_bit >= 0), 0.125)


@pytest.mark.parametrize(("enter_ratio", "leave_ratio"), [(0.01, 0.2), (0.002, 0.05), (0.1, 1.0), (0.3, 0.5)], ids=str)
def test_burst_length_and_loss(enter_ratio: float, leave_ratio: float) -> None:
    # 1,000 numbers of 1,000 clients, so that few bursts are cut off by the end; the cut ones are left out.
    dropped = run({"burst": {"enter_ratio": enter_ratio, "leave_ratio": leave_ratio}}, clients=1000).dropped
    begins = dropped.copy()
    begins[1:] &= ~dropped[:-1]
    # The mean length of all bursts: losses by beginnings, but for those that were under way at the start.
    lengths = dropped[100:].sum() / begins[100:].sum()
    mean = 1 / leave_ratio
    assert agrees(float(lengths), mean, mean * math.sqrt(2 / begins.sum()))
    share = enter_ratio / (enter_ratio + leave_ratio)
    # Neighbours resemble each other: so many fewer independent trials (integrated autocorrelation of the chain).
    kept = 1 - enter_ratio - leave_ratio
    trials = dropped[100:].size * (1 - kept) / (1 + kept)
    assert agrees(float(dropped[100:].mean()), share, math.sqrt(share * (1 - share) / trials))


def test_a_bursts_lengths_are_geometric() -> None:
    dropped = run({"burst": {"enter_ratio": 0.02, "leave_ratio": 0.25}}, clients=1000).dropped
    padded = np.pad(dropped, ((1, 1), (0, 0))).T.ravel().astype(np.int8)
    edges = np.flatnonzero(np.diff(padded))
    lengths = edges[1::2] - edges[::2]
    for length in (1, 2, 3, 8):
        share = 0.25 * 0.75 ** (length - 1)
        assert agrees(float((lengths == length).mean()), share, math.sqrt(share * (1 - share) / len(lengths)))


def test_loss_within_and_between_bursts() -> None:
    burst = {"enter_ratio": 0.05, "leave_ratio": 0.2, "loss_ratio": 0.6}
    asked = 0.2 * 0.6 + 0.8 * 0.1
    dropped = run({"loss_ratio": 0.1, "burst": burst}).dropped[20:]
    kept = 0.75
    trials = dropped.size * (1 - kept) / (1 + kept)
    assert agrees(float(dropped.mean()), asked, math.sqrt(asked * (1 - asked) / trials))


# In jitters: mean, standard deviation. netem's Pareto (shape 3, less 1.5, times 4/3, cut at 4 where x is 4.5):
# the cut one's mean is 1.5 - 4.5**-2 / 2, its second moment 3 - 2 / 4.5.
_PARETO_MEAN = 1.5 - 4.5**-2 / 2
SHAPES = {
    "uniform": (0.0, 1 / math.sqrt(3)),
    "normal": (0.0, 1.0),
    "pareto": ((_PARETO_MEAN - 1.5) * 4 / 3, math.sqrt(3 - 2 / 4.5 - _PARETO_MEAN**2) * 4 / 3),
}


@pytest.mark.parametrize("distribution", SHAPES)
def test_delay_mean_and_spread(distribution: str) -> None:
    away, spread = SHAPES[distribution]
    fates = run({"delay_ms": 100, "jitter_ms": 20, "distribution": distribution})
    delay_ms = fates.release_ns / MS
    assert agrees(delay_ms.mean(), 100 + 20 * away, 20 * spread / 1000)
    assert agrees(delay_ms.std(), 20 * spread, 0.0)
    # Delays of neighbours have nothing to do with each other.
    assert abs(np.corrcoef(delay_ms[1:].ravel(), delay_ms[:-1].ravel())[0, 1]) < ERRORS / 1000


@pytest.mark.parametrize("distribution", SHAPES)
def test_delay_percentiles(distribution: str) -> None:
    delay_ms = run({"delay_ms": 100, "jitter_ms": 20, "distribution": distribution}).release_ns / MS
    percent = np.array([1, 5, 25, 50, 75, 95, 99])
    quantile = {
        "uniform": lambda p: 2 * p - 1,
        "normal": lambda p: np.array([-2.32635, -1.64485, -0.67449, 0, 0.67449, 1.64485, 2.32635]),
        "pareto": lambda p: np.minimum(((1 - p) ** (-1 / 3) - 1.5) * 4 / 3, 4),
    }[distribution](percent / 100)
    assert np.percentile(delay_ms, percent) == pytest.approx(100 + 20 * quantile, rel=0.01)


def test_the_tables_mean_and_spread_are_those_of_their_shapes() -> None:
    for table, (mean, spread) in zip(TABLES, SHAPES.values(), strict=True):
        assert table.mean() == pytest.approx(mean, abs=0.002)
        assert table.std() == pytest.approx(spread, rel=0.003)


@pytest.mark.parametrize("asked", [0.01, 0.25])
def test_duplicates(asked: float) -> None:
    assert ratio_agrees(run({"duplicate_ratio": asked}).duplicate, asked)


@pytest.mark.parametrize("asked", [0.01, 0.25])
def test_reordering(asked: float) -> None:
    assert ratio_agrees(run({"reorder_ratio": asked, "delay_ms": 50}).release_ns == 0, asked)


@pytest.mark.parametrize("asked", [0.01, 0.25])
def test_corruption(asked: float) -> None:
    corrupt_bit = run({"corrupt_ratio": asked}).corrupt_bit
    assert ratio_agrees(corrupt_bit >= 0, asked)
    # Each of the 24 bits of one pixel as often as any other.
    hits = np.bincount(corrupt_bit[corrupt_bit >= 0] - 160, minlength=24)
    expected = hits.sum() / 24
    assert np.abs(hits - expected).max() < 4 * math.sqrt(expected)


def test_achieved_rate() -> None:
    # Offered 1,000 datagrams/s of 22 + 28 bytes, which is 400 kbit/s, to 100 kbit/s.
    fates = run({"rate_kbit_s": 100, "queue_datagrams": 20}, clients=1000, size_bytes=22, tick_ns=MS)
    ticks = len(fates.dropped)
    left_ns = (fates.release_ns + np.arange(ticks)[:, None] * MS)[~fates.dropped]
    within = (left_ns < ticks * MS).sum()
    achieved_kbit_s = within * 50 * 8 / 1000 / (ticks / 1000) / 1000
    assert achieved_kbit_s == pytest.approx(100, rel=0.01)
    # The full queue is felt as its wait: 20 datagrams of 4 ms each.
    assert np.percentile(fates.release_ns[100:][~fates.dropped[100:]], 50) / MS == pytest.approx(80, rel=0.05)


def test_a_rate_that_suffices_drops_and_delays_nothing() -> None:
    fates = run({"rate_kbit_s": 100}, size_bytes=22, tick_ns=4 * MS)
    assert not fates.dropped.any()
    assert not fates.release_ns.any()
