"""How far another node's clock is ahead of ours, and how well that is known. Pure.

offset = ((t2 - t1) + (t3 - t4)) / 2, bound = half of the round trip (RFC 5905 section 8), plus what both clocks may
have drifted since.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

DRIFT_RATIO: Final = 50e-6
"""What two unsynchronised quartz clocks drift apart, at most."""
SAMPLES: Final = 64
STEP_S: Final = 0.05
"""The wall clock against the monotonic one: more than that is a step, and older samples say nothing any more."""


class Offset(NamedTuple):
    """The other clock is ahead by `ahead_s` ± `bound_s`."""

    ahead_s: float
    bound_s: float


class ClockOffset:
    """Of one other node."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float, float]] = deque(maxlen=SAMPLES)
        self._base_s: float | None = None

    def add(
        self, asked_unix_s: float, received_unix_s: float, sent_unix_s: float, answered_unix_s: float, now_s: float
    ) -> None:
        """One answer with its four stamps: the outer two of our wall clock, the inner two of the other's."""
        base_s = answered_unix_s - now_s
        if self._base_s is not None and abs(base_s - self._base_s) > STEP_S:
            self._samples.clear()
        self._base_s = base_s
        round_trip_s = (answered_unix_s - asked_unix_s) - (sent_unix_s - received_unix_s)
        if round_trip_s < -1e-6:
            return  # one of both clocks was set meanwhile
        ahead_s = ((received_unix_s - asked_unix_s) + (sent_unix_s - answered_unix_s)) / 2
        self._samples.append((now_s, ahead_s, max(0.0, round_trip_s) / 2))

    def best(self, now_s: float) -> Offset | None:
        """The narrowest of what is known; None before the first answer."""
        known = [Offset(ahead_s, half_s + DRIFT_RATIO * (now_s - at_s)) for at_s, ahead_s, half_s in self._samples]
        return min(known, key=lambda one: one.bound_s, default=None)
