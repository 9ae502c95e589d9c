"""REST for hosted clients: /api/clients and below."""

from __future__ import annotations

from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Body, Query
from starlette.responses import Response

from udprism.node import bodies as answers
from udprism.node.clients import Clients
from udprism.web import bodies, messages
from udprism.web.answers import DATAGRAM_FIELDS, answer, datagrams_answer, list_answer
from udprism.web.routes import add_routes


class ClientRoutes:
    """The routes of a bridge's clients."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def add_to(self, router: APIRouter) -> None:
        """All of them, under /api."""
        routes = (
            ("GET", "/clients", self.list_clients, answers.ClientList),
            ("POST", "/clients", self.add_clients, answers.ClientsMade),
            ("DELETE", "/clients", self.remove_clients, answers.Removed),
            ("GET", "/clients/{client_id}", self.get_client, answers.Client),
            ("PATCH", "/clients/{client_id}", self.change_client, answers.Client),
            ("DELETE", "/clients/{client_id}", self.remove_client, None),
            ("GET", "/clients/{client_id}/datagrams", self.list_datagrams, answers.Datagrams),
        )
        add_routes(router, routes, created=("/clients",))

    async def list_clients(self, query: Annotated[bodies.ListQuery, Query()]) -> Response:
        """Hosted clients, in the order of their names."""
        clients, total = await self._clients.page(query.offset, query.limit, query.state, query.query)
        return answer({"clients": clients, "total": total})

    async def add_clients(self, body: Annotated[bodies.AddClients | None, Body()] = None) -> Response:
        """Add hosted clients: all of them, or none if one of them cannot be added."""
        asked = body or bodies.AddClients()
        added = self._clients.add_in_pieces(
            asked.name, asked.target, asked.rate_hz, asked.colours, asked.mode, asked.count
        )
        async with aclosing(added):
            return list_answer("clients", [messages.items(piece) async for piece in added], 201)

    async def remove_clients(self, query: Annotated[bodies.RemoveQuery, Query()]) -> Response:
        """Remove the clients named by `id` (which may be repeated), or all of them if none is named."""
        return answer({"removed": await self._clients.remove_many(query.id)})

    async def get_client(self, client_id: str) -> Response:
        """One client, with its ledger."""
        return answer(await self._clients.get(client_id))

    async def change_client(self, client_id: str, body: bodies.ClientChanges) -> Response:
        """Change the fields that the body names, and no others."""
        return answer(await self._clients.change(client_id, dict(body)))

    async def remove_client(self, client_id: str) -> Response:
        """Remove one client."""
        await self._clients.remove(client_id)
        return Response(status_code=204)

    async def list_datagrams(self, client_id: str, query: Annotated[bodies.DatagramsQuery, Query()]) -> Response:
        """The client's last datagrams, newest last, lost ones included."""
        datagrams = await self._clients.datagrams(client_id, query.limit)
        return datagrams_answer(datagrams, DATAGRAM_FIELDS, query.format)
