"""The system's clocks."""

from __future__ import annotations

import time


class SystemClock:
    """The machine's clocks."""

    def now_ns(self) -> int:
        """Monotonic."""
        return time.monotonic_ns()

    def unix_ns(self) -> int:
        """Wall clock."""
        return time.time_ns()
