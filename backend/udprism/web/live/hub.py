"""All viewers, and the snapshot that is being taken for those who wait for one."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from fastapi import WebSocket
from pydantic import ValidationError

from udprism.columns.types import NS_PER_MS
from udprism.errors import RequestError
from udprism.web import bodies, messages
from udprism.web.duplex import BadMessage, converse, received_text, writable
from udprism.web.live.encoded_snapshot import EncodedSnapshot
from udprism.web.live.slow import SlowMessages
from udprism.web.live.viewer import Viewer

if TYPE_CHECKING:
    from udprism.node.bridge import Bridge

TAKE_TIMEOUT_S: Final = 2.0


class Hub:
    """All viewers, and the snapshot that is being taken for those who wait for one."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge
        self.viewers: set[Viewer] = set()
        self.guests = 0
        """Pages here that look at another node."""
        self.frames = 0
        """Sent to viewers so far."""
        self.encoded = 0
        """Different ones among them."""
        self._ignored_credits = 0
        self._asking: dict[Viewer, tuple[int, ...]] = {}
        self._next: asyncio.Task[EncodedSnapshot] | None = None
        self._one_at_a_time = asyncio.Lock()
        self._due_s = 0.0
        self._slow = SlowMessages(bridge)
        self._rosters: dict[int, tuple[int, str]] = {}

    @property
    def is_full(self) -> bool:
        """Whether no further viewer is admitted."""
        return len(self.viewers) + self.guests >= self.bridge.settings.max_viewers

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
            self.leave(viewer)

    def leave(self, viewer: Viewer) -> None:
        """The viewer has left."""
        self.viewers.discard(viewer)
        self._ignored_credits += viewer.ignored_credits
        self._asking.pop(viewer, None)

    async def _listen(self, websocket: WebSocket, viewer: Viewer) -> None:
        while True:
            viewer.hear(parsed(await received_text(websocket)))

    async def _show(self, websocket: WebSocket, viewer: Viewer) -> None:
        await websocket.send_text(messages.hello(self.bridge, time.time_ns() // NS_PER_MS))
        while True:
            with_rows = await viewer.credit()
            await writable(websocket)  # a picture that is taken before that waits, and grows old
            outgoing = await self.outgoing(viewer, viewer.rows if with_rows else None)
            while outgoing:
                message = outgoing.popleft()
                if isinstance(message, str):
                    await websocket.send_text(message)
                else:
                    await websocket.send_bytes(message)
            del message  # or a hidden tab would keep it
            self.frames += 1

    async def outgoing(self, viewer: Viewer, rows: tuple[int, ...] | None) -> deque[str | bytes]:
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

    async def _newer(self, viewer: Viewer, rows: tuple[int, ...]) -> EncodedSnapshot:
        """The next snapshot, shared by all who wait for it."""
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

    async def _take(self) -> EncodedSnapshot:
        async with self._one_at_a_time:
            await self._pace()
            asking, self._asking, self._next = self._asking, {}, None
            slots = list(dict.fromkeys(slot for rows in asking.values() for slot in rows))
            async with asyncio.timeout(TAKE_TIMEOUT_S):
                return EncodedSnapshot(
                    *await asyncio.gather(self.bridge.snapshot(slots), self._slow.refreshed(self.viewers))
                )

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


def parsed(text: str) -> bodies.Watch | bodies.More:
    """One of a viewer's two messages. Raises: BadMessage."""
    try:
        return bodies.ViewerMessage.validate_json(text)
    except ValidationError as error:
        field, detail = bodies.fault(error.errors(include_url=False, include_input=False)[0])
        raise BadMessage(1008, f"{field}: {detail}" if field else detail) from None
