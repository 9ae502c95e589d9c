"""How many frames are requested at once: one window over all nodes, as wide as the path allows. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

BASE_S: Final = 15.0
"""The shortest answer time within this many seconds is that of the path without a queue."""
QUEUE_S: Final = 0.15
"""An answer that took so much longer stood in a queue."""
SHRINK: Final = 0.7


class AskingWindow:
    """Grows while it is in use and answers come promptly; shrinks once per round trip when they queue."""

    def __init__(self) -> None:
        self.width = 2.0
        self.out = 0
        """Asks without an answer so far."""
        self._answers: deque[tuple[float, float]] = deque(maxlen=1024)
        self._cut_s = float("-inf")

    @property
    def has_room(self) -> bool:
        """Whether another may be asked."""
        return self.out < int(self.width)

    def asked(self) -> None:
        """One more request is on its way."""
        self.out += 1

    def given_up(self) -> None:
        """A request will not be answered."""
        self.out -= 1
        self.width = max(1.0, self.width * SHRINK)

    def answered(self, took_s: float, now_s: float, nodes: int) -> None:
        """An answer came after `took_s`, by the asker's own clock. nodes: that can be asked."""
        was_full = self.out >= int(self.width)
        self.out -= 1
        self._answers.append((now_s, took_s))
        while self._answers[0][0] < now_s - BASE_S:
            self._answers.popleft()
        base_s = min(took for _, took in self._answers)
        if took_s > base_s + QUEUE_S:
            if now_s - self._cut_s > took_s:
                self.width, self._cut_s = max(1.0, self.width * SHRINK), now_s
        elif was_full:
            self.width = min(max(2.0, 2.0 * nodes), self.width + 1 / self.width)
