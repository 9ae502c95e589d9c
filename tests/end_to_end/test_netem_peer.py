"""The link side by side with the kernel's netem: the same settings, the same streams, at the same time.

Losses and order are compared on any machine. Times are compared on one that has time for it: `-m slow`.

The noise that is allowed: four standard errors of each ratio (both sides count), for reordering also the share of ticks
that were sent over 1 ms late; for each delay percentile 2 ms, at p99 5 ms, plus what ours was late by its own count,
because a process is scheduled less exactly than the kernel's timer.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SECONDS = 2.2
ONE_WAY = Path(__file__).parents[1] / "support" / "one_way.py"
DEADLINE_S = 60
TOO_BUSY = 0.5
"""Share of late ticks above which both sides, the kernel's timers too, measure the machine and not the link."""


@dataclass(frozen=True)
class Peer:
    """One setting in both languages. spread: how many datagrams share one draw of the loss, for its standard error."""

    name: str
    netem: str
    link: dict[str, Any]
    spread: float = 1.0


PEERS = [
    Peer(
        "loss and normal jitter",
        "delay 30ms 8ms distribution normal loss 10%",
        {"delay_ms": 30, "jitter_ms": 8, "distribution": "normal", "loss_ratio": 0.1},
    ),
    Peer(
        "bursts and uniform jitter",
        "delay 30ms 15ms loss gemodel 5% 25%",
        {"delay_ms": 30, "jitter_ms": 15, "burst": {"enter_ratio": 0.05, "leave_ratio": 0.25}},
        spread=(1 + 0.7) / (1 - 0.7),
    ),
    Peer(
        "reordering and Pareto jitter",
        "delay 60ms 10ms distribution pareto reorder 15%",
        {"delay_ms": 60, "jitter_ms": 10, "distribution": "pareto", "reorder_ratio": 0.15},
    ),
]


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


@pytest.fixture(scope="module")
def namespaces() -> Iterator[tuple[str, str]]:
    """Two network namespaces with nothing but loopback: one where the kernel impairs, one where nothing does."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("network namespaces and tc need root")
    if not (shutil.which("ip") and shutil.which("tc")):
        pytest.skip("ip and tc (iproute2) are not installed")
    names = (f"udprism-netem-{os.getpid()}", f"udprism-plain-{os.getpid()}")
    try:
        for name in names:
            made = _run("ip", "netns", "add", name)
            if made.returncode != 0:
                pytest.skip(f"cannot make a network namespace: {made.stderr.strip()}")
            assert _run("ip", "-n", name, "link", "set", "lo", "up").returncode == 0
        tried = _run("tc", "-n", names[0], "qdisc", "add", "dev", "lo", "root", "netem", "limit", "10000")
        if tried.returncode != 0:
            pytest.skip(f"this kernel has no netem (sch_netem): {tried.stderr.strip()}")
        yield names
    finally:
        for name in names:
            _run("ip", "netns", "del", name)


def _start(namespace: str, *words: str) -> subprocess.Popen[str]:
    command = ["ip", "netns", "exec", namespace, sys.executable, str(ONE_WAY), str(SECONDS), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _result(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    result: dict[str, Any] = json.loads(output)
    return result


def noise_of(ratios: list[float], datagrams: int, spread: float) -> float:
    """Four standard errors of the difference between two ratios."""
    share = sum(ratios) / 2
    return 4 * math.sqrt(2 * share * (1 - share) * spread / datagrams)


def measured(namespaces: tuple[str, str], peer: Peer) -> tuple[dict[str, Any], dict[str, Any]]:
    """The kernel's side and ours."""
    impaired, plain = namespaces
    # Taken away and added: a change would keep the table of the last distribution.
    _run("tc", "-n", impaired, "qdisc", "del", "dev", "lo", "root")
    words = ["tc", "-n", impaired, "qdisc", "add", "dev", "lo", "root", "netem", "limit", "10000"]
    added = _run(*words, *peer.netem.split())
    assert added.returncode == 0, added.stderr
    with _start(impaired) as theirs, _start(plain, json.dumps(peer.link)) as ours:
        kernel, model = _result(theirs), _result(ours)

    print(f"{peer.name}: netem {kernel}, ours {model}")
    return kernel, model


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_the_link_loses_and_reorders_as_netem_does(namespaces: tuple[str, str], peer: Peer) -> None:
    kernel, model = measured(namespaces, peer)
    lost = [1 - side["received"] / side["sent"] for side in (kernel, model)]
    assert abs(lost[0] - lost[1]) <= noise_of(lost, kernel["sent"], peer.spread)
    reordered = [side["reordered"] / side["received"] for side in (kernel, model)]
    late_ticks = kernel["late_ticks"] + model["late_ticks"]
    assert abs(reordered[0] - reordered[1]) <= noise_of(reordered, kernel["sent"], 2) + late_ticks


@pytest.mark.slow
@pytest.mark.peer
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_the_link_delays_as_netem_does(namespaces: tuple[str, str], peer: Peer) -> None:
    kernel, model = measured(namespaces, peer)
    busy = max(kernel["late_ticks"], model["late_ticks"])
    assert busy <= TOO_BUSY, f"this machine is too busy to compare times: {busy:.0%} of the ticks were late"
    percentiles = zip(kernel["delay_ms"], model["delay_ms"], model["late_ms"], (2, 2, 2, 2, 2, 5), strict=True)
    for kernel_ms, model_ms, late_ms, noise_ms in percentiles:
        assert kernel_ms - noise_ms <= model_ms <= kernel_ms + noise_ms + late_ms
