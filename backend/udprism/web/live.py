"""The live feed: viewers ask and get the newest state; a slow viewer costs one frame and delays no one.

Everything here runs on the event loop. A picture is taken only when some viewer has credit, at most `frame_hz` times a
second, and what is encoded from it is shared by all viewers that ask for the same.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from fastapi import WebSocket
from pydantic import ValidationError

from udprism.columns.types import NS_PER_MS, U32Column
from udprism.errors import RequestError
from udprism.web import bodies, messages
from udprism.web.conversation import BadMessage, converse, received_text, writable

if TYPE_CHECKING:
    from udprism.node.bridge import Bridge, Snapshot

SLOW_S: Final = 0.25
"""Stats columns, and status, client and sessions messages, go to a viewer at most this often."""
TAKE_TIMEOUT_S: Final = 2.0
LISTED_SESSIONS: Final = 500
FIND_S: Final = 1.0
"""Sessions are searched at most this often: with 10,000 it takes the server's thread some 15 ms."""
FIND_SHARE: Final = 20
"""After a search among sessions, so many times as long passes before the next one, for whichever words: however many
viewers look for something else each, all of them together take a twentieth of the server's time."""
_HALF: Final = 1 << 31

Wish: TypeAlias = tuple[str, str]
"""A slow message: ("status", ""), ("client", id), ("session", id) or ("sessions", words to find)."""
STATUS: Final[Wish] = ("status", "")


class Picture:
    """One snapshot, the slow messages of that moment, and all that has been encoded from them so far."""

    def __init__(self, snapshot: Snapshot, slow: Mapping[Wish, str]) -> None:
        self.snapshot = snapshot
        self.slow = slow
        self._columns: bytes | None = None
        self._stats: bytes | None = None
        self._frames: dict[tuple[bool, tuple[int, ...] | None], bytes] = {}

    def has(self, stats: bool, rows: tuple[int, ...] | None) -> bool:
        """Whether this binary message has been encoded already."""
        return (stats, rows) in self._frames

    def frame(self, stats: bool, rows: tuple[int, ...] | None) -> bytes:
        """The binary message with or without stats, and with these slots' rows (None: no rows section)."""
        key = (stats, rows)
        if key not in self._frames:
            self._frames[key] = self._encode(stats, rows)
        return self._frames[key]

    def _encode(self, stats: bool, rows: tuple[int, ...] | None) -> bytes:
        if self._columns is None:
            self._columns = messages.columns(self.snapshot)
        if stats and self._stats is None:
            self._stats = messages.stats(self.snapshot)
        section, count = None, 0
        if rows is not None:
            taken = {slot: place for place, slot in enumerate(self.snapshot.rows.tolist())}
            places = np.array([taken[slot] for slot in rows if slot in taken], np.int32)
            section, count = messages.rows(self.snapshot, places), len(places)
        return messages.frame(self.snapshot, self._columns, self._stats if stats else None, section, count)


class Viewer:
    """One browser tab: what it watches, what it asked for, what it has had."""

    def __init__(self) -> None:
        self.rows: tuple[int, ...] = ()
        self.wishes: tuple[Wish, ...] = ()
        """The slow messages that it wants beside the status."""
        self.received = 0
        self.relayed = 0
        self.ignored_credits = 0
        self.roster_version = 0
        self.last_frame: int | None = None
        self._version: U32Column | None = None  # not the whole snapshot, which a stalled viewer would keep
        self._credits: deque[bool] = deque()
        self._asked = asyncio.Event()
        self._had: dict[Wish, str] = {}
        self._status_due_s = 0.0
        self._stats_due_s = 0.0

    @property
    def conflated(self) -> int:
        """Datagrams that a newer one of the same client replaced before this viewer saw them."""
        return self.received - self.relayed

    def hear(self, message: bodies.Watch | bodies.More) -> None:
        """What the viewer said."""
        if isinstance(message, bodies.Watch):
            self.rows = tuple(dict.fromkeys(message.rows))
            self.wishes = tuple(_wishes(message))
            self._had = {wish: text for wish, text in self._had.items() if wish == STATUS or wish in self.wishes}
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

    def news(self, slow: Mapping[Wish, str], now_s: float) -> Iterable[str]:
        """JSON messages whose content changed since this viewer had them."""
        status = messages.for_viewer(slow[STATUS], self.received, self.relayed, self.conflated)
        if now_s >= self._status_due_s and self._is_news(STATUS, status):
            self._status_due_s = now_s + SLOW_S
            yield status
        for wish in self.wishes:
            if wish in slow and self._is_news(wish, slow[wish]):
                yield slow[wish]

    def _is_news(self, wish: Wish, message: str) -> bool:
        is_news = self._had.get(wish) != message
        self._had[wish] = message
        return is_news

    def wants_stats(self, now_s: float) -> bool:
        """Whether the slow columns are due; they then count as had."""
        due = now_s >= self._stats_due_s
        if due:
            self._stats_due_s = now_s + SLOW_S
        return due


def _age_s(wish: Wish) -> float:
    """How old its message may become before it is made anew."""
    kind, words = wish
    return FIND_S if kind == "sessions" and words else SLOW_S


def _wishes(watch: bodies.Watch) -> Iterable[Wish]:
    if watch.client is not None:
        yield "client", watch.client
    if watch.session is not None:
        yield "session", watch.session
    if watch.sessions:
        yield "sessions", watch.find


