"""`udprism bench`: what it says of a small load, and how it looks for the highest."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from support.program import DEADLINE_S
from udprism.cli import baselines, bench
from udprism.cli.scenario import EXIT_VOID
from udprism.node import scenario

Figures = dict[str, Any]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "udprism", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ | environment)


@pytest.fixture(scope="module")
def small() -> Figures:
    ran = run("--clients", "50", "--rate-hz", "20", "--seconds", "1", "--no-baselines", "--json")
    assert "keep" in ran.stderr  # progress while it runs
    figures: Figures = json.loads(ran.stdout)
    # A neighbour may take so much of this machine that a thousand datagrams per second are too many.
    assert ran.returncode == (0 if scenario.is_kept(figures["schedule_kept_ratio"]) else EXIT_VOID), ran.stderr
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


def test_a_rate_that_no_machine_keeps_has_no_verdict() -> None:
    ran = run("--clients", "3000", "--rate-hz", "1000", "--seconds", "0.5", "--no-baselines", "--json")
    assert ran.returncode == EXIT_VOID, ran.stderr
    assert json.loads(ran.stdout)["schedule_kept_ratio"] < 0.9


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


def test_a_baseline_that_breaks_down_is_said_and_the_figures_of_all_others_hold(small: Figures) -> None:
    ran = run("--clients", "5", "--rate-hz", "20", "--seconds", "0.5", "--json", PATH="/nowhere")
    figures = json.loads(ran.stdout)
    assert figures["baselines"]["kernel_limit"] == {"broke_down": "there is no C compiler"}
    assert figures["baselines"]["usual_stack"]["delivered_per_s"] > 0
    assert figures["baselines"]["threads_engine"]["delivered_per_s"] > 0
    table = bench.table(figures)
    assert "kernel_limit broke down: there is no C compiler" in table
    assert "broke down" in ran.stderr


def test_a_rate_that_was_not_kept_is_no_figure_of_that_rate(small: Figures) -> None:
    assert "the sender kept 96%" not in bench.table(small | {"schedule_kept_ratio": 0.96})
    assert "the sender kept 52% of its schedule" in bench.table(small | {"schedule_kept_ratio": 0.52})


def test_a_search_says_both_rates_that_the_readme_names(small: Figures) -> None:
    steps = [small | {"delivered_per_s": 1e5, "keeps_up": True}, small | {"delivered_per_s": 2e5, "keeps_up": False}]
    lines = bench.table(small | steps[1] | {"steps": steps, "sound": True}).splitlines()
    assert "at its most, none lost: 200,000/s" in lines
    assert "with its whole schedule kept: 100,000/s" in lines


def descendants(pid: int) -> set[int]:
    """Process ids of all that a process has started, and of what these have started."""
    found: set[int] = set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found |= {child} | descendants(child)
    return found


def is_running(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="children are found in /proc")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_however_the_bench_ends_nothing_that_it_started_goes_on(how: signal.Signals) -> None:
    command = [sys.executable, "-m", "udprism", "bench", "--clients", "5", "--rate-hz", "5", "--seconds", "60"]
    with subprocess.Popen([*command, "--viewers", "2"], stderr=subprocess.DEVNULL, start_new_session=True) as process:
        until_s = time.monotonic() + DEADLINE_S
        while len(started := descendants(process.pid)) < 2:  # the product, and the crowd of viewers
            assert time.monotonic() < until_s
            time.sleep(0.05)
        process.send_signal(how)
        process.wait(DEADLINE_S)
    while any(map(is_running, started)):
        assert time.monotonic() < until_s + DEADLINE_S
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="children are found in /proc")
def test_however_the_usual_stack_ends_its_parts_end(tmp_path: Path) -> None:
    command = [sys.executable, "-m", baselines.USUAL_STACK, "--clients", "5", "--seconds", "60"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        until_s = time.monotonic() + DEADLINE_S
        while len(started := descendants(process.pid)) < 2:
            assert time.monotonic() < until_s
            time.sleep(0.05)
        process.kill()
    while any(map(is_running, started)):
        assert time.monotonic() < until_s + DEADLINE_S
        time.sleep(0.05)


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
