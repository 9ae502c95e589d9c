"""The deadlines and bounds of one connection, which uvicorn does not have, and the counter of each.

Each bound stops an attack that works on uvicorn 0.54 as it comes: tests/web/test_guard.py and test_handover.py show
both. `guarded_http` and `guarded_websocket` hold them. The methods overridden there are no public interface: uvicorn's
minor version is pinned, and tests/web/test_guard_contract.py fails when it changes what they rely on.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, Protocol

from starlette.datastructures import MutableHeaders
from starlette.responses import Response

MAX_MESSAGE_BYTES: Final = 64 << 10
"""Of one websocket message from outside."""
REASONS: Final = (
    "slow",
    "headers",
    "request",
    "malformed",
    "pipelined",
    "handshake",
    "stalled",
    "pings",
    "fragments",
    "messages",
)
"""Why connections are cut, or refused before the app has seen their request."""

CONTENT_POLICY: Final = (
    "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'"
)
_SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may cost."""

    request_timeout_s: float = 10.0
    """From the connection's start, or a later request's first byte, to the request's last byte or the websocket."""
    linger_timeout_s: float = 5.0
    """After the last answer, while the caller still sends: closing at once would take the answer away from it."""
    max_discarded_bytes: int = 64 << 20
    """Read and thrown away in that time."""
    max_header_bytes: int = 64 << 10
    max_headers: int = 128
    max_request_bytes: int = 1 << 20
    """On the wire: a chunked body of 64 KiB may come in chunks of one byte, each with six around it."""
    max_pipelined: int = 32
    """Requests that wait for the answer to the one before."""
    stall_timeout_s: float = 10.0
    """How long the other side may take fewer than `stall_bytes` of what waits for it."""
    stall_bytes: int = 16 << 10
    stop_timeout_s: float = 1.0
    """At a shutdown, for what is still on its way and the goodbye."""
    max_waiting_pings: int = 16
    max_fragments: int = 64
    max_waiting_messages: int = 256


class Guarded(Protocol):
    """What a `StallWatch` needs of a connection."""

    limits: Limits
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport

    def cut(self, reason: str) -> None:
        """End the connection at once, and count the reason."""


class StallWatch:
    """Cuts a connection whose other side does not read. One that reads slowly makes progress, and stays."""

    def __init__(self, connection: Guarded) -> None:
        self._connection = connection
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Something now waits to be written."""
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


class Deadline:
    """Cuts a connection that does not get done with what it has begun."""

    def __init__(self, connection: Guarded, reason: str) -> None:
        self._connection = connection
        self._reason = reason
        self._timer: asyncio.TimerHandle | None = None

    def start(self, timeout_s: float) -> None:
        """Begin to wait, unless it has begun before."""
        if self._timer is None:
            self._timer = self._connection.loop.call_later(timeout_s, self._connection.cut, self._reason)

    def stop(self) -> None:
        """It is done."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def secure(headers: MutableHeaders) -> None:
    """Add what protects the page from others, and others from the page."""
    headers.update(_SECURITY_HEADERS)
    headers.setdefault("Content-Security-Policy", CONTENT_POLICY)


def last_answer(response: Response) -> bytes:
    """A response that the connection itself sends, as bytes: no app has seen the request."""
    secure(response.headers)
    response.headers["Connection"] = "close"
    head = b"".join(b"%s: %s\r\n" % header for header in response.raw_headers)
    return b"HTTP/1.1 %d \r\n%s\r\n%s" % (response.status_code, head, bytes(response.body))
