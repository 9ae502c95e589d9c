"""REST on other nodes: `?node=` passes a request on, and `node` in a body names whose it is.

Stands between the gate and the routes. A request that another node passes on comes in by `Here`, beneath the gate: who
may speak to this node at all, the NATS server decides, and what they may do, `--remote`.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from udprism.errors import RequestError
from udprism.web import problem

if TYPE_CHECKING:
    from udprism.node.mesh.mesh import Mesh
    from udprism.node.mesh.received import Reply
    from udprism.node.mesh.service import Request

_OWN: Final = ("/api/nodes", "/api/commands", "/api/docs", "/api/openapi.json")
_MAX_BODY_BYTES: Final = 64 << 10


class Elsewhere:
    """Forwards requests that are meant for another node, and adds the node to each response."""

    def __init__(self, app: ASGIApp, mesh: Mesh) -> None:
        self._app = app
        self._mesh = mesh

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith("/api/") or path.startswith(_OWN):
            await self._app(scope, receive, send)
            return
        body = b"" if scope["method"] == "GET" else await _body_of(receive)
        query, word = _without_node(scope["query_string"].decode("latin-1"))
        if word is None and scope["method"] == "POST":
            body, word = _body_without_node(body)
        scope = {**scope, "query_string": query.encode("latin-1")}
        try:
            node = None if word is None else self._mesh.find(word)
            if node is not None:
                answer = await self._there(node, scope, query, body)
                await answer(scope, receive, send)
                return
        except RequestError as error:
            await problem.from_request_error(error)(scope, receive, send)
            return
        await self._app(scope, _given(body, receive), _Named(self._mesh.plan.id, send))

    async def _there(self, node: Any, scope: Scope, query: str, body: bytes) -> Response:
        from udprism.node.mesh.service import Request

        request = Request(scope["method"], scope["path"], query, body)
        headers = {}
        if request.method == "GET":
            reply, age_s = await self._mesh.read(node, request)
            headers["Age"] = str(int(age_s))
        else:
            reply = await self._mesh.do(node, request, _idempotency_key(scope))
        content = _named(reply.body, node.id) if reply.media_type == "application/json" else reply.body
        return Response(content, reply.status, headers, reply.media_type)


class Here:
    """Answers requests that other nodes pass on, through this node's own routes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, request: Request) -> Reply:
        """As if it had come by HTTP."""
        from udprism.node.mesh.received import Reply

        status, media_type, content = 500, "", bytearray()
        headers = [(b"content-type", b"application/json"), (b"host", b"localhost")]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "path": request.path,
            "raw_path": request.path.encode(),
            "root_path": "",
            "scheme": "http",
            "query_string": request.query.encode("latin-1", "replace"),
            "headers": headers,
            "client": ("127.0.0.1", 0),
            "server": ("127.0.0.1", 0),
            "extensions": {},
        }

        async def send(message: Message) -> None:
            nonlocal status, media_type
            if message["type"] == "http.response.start":
                status = message["status"]
                media_type = dict(message["headers"]).get(b"content-type", b"").decode("latin-1")
            elif message["type"] == "http.response.body":
                content.extend(message.get("body", b""))

        await self._app(scope, _given(request.body, _for_ever), send)
        return Reply(status, media_type, bytes(content))


class _Named:
    """Adds `node` to a JSON object on its way out."""

    def __init__(self, node_id: str, send: Send) -> None:
        self._node_id = node_id
        self._send = send
        self._start: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        start, self._start = self._start, None
        if start is not None:
            headers = dict(start["headers"])
            is_whole = not message.get("more_body")
            if is_whole and headers.get(b"content-type", b"") == b"application/json":
                body = _named(message.get("body", b""), self._node_id)
                headers[b"content-length"] = str(len(body)).encode()
                start, message = {**start, "headers": list(headers.items())}, {**message, "body": body}
            await self._send(start)
        await self._send(message)


def _named(body: bytes, node_id: str) -> bytes:
    """A JSON object, and each object in it that has an id, with `node` as its first member.

    As text: a list of thousands is not read again for that. Within a string of JSON no quote stands unescaped.
    """
    if body[:1] != b"{" or body[:2] == b"{}":
        return body
    begin = b'{"node":"%s",' % node_id.encode()
    named = body.replace(b'{"id":', begin + b'"id":')
    return named if named.startswith(begin) else begin + named[1:]


def _without_node(query: str) -> tuple[str, str | None]:
    pairs = parse_qsl(query, keep_blank_values=True)
    words = [value for name, value in pairs if name == "node"]
    if not words:
        return query, None
    return urlencode([pair for pair in pairs if pair[0] != "node"]), words[-1]


def _body_without_node(body: bytes) -> tuple[bytes, str | None]:
    if b'"node"' not in body:
        return body, None
    try:
        content = json.loads(body)
        word = content.pop("node")
    except (ValueError, RecursionError, AttributeError, KeyError):
        return body, None  # the route says what is wrong with it
    return (json.dumps(content).encode(), word) if isinstance(word, str) else (body, None)


def _idempotency_key(scope: Scope) -> str | None:
    from udprism.node.mesh.received import is_command_id

    key: str = dict(scope["headers"]).get(b"idempotency-key", b"").decode("latin-1").strip('"')
    if not key:
        return None
    if not is_command_id(key):
        raise RequestError("8 to 64 letters, digits, - and _", field="Idempotency-Key")
    return key


async def _for_ever() -> Message:
    """The other node does not hang up: it gives up."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def _body_of(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > _MAX_BODY_BYTES or not message.get("more_body"):
            return bytes(body)


def _given(body: bytes, then: Receive) -> Receive:
    """A body that was read already, then what else comes."""
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            return await then()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
