"""The two websockets: the page's live feed, and one client's datagrams for scripts."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, WebSocket
from starlette.responses import Response

from udprism.errors import RequestError
from udprism.web import messages, openapi, problem
from udprism.web.duplex import BadMessage, converse, received_text
from udprism.web.live.hub import Hub
from udprism.web.nodes import found
from udprism.web.remote_feed import RemoteFeed

if TYPE_CHECKING:
    from udprism.node.clients import Clients
    from udprism.node.mesh.mesh import Mesh


class Streams:
    """The websocket routes of one bridge. A refused caller gets the reason before the handshake."""

    def __init__(self, clients: Clients, hub: Hub, mesh: Mesh | None = None) -> None:
        self._clients = clients
        self._mesh = mesh
        self._hub = hub

    def router(self) -> APIRouter:
        """All routes under /ws."""
        router = APIRouter()
        router.add_api_websocket_route("/ws/live", self.live)
        for method in ("GET", "POST"):
            name = f"ask_{method.lower()}"
            router.add_api_route(
                "/ws/live",
                self.ask,
                methods=[method],
                status_code=426,
                response_class=Response,
                responses=openapi.ERRORS,
                operation_id=name,
            )
        router.add_api_websocket_route("/ws/clients/{client_id}", self.client)
        return router

    async def ask(self) -> Response:
        """Why a handshake for the live feed would be refused: a browser hides that from its page.

        426 if it would not be. POST sends Origin, as a handshake does; GET does not.
        """
        if self._hub.is_full:
            return problem.from_request_error(self._full())
        detail = "this is a websocket: a proxy in front of it must forward Upgrade and Connection"
        return problem.response(426, "websocket", detail, headers={"Upgrade": "websocket", "Connection": "Upgrade"})

    async def live(self, websocket: WebSocket) -> None:
        """The page's feed."""
        if self._hub.is_full:
            await websocket.send_denial_response(problem.from_request_error(self._full()))
            return
        word = websocket.query_params.get("node")
        if word is None:
            await self._hub.serve(websocket)
            return
        try:
            node = found(self._mesh, word)
        except RequestError as error:
            await websocket.send_denial_response(problem.from_request_error(error))
            return
        if node is None or self._mesh is None:
            await self._hub.serve(websocket)
        else:
            await RemoteFeed(self._mesh, node, self._hub).serve(websocket)

    def _full(self) -> RequestError:
        detail = f"the maximum number of pages is open: {len(self._hub.viewers)}"
        return RequestError(detail, kind="too-many-viewers")

    async def client(self, websocket: WebSocket, client_id: str) -> None:
        """One JSON text per datagram, until the client is removed."""
        try:
            tap = self._clients.tap(client_id)
        except RequestError as error:
            await websocket.send_denial_response(problem.from_request_error(error))
            return
        with tap:
            await websocket.accept()
            await converse(websocket, _silence(websocket), _say_all(websocket, tap))


async def _silence(websocket: WebSocket) -> None:
    await received_text(websocket)
    raise BadMessage(1008, "this websocket accepts no messages")


async def _say_all(websocket: WebSocket, datagrams: AsyncIterable[dict[str, Any]]) -> None:
    async for datagram in datagrams:
        await websocket.send_text(messages.text(datagram))
