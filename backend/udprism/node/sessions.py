"""The colour server's sessions: listed and ended."""

from __future__ import annotations

from collections.abc import Mapping

from udprism.columns.types import Address
from udprism.node.assembly import Assembly
from udprism.node.bodies.json import Json, as_json
from udprism.node.bodies.links import own_link_body
from udprism.node.bodies.sessions import Session, left_bodies, session_body
from udprism.node.bodies.whole import SessionCounts
from udprism.node.directory import Directory
from udprism.node.threads import Threads
from udprism.serving.sessions import is_session_id
from udprism.wire.measured import ByeReason


class Sessions:
    """The colour server's sessions. Coroutines on the bridge's event loop."""

    def __init__(self, assembly: Assembly, threads: Threads, directory: Directory) -> None:
        self._server = assembly.server
        self._clock = assembly.clock
        self._client_of_address = assembly.client_of_address
        self._threads = threads
        self._directory = directory

    async def page(self, limit: int = 1000, query: str | None = None) -> tuple[list[Json], int]:
        """Sessions, raw ones first and newest first, and how many match."""
        names: dict[Address, str] = {}
        if query and not is_session_id(query):
            client_of, clients = list(self._client_of_address.items()), self._directory.clients
            names = {address: clients[one].name for address, one in client_of if one in clients}
        bodies, total = await self._threads.server(lambda: self._bodies(limit, query or "", names))
        return [self._complete(body) for body in bodies], total

    async def left(self) -> list[Json]:
        """Raw clients that have left, newest first."""
        table, now_ns = self._server.table, self._clock.now_ns()
        return [as_json(body) for body in await self._threads.server(lambda: left_bodies(table, now_ns))]

    async def end(self, session_id: str) -> None:
        """End a session, with a BYE if its stream is measured. Raises: RequestError (404)."""
        server = self._server
        await self._threads.server(lambda: server.end_session(server.slot_of(session_id), ByeReason.OPERATOR))

    def counts(self) -> SessionCounts:
        """All sessions, and those of raw clients. Any thread."""
        total = len(self._server.table)
        return {"total": total, "raw": max(0, total - self._server.links.owned)}

    def _complete(self, body: Session) -> Json:
        """A hosted client's session has its name, which a bare connect has not told the server."""
        name = self._directory.name_of(body["client_id"] or "")
        if name is not None:
            body["name"] = name
        return as_json(body)

    def _bodies(self, limit: int, query: str, names: Mapping[Address, str]) -> tuple[list[Session], int]:
        """Server thread only. names: of hosted clients; needed for a query only."""
        table, now_ns, client_of = self._server.table, self._clock.now_ns(), self._client_of_address
        order = sorted(
            table.matching(query, names),
            key=lambda slot: (table.sessions[slot].address in client_of, -table.sessions[slot].started_ns),
        )
        bodies = []
        for slot in order[:limit]:
            body = session_body(table, slot, now_ns)
            body["client_id"] = client_of.get(table.sessions[slot].address)
            body["kind"] = "raw" if body["client_id"] is None else "hosted"
            if body["kind"] == "hosted":
                body["recent_rgb"] = ""  # its client has a lane of its own
            body["link"] = own_link_body(self._server.links.own_of(slot))
            bodies.append(body)
        return bodies, len(order)
