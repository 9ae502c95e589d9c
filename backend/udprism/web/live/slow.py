"""What changes slowly, as text: status, clients, sessions. Refreshed only as often as a person can read."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from udprism.errors import RequestError
from udprism.web import messages

if TYPE_CHECKING:
    from udprism.node.bridge import Bridge

SLOW_S: Final = 0.25
"""Stats columns, and status, client and sessions messages, go to a viewer at most this often."""
LISTED_SESSIONS: Final = 500
FIND_S: Final = 1.0
"""Sessions are searched at most this often: with 10,000 it takes the server's thread some 15 ms."""
FIND_SHARE: Final = 20
"""After a search among sessions, so many times as long passes before the next one, for whichever words: however many
viewers look for something else each, all of them together take a twentieth of the server's time."""

Topic: TypeAlias = tuple[str, str]
"""A slow message: ("status", ""), ("client", id), ("session", id) or ("sessions", words to find)."""
STATUS: Final[Topic] = ("status", "")


class Subscriber(Protocol):
    """A viewer, as far as it matters here."""

    topics: tuple[Topic, ...]


class SlowMessages:
    """Status, clients and sessions: fetched at most every SLOW_S, and only while a viewer wants them."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._texts: dict[Topic, str] = {}
        self._fetched_s: dict[Topic, float] = {}
        self._may_find_s = 0.0

    async def refreshed(self, viewers: Collection[Subscriber]) -> dict[Topic, str]:
        """All that is wanted, none of it older than SLOW_S."""
        now_s = time.monotonic()
        wanted = {STATUS, *(topic for viewer in viewers for topic in viewer.topics)}
        due = [topic for topic in wanted if now_s - self._fetched_s.get(topic, -math.inf) >= _age_s(topic)]
        due = self._with_one_search(due, now_s)
        fetches = [self._client(client_id) for kind, client_id in due if kind == "client"]
        if STATUS in due:
            fetches.append(self._status(len(viewers)))
        fetches += [self._session(session_id) for kind, session_id in due if kind == "session"]
        fetches += [self._sessions(find) for kind, find in due if kind == "sessions"]
        texts = {topic: text for topic, text in self._texts.items() if topic in wanted}
        for fetched in await asyncio.gather(*fetches):
            texts |= fetched
        self._texts = texts
        fetched_s = self._fetched_s | dict.fromkeys(due, now_s)
        self._fetched_s = {topic: fetched_s[topic] for topic in wanted if topic in fetched_s}
        return texts

    def _with_one_search(self, due: list[Topic], now_s: float) -> list[Topic]:
        """What is due; of the searches only the one that has waited longest, and only when it is due."""
        searches = [topic for topic in due if topic[0] == "sessions" and topic[1]]
        searches.sort(key=lambda topic: self._fetched_s.get(topic, -math.inf))
        put_off = searches if now_s < self._may_find_s else searches[1:]
        return [topic for topic in due if topic not in put_off]

    async def _status(self, viewers: int) -> dict[Topic, str]:
        return {STATUS: messages.status(await self._bridge.status(), viewers)}

    async def _client(self, client_id: str) -> dict[Topic, str]:
        body = None
        try:
            body = await self._bridge.clients.get(client_id)
        except RequestError as error:
            if error.kind != "not-found":
                raise
        return {("client", client_id): messages.client(client_id, body)}

    async def _sessions(self, find: str) -> dict[Topic, str]:
        began_s = time.monotonic()
        found = await self._bridge.sessions.page(LISTED_SESSIONS, find)
        if find:
            now_s = time.monotonic()
            self._may_find_s = now_s + FIND_SHARE * (now_s - began_s)
        return {("sessions", find): messages.sessions(find, *found, await self._bridge.sessions.left())}

    async def _session(self, session_id: str) -> dict[Topic, str]:
        listed, _ = await self._bridge.sessions.page(LISTED_SESSIONS, session_id)
        body = next((body for body in listed if body["id"] == session_id), None)
        return {("session", session_id): messages.session(session_id, body)}


def _age_s(topic: Topic) -> float:
    """How old its message may become before it is refreshed."""
    kind, words = topic
    return FIND_S if kind == "sessions" and words else SLOW_S
