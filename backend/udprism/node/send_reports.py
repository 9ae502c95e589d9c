"""What nodes report to each other about datagrams: read from the two UDP threads, and passed to them."""

from __future__ import annotations

from typing import Any

from udprism.errors import RequestError
from udprism.ledger import remote_send_log
from udprism.node.assembly import Assembly
from udprism.node.threads import Threads


class SendReports:
    """Coroutines on the bridge's event loop."""

    def __init__(self, assembly: Assembly, threads: Threads, instance: str) -> None:
        self._server, self._pool, self._clock = assembly.server, assembly.pool, assembly.clock
        self._threads = threads
        self._instance = instance

    def join(self, node_id: str) -> None:
        """From now on hosted clients of servers elsewhere say that they are this node's."""
        self._pool.sender.node_id = node_id

    @property
    def nodes(self) -> list[str]:
        """Whose clients the colour server here serves."""
        return self._server.table.remote_send_log.nodes

    def counters(self) -> dict[str, int]:
        """Figures for /metrics. From any thread."""
        others = self._pool.other_nodes
        return {
            "fates_missing_total": others.missing,
            "sessions_told": others.told,
            "fates_kept": self._server.table.remote_send_log.kept,
        }

    # -- the colour server's half

    async def tell(self, node_id: str, asked: dict[str, Any]) -> bytes:
        """Of sessions of that node's clients, what it has not heard yet. Raises: RequestError."""
        since, named = asked.get("since"), asked.get("named")
        if type(since) is not int or type(named) is not int or min(since, named) < 0:
            raise RequestError("since and named are numbers", kind="invalid")
        if asked.get("instance") != self._instance:
            since = named = 0  # it has heard another process of this node

        def told() -> remote_send_log.Word:
            server = self._server
            times_ns = server.outlet.told_ns(self._clock.now_ns())
            return server.table.remote_send_log.word(
                node_id, self._instance, since, named, server.table.next_sequence, times_ns
            )

        return remote_send_log.encode(await self._threads.server(told))

    # -- the hosted clients' half

    async def wanted(self, node_id: str) -> dict[str, Any]:
        """What to ask a node for."""
        return await self._threads.pool(lambda: self._pool.other_nodes.wanted(node_id))

    async def hear(self, node_id: str, body: bytes) -> None:
        """Its answer. Raises: ValueError if it is none."""
        word = remote_send_log.decode(body)
        await self._threads.pool(lambda: self._pool.other_nodes.hear(node_id, word))
