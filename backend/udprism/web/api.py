"""The REST API: each route checks the request, calls the bridge and returns the result. It decides nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import Response

from udprism.columns.types import NS_PER_S
from udprism.errors import RequestError
from udprism.node import bodies as answers
from udprism.node.bodies.history import HistoryBody, history_csv
from udprism.node.bodies.links import profiles_body
from udprism.web import bodies, definitions, openapi
from udprism.web.answers import answer
from udprism.web.captures import CaptureRoutes
from udprism.web.clients import ClientRoutes
from udprism.web.flows import FlowRoutes
from udprism.web.links import LinkRoutes
from udprism.web.receivers import ReceiverRoutes
from udprism.web.recordings import RecordingRoutes
from udprism.web.relays import RelayRoutes
from udprism.web.replays import ReplayRoutes
from udprism.web.routes import add_routes
from udprism.web.scenarios import ScenarioRoutes
from udprism.web.senders import SenderRoutes
from udprism.web.sessions import SessionRoutes

if TYPE_CHECKING:
    from udprism.node.bridge import Bridge

_USUAL_HISTORY_NS: Final = 600 * NS_PER_S


def api_router(bridge: Bridge) -> APIRouter:
    """All routes under /api: one class per subject, each knowing its subject alone."""
    router = APIRouter(prefix="/api", responses=openapi.ERRORS)
    ClientRoutes(bridge.clients).add_to(router)
    SessionRoutes(bridge.sessions).add_to(router)
    WholeRoutes(bridge).add_to(router)
    LinkRoutes(bridge.links).add_to(router)
    FlowRoutes(bridge.flows).add_to(router)
    RelayRoutes(bridge.relays).add_to(router)
    ReceiverRoutes(bridge.receivers).add_to(router)
    SenderRoutes(bridge.senders).add_to(router)
    ScenarioRoutes(bridge.scenarios).add_to(router)
    RecordingRoutes(bridge.recordings, bridge.captures).add_to(router)
    CaptureRoutes(bridge.captures).add_to(router)
    ReplayRoutes(bridge.replays).add_to(router)
    return router


class WholeRoutes:
    """The routes for the whole bridge, and for what never changes."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def add_to(self, router: APIRouter) -> None:
        """All of them, under /api."""
        routes = (
            ("GET", "/ledger", self.get_ledger, answers.WholeLedger),
            ("GET", "/history", self.get_history, HistoryBody),
            ("GET", "/profiles", self.list_profiles, answers.Profiles),
            ("GET", "/definitions", self.list_definitions, answers.Definitions),
        )
        add_routes(router, routes)

    async def get_ledger(self) -> Response:
        """The fate of every datagram, summed over all clients."""
        return answer(await self._bridge.ledger())

    async def get_history(self, query: Annotated[bodies.HistoryQuery, Query()]) -> Response:
        """What happened over time: rate, losses by cause, delay percentiles and jitter, in steps, and events.

        Without `from`: the last ten minutes. Steps of 1, 10 and 60 s are kept for 10 minutes, 3 hours and 2 days. For
        one client steps of 10 s and 3 min are kept for 9 minutes and 2.8 hours, and of 1 s while they are requested.
        """
        to_ns = time.time_ns() if query.to_s is None else int(query.to_s * NS_PER_S)
        from_ns = to_ns - _USUAL_HISTORY_NS if query.from_s is None else int(query.from_s * NS_PER_S)
        if from_ns > to_ns:
            raise RequestError("must not be later than `to`", field="from")
        body = await self._bridge.history(query.flow, from_ns, to_ns, query.step_s)
        if query.format == "csv":
            return Response(history_csv(body), media_type="text/csv; charset=utf-8; header=present")
        return answer(body)

    async def list_profiles(self) -> Response:
        """The named links: what each models, and where its figures come from."""
        return answer(profiles_body())

    async def list_definitions(self) -> Response:
        """What every number means: formula, unit, source, caveat."""
        return answer(definitions.to_body())
