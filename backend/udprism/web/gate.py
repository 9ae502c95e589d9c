"""Checks Host, Origin, token and size before anything else sees a request or a websocket handshake.

Pure ASGI, so that a refusal costs nothing and nothing of the app runs before it.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Set
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from udprism.node.events import changed_by
from udprism.settings import DEFAULT_PORTS, Origin, Settings, host_name, origin
from udprism.web import guard, problem
from udprism.web.auth import READY_PATH, TRUSTED, Token, is_loopback

MAX_BODY_BYTES: Final = 64 << 10

_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?", re.ASCII)
_SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")
_NOT_STORED: Final = ("/api/", "/livez", "/readyz", "/metrics")
_WITHOUT_HOST: Final = ("/livez", "/readyz")
"""For supervisors that speak HTTP/1.0. No browser leaves Host out, so nothing is rebound."""
_CROSS_ORIGIN: Final = (
    "pages of another origin may not do this. If this is udprism's own page behind a proxy: the proxy must forward "
    "Host as the browser sent it, or udprism must be told the page's origin (`--allow-origin https://NAME`)"
)


def _asker(scope: Scope) -> str:
    """Who asks, in words. Browsers say of each request whether it is a page's own; other programs do not."""
    what = "the page" if Headers(scope=scope).get("sec-fetch-site") == "same-origin" else "a program"
    client = scope.get("client")
    return f"{what} at {client[0]}" if client else what


class Gate:
    """Refuses requests that must not reach the app, and adds the security headers to every answer, refusals
    included."""

    def __init__(self, app: ASGIApp, settings: Settings, identity: str) -> None:
        """identity: of what this process serves; see `auth.Token`."""
        self._app = app
        self._token = Token(settings, identity)
        self._hosts = known_hosts(settings)
        self._origins = frozenset(origin(one) for one in settings.allow_origin)
        self._path = settings.http_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        scope = self._without_prefix(scope)
        is_head = scope.get("method") == "HEAD"

        async def send_with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                _add_headers(MutableHeaders(scope=message), scope["path"])
            elif is_head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        answer = self._refusal(scope) or self._app
        if scope["path"] == READY_PATH:
            scope = {**scope, TRUSTED: self._token.is_trusted(scope)}
        if is_head:  # wherever GET is, with the same headers (RFC 9110 section 9.3.2)
            scope = {**scope, "method": "GET"}
        asker = changed_by.set(_asker(scope) if changed_by.get() is None else changed_by.get())
        try:
            await answer(scope, receive, send_with_headers)
        finally:
            changed_by.reset(asker)

    def _without_prefix(self, scope: Scope) -> Scope:
        path = scope["path"]
        if not self._path or not f"{path}/".startswith(f"{self._path}/"):
            return scope
        raw_path = (scope.get("raw_path") or b"").removeprefix(self._path.encode())
        return {**scope, "path": path.removeprefix(self._path), "raw_path": raw_path}

    def _refusal(self, scope: Scope) -> Response | None:
        if not scope["path"]:  # the prefix without a slash: what the page names would be sought beside it
            query = scope["query_string"].decode("latin-1")
            return RedirectResponse(f"./{self._path.rpartition('/')[2]}/" + (f"?{query}" if query else ""), 308)
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        is_known = is_known_host(hosts, self._hosts | {scope["server"][0]})
        if not is_known and (hosts or scope["path"] not in _WITHOUT_HOST):
            return problem.response(421, "host", "this Host is not served here; `--allow-host NAME` adds one")
        is_safe = scope["type"] == "http" and scope["method"] in _SAFE_METHODS
        if is_cross_origin(headers, is_safe=is_safe, trusted=self._origins):
            return problem.response(403, "origin", _CROSS_ORIGIN)
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > MAX_BODY_BYTES:
            return problem.response(413, "too-large", f"a body has at most {MAX_BODY_BYTES} bytes")
        return self._token.refusal(scope)


def known_hosts(settings: Settings) -> frozenset[str]:
    """Names and addresses, as `settings.host_name` writes them, under which the web app may be reached.

    Against DNS rebinding: a page of evil.example whose name suddenly means 127.0.0.1 still says evil.example here.
    Ports are not looked at, so that a forwarded port works; rebinding cannot choose the name.
    """
    host = settings.http_address[0]
    names = {
        "localhost",
        "127.0.0.1",
        "::1",
        *settings.allow_host,
        *(origin(one).host for one in settings.allow_origin),
    }
    own = {host} if is_loopback(host) else {host, socket.gethostname()}
    return frozenset(names | {name.lower() for name in own})


def is_known_host(given: list[str], known: Set[str]) -> bool:
    """Whether there is exactly one Host header, well formed, and its name is known exactly."""
    host = _parted(given[0]) if len(given) == 1 else None
    return host is not None and host[0] in known


def is_cross_origin(headers: Headers, *, is_safe: bool, trusted: Set[Origin] = frozenset()) -> bool:
    """Whether a browser sends this on behalf of another origin's page.

    Go's net/http.CrossOriginProtection (1.25): an unsafe method needs Sec-Fetch-Site same-origin or none; where a
    browser does not send that (plain HTTP beyond loopback), Origin must name our Host; without both it is no browser.
    Beyond Go's, a foreign Origin is refused for safe methods too: an answer without CORS is of no use there.
    is_safe: false for websocket handshakes, which are GETs that CORS does not guard.
    trusted: origins of which everything is taken, whatever the Host.
    """
    text = headers.get("origin")
    if text is not None:
        try:
            given = origin(text)
        except ValueError:  # "null", or none of the web's
            return True
        if given in trusted:
            return False
        host = _parted(headers.get("host", ""))
        if host is None or (given.host, given.port) != (host[0], host[1] or DEFAULT_PORTS[given.scheme]):
            return True
    return not is_safe and headers.get("sec-fetch-site", "none") not in ("same-origin", "none")


def _parted(host: str) -> tuple[str, int | None] | None:
    """Name or address of a Host header, and its port if it has one; None if the header is malformed."""
    match = _HOST.fullmatch(host.lower())
    if match is None:
        return None
    try:
        return host_name(match[1]) if match[1].startswith("[") else match[1], int(match[2]) if match[2] else None
    except ValueError:
        return None


def _add_headers(headers: MutableHeaders, path: str) -> None:
    guard.secure(headers)
    headers.setdefault("Cache-Control", "no-store" if path.startswith(_NOT_STORED) else "no-cache")
