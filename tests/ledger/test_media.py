"""RFC 3550's jitter in media clock, against the program in its appendix A.8."""

from __future__ import annotations

import numpy as np
import pytest

from udprism.columns.types import NS_PER_S
from udprism.ledger.media import MediaJitter

START_NS = 1_700_000_000 * NS_PER_S
SLOTS = np.arange(4, dtype=np.int32)


def feed(jitter: MediaJitter, rows: list[tuple[int, float, int, int]]) -> None:
    """Rows of (slot, arrival in seconds, time, hz), in one batch."""
    slot, at_s, time, hz = zip(*rows, strict=True)
    jitter.update(
        np.array(slot, np.int32),
        START_NS + (np.array(at_s) * NS_PER_S).astype(np.int64),
        np.array(time, np.uint32),
        np.array(hz, np.int32),
    )


def plain(rows: list[tuple[int, float, int, int]]) -> dict[int, float]:
    """The same one by one, as RFC 3550 section A.8 does it, in fractions of ticks."""
    found: dict[int, float] = {}
    last: dict[int, float] = {}
    for slot, at_s, time, hz in rows:
        transit = int(at_s * NS_PER_S) * hz / NS_PER_S - time
        change = abs(transit - last[slot]) if slot in last else 0.0
        found[slot] = found.get(slot, 0.0) + (change - found.get(slot, 0.0)) / 16
        last[slot] = transit
    return found


@pytest.fixture
def jitter() -> MediaJitter:
    made = MediaJitter(4)
    made.reset(SLOTS)
    return made


@pytest.mark.parametrize("size", [1, 7, 400])
def test_the_columns_compute_what_the_rfc_does(jitter: MediaJitter, size: int) -> None:
    rng = np.random.default_rng(5)
    rows = [
        (int(rng.integers(0, 3)), at / 50 + float(rng.random()) / 100, at * 1800 + int(rng.integers(0, 9)), 90_000)
        for at in range(400)
    ]
    for begin in range(0, len(rows), size):
        feed(jitter, rows[begin : begin + size])
    for slot, expected in plain(rows).items():
        assert jitter.ticks[slot] == pytest.approx(expected, rel=1e-6)
        assert jitter.ms(SLOTS)[slot] == pytest.approx(expected / 90, rel=1e-6)


def test_a_steady_sender_has_none_also_where_its_time_goes_round(jitter: MediaJitter) -> None:
    feed(jitter, [(0, at / 50, (2**32 - 800 + at * 160) % 2**32, 8000) for at in range(20)])
    assert jitter.ticks[0] == pytest.approx(0, abs=1e-3)


def test_one_datagram_late_by_a_tick_s_sixteenth(jitter: MediaJitter) -> None:
    feed(jitter, [(0, 0.0, 0, 8000), (0, 0.022, 160, 8000)])
    assert jitter.ticks[0] == pytest.approx(1.0)  # 2 ms are 16 ticks


def test_an_unknown_clock_has_no_jitter(jitter: MediaJitter) -> None:
    feed(jitter, [(0, 0.0, 0, 0), (0, 0.5, 160, 0)])
    assert np.isnan(jitter.ms(SLOTS)[0])


def test_rows_without_a_clock_between_others_change_nothing(jitter: MediaJitter) -> None:
    feed(jitter, [(0, 0.0, 0, 8000), (0, 0.01, 99, 0), (0, 0.02, 160, 8000)])
    assert jitter.ticks[0] == pytest.approx(0, abs=1e-3)


def test_after_an_interruption_any_time_may_follow(jitter: MediaJitter) -> None:
    feed(jitter, [(0, 0.0, 0, 8000), (0, 0.022, 160, 8000)])
    jitter.interrupted(SLOTS[:1])
    feed(jitter, [(0, 9.0, 3_000_000_000, 8000)])
    assert jitter.ticks[0] == pytest.approx(15 / 16)


def test_another_clock_begins_anew(jitter: MediaJitter) -> None:
    feed(jitter, [(0, 0.0, 0, 8000), (0, 0.022, 160, 8000), (0, 0.03, 5, 90_000), (0, 0.031, 185, 90_000)])
    assert (jitter.hz[0], jitter.ticks[0]) == (90_000, pytest.approx(90 / 16))