class Hub:
    """All viewers, and the picture that is being taken for those who wait for one."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge
        self.viewers: set[Viewer] = set()
        self.frames = 0
        """Sent to viewers so far."""
        self.encoded = 0
        """Different ones among them."""
        self._ignored_credits = 0
        self._asking: dict[Viewer, tuple[int, ...]] = {}
        self._next: asyncio.Task[Picture] | None = None
        self._one_at_a_time = asyncio.Lock()
        self._due_s = 0.0
        self._slow = SlowMessages(bridge)
        self._rosters: dict[int, tuple[int, str]] = {}

    @property
    def is_full(self) -> bool:
        """Whether another viewer would be one too many."""
        return len(self.viewers) >= self.bridge.settings.max_viewers

    @property
    def ignored_credits(self) -> int:
        """Credits beyond those that a viewer may have, of all viewers so far."""
        return self._ignored_credits + sum(viewer.ignored_credits for viewer in self.viewers)

    async def serve(self, websocket: WebSocket) -> None:
        """One viewer, from its handshake to its end. The caller has looked at `is_full`."""
        viewer = Viewer()
        self.viewers.add(viewer)  # before the handshake, which others may not overtake
        try:
            await websocket.accept()
            await converse(websocket, self._listen(websocket, viewer), self._show(websocket, viewer))
        finally:
            self.viewers.discard(viewer)
            self._ignored_credits += viewer.ignored_credits
            self._asking.pop(viewer, None)

    async def _listen(self, websocket: WebSocket, viewer: Viewer) -> None:
        while True:
            viewer.hear(_parsed(await received_text(websocket)))

    async def _show(self, websocket: WebSocket, viewer: Viewer) -> None:
        await websocket.send_text(messages.hello(self.bridge, time.time_ns() // NS_PER_MS))
        while True:
            with_rows = await viewer.credit()
            await writable(websocket)  # a picture that is taken before that waits, and grows old
            outgoing = await self._outgoing(viewer, viewer.rows if with_rows else None)
            while outgoing:
                message = outgoing.popleft()
                if isinstance(message, str):
                    await websocket.send_text(message)
                else:
                    await websocket.send_bytes(message)
            del message  # or a hidden tab would keep it
            self.frames += 1

    async def _outgoing(self, viewer: Viewer, rows: tuple[int, ...] | None) -> deque[str | bytes]:
        """What one credit brings: the messages that are news, then the frame."""
        picture = await self._newer(viewer, rows or ())
        viewer.account(picture.snapshot)
        outgoing: deque[str | bytes] = deque()
        if picture.snapshot.roster_version != viewer.roster_version:
            known = viewer.roster_version
            viewer.roster_version, roster = await self._roster(known, picture.snapshot.roster_version)
            outgoing.append(roster)
        now_s = time.monotonic()
        outgoing.extend(viewer.news(picture.slow, now_s))
        stats = viewer.wants_stats(now_s)
        self.encoded += not picture.has(stats, rows)
        outgoing.append(picture.frame(stats, rows))
        return outgoing

    async def _newer(self, viewer: Viewer, rows: tuple[int, ...]) -> Picture:
        """The next picture, shared by all who wait for it."""
        while True:
            self._asking[viewer] = rows
            if self._next is None:
                self._next = asyncio.create_task(self._take())
            try:
                picture = await asyncio.shield(self._next)
            except TimeoutError:
                continue  # the pool hangs or is being restarted: the page sees that no frame comes
            except RequestError as error:
                if error.kind != "busy":
                    raise
                continue
            if picture.snapshot.frame != viewer.last_frame:
                return picture

    async def _take(self) -> Picture:
        async with self._one_at_a_time:
            await self._pace()
            asking, self._asking, self._next = self._asking, {}, None
            slots = list(dict.fromkeys(slot for rows in asking.values() for slot in rows))
            async with asyncio.timeout(TAKE_TIMEOUT_S):
                return Picture(*await asyncio.gather(self.bridge.snapshot(slots), self._slow.refreshed(self.viewers)))

    async def _pace(self) -> None:
        now_s = time.monotonic()
        if self._due_s > now_s:
            await asyncio.sleep(self._due_s - now_s)
        self._due_s = max(now_s, self._due_s) + 1 / self.bridge.settings.frame_hz

    async def _roster(self, since: int, wanted_version: int) -> tuple[int, str]:
        """Version and text of the roster's changes since a version, at least up to `wanted_version`."""
        known = self._rosters.get(since)
        if known is None or known[0] < wanted_version:
            change = await self.bridge.roster(since)
            # Only the newest version is of use to anybody: what leads elsewhere is forgotten.
            self._rosters = {base: text for base, text in self._rosters.items() if text[0] == change.version}
            known = self._rosters[since] = (change.version, messages.roster(change))
        return known


class SlowMessages:
    """Status, clients and sessions: fetched at most every SLOW_S, and only while a viewer wants them."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._texts: dict[Wish, str] = {}
        self._fetched_s: dict[Wish, float] = {}
        self._may_find_s = 0.0

    async def refreshed(self, viewers: set[Viewer]) -> dict[Wish, str]:
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


def _parsed(text: str) -> bodies.Watch | bodies.More:
    try:
        return bodies.ViewerMessage.validate_json(text)
    except ValidationError as error:
        field, detail = bodies.fault(error.errors(include_url=False, include_input=False)[0])
        raise BadMessage(1008, f"{field}: {detail}" if field else detail) from None
