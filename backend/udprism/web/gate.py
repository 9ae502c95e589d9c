"""What is checked before anything else sees a request or a websocket handshake: Host, Origin, token, size.

Pure ASGI, so that a refusal costs nothing and nothing of the app runs before it.
"""

from __future__ import annotations

import re
import socket
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from udprism.settings import Settings
from udprism.web import guard, problem
from udprism.web.auth import Token, is_loopback

MAX_BODY_BYTES: Final = 64 << 10

_HOST: Final = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::[0-9]{1,5})?", re.ASCII)
_SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")

_NOT_STORED: Final = ("/api/", "/livez", "/readyz", "/metrics")


class Gate:
    """Refuses what must not reach the app, and adds the security headers to every answer, refusals included."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._token = Token(settings)
        self._hosts = known_hosts(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                _add_headers(MutableHeaders(scope=message), scope["path"])
            await send(message)

        answer = self._refusal(scope) or self._app
        await answer(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if not is_known_host(headers.getlist("host"), self._hosts | {scope["server"][0]}):
            detail = "this Host is not served here; `--allow-host NAME` adds one"
            return problem.response(421, "host", detail)
        is_safe = scope["type"] == "http" and scope["method"] in _SAFE_METHODS
        if is_cross_origin(headers, is_safe=is_safe):
            return problem.response(403, "origin", "pages of another origin may not do this")
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > MAX_BODY_BYTES:
            return problem.response(413, "too-large", f"a body has at most {MAX_BODY_BYTES} bytes")
        return self._token.refusal(scope)


def known_hosts(settings: Settings) -> frozenset[str]:
    """Names and addresses, lower case and without port, under which the web app may be reached.

    Against DNS rebinding: a page of evil.example whose name suddenly means 127.0.0.1 still says evil.example here.
    Ports are not looked at, so that a forwarded port works; rebinding cannot choose the name.
    """
    host = settings.http_address[0]
    names = {"localhost", "127.0.0.1", "::1", host, *settings.allow_host}
    if not is_loopback(host):
        names.add(socket.gethostname())
    return frozenset(name.lower().removeprefix("[").removesuffix("]") for name in names)


def is_known_host(given: list[str], known: frozenset[str]) -> bool:
    """Whether there is exactly one Host header, well formed, and its name is known exactly."""
    match = _HOST.fullmatch(given[0].lower()) if len(given) == 1 else None
    return match is not None and (match[1] or match[2]) in known


def is_cross_origin(headers: Headers, *, is_safe: bool) -> bool:
    """Whether a browser sends this on behalf of another origin's page.

    Go's net/http.CrossOriginProtection (1.25): an unsafe method needs Sec-Fetch-Site same-origin or none; where a
    browser does not send that (plain HTTP beyond loopback), Origin must name our Host; without both it is no browser.
    Beyond Go's, a foreign Origin is refused for safe methods too: nobody has a use for an answer without CORS.
    is_safe: false for websocket handshakes, which are GETs that CORS does not guard.
    """
    origin = headers.get("origin")
    if origin is not None and re.sub("^https?://", "", origin.lower()) != headers["host"].lower():
        return True
    return not is_safe and headers.get("sec-fetch-site", "none") not in ("same-origin", "none")


def _add_headers(headers: MutableHeaders, path: str) -> None:
    guard.secure(headers)
    headers.setdefault("Cache-Control", "no-store" if path.startswith(_NOT_STORED) else "no-cache")
