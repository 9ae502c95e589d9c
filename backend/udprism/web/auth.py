"""The access token: needed if others than this machine's own users can reach the web app.

It comes once in the page's address and is then a cookie that no script can read; scripts send it as a bearer token.
It is compared in constant time and is never part of a log, an error, a metric or an address that we send on.
"""

from __future__ import annotations

import hashlib
import hmac
import html
import secrets
from ipaddress import ip_address
from typing import Final
from urllib.parse import quote, urlencode

from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Scope

from udprism.settings import Settings, reachable_host
from udprism.web import problem

TOKEN_BYTES: Final = 24
COOKIE_PREFIX: Final = "udprism-"
MAX_COOKIES: Final = 16
"""Of ours, in one browser: those of servers that have gone stay until it is closed."""
READY_PATH: Final = "/readyz"
OPEN_PATHS: Final = ("/livez", READY_PATH)
"""For supervisors and container probes, which have no token. Neither reveals anything about clients or addresses."""
TRUSTED: Final = "udprism.trusted"
"""In the scope of READY_PATH: whether the caller has the token, and may read why a check fails."""

_ASK: Final = """<!doctype html>
<html lang="en">
<title>udprism: token needed</title>
<h1>This udprism requires its token</h1>
<p>Open the whole address that <code>udprism serve</code> printed, or paste the token here.</p>
<form method="get">
{fields}  <label>Token <input name="token" type="password" autocomplete="off" required></label>
  <button>Open</button>
</form>
</html>
"""


def is_loopback(host: str) -> bool:
    """Whether an address to bind can be reached from this machine only. A name is not trusted, but `localhost`."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def needs_token(settings: Settings) -> bool:
    """Whether the web app must not be served without a token."""
    return not is_loopback(settings.http_address[0])


def with_token(settings: Settings) -> Settings:
    """The same settings, with a new token if one is needed and missing."""
    if settings.token or not needs_token(settings):
        return settings
    return settings.model_copy(update={"token": secrets.token_urlsafe(TOKEN_BYTES)})


def page_url(settings: Settings, port: int) -> str:
    """The page's whole address on this machine, token included: for the person at the terminal, not for logs.

    port: the one that was really bound.
    """
    host = reachable_host(settings.http_address[0])
    query = f"?{urlencode({'token': settings.token})}" if settings.token else ""
    return f"http://[{host}]:{port}/{query}" if ":" in host else f"http://{host}:{port}/{query}"


class Token:
    """Who has access. Without a token, everyone who passed the Host and Origin checks."""

    def __init__(self, settings: Settings, identity: str) -> None:
        """identity: of the data directory, or of this process where nothing is kept; the cookie is named by it.

        Cookies know no ports, and a port that is published or forwarded is another one outside: two servers on one host
        would overwrite each other's.

        Raises: ValueError if a token is needed and none is there; `with_token` makes one.
        """
        if needs_token(settings) and not settings.token:
            raise ValueError("bound beyond loopback, and no token: auth.with_token makes one")
        self._token = settings.token.encode() if settings.token else None
        self.cookie_name = COOKIE_PREFIX + identity
        # Not the token itself: other servers on this host get to see it, and a token may have any letters.
        self._cookie = hashlib.blake2s(self._token or b"", person=b"udprism").hexdigest()

    def refusal(self, scope: Scope) -> Response | None:
        """None if access is granted, otherwise the answer: 401, or a redirect from the address with the token."""
        if self._token is None or scope["path"] in OPEN_PATHS:
            return None
        connection = HTTPConnection(scope)
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and "token" in connection.query_params:
            if self._is_it(connection.query_params["token"].strip().encode(errors="replace")):
                return self._to_clean_address(connection)
            return _ask(connection)
        return None if self.is_trusted(scope) else _ask(connection)

    def is_trusted(self, scope: Scope) -> bool:
        """Whether the caller sent the token or its cookie. Without a token everyone is trusted."""
        if self._token is None:
            return True
        connection = HTTPConnection(scope)
        scheme, _, bearer = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_it(bearer.strip().encode("latin-1")):  # the bytes as they came
            return True
        return hmac.compare_digest(connection.cookies.get(self.cookie_name, "").encode(), self._cookie.encode())

    def _is_it(self, given: bytes) -> bool:
        assert self._token is not None
        return hmac.compare_digest(given, self._token)

    def _to_clean_address(self, connection: HTTPConnection) -> Response:
        # A path relative to this one: behind a proxy ours may be another than the browser's.
        address = "./" + quote(connection.scope["path"].rpartition("/")[2])
        rest = _query_without_token(connection)
        response = RedirectResponse(f"{address}?{urlencode(rest)}" if rest else address, status_code=303)
        ours = [name for name in connection.cookies if name.startswith(COOKIE_PREFIX) and name != self.cookie_name]
        for name in ours if len(ours) >= MAX_COOKIES else ():
            response.set_cookie(name, max_age=0, path=None)
        # No path: then it is the browser's own of this address. Lax: a link in a chat must lead in.
        response.set_cookie(self.cookie_name, self._cookie, path=None, httponly=True, samesite="lax")
        return response


def _query_without_token(connection: HTTPConnection) -> list[tuple[str, str]]:
    return [pair for pair in connection.query_params.multi_items() if pair[0] != "token"]


def _ask(connection: HTTPConnection) -> Response:
    challenge = {"WWW-Authenticate": 'Bearer realm="udprism"'}
    if connection.scope["type"] == "http" and "text/html" in connection.headers.get("accept", ""):
        fields = "".join(
            f'  <input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">\n'
            for name, value in _query_without_token(connection)
        )
        return HTMLResponse(_ASK.format(fields=fields), status_code=401, headers=challenge)
    detail = "send the token that `udprism serve` printed, as `Authorization: Bearer …`"
    return problem.response(401, "token", detail, headers=challenge)
