"""A clock that moves only when it is told to."""

from __future__ import annotations

from udprism.columns.types import NS_PER_S


class FakeClock:
    """Monotonic and wall time; satisfies `udprism.columns.types.Clock`."""

    def __init__(self, now_ns: int = 1_000 * NS_PER_S, unix_ns: int = 1_700_000_000 * NS_PER_S) -> None:
        self._now_ns = now_ns
        self._unix_ns = unix_ns

    def now_ns(self) -> int:
        """Monotonic, nanoseconds."""
        return self._now_ns

    def unix_ns(self) -> int:
        """Wall clock, Unix nanoseconds."""
        return self._unix_ns

    def advance(self, seconds: float) -> int:
        """Let both clocks go on by `seconds`; returns `now_ns()`."""
        return self.advance_ns(round(seconds * NS_PER_S))

    def advance_ns(self, length_ns: int) -> int:
        """Let both clocks go on by `length_ns`; returns `now_ns()`."""
        if length_ns < 0:
            raise ValueError("a monotonic clock never goes back; step_wall moves the wall clock alone")
        self._now_ns += length_ns
        self._unix_ns += length_ns
        return self._now_ns

    def step_wall(self, seconds: float) -> int:
        """Set the wall clock forward or back, as ntpd or an operator does; returns `unix_ns()`."""
        self._unix_ns += round(seconds * NS_PER_S)
        return self._unix_ns
