"""Fifty viewers on ten thousand clients, with the real program: a further one costs next to nothing."""

from __future__ import annotations

import sys

import pytest

from bench import viewers
from support import program

CLIENTS, FURTHER, SECONDS = 10_000, 50, 8.0


@pytest.mark.endurance
@pytest.mark.skipif(sys.platform != "linux", reason="processor time is counted in /proc")
def test_a_further_viewer_costs_a_small_part_of_the_first_and_all_join_at_once() -> None:
    with program.ephemeral("--clients", str(CLIENTS), "--rate-hz", "0.5", UDPRISM_FRAME_HZ="10") as served:
        viewers.settled(served, CLIENTS)
        figures = viewers.measure(served, CLIENTS, FURTHER, SECONDS)
    print(figures)
    # 0.03 to 0.06 on a quiet machine; pictures encoded for each viewer anew would make it nearly 1.
    assert figures["wall_further_to_first"] < 0.25
    assert figures["lanes_further_to_first"] < 0.25
    assert figures["join_median_ms"] < 2 * 250
