"""`/api/nodes` and `/api/commands`: the nodes, and the outcome of changes made on other nodes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.responses import Response

import udprism
from udprism.errors import RequestError
from udprism.node.bodies import nodes as bodies
from udprism.node.joining import node_status
from udprism.web import openapi
from udprism.web.answers import answer
from udprism.web.routes import add_routes

if TYPE_CHECKING:
    from udprism.node.bridge import Bridge
    from udprism.node.mesh.mesh import Mesh
    from udprism.node.mesh.presence import NodeRecord


def found(mesh: Mesh | None, word: str) -> NodeRecord | None:
    """A node by id or name; None for this one. Raises: RequestError."""
    if mesh is None:
        raise RequestError("this node knows no other nodes: start it with --nats URL", field="node", kind="no-node")
    return mesh.find(word)


class NodeRoutes:
    """Their routes; without `--nats` there is one node."""

    def __init__(self, bridge: Bridge, mesh: Mesh | None) -> None:
        self._bridge = bridge
        self._mesh = mesh

    def router(self) -> APIRouter:
        """All of them."""
        router = APIRouter(prefix="/api", responses=openapi.ERRORS)
        add_routes(
            router,
            (
                ("GET", "/nodes", self.list_nodes, bodies.Nodes),
                ("DELETE", "/nodes/{node_id}", self.forget_node, None),
                ("GET", "/commands/{command_id}", self.get_command, bodies.CommandOutcome),
            ),
        )
        return router

    async def list_nodes(self) -> Response:
        """This node and all others that it hears from: what each reported, how long ago, and their sums.

        Each node's ledger closes at its own moment, so the sum closes too; `as_of_ms` says how old each part is.
        """
        mesh, now_s = self._mesh, time.monotonic()
        own = await self._own()
        nodes = [own]
        if mesh is not None:
            mesh.presence.forget_old(now_s)
            nodes += [_heard(mesh, node, now_s) for node in mesh.presence.nodes()]
        return answer(
            {
                "nodes": nodes,
                "total": len(nodes),
                "ledger": summed(node["ledger"] for node in nodes if node["ledger"] is not None),
                "cut_off_s": None if mesh is None else mesh.cut_off_s,
                "trouble": None if mesh is None else mesh.trouble,
            }
        )

    async def forget_node(self, node_id: str) -> Response:
        """Forget a node until it is heard from again."""
        node = found(self._mesh, node_id)
        if node is None or self._mesh is None:
            raise RequestError("this is the node that you are asking: it cannot be forgotten", field="node_id")
        self._mesh.presence.forget(node.id)
        return Response(status_code=204)

    async def get_command(self, command_id: str) -> Response:
        """The outcome of a change that was unknown at first: done, or never."""
        if self._mesh is None:
            raise RequestError("no command of this id waits for its outcome", kind="not-found")
        try:
            reply = await self._mesh.commands.outcome(command_id)
        except RequestError as error:
            if error.kind != "never-done":
                raise
            return answer({"id": command_id, "outcome": "never", "status": None})
        return answer({"id": command_id, "outcome": "done", "status": reply.status})

    async def _own(self) -> dict[str, Any]:
        mesh, status = self._mesh, await node_status(self._bridge)
        is_double = mesh is not None and mesh.presence.is_double(time.monotonic())
        return {
            "id": mesh.plan.id if mesh is not None else f"n-{self._bridge.identity}",
            "name": mesh.plan.name if mesh is not None else None,
            "is_this": True,
            "state": "twice" if is_double else "live",
            "version": udprism.__version__,
            "page": None,
            "as_of_ms": 0.0,
            "remote": mesh.plan.remote if mesh is not None else None,
            "hears_us": None,
            "clock": None,
            **{name: status.get(name) for name in _TOLD},
        }


_TOLD = ("clients", "losing", "datagrams_per_s", "sessions", "ledger", "closes", "udp")


def _heard(mesh: Mesh, node: NodeRecord, now_s: float) -> dict[str, Any]:
    offset = mesh.offsets[node.id].best(now_s) if node.id in mesh.offsets else None
    heard = node.body.get("heard")
    return {
        "id": node.id,
        "name": node.name,
        "is_this": False,
        "state": mesh.presence.state(node.id, now_s, cut_off=mesh.cut_off_s is not None),
        "version": node.body.get("version"),
        "page": node.body.get("page"),
        "as_of_ms": (now_s - node.heard_s) * 1000,
        "remote": node.body.get("remote"),
        "hears_us": mesh.plan.id in heard if isinstance(heard, list) else None,
        "clock": None if offset is None else {"ahead_ms": offset.ahead_s * 1000, "bound_ms": offset.bound_s * 1000},
        **{name: node.body.get(name) for name in _TOLD},
    }


def summed(ledgers: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Counts of several ledgers added up; a count that one of them does not know is None. None for no ledgers."""
    total: dict[str, Any] | None = None
    for ledger in ledgers:
        total = dict(ledger) if total is None else {name: _plus(total.get(name), ledger.get(name)) for name in total}
    return total


def _plus(one: Any, other: Any) -> Any:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return {name: _plus(one.get(name), other.get(name)) for name in one}
    return None if one is None or other is None else one + other
