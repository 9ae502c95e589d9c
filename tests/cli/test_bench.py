"""`udprism bench`: what it says of a small load, and how it looks for the highest."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from udprism.cli import bench

Figures = dict[str, Any]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "udprism", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def small() -> Figures:
    ran = run("--clients", "50", "--rate-hz", "20", "--seconds", "1", "--no-baselines", "--json")
    assert ran.returncode == 0, ran.stderr
    assert "keep" in ran.stderr  # progress while it runs
    figures: Figures = json.loads(ran.stdout)
    return figures


def test_a_small_load_arrives_whole_and_every_datagram_is_explained(small: Figures) -> None:
    assert small["unexplained"] == 0
    assert small["lost"] == 0
    assert 0.5 * 1000 < small["delivered_per_s"] < 1.2 * 1000
    assert small["sent_per_s"] == pytest.approx(small["delivered_per_s"], rel=0.1)


def test_the_viewer_of_a_small_load_sees_what_arrived_after_it_arrived(small: Figures) -> None:
    assert small["frames_per_s"] > 2
    assert 0 <= small["age_p50_ms"] <= small["age_p99_ms"]


def test_the_json_names_what_it_measured_on(small: Figures) -> None:
    assert {"delivered_per_s", "sent_per_s", "unexplained", "age_p99_ms"} <= small.keys()
    assert {"cpu_us_per_datagram", "rss_bytes_per_client", "baselines", "steps", "machine"} <= small.keys()
    assert (small["clients"], small["rate_hz"], small["viewers"]) == (50, 20, 1)
    assert small["all_heard_s"] is not None


@pytest.mark.skipif(sys.platform != "linux", reason="counted in /proc")
def test_processor_time_is_told_by_thread_and_adds_up(small: Figures) -> None:
    by_thread = small["cpu_us_by_thread"]
    assert by_thread.keys() == {"server", "pool", "web"}
    assert sum(by_thread.values()) == pytest.approx(small["cpu_us_per_datagram"])
    assert by_thread["server"] > 0
    assert by_thread["pool"] > 0
    assert small["rss_bytes_per_client"] > 0


def test_a_table_has_a_line_for_each_step_and_each_baseline(small: Figures) -> None:
    usual = {"clients": 50, "delivered_per_s": small["delivered_per_s"] / 2, "sent_per_s": 900.0}
    lines = bench.table(small | {"baselines": {"usual_stack": usual}}).splitlines()
    assert lines[1].split()[0] == "batch"
    assert lines[2].split()[:2] == ["usual_stack", "–"]
    assert any("2.00 times usual_stack" in line for line in lines)


@pytest.mark.parametrize("arguments", [("--clients", "0"), ("--rate-hz", "0"), ("--seconds", "0"), ("--viewers", "0")])
def test_what_cannot_be_measured_is_refused_before_anything_starts(arguments: tuple[str, str]) -> None:
    ran = run(*arguments)
    assert ran.returncode == 2
    assert arguments[0] in ran.stderr


@pytest.mark.parametrize("limit_per_s", [1, 49_999, 50_000, 61_000, 123_456, 4_000_000])
def test_the_search_ends_within_a_seventh_of_the_limit(limit_per_s: int) -> None:
    steps: list[Figures] = []
    asked = []
    for per_s in bench.rates(steps, 10_000, 50_000):
        asked.append(per_s)
        steps.append({"keeps_up": per_s <= limit_per_s})
        assert len(asked) < 25
    good = [per_s for per_s in asked if per_s <= limit_per_s]
    if limit_per_s >= 50_000:
        assert max(good) >= limit_per_s * 6 / 7
    assert any(per_s > limit_per_s for per_s in asked)


def test_the_search_asks_no_client_for_more_than_its_highest_rate() -> None:
    steps: list[Figures] = []
    for per_s in bench.rates(steps, 10, 50_000):
        assert per_s == 10_000
        steps.append({"keeps_up": True})
    assert len(steps) == 1
