"""HTTP/1.1 with a deadline and a size for every request, and a deadline for reading each answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, ClassVar, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from udprism.web import problem
from udprism.web.auth import COOKIE_PREFIX
from udprism.web.guard import Deadline, Limits, StallWatch, last_answer

_OUR_COOKIE: Final = COOKIE_PREFIX.encode()


class _Stopped(Exception):
    """Ends the parser in the middle of what came in one piece: the connection has got its last answer, or is cut."""


class _Answering:
    """The transport as a request's answer sees it: its `close` waits until the caller can have read the answer."""

    def __init__(self, connection: GuardedHttp) -> None:
        self._connection = connection
        self.write = connection.transport.write
        self.is_closing = connection.transport.is_closing

    def close(self) -> None:
        """The answer is complete, and was the last."""
        self._connection.close_after_answer()


class GuardedHttp(HttpToolsProtocol):
    """Uvicorn's HTTP connection, bounded by `limits`."""

    limits: Limits = Limits()
    cuts: ClassVar[Counter[str]] = Counter()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._stall = StallWatch(self)
        self._deadline = Deadline(self, "slow")
        self._request_bytes = 0
        self._header_bytes = 0
        self._in_headers = True
        self._in_request = False
        self._is_discarding = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # At 0, pause_writing says when the kernel has not taken everything: also what is left of a closed connection.
        transport.set_write_buffer_limits(high=0)
        # Not at the first byte: a silent connection is the cheapest attack.
        self._deadline.start(self.limits.request_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._request_bytes += len(data)
        if self._is_discarding:
            if self._request_bytes > self.limits.max_discarded_bytes:
                self.cut("request")
            return
        # Any byte stops uvicorn's keep-alive timer, even one that begins no request.
        self._deadline.start(self.limits.request_timeout_s)
        try:
            self._parse(data)
            self._check_size()
        except _Stopped:
            pass

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
        except httptools.HttpParserCallbackError as error:
            # What our own callbacks raise comes as the context; an address that cannot be read is the caller's fault.
            if not isinstance(error.__context__, (_Stopped, httptools.HttpParserError, UnicodeError)):
                raise
            if not isinstance(error.__context__, _Stopped):
                self._refuse_malformed()
        except httptools.HttpParserError:
            self._refuse_malformed()

    def _check_size(self) -> None:
        if self._in_headers and self._request_bytes > self.limits.max_header_bytes:
            self._refuse_headers()
        elif self._request_bytes > self.limits.max_request_bytes:
            if not self.cycle.response_complete:
                self.cut("request")
            elif not self._is_discarding:
                self._discard()

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= self.limits.max_pipelined:
            self.cut("pipelined")
            raise _Stopped
        super().on_message_begin()
        self._in_request = True
        self._in_headers = True
        self._header_bytes = 0
        self._deadline.start(self.limits.request_timeout_s)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_headers:
            return  # a trailer: nobody asks for one, and a megabyte of them would be fifty
        super().on_header(name, value)
        self._header_bytes += len(name) + len(value)
        if len(self.headers) > self.limits.max_headers or self._header_bytes > self.limits.max_header_bytes:
            self._refuse_headers()

    def on_headers_complete(self) -> None:
        self._in_headers = False
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:
            self.cycle.transport = _Answering(self)  # type: ignore[assignment]

    def on_message_complete(self) -> None:
        self._deadline.stop()
        self._request_bytes = 0
        self._in_request = False
        self._in_headers = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if not self._is_discarding:
            super().on_response_complete()

    def handle_websocket_upgrade(self) -> None:
        if self._owes_an_answer:  # it would come in the middle of the websocket's messages
            self.cut("pipelined")
            return
        self._stop_timers()  # the transport goes to another protocol: this one would cut it
        self.scope["headers"] = [
            (name, _own_cookies(value) if name == b"cookie" else value) for name, value in self.headers
        ]
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

    def close_after_answer(self) -> None:
        """Close; while the caller still sends its request, only after reading on for a while.

        A socket that is closed with something unread resets the connection, and the caller may never read the answer.
        """
        if self._in_request:
            self._discard()
        else:
            self.transport.close()

    def cut(self, reason: str) -> None:
        """End the connection at once, and count the reason."""
        self.cuts[reason] += 1
        self._stop_timers()
        self.transport.abort()

    @property
    def _owes_an_answer(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse_headers(self) -> None:
        limits = self.limits
        detail = f"a request has at most {limits.max_headers} headers, and {limits.max_header_bytes} bytes of them"
        self._refuse("headers", 431, detail)

    def _refuse_malformed(self) -> None:
        self._refuse("malformed", 400, "this is not an HTTP/1.1 request; HTTPS is not supported here")

    def _refuse(self, reason: str, status: int, detail: str) -> None:
        """Send this connection's last response, and count the reason. Raises: _Stopped."""
        if self._owes_an_answer:
            self.cut(reason)  # another answer may be half written
        else:
            self.cuts[reason] += 1
            self.transport.write(last_answer(problem.response(status, reason, detail)))
            self._discard()
        raise _Stopped

    def _discard(self) -> None:
        """Nothing more is said: read what still comes, so that what was said can be read."""
        self._is_discarding = True
        self._request_bytes = 0
        self._deadline.stop()
        self._deadline.start(self.limits.linger_timeout_s)
        self.flow.resume_reading()
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()

    def _stop_timers(self) -> None:
        self._deadline.stop()
        self._stall.stop()


def _own_cookies(cookies: bytes) -> bytes:
    """Those of a Cookie header that are ours.

    A browser sends the cookies of every program on this host, whatever its port. The websocket's parser takes lines of
    8,190 bytes at most.
    """
    return b"; ".join(one for one in map(bytes.strip, cookies.split(b";")) if one.startswith(_OUR_COOKIE))
