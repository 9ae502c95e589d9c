"""A clock that moves only when it is told to."""

from __future__ import annotations

NS_PER_S = 1_000_000_000


class FakeClock:
    """Monotonic and wall time for the core, which takes both as arguments."""

    def __init__(self, now_ns: int = 1_000 * NS_PER_S, now_unix_ns: int = 1_700_000_000 * NS_PER_S) -> None:
        self.now_ns = now_ns
        self.now_unix_ns = now_unix_ns

    def advance(self, seconds: float) -> int:
        """Let both clocks go on by `seconds`; returns `now_ns`."""
        return self.advance_ns(round(seconds * NS_PER_S))

    def advance_ns(self, length_ns: int) -> int:
        """Let both clocks go on by `length_ns`; returns `now_ns`."""
        if length_ns < 0:
            raise ValueError("a monotonic clock never goes back; step_wall moves the wall clock alone")
        self.now_ns += length_ns
        self.now_unix_ns += length_ns
        return self.now_ns

    def step_wall(self, seconds: float) -> int:
        """Set the wall clock forward or back, as ntpd or an operator does; returns `now_unix_ns`."""
        self.now_unix_ns += round(seconds * NS_PER_S)
        return self.now_unix_ns
