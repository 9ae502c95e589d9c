"""REST for flows: /api/flows and below, read only."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from udprism.node import bodies as answers
from udprism.node.bodies import relays as relay_bodies
from udprism.node.bodies.flows import FlowFormat
from udprism.node.bodies.receivers import HeardFlow, Picture
from udprism.node.flows import FlowKind, Flows
from udprism.web import bodies
from udprism.web.answers import DATAGRAM_FIELDS, answer, datagrams_answer
from udprism.web.routes import add_routes

_ONE: Final = "/flows/{flow_id}"


class FlowsQuery(bodies.Query):
    """`GET /api/flows`."""

    kind: FlowKind | None = None
    format: FlowFormat | None = None
    query: bodies.Find | None = None
    offset: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    limit: Annotated[int, Field(ge=1, le=bodies.MAX_LISTED)] = bodies.MAX_LISTED


class FlowRoutes:
    """The routes of a bridge's flows."""

    def __init__(self, flows: Flows) -> None:
        self._flows = flows

    def add_to(self, router: APIRouter) -> None:
        """All of them, under /api."""
        routes = (
            ("GET", "/flows", self.list_flows, answers.FlowList),
            ("GET", _ONE, self.get_flow, answers.Flow | HeardFlow),
            ("GET", _ONE + "/datagrams", self.list_flow_datagrams, answers.FlowDatagrams),
            ("GET", _ONE + "/picture", self.get_flow_picture, Picture),
        )
        add_routes(router, routes)

    async def list_flows(self, query: Annotated[FlowsQuery, Query()]) -> Response:
        """All flows: of hosted clients, sessions, relays, receivers and senders."""
        flows, total = await self._flows.page(query.kind, query.format, query.query, query.offset, query.limit)
        return answer({"flows": flows, "total": total})

    async def get_flow(self, flow_id: str) -> Response:
        """One flow, with its ledger: inferred from numbers if it arrives, exact if it departs."""
        return answer(await self._flows.get(flow_id))

    async def get_flow_picture(self, flow_id: str) -> Response:
        """All channels of a received flow's newest picture, and its newest datagram field by field."""
        return answer(await self._flows.picture(flow_id))

    async def list_flow_datagrams(self, flow_id: str, query: Annotated[bodies.DatagramsQuery, Query()]) -> Response:
        """The last datagrams of a flow that arrives or is carried by a relay, newest last, lost ones included.

        A relay does not decode what it carries: its datagrams have the keys of `/api/relays/…/datagrams`.
        """
        datagrams = await self._flows.datagrams(flow_id, query.limit)
        is_carried = any("number" in one for one in datagrams[:1])
        return datagrams_answer(
            datagrams, relay_bodies.DATAGRAM_FIELDS if is_carried else DATAGRAM_FIELDS, query.format
        )
