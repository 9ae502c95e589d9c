"""Where the shells read the time, and wait."""

from __future__ import annotations

import selectors
import time

from udprism.core.types import NS_PER_MS, NS_PER_S


class SystemClock:
    """The machine's clocks."""

    def now_ns(self) -> int:
        """Monotonic."""
        return time.monotonic_ns()

    def unix_ns(self) -> int:
        """Wall clock."""
        return time.time_ns()


def select_within(selector: selectors.BaseSelector, wait_ns: int) -> list[selectors.SelectorKey]:
    """What is ready, at the latest when the time is over, and not up to a millisecond later.

    epoll counts whole milliseconds, and `selectors` rounds up. What becomes ready in the last part of one waits for its
    end.
    """
    whole_ms, rest_ns = divmod(max(0, wait_ns), NS_PER_MS)
    ready = selector.select((whole_ms - 0.5) / 1000 if whole_ms else 0)
    if not ready and rest_ns:
        time.sleep(rest_ns / NS_PER_S)
    return [key for key, _ in ready]
