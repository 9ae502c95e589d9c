"""Joins this process to other nodes: the only way to `node/mesh`, which is not imported without `--nats`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from udprism.columns.types import format_address
from udprism.errors import RequestError, UdprismError
from udprism.node.bridge import Bridge
from udprism.node.store import Store
from udprism.settings import Settings

if TYPE_CHECKING:
    from udprism.node.mesh.mesh import Mesh


def join(settings: Settings, bridge: Bridge, store: Store | None) -> Mesh:
    """This bridge as a node. Raises: UdprismError if nats-py is not installed."""
    try:
        from udprism.node.mesh.mesh import Mesh
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "nats":
            raise
        raise UdprismError("--nats needs nats-py: pip install 'udprism[nodes]'") from None
    from udprism.node.mesh.plan import MeshPlan
    from udprism.node.mesh.received import Received
    from udprism.node.mesh.service import kept_reply

    kept = {} if store is None else store.commands()
    received = Received({id: kept_reply(text) for id, text in kept.items()}, time.monotonic())
    host, port = settings.http_address

    async def status() -> Mapping[str, Any]:
        return await node_status(bridge) | {"page": f"http://{format_address((host, port))}/"}

    mesh = Mesh(MeshPlan.of(settings, bridge.identity), bridge.instance_id, received, status)
    mesh.service.put_reply = bridge.keep_reply
    mesh.service.tell_fates = bridge.send_reports.tell
    mesh.fates.hearer = bridge.send_reports
    bridge.send_reports.join(mesh.plan.id)
    return mesh


async def node_status(bridge: Bridge) -> dict[str, Any]:
    """What a heartbeat and /api/nodes say of a node: a few figures, whatever the number of its clients."""
    try:
        status = await bridge.status()
    except (RequestError, TimeoutError):
        return {"clients": None, "ledger": None}
    names = ("clients", "losing", "datagrams_per_s", "sessions", "ledger", "closes")
    return {name: status[name] for name in names} | {
        "udp": [format_address(address) for address in bridge.udp_addresses],
        "serves": bridge.send_reports.nodes,
    }
