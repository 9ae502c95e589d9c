"""The two websockets: the page's live feed, and one client's datagrams for scripts."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, WebSocket

from udprism.errors import RequestError
from udprism.web import messages, problem
from udprism.web.conversation import BadMessage, converse, received_text
from udprism.web.live import Hub

if TYPE_CHECKING:
    from udprism.node.bridge import Bridge


class Streams:
    """The websocket routes of one bridge. Who is refused hears why before the handshake."""

    def __init__(self, bridge: Bridge, hub: Hub) -> None:
        self._bridge = bridge
        self._hub = hub

    def router(self) -> APIRouter:
        """Both routes."""
        router = APIRouter()
        router.add_api_websocket_route("/ws/live", self.live)
        router.add_api_websocket_route("/ws/clients/{client_id}", self.client)
        return router

    async def live(self, websocket: WebSocket) -> None:
        """The page's feed."""
        if self._hub.is_full:
            detail = f"{len(self._hub.viewers)} pages are open already, the most that are served"
            error = RequestError(detail, status=503, kind="too-many-viewers")
            await websocket.send_denial_response(problem.from_request_error(error))
            return
        await self._hub.serve(websocket)

    async def client(self, websocket: WebSocket, client_id: str) -> None:
        """One JSON text a datagram, until the client is removed."""
        try:
            tap = self._bridge.tap(client_id)
        except RequestError as error:
            await websocket.send_denial_response(problem.from_request_error(error))
            return
        with tap:
            await websocket.accept()
            await converse(websocket, _silence(websocket), _say_all(websocket, tap))


async def _silence(websocket: WebSocket) -> None:
    await received_text(websocket)
    raise BadMessage(1008, "this websocket only speaks")


async def _say_all(websocket: WebSocket, datagrams: AsyncIterable[dict[str, Any]]) -> None:
    async for datagram in datagrams:
        await websocket.send_text(messages.text(datagram))
