"""For supervisors: whether the process is alive and can do its work, and its counters."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from udprism import __version__
from udprism.node import bodies
from udprism.web import metrics, openapi
from udprism.web.answers import answer
from udprism.web.auth import READY_PATH, TRUSTED
from udprism.web.live.hub import Hub

if TYPE_CHECKING:
    from udprism.node.bridge import Bridge
    from udprism.node.mesh.mesh import Mesh


class Health:
    """`/livez`, `/readyz` and `/metrics`."""

    def __init__(self, bridge: Bridge, hub: Hub, cuts: Counter[str], mesh: Mesh | None = None) -> None:
        self._mesh = mesh
        self._bridge = bridge
        self._hub = hub
        self._cuts = cuts

    def router(self) -> APIRouter:
        """The three routes."""
        router = APIRouter(responses={"4XX": openapi.ERRORS["4XX"]})
        text, add = openapi.text("text/plain"), router.add_api_route
        add("/livez", self.live, methods=["GET"], response_class=Response, responses=text)
        unready: dict[int | str, dict[str, Any]] = {503: {"model": bodies.Ready, "description": "Not ready"}}
        add(READY_PATH, self.ready, methods=["GET"], response_model=bodies.Ready, responses=unready)
        add("/metrics", self.metrics, methods=["GET"], response_class=Response, responses=text)
        return router

    async def live(self) -> Response:
        """The event loop runs. /readyz says more."""
        return PlainTextResponse("alive\n")

    async def ready(self, request: Request) -> Response:
        """200 if every fatal check passes, otherwise 503. Each check gives its reason only to callers with the token:
        container probes have none, and a reason may quote an exception or a path."""
        checks = self._bridge.checks()
        is_ready = all(check["ok"] or not check["fatal"] for check in checks)
        if not request.scope.get(TRUSTED, False):
            checks = [check | {"detail": None} for check in checks]
        return answer({"ready": is_ready, "checks": checks}, 200 if is_ready else 503)

    async def metrics(self, request: Request) -> Response:
        """Counters and gauges for Prometheus, without names of clients or addresses."""
        own: dict[str, Any] = {
            "info": {__version__: 1},
            "viewers": len(self._hub.viewers),
            "frames_total": self._hub.frames,
            "frames_encoded_total": self._hub.encoded,
            "credits_ignored_total": self._hub.ignored_credits,
            "connections_cut_total": dict(self._cuts),
        }
        if self._mesh is not None:
            own |= self._mesh.counters()
        content, content_type = metrics.exposition(self._bridge.counters() | own, request.headers.get("accept", ""))
        return Response(content, headers={"Content-Type": content_type})
