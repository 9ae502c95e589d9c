"""The access token: needed where others than this machine's own users can reach the web app.

It comes once in the page's address and is then a cookie that no script can read; scripts send it as a bearer token.
It is compared in constant time and is never part of a log, an error, a metric or an address that we send on.
"""

from __future__ import annotations

import hmac
import secrets
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qsl, urlencode

from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Scope

from udprism.settings import Settings, reachable_host
from udprism.web import problem

TOKEN_BYTES: Final = 24
COOKIE_PREFIX: Final = "udprism-"
OPEN_PATHS: Final = ("/livez",)
"""For whoever restarts dead processes: says only that this one is alive."""

_ASK: Final = """<!doctype html>
<html lang="en">
<title>udprism: token needed</title>
<h1>This udprism wants its token</h1>
<p>Open the whole address that <code>udprism serve</code> printed, or paste the token here.</p>
<form method="get" action="/">
  <label>Token <input name="token" type="password" autocomplete="off" required></label>
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
    """The same settings, with a new token where one is needed and none was given."""
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
    """Who may come in. Without a token, everybody who got past the Host and Origin checks."""

    def __init__(self, settings: Settings) -> None:
        """Raises: ValueError where a token is needed and none is there; `with_token` makes one."""
        if needs_token(settings) and not settings.token:
            raise ValueError("bound beyond loopback, and no token: auth.with_token makes one")
        self._token = settings.token or None

    def refusal(self, scope: Scope) -> Response | None:
        """None for whoever may come in, else the answer: 401, or a redirect from the address with the token."""
        if self._token is None or scope["path"] in OPEN_PATHS:
            return None
        connection = HTTPConnection(scope)
        cookie = _cookie_name(scope)
        if scope["type"] == "http" and scope["method"] == "GET" and "token" in connection.query_params:
            if self._is_it(connection.query_params["token"]):
                return _to_clean_address(scope, cookie, self._token)
            return _ask(connection)
        scheme, _, bearer = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_it(bearer.strip()):
            return None
        if self._is_it(connection.cookies.get(cookie, "")):
            return None
        return _ask(connection)

    def _is_it(self, given: str) -> bool:
        assert self._token is not None
        return hmac.compare_digest(given.encode(errors="replace"), self._token.encode())


def _cookie_name(scope: Scope) -> str:
    # Cookies know no ports: two servers on one host would overwrite each other's.
    return f"{COOKIE_PREFIX}{scope['server'][1]}"


def _to_clean_address(scope: Scope, cookie_name: str, token: str) -> Response:
    rest = [pair for pair in parse_qsl(scope["query_string"].decode("latin-1")) if pair[0] != "token"]
    # One slash: "//host/" would lead to another host.
    path = "/" + scope["path"].lstrip("/")
    response = RedirectResponse(f"{path}?{urlencode(rest)}" if rest else path, status_code=303)
    response.set_cookie(cookie_name, token, path="/", httponly=True, samesite="strict")
    return response


def _ask(connection: HTTPConnection) -> Response:
    challenge = {"WWW-Authenticate": 'Bearer realm="udprism"'}
    if connection.scope["type"] == "http" and "text/html" in connection.headers.get("accept", ""):
        return HTMLResponse(_ASK, status_code=401, headers=challenge)
    detail = "send the token that `udprism serve` printed, as `Authorization: Bearer …`"
    return problem.response(401, "token", detail, headers=challenge)
