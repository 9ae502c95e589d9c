"""One browser tab: what it watches, what it asked for, what it has had."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from udprism.columns.types import U32Column
from udprism.web import bodies, messages
from udprism.web.live.slow import SLOW_S, STATUS, Topic

if TYPE_CHECKING:
    from udprism.node.view import Snapshot

_HALF: Final = 1 << 31


class Viewer:
    """One browser tab: what it watches, what it asked for, what it has had."""

    def __init__(self) -> None:
        self.rows: tuple[int, ...] = ()
        self.topics: tuple[Topic, ...] = ()
        """The slow messages that it wants beside the status."""
        self.received = 0
        self.relayed = 0
        self.ignored_credits = 0
        self.roster_version = 0
        self.last_frame: int | None = None
        self._version: U32Column | None = None  # not the whole snapshot, which a stalled viewer would keep
        self._credits: deque[bool] = deque()
        self._asked = asyncio.Event()
        self._had: dict[Topic, str] = {}
        self._status_due_s = 0.0
        self._stats_due_s = 0.0

    @property
    def conflated(self) -> int:
        """Datagrams that a newer one of the same client replaced before this viewer saw them."""
        return self.received - self.relayed

    def hear(self, message: bodies.Watch | bodies.More) -> None:
        """Take the viewer's `watch`."""
        if isinstance(message, bodies.Watch):
            self.rows = tuple(dict.fromkeys(message.rows))
            self.topics = tuple(_topics(message))
            self._had = {topic: text for topic, text in self._had.items() if topic == STATUS or topic in self.topics}
        elif len(self._credits) < messages.CREDIT:
            self._credits.append(message.rows)
            self._asked.set()
        else:
            self.ignored_credits += 1

    async def credit(self) -> bool:
        """Wait until the viewer has asked for a frame; true if it wants the rows section."""
        while not self._credits:
            self._asked.clear()
            await self._asked.wait()
        return self._credits.popleft()

    def account(self, snapshot: Snapshot) -> None:
        """Count what this snapshot brings: one datagram for each slot with a new one, the others are conflated."""
        before, self._version = self._version, snapshot.version
        self.last_frame = snapshot.frame
        if before is None:
            return
        fresh = snapshot.version.copy()
        common = min(len(before), snapshot.n)
        fresh[:common] -= before[:common]
        anew = np.flatnonzero(fresh > _HALF)  # another client has this slot now, and counts from zero
        fresh[anew] = snapshot.version[anew]
        self.received += int(fresh.sum(dtype=np.int64))
        self.relayed += int(np.count_nonzero(fresh))

    def news(self, slow: Mapping[Topic, str], now_s: float) -> Iterable[str]:
        """JSON messages whose content has changed since this viewer got them."""
        status = messages.for_viewer(slow[STATUS], self.received, self.relayed, self.conflated)
        if now_s >= self._status_due_s and self._is_news(STATUS, status):
            self._status_due_s = now_s + SLOW_S
            yield status
        for topic in self.topics:
            if topic in slow and self._is_news(topic, slow[topic]):
                yield slow[topic]

    def _is_news(self, topic: Topic, message: str) -> bool:
        is_news = self._had.get(topic) != message
        self._had[topic] = message
        return is_news

    def wants_stats(self, now_s: float) -> bool:
        """Whether the slow columns are due; they then count as had."""
        due = now_s >= self._stats_due_s
        if due:
            self._stats_due_s = now_s + SLOW_S
        return due


def _topics(watch: bodies.Watch) -> Iterable[Topic]:
    if watch.client is not None:
        yield "client", watch.client
    if watch.session is not None:
        yield "session", watch.session
    if watch.sessions:
        yield "sessions", watch.find
