"""Uvicorn's two protocols with the deadlines and bounds that they lack.

Each bound stops an attack that works on uvicorn 0.54 as it comes: tests/web/test_guard.py shows both. The methods
overridden here are no public interface: tests/web/test_guard_contract.py fails when uvicorn changes what they rely on,
and pyproject.toml pins its minor version.
"""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Opcode
from websockets.protocol import OPEN

from udprism.web.conversation import WRITABLE

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent
    from websockets.frames import Frame
    from websockets.http11 import Request

MAX_MESSAGE_BYTES: Final = 64 << 10
"""Of one websocket message from outside."""
_SHARED_BYTES: Final = 64 << 10
"""Messages of this size and more wait for all who do not read as one and the same bytes."""
_SHARED_HEADER: Final = struct.Struct("!BBQ")  # RFC 6455 section 5.2, for 64 KiB and more
_utf8 = lru_cache(maxsize=2)(str.encode)
REASONS: Final = ("slow", "headers", "request", "stalled", "pings", "fragments", "messages")
"""Why connections are cut."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may cost."""

    request_timeout_s: float = 10.0
    """From the connection's start, or a later request's first byte, to the request's last byte."""
    max_header_bytes: int = 64 << 10
    max_request_bytes: int = 1 << 20
    """On the wire: a chunked body of 64 KiB may come in chunks of one byte, each with six around it."""
    stall_timeout_s: float = 10.0
    """How long the other side may take fewer than `stall_bytes` of what waits for it."""
    stall_bytes: int = 16 << 10
    stop_timeout_s: float = 1.0
    """At a shutdown, for what is still on its way and the goodbye."""
    max_waiting_pings: int = 16
    max_fragments: int = 64
    max_waiting_messages: int = 256


class StallWatch:
    """Cuts a connection whose other side does not read. One that reads slowly makes progress, and stays."""

    def __init__(self, connection: GuardedHttp | GuardedWebSocket) -> None:
        self._connection = connection
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Something waits to be written from now on."""
        waiting_bytes = self._connection.transport.get_write_buffer_size()
        limits = self._connection.limits
        self._timer = self._connection.loop.call_later(limits.stall_timeout_s, self._look, waiting_bytes)

    def stop(self) -> None:
        """Nothing waits any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, before_bytes: int) -> None:
        waiting_bytes = self._connection.transport.get_write_buffer_size()
        if waiting_bytes > before_bytes - self._connection.limits.stall_bytes:
            self._connection.cut("stalled")
        else:
            self.start()


class GuardedHttp(HttpToolsProtocol):
    """HTTP/1.1 with a deadline and a size for every request, and a deadline for whoever does not read the answer."""

    limits: ClassVar = Limits()
    cuts: ClassVar[Counter[str]] = Counter()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._stall = StallWatch(self)
        self._deadline: asyncio.TimerHandle | None = None
        self._request_bytes = 0
        self._in_headers = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # At 0, pause_writing says when the kernel has not taken everything: also what is left of a closed connection.
        transport.set_write_buffer_limits(high=0)
        self._start_deadline()  # not at the first byte: a silent connection is the cheapest attack

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._start_deadline()  # any byte stops uvicorn's keep-alive timer, even one that begins no request
        self._request_bytes += len(data)
        super().data_received(data)
        if self._in_headers and self._request_bytes > self.limits.max_header_bytes:
            self.cut("headers")
        elif self._request_bytes > self.limits.max_request_bytes:
            self.cut("request")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._start_deadline()

    def on_headers_complete(self) -> None:
        self._in_headers = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._stop_deadline()
        self._request_bytes = 0
        self._in_headers = True
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self._stop_timers()  # the transport goes to another protocol: this one would cut it
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall.start()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stall.stop()

    def shutdown(self) -> None:
        super().shutdown()
        if self.transport.is_closing():
            self.loop.call_later(self.limits.stop_timeout_s, self.transport.abort)

    def cut(self, reason: str) -> None:
        """End the connection at once, and count why."""
        self.cuts[reason] += 1
        self._stop_timers()
        self.transport.abort()

    def _start_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.limits.request_timeout_s, self.cut, "slow")

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _stop_timers(self) -> None:
        self._stop_deadline()
        self._stall.stop()


class GuardedWebSocket(WebSocketsSansIOProtocol):
    """A websocket whose other side must read, and may not flood."""

    limits: ClassVar = Limits()
    cuts: ClassVar[Counter[str]] = Counter()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._stall = StallWatch(self)
        self._waiting_pings = 0
        self._is_cut = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(high=0)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stall.stop()
        super().connection_lost(exc)

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
            self._stall.stop()
            self.transport.abort()


def guarded(limits: Limits, cuts: Counter[str]) -> tuple[type[GuardedHttp], type[GuardedWebSocket]]:
    """Uvicorn's `http=` and `ws=`, with these limits, and counting into `cuts`."""
    cuts.update(dict.fromkeys(REASONS, 0))
    http = type("Http", (GuardedHttp,), {"limits": limits, "cuts": cuts})
    websocket = type("WebSocket", (GuardedWebSocket,), {"limits": limits, "cuts": cuts})
    return http, websocket
