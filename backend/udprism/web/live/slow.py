"""What changes slowly, as text: status, clients, sessions. Made anew only as often as a person can read."""

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

Wish: TypeAlias = tuple[str, str]
"""A slow message: ("status", ""), ("client", id), ("session", id) or ("sessions", words to find)."""
STATUS: Final[Wish] = ("status", "")


class Wishing(Protocol):
    """A viewer, as far as it matters here."""

    wishes: tuple[Wish, ...]


class SlowMessages:
    """Status, clients and sessions: fetched at most every SLOW_S, and only while a viewer wants them."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._texts: dict[Wish, str] = {}
        self._fetched_s: dict[Wish, float] = {}
        self._may_find_s = 0.0

    async def refreshed(self, viewers: Collection[Wishing]) -> dict[Wish, str]:
        """All that is wanted, none of it older than SLOW_S."""
        now_s = time.monotonic()
        wanted = {STATUS, *(wish for viewer in viewers for wish in viewer.wishes)}
        due = [wish for wish in wanted if now_s - self._fetched_s.get(wish, -math.inf) >= _age_s(wish)]
        due = self._with_one_search(due, now_s)
        fetches = [self._client(client_id) for kind, client_id in due if kind == "client"]
        if STATUS in due:
            fetches.append(self._status(len(viewers)))
        fetches += [self._session(session_id) for kind, session_id in due if kind == "session"]
        fetches += [self._sessions(find) for kind, find in due if kind == "sessions"]
        texts = {wish: text for wish, text in self._texts.items() if wish in wanted}
        for fetched in await asyncio.gather(*fetches):
            texts |= fetched
        self._texts = texts
        fetched_s = self._fetched_s | dict.fromkeys(due, now_s)
        self._fetched_s = {wish: fetched_s[wish] for wish in wanted if wish in fetched_s}
        return texts

    def _with_one_search(self, due: list[Wish], now_s: float) -> list[Wish]:
        """What is due, but of all searches only the one that has waited longest, and none before its time."""
        searches = [wish for wish in due if wish[0] == "sessions" and wish[1]]
        searches.sort(key=lambda wish: self._fetched_s.get(wish, -math.inf))
        put_off = searches if now_s < self._may_find_s else searches[1:]
        return [wish for wish in due if wish not in put_off]

    async def _status(self, viewers: int) -> dict[Wish, str]:
        return {STATUS: messages.status(await self._bridge.status(), viewers)}

    async def _client(self, client_id: str) -> dict[Wish, str]:
        body = None
        try:
            body = await self._bridge.clients.get(client_id)
        except RequestError as error:
            if error.kind != "not-found":
                raise
        return {("client", client_id): messages.client(client_id, body)}

    async def _sessions(self, find: str) -> dict[Wish, str]:
        began_s = time.monotonic()
        found = await self._bridge.sessions.page(LISTED_SESSIONS, find)
        if find:
            now_s = time.monotonic()
            self._may_find_s = now_s + FIND_SHARE * (now_s - began_s)
        return {("sessions", find): messages.sessions(find, *found)}

    async def _session(self, session_id: str) -> dict[Wish, str]:
        listed, _ = await self._bridge.sessions.page(LISTED_SESSIONS, session_id)
        body = next((body for body in listed if body["id"] == session_id), None)
        return {("session", session_id): messages.session(session_id, body)}


def _age_s(wish: Wish) -> float:
    """How old its message may become before it is made anew."""
    kind, words = wish
    return FIND_S if kind == "sessions" and words else SLOW_S
