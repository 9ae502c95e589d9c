"""One module a fault, each with `run(scale, rng) -> Figure`.

At scale 1 the figures are those that the program promises; a tenth of them takes minutes instead of an hour.
"""

from __future__ import annotations

SUITES: tuple[str, ...] = (
    "kill",
    "hostile_datagrams",
    "churn",
    "stopping",
    "stalled_browsers",
    "threads",
    "target_comes_and_goes",
    "half_gone",
    "clock_steps",
    "disk",
    "stopped_process",
    "event_loop_stalls",
    "burst_of_connects",
    "out_of_descriptors",
    "forged_connects",
)
"""The longest first, so that two at a time end at about the same time."""
