"""Costs as ratios of one run, less the spread that was measured: another program must not make them fail."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from udprism.cli import baselines, bench

pytestmark = [
    pytest.mark.slow,  # they take all of the machine, and other tests beside them would take it from them
    pytest.mark.skipif(sys.platform != "linux", reason="processor time is counted in /proc"),
]

Figures = dict[str, Any]
TOTAL_PER_S = 20_000
MANY, FEW = 4000, 100


def at(clients: int, per_s: float) -> Figures:
    return bench.measure("batch", clients, per_s / clients, 1.0, 1)


@pytest.fixture(scope="module")
def of_few() -> Figures:
    return at(FEW, TOTAL_PER_S)


@pytest.fixture(scope="module")
def of_many() -> Figures:
    return at(MANY, TOTAL_PER_S)


def test_a_datagram_costs_about_the_same_among_many_clients_and_few(of_few: Figures, of_many: Figures) -> None:
    assert of_many["cpu_us_per_datagram"] < 3 * of_few["cpu_us_per_datagram"]


def test_a_load_that_the_machine_can_carry_loses_nothing(of_few: Figures, of_many: Figures) -> None:
    for figures in (of_few, of_many):
        assert (figures["lost"], figures["unexplained"]) == (0, 0)


@pytest.fixture(scope="module")
def too_much() -> Figures:
    return at(MANY, 2_000_000)


def test_more_than_the_machine_can_carry_is_skipped_and_counted_but_not_lost_unexplained(too_much: Figures) -> None:
    assert too_much["skipped_ticks"] > 0
    assert too_much["unexplained"] == 0


PART_OF_THE_KERNEL_LIMIT, SPREAD = 0.55, 0.14
"""As the README says: the median of seven pairs of one second, and how far below it the lowest of them was."""
PAIRS = 3


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_whole_product_carries_the_part_of_the_kernels_limit_that_the_readme_claims(tmp_path: Path) -> None:
    program = tmp_path / "kernel_limit"
    command = ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", str(program), str(baselines.KERNEL_LIMIT)]
    subprocess.run(command, check=True)

    def limit_per_s() -> float:
        ran = subprocess.run([program, str(MANY), "1", "23"], capture_output=True, check=True)
        figures: Figures = json.loads(ran.stdout)
        return float(figures["delivered_per_s"])

    parts = []
    for _ in range(PAIRS):
        before = limit_per_s()
        carried = at(MANY, 2_000_000)["delivered_per_s"]
        parts.append(2 * carried / (before + limit_per_s()))
    print("of the kernel's limit:", *(f"{part:.2f}" for part in parts))
    assert statistics.median(parts) > PART_OF_THE_KERNEL_LIMIT - SPREAD
