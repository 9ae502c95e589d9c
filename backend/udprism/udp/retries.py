"""Retries what could not be opened yet, every five seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from udprism.columns.types import NEVER_NS, NS_PER_S
from udprism.udp.loop import Timer

EVERY_NS: Final = 5 * NS_PER_S


class Retries(Timer):
    """`loop.Endpoint` without a socket. The loop's thread only."""

    def __init__(self) -> None:
        self._attempts: list[Callable[[], bool]] = []
        self._due_ns = NEVER_NS

    def want(self, attempt: Callable[[], bool], now_ns: int) -> None:
        """Call `attempt` every five seconds until it returns True: no further try is wanted."""
        self._attempts.append(attempt)
        self._due_ns = min(self._due_ns, now_ns + EVERY_NS)

    def next_due_ns(self) -> int:
        return self._due_ns

    def act(self, now_ns: int) -> None:
        self._attempts = [attempt for attempt in self._attempts if not attempt()]
        self._due_ns = now_ns + EVERY_NS if self._attempts else NEVER_NS

    def end(self, now_ns: int) -> None:
        """Nothing is open."""
