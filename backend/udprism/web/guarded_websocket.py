"""A websocket whose other side must read, and may not flood; its handshake has a deadline and always an answer."""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import RequestLineTooLong, SecurityError
from websockets.frames import Opcode
from websockets.protocol import OPEN

from udprism.web import problem
from udprism.web.duplex import WRITABLE
from udprism.web.guard import Deadline, Limits, StallWatch, last_answer

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent
    from websockets.frames import Frame
    from websockets.http11 import Request

_SHARED_BYTES: Final = 64 << 10
"""Messages of this size and more wait for all who do not read as one and the same bytes."""
_SHARED_HEADER: Final = struct.Struct("!BBQ")  # RFC 6455 section 5.2, for 64 KiB and more
_utf8 = lru_cache(maxsize=2)(str.encode)


class GuardedWebSocket(WebSocketsSansIOProtocol):
    """Uvicorn's websocket, bounded by `limits`."""

    limits: Limits = Limits()
    cuts: ClassVar[Counter[str]] = Counter()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._stall = StallWatch(self)
        self._deadline = Deadline(self, "handshake")
        self._waiting_pings = 0
        self._is_cut = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(high=0)
        # The one for requests ended when the connection was handed over.
        self._deadline.start(self.limits.request_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_complete:
            self._refuse(self.conn.handshake_exc)

    def _refuse(self, error: Exception) -> None:
        """Respond to a handshake that the websocket's parser rejects; uvicorn would leave it open without a
        response."""
        status = 414 if isinstance(error, RequestLineTooLong) else 431 if isinstance(error, SecurityError) else 400
        answer = problem.response(status, "handshake", f"this websocket handshake is refused: {error}")
        self.cuts["handshake"] += 1
        self.handshake_complete = self.close_sent = True
        self._deadline.stop()
        self.transport.write(last_answer(answer))
        self.transport.close()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.handshake_initiated and not self.handshake_complete:  # else there is no scope: it was refused
            self.scope["extensions"][WRITABLE] = {"event": self.writable}

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall.start()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._waiting_pings = 0
        self._stall.stop()

    def handle_ping(self) -> None:
        # Each ping is answered at once, whether or not the answers are read: 204 MB in 10 s.
        if not self.writable.is_set():
            self._waiting_pings += 1
        if self._waiting_pings > self.limits.max_waiting_pings:
            self.cut("pings")
        if not self._is_cut:
            super().handle_ping()

    def handle_cont(self, event: Frame) -> None:
        # The size of a message is bounded, the number of its fragments is not: empty ones cost 100 bytes each.
        if len(self.frames) >= self.limits.max_fragments:
            self.cut("fragments")
        if not self._is_cut:
            super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        # Reading pauses only when all that came in one piece is queued: 256 KiB are 30,000 messages.
        if self.queue.qsize() >= self.limits.max_waiting_messages:
            self.cut("messages")
        if not self._is_cut:
            super().send_receive_event_to_app()

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "websocket.send" and self._is_open:
            data, text = message.get("bytes"), message.get("text")
            if data is not None and len(data) >= _SHARED_BYTES:
                return await self._send_shared(Opcode.BINARY, data, message)
            if text is not None and len(text) >= _SHARED_BYTES:
                return await self._send_shared(Opcode.TEXT, _utf8(text), message)
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True  # else uvicorn logs an error for each handshake that was refused
        if self.handshake_complete:
            self._deadline.stop()

    @property
    def _is_open(self) -> bool:
        return self.handshake_complete and not self.close_sent and self.conn.state is OPEN and not self.conn.extensions

    async def _send_shared(self, opcode: int, data: bytes, message: ASGISendEvent) -> None:
        """A frame without a copy of what is in it: a thousand copies of one picture were 150 MB."""
        await self.writable.wait()
        if self._is_open and not self.disconnected:
            self.transport.writelines((_SHARED_HEADER.pack(0x80 | opcode, 127, len(data)), data))
        else:
            await super().send(message)

    def shutdown(self) -> None:
        super().shutdown()
        self.loop.call_later(self.limits.stop_timeout_s, self.transport.abort)

    def cut(self, reason: str) -> None:
        """End the connection at once, and count why; what came with it in one piece is no further reason."""
        if not self._is_cut:
            self._is_cut = True
            self.cuts[reason] += 1
            self._stop_timers()
            self.transport.abort()

    def _stop_timers(self) -> None:
        self._deadline.stop()
        self._stall.stop()
