"""The REST API: each route checks what came, asks the bridge, and answers. It decides nothing."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import APIRouter, Body, Query
from starlette.responses import Response

from udprism.columns.types import NS_PER_S
from udprism.errors import RequestError
from udprism.link.profiles import PROFILES
from udprism.node import bodies as answers
from udprism.node.history import HistoryBody, history_csv
from udprism.web import bodies, definitions, messages, openapi
from udprism.web.routes import add_routes

if TYPE_CHECKING:
    from udprism.node.bridge import Bridge

DATAGRAM_FIELDS: Final = tuple(answers.Datagram.__annotations__)
_USUAL_HISTORY_NS: Final = 600 * NS_PER_S


class Api:
    """The routes of one bridge."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def router(self) -> APIRouter:
        """All routes under /api."""
        router = APIRouter(prefix="/api", responses=openapi.ERRORS)
        routes = (
            ("GET", "/clients", self.list_clients, answers.ClientList),
            ("POST", "/clients", self.add_clients, answers.ClientsMade),
            ("DELETE", "/clients", self.remove_clients, answers.Removed),
            ("GET", "/clients/{client_id}", self.get_client, answers.Client),
            ("PATCH", "/clients/{client_id}", self.change_client, answers.Client),
            ("DELETE", "/clients/{client_id}", self.remove_client, None),
            ("GET", "/clients/{client_id}/datagrams", self.list_datagrams, answers.Datagrams),
            ("GET", "/sessions", self.list_sessions, answers.SessionList),
            ("DELETE", "/sessions/{session_id}", self.end_session, None),
            ("GET", "/ledger", self.get_ledger, answers.WholeLedger),
            ("GET", "/history", self.get_history, HistoryBody),
            ("GET", "/links", self.sum_up_links, answers.Links),
            ("DELETE", "/links", self.remove_links, None),
            ("GET", "/links/default", self.get_default_link, answers.Link),
            ("PUT", "/links/default", self.put_default_link, answers.Link),
            ("DELETE", "/links/default", self.remove_default_link, None),
            ("GET", "/links/{owner_id}", self.get_link, answers.Link),
            ("PUT", "/links/{owner_id}", self.put_link, answers.Link),
            ("DELETE", "/links/{owner_id}", self.remove_link, None),
            ("GET", "/profiles", self.list_profiles, answers.Profiles),
            ("GET", "/definitions", self.list_definitions, answers.Definitions),
        )
        add_routes(router, routes, created=("/clients",))
        return router

    async def list_clients(self, query: Annotated[bodies.ListQuery, Query()]) -> Response:
        """Hosted clients, in the order of their names."""
        clients, total = await self._bridge.list_clients(query.offset, query.limit, query.state, query.query)
        return answer({"clients": clients, "total": total})

    async def add_clients(self, body: Annotated[bodies.AddClients | None, Body()] = None) -> Response:
        """Add hosted clients: all of them, or none if one of them is impossible."""
        asked = body or bodies.AddClients()
        made = await self._bridge.add_clients(
            asked.name, asked.target, asked.rate_hz, asked.colours, asked.mode, asked.count
        )
        return answer({"clients": made}, 201)

    async def remove_clients(self, query: Annotated[bodies.RemoveQuery, Query()]) -> Response:
        """Remove the clients named by `id` (which may be given many times), or all of them where none is named."""
        return answer({"removed": await self._bridge.delete_clients(query.id)})

    async def get_client(self, client_id: str) -> Response:
        """One client, with its ledger."""
        return answer(await self._bridge.get_client(client_id))

    async def change_client(self, client_id: str, body: bodies.ClientChanges) -> Response:
        """Change what the body names; the rest stays."""
        return answer(await self._bridge.patch_client(client_id, dict(body)))

    async def remove_client(self, client_id: str) -> Response:
        """Remove one client."""
        await self._bridge.delete_client(client_id)
        return Response(status_code=204)

    async def list_datagrams(self, client_id: str, query: Annotated[bodies.DatagramsQuery, Query()]) -> Response:
        """The client's last datagrams, newest last, lost ones included."""
        datagrams = await self._bridge.datagrams(client_id, query.limit)
        return datagrams_answer(datagrams, DATAGRAM_FIELDS, query.format)

    async def list_sessions(self, query: Annotated[bodies.SessionsQuery, Query()]) -> Response:
        """Whom the colour server serves, raw clients first."""
        sessions, total = await self._bridge.sessions(query.limit, query.query)
        return answer({"sessions": sessions, "total": total})

    async def end_session(self, session_id: str) -> Response:
        """End one session; a measured client hears BYE."""
        await self._bridge.end_session(session_id)
        return Response(status_code=204)

    async def get_ledger(self) -> Response:
        """What became of every datagram, of all clients together."""
        return answer(await self._bridge.ledger())

    async def get_history(self, query: Annotated[bodies.HistoryQuery, Query()]) -> Response:
        """What happened over time: rate, losses by cause, delay percentiles and jitter, in steps, and events.

        Without `from`: the last ten minutes. Steps of 1, 10 and 60 s are kept for 10 minutes, 3 hours and 2 days. For
        one client steps of 10 s and 3 min are kept for 9 minutes and 2.8 hours, and of 1 s while somebody asks.
        """
        to_ns = time.time_ns() if query.to_s is None else int(query.to_s * NS_PER_S)
        from_ns = to_ns - _USUAL_HISTORY_NS if query.from_s is None else int(query.from_s * NS_PER_S)
        if from_ns > to_ns:
            raise RequestError("must not be later than `to`", field="from")
        body = await self._bridge.history(query.flow, from_ns, to_ns, query.step_s)
        if query.format == "csv":
            return Response(history_csv(body), media_type="text/csv; charset=utf-8; header=present")
        return answer(body)

    async def sum_up_links(self) -> Response:
        """Whether there is a default link, and how many clients and sessions have their own."""
        return answer(await self._bridge.links())

    async def remove_links(self) -> Response:
        """Clear every impairment: the default link, all clients' and all sessions'."""
        await self._bridge.delete_links()
        return Response(status_code=204)

    async def get_default_link(self) -> Response:
        """The link of everybody who has none of his own."""
        return _link(await self._bridge.get_default_link())

    async def put_default_link(self, body: Annotated[bodies.LinkBody, Body()]) -> Response:
        """Set it, from the next datagram on. Fields that are left out are off."""
        return answer(await self._bridge.put_default_link(body))

    async def remove_default_link(self) -> Response:
        """Take it away."""
        await self._bridge.delete_default_link()
        return Response(status_code=204)

    async def get_link(self, owner_id: str) -> Response:
        """The own link of a client or session."""
        return _link(await self._bridge.get_link(owner_id))

    async def put_link(self, owner_id: str, body: Annotated[bodies.LinkBody, Body()]) -> Response:
        """Set it, from the next datagram on. Fields that are left out are off."""
        return answer(await self._bridge.put_link(owner_id, body))

    async def remove_link(self, owner_id: str) -> Response:
        """Take it away: the default link holds again."""
        await self._bridge.delete_link(owner_id)
        return Response(status_code=204)

    async def list_profiles(self) -> Response:
        """Links that have names, what each models, and where its figures come from."""
        return answer({"profiles": [profile.to_body() for profile in PROFILES]})

    async def list_definitions(self) -> Response:
        """What every number means: formula, unit, source, caveat."""
        return answer(definitions.to_body())


def answer(content: Mapping[str, Any], status: int = 200) -> Response:
    """A JSON answer."""
    return Response(messages.text(content), status_code=status, media_type="application/json")


def datagrams_answer(
    datagrams: Sequence[Mapping[str, Any]], fields: Sequence[str], form: Literal["json", "csv", "jsonl"]
) -> Response:
    """Datagrams in the form that was asked for."""
    match form:
        case "csv":
            return Response(_csv(datagrams, fields), media_type="text/csv; charset=utf-8; header=present")
        case "jsonl":
            return Response("".join(messages.text(one) + "\n" for one in datagrams), media_type="application/jsonl")
        case "json":
            return answer({"datagrams": datagrams})


def _link(body: dict[str, Any] | None) -> Response:
    if body is None:
        raise RequestError("no link is set here; PUT sets one", kind="no-link")
    return answer(body)


def _csv(datagrams: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> str:
    """RFC 4180; empty if a value is unknown."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fields)
    writer.writeheader()
    writer.writerows(datagrams)
    return text.getvalue()
