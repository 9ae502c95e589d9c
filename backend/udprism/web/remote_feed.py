"""The live feed of another node: the very messages and frames that its own page gets, asked for one at a time.

The asking node keeps a websocket and passes its page's credits on as questions; the answering node keeps a `Viewer` for
each such page. An answer may be lost on the way, so each question says which answer was seen last: if it was not the
last one given, everything is told from the beginning.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastapi import WebSocket

from udprism.columns.types import NS_PER_MS
from udprism.errors import RequestError
from udprism.web import bodies, messages
from udprism.web.duplex import BadMessage, converse, received_text, writable
from udprism.web.live.hub import Hub, parsed
from udprism.web.live.viewer import Viewer

if TYPE_CHECKING:
    from udprism.node.bridge import Bridge
    from udprism.node.mesh.mesh import Mesh
    from udprism.node.mesh.presence import NodeRecord

MAX_REMOTE_VIEWERS: Final = 64
IDLE_S: Final = 15.0
_PAUSE_S: Final = 0.5
"""After a question that was not answered."""


class RemoteFeed:
    """One page that shows another node."""

    def __init__(self, mesh: Mesh, node: NodeRecord, hub: Hub) -> None:
        self._mesh = mesh
        self._node = node
        self._hub = hub
        self._viewer = Viewer()
        self._watch: str | None = None
        self._asked: dict[str, Any] = {"viewer": secrets.token_hex(8), "seen": None}

    async def serve(self, websocket: WebSocket) -> None:
        """From its handshake to its end."""
        self._hub.guests += 1
        try:
            await websocket.accept()
            await converse(websocket, self._listen(websocket), self._show(websocket))
        finally:
            self._hub.guests -= 1

    async def _listen(self, websocket: WebSocket) -> None:
        while True:
            text = await received_text(websocket)
            message = parsed(text)
            if isinstance(message, bodies.Watch):
                self._watch = text
            self._viewer.hear(message)

    async def _show(self, websocket: WebSocket) -> None:
        while True:
            with_rows = await self._viewer.credit()
            await writable(websocket)
            for message in await self._answered(with_rows):
                if isinstance(message, str):
                    await websocket.send_text(message)
                else:
                    await websocket.send_bytes(message)
            self._hub.frames += 1

    async def _answered(self, rows: bool) -> Iterable[str | bytes]:
        while True:
            asked = {**self._asked, "rows": rows, "watch": self._watch}
            try:
                answer = await self._mesh.picture(self._node, asked)
            except RequestError as error:
                if error.kind == "remote-off":
                    raise BadMessage(1008, error.detail) from None
                await asyncio.sleep(_PAUSE_S)  # the page's own watchdog sees that nothing comes
                continue
            number, listed = unpacked(answer.body)
            self._asked["seen"] = number
            age_ms = (answer.answered_s - answer.asked_s) * 1000
            note = {"type": "elsewhere", "node": self._node.id, "name": self._node.name, "age_ms": age_ms}
            return [messages.text(note), *listed]


@dataclass
class _Guest:
    viewer: Viewer
    seen: int | None
    used_s: float


class RemoteViewers:
    """Pages of other nodes that show this one."""

    def __init__(self, bridge: Bridge, hub: Hub) -> None:
        self._bridge = bridge
        self._hub = hub
        self._guests: dict[tuple[str, str], _Guest] = {}
        self._number = secrets.randbits(32)

    async def take(self, sender: str, asked: dict[str, Any]) -> bytes:
        """What the page gets for one credit. Raises: RequestError for too many of them."""
        key = sender, str(asked.get("viewer"))[:32]
        self._let_go()
        guest = self._guests.pop(key, None)
        if guest is None or guest.seen is None or guest.seen != asked.get("seen"):
            if guest is not None:
                self._hub.leave(guest.viewer)
            if len(self._guests) >= MAX_REMOTE_VIEWERS:
                raise RequestError("too many pages of other nodes show this one", kind="too-many-viewers")
            guest = _Guest(Viewer(), None, 0.0)
            self._hub.viewers.add(guest.viewer)
        viewer = guest.viewer
        outgoing: list[str | bytes] = []
        try:
            if asked.get("watch") is not None and isinstance(watch := parsed(str(asked["watch"])), bodies.Watch):
                viewer.hear(watch)
            if guest.seen is None:
                outgoing.append(messages.hello(self._bridge, time.time_ns() // NS_PER_MS))
            outgoing += await self._hub.outgoing(viewer, viewer.rows if asked.get("rows") is True else None)
        except BadMessage as error:
            self._hub.leave(viewer)
            raise RequestError(str(error)) from None
        except BaseException:
            self._hub.leave(viewer)  # what it was about to be told, nobody will know
            raise
        self._number += 1
        guest.seen, guest.used_s = self._number, time.monotonic()
        self._guests[key] = guest
        return packed(self._number, outgoing)

    def _let_go(self) -> None:
        now_s = time.monotonic()
        for key, guest in list(self._guests.items()):
            if now_s - guest.used_s > IDLE_S:
                self._hub.leave(guest.viewer)
                del self._guests[key]


def packed(number: int, outgoing: Iterable[str | bytes]) -> bytes:
    """Messages behind one line of JSON: the answer's number, and each one's kind and length."""
    parts = [(isinstance(one, str), one.encode() if isinstance(one, str) else one) for one in outgoing]
    head = {"number": number, "parts": [[is_text, len(part)] for is_text, part in parts]}
    return json.dumps(head).encode() + b"\n" + b"".join(part for _, part in parts)


def unpacked(body: bytes) -> tuple[int, list[str | bytes]]:
    """The opposite of `packed`. Raises: ValueError."""
    line, _, rest = body.partition(b"\n")
    head, at, listed = json.loads(line), 0, []
    for is_text, length in head["parts"]:
        part = rest[at : at + length]
        listed.append(part.decode() if is_text else part)
        at += length
    return int(head["number"]), listed
