"""Both directions of one websocket at once, ended by whichever ends first."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Final

from fastapi import WebSocket, WebSocketDisconnect

WRITABLE: Final = "udprism.writable"
"""Our own ASGI extension: its `event` (asyncio.Event) is set while nothing waits in the transport's buffer."""


class BadMessage(Exception):
    """The other side sent something that it must not send: the connection is closed with `code` and `reason`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason.encode()[:123].decode(errors="ignore")  # RFC 6455 5.5: a control frame holds 125 bytes


class _Ended(Exception):
    """One direction has nothing more to say."""


async def converse(websocket: WebSocket, *directions: Coroutine[None, None, None]) -> None:
    """Run all directions until the first ends, then close the websocket; a bad message closes it with its reason."""
    last_words: tuple[int, str] | None = None
    try:
        async with asyncio.TaskGroup() as group:
            for direction in directions:
                group.create_task(_to_its_end(direction))
    except* WebSocketDisconnect:
        pass  # the other side is gone
    except* BadMessage as errors:
        bad = errors.exceptions[0]
        assert isinstance(bad, BadMessage)
        last_words = bad.code, bad.reason
    except* _Ended:
        last_words = 1000, ""
    if last_words is not None:
        with suppress(WebSocketDisconnect):  # it may have gone while we were thinking of them
            await websocket.close(*last_words)


async def _to_its_end(direction: Coroutine[None, None, None]) -> None:
    await direction
    raise _Ended


async def received_text(websocket: WebSocket) -> str:
    """The next text message.

    Raises: WebSocketDisconnect when the other side is gone, BadMessage for a binary message.
    """
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message["code"], message.get("reason"))
    text: str | None = message.get("text")
    if text is None:
        raise BadMessage(1003, "this websocket takes text messages only")
    return text


async def writable(websocket: WebSocket) -> None:
    """Wait until everything sent so far has left the transport's buffer, if the server can tell."""
    extension = websocket.scope["extensions"].get(WRITABLE)
    if extension is not None:
        await extension["event"].wait()
