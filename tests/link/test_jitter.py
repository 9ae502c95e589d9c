"""Jitter's tables are those of the kernel's netem."""

from pathlib import Path

import numpy as np
import pytest

from udprism.link.jitter import DISTRIBUTIONS, TABLES, deviation

TC_SCALE = 8192
"""netem's tables are whole numbers in units of 1 / 8192 jitter."""


def tables_of_tc(distribution: str) -> list[Path]:
    places = ("lib/tc", "lib/*/tc", "share/tc")
    return [path for place in places for path in Path("/usr").glob(f"{place}/{distribution}.dist")]


@pytest.mark.parametrize("distribution", ["normal", "pareto"])
def test_the_table_is_that_of_tc(distribution: str) -> None:
    found = tables_of_tc(distribution)
    if not found:
        pytest.skip("tc's tables are not installed (iproute2)")
    lines = [line for line in found[0].read_text().splitlines() if not line.startswith("#")]
    theirs = np.sort(np.array(" ".join(lines).split(), np.float64)) / TC_SCALE
    ours = TABLES[DISTRIBUTIONS.index(distribution)]
    at = np.array([0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999])
    assert np.quantile(ours, at) == pytest.approx(np.quantile(theirs, at), rel=0.01, abs=0.01)
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.005)
    assert ours.std() == pytest.approx(theirs.std(), rel=0.01)


def test_uniform_is_even_from_minus_one_to_one() -> None:
    words = (np.arange(1 << 12, dtype=np.uint64) << np.uint64(20)) + np.uint64(12345)
    away = deviation(np.zeros(len(words), np.uint8), words)
    assert np.diff(away) == pytest.approx(2 / len(words))
    assert (away[0], away[-1]) == (pytest.approx(-1, abs=0.001), pytest.approx(1, abs=0.001))


def test_rows_of_different_shapes_go_together() -> None:
    words = np.full(3, (1 << 32) - 1, np.uint64)
    away = deviation(np.array([0, 1, 2], np.uint8), words)
    assert away.tolist() == [TABLES[0, -1], TABLES[1, -1], TABLES[2, -1]]
    assert away[2] == 4.0
