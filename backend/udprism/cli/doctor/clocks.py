"""Whether times are fine, cheap and steady enough for delays."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from udprism.cli.doctor.finding import Finding, Severity
from udprism.columns.types import NS_PER_MS, NS_PER_S, NS_PER_US
from udprism.settings import Settings

_GOOD_CLOCKS = {"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "xen"}
_COARSE_CLOCK_NS = 100 * NS_PER_US


def check_clock(settings: Settings, root: Path = Path("/")) -> Finding:
    """Whether the clock is fine enough and cheap enough for delays in microseconds."""
    step_ns = clock_step_ns(time.time_ns)
    if step_ns > _COARSE_CLOCK_NS:
        saw = f"the clock moves in steps of {step_ns / NS_PER_US:.0f} µs"
        return Finding(Severity.FAIL, saw, "delay and jitter below that are noise", "use another clock source")
    try:
        source = (root / "sys/devices/system/clocksource/clocksource0/current_clocksource").read_text().strip()
    except OSError:
        return Finding(Severity.OK, f"the clock moves in steps of {step_ns} ns")
    if source not in _GOOD_CLOCKS:
        return Finding(
            Severity.NOTE,
            f"the kernel's clock source is {source}: each reading is a system call or a device access",
            "high rates cost more than they should, and delays gain some microseconds",
            "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource",
        )
    return Finding(Severity.OK, f"clock source {source}, steps of {step_ns} ns")


def clock_step_ns(read_ns: Callable[[], int], readings: int = 2_000) -> int:
    """The smallest step that a clock was seen to make; 0 if it did not move at all."""
    values = [read_ns() for _ in range(readings)]
    until_ns = time.monotonic_ns() + NS_PER_S // 4
    while values[-1] == values[0] and time.monotonic_ns() < until_ns:
        values.append(read_ns())
    steps = [after - before for before, after in pairwise(values) if after > before]
    return min(steps, default=_COARSE_CLOCK_NS * 1_000)


def check_clock_jumps(settings: Settings, watched_s: float = 0.5) -> Finding:
    """Whether the wall clock is set during the check."""
    before = time.time_ns() - time.monotonic_ns()
    time.sleep(watched_s)
    moved_ns = abs(time.time_ns() - time.monotonic_ns() - before)
    if moved_ns > NS_PER_MS:
        return Finding(
            Severity.FAIL,
            f"the wall clock was set by {moved_ns / NS_PER_MS:.1f} ms within {watched_s} s",
            "one-way delays jump with it",
            "let one time service slew it: chronyd or systemd-timesyncd, not both",
        )
    return Finding(Severity.OK, "the wall clock runs evenly")
