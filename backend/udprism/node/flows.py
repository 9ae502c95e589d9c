"""Flows: one direction of datagrams from one address to another, in one format, as this program sees it.

A hosted client is a flow that arrives: its ledger is inferred from numbers. A session of the colour server is a flow
that departs: this program sent every datagram, so its sums are exact; what the receiver got is not among them. A
relay's conversation is two flows that it carries, one each way.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final, Literal

from udprism.columns.types import format_address
from udprism.errors import RequestError
from udprism.ledger.timeline import Steps
from udprism.node.assembly import Assembly
from udprism.node.bodies.flows import FlowFormat, flow_of_client, flow_of_session, flows_of_conversation
from udprism.node.bodies.json import Json, as_json
from udprism.node.bodies.sessions import session_body
from udprism.node.clients import Clients
from udprism.node.heard import HeardByReceivers
from udprism.node.relays import Relays
from udprism.node.replays import REPLAY, Replays
from udprism.node.senders import SENDER, Senders
from udprism.node.threads import Threads
from udprism.relay.memory import DIRECTIONS
from udprism.serving.clients import Mode
from udprism.wire.colours import hex_of

FlowKind = Literal["client", "session", "relay", "receiver", "sender", "replay"]
_STREAM_OF_FORMAT: Final = {"measured": Mode.MEASURED, "plain": Mode.PLAIN}
_OWN_FORMATS: Final = (None, "measured", "plain")
_SESSION: Final = "s-"
"""Ids of sessions begin so; those of clients do not."""


class Flows:
    """Every flow, read only. Asked from an event loop."""

    def __init__(
        self,
        assembly: Assembly,
        threads: Threads,
        clients: Clients,
        relays: Relays,
        heard: HeardByReceivers,
        senders: Senders,
        replays: Replays,
    ) -> None:
        self._assembly = assembly
        self._threads = threads
        self._clients = clients
        self._relays = relays
        self._heard = heard
        self._senders = senders
        self._replays = replays

    async def page(
        self, kind: FlowKind | None, form: FlowFormat | None, query: str | None, offset: int, limit: int
    ) -> tuple[list[Json], int]:
        """One page, and how many match: clients by name, sessions by age (newest first), then the other kinds."""
        flows: list[Json] = []
        total = 0
        if kind in (None, "client") and form in _OWN_FORMATS:
            flows, total = await self._threads.pool(lambda: self._of_clients(form, query, offset, limit))
        if kind in (None, "session") and form in _OWN_FORMATS:
            rest, first = limit - len(flows), max(0, offset - total)
            more, count = await self._threads.server(lambda: self._of_sessions(form, query, first, rest))
            flows, total = flows + more, total + count
        if kind in (None, "relay") and form in (None, "opaque"):
            more, count = await self._carried(query, max(0, offset - total), limit - len(flows))
            flows, total = flows + more, total + count
        if kind in (None, "receiver") and form not in ("measured", "plain"):
            rest, first = limit - len(flows), max(0, offset - total)
            more, count = await self._heard.page(form, query, first, rest)
            flows, total = flows + more, total + count
        if kind in (None, "sender") and form not in ("measured", "plain"):
            sent, first = await self._senders.flows(form, query), max(0, offset - total)
            flows += sent[first : first + limit - len(flows)]
            total += len(sent)
        if kind in (None, "replay") and form in (None, "opaque"):
            played, first = self._replays.flows(query), max(0, offset - total)
            flows += played[first : first + limit - len(flows)]
            total += len(played)
        return flows, total

    async def _carried(self, query: str | None, offset: int, limit: int) -> tuple[list[Json], int]:
        flows: list[Json] = []
        total = 0
        for relay in await self._relays.every():
            first, rest = max(0, offset - total), limit - len(flows)
            conversation, way = divmod(first, len(DIRECTIONS))
            with suppress(RequestError):  # removed meanwhile, or its process is being started
                most = -(-(way + rest) // len(DIRECTIONS)) if rest else 0
                bodies, conversations = await self._relays.flows(relay["id"], query, conversation, most)
                ways = [flow for body in bodies for flow in flows_of_conversation(body, relay["name"])]
                flows += ways[way : way + rest]
                total += len(DIRECTIONS) * conversations
        return flows, total

    async def _carried_one(self, flow_id: str) -> tuple[str, str, str] | None:
        """The relay, the conversation and the way of a relay's flow; None for another kind of id."""
        conversation, _, way = flow_id.rpartition("-")
        relay_id = conversation.rpartition("-")[0]
        known = way in DIRECTIONS and any(relay["id"] == relay_id for relay in await self._relays.every())
        return (relay_id, conversation, way) if known else None

    async def get(self, flow_id: str) -> Json:
        """One flow. Raises: RequestError (404)."""
        if self._heard.has(flow_id):
            return await self._heard.get(flow_id)
        if flow_id.startswith(SENDER):
            return await self._senders.flow(flow_id)
        if flow_id.startswith(REPLAY):
            return self._replays.flow(flow_id)
        if flow_id.startswith(_SESSION):
            return await self._threads.server(lambda: self._session(self._assembly.server.slot_of(flow_id)))
        carried = await self._carried_one(flow_id)
        if carried is not None:
            relay_id, conversation, way = carried
            body, relay = await self._relays.flow(relay_id, conversation), await self._relays.get(relay_id)
            return flows_of_conversation(body, relay["name"])[DIRECTIONS.index(way)]
        return await self._threads.pool(lambda: flow_of_client(self._clients.bodies([self._slot(flow_id)])[0]))

    async def datagrams(self, flow_id: str, limit: int) -> list[Json]:
        """The last datagrams of a flow that arrives or is carried; the keys differ. Raises: RequestError (404)."""
        if flow_id.startswith((_SESSION, SENDER, REPLAY)):
            await self.get(flow_id)
            raise RequestError(
                "no datagrams are stored for a flow that departs; a hosted client's own flow has those that arrived",
                field="id",
                kind="no-datagrams",
            )
        if self._heard.has(flow_id):
            return await self._heard.datagrams(flow_id, limit)
        carried = await self._carried_one(flow_id)
        if carried is not None:
            return await self._relays.datagrams(*carried, limit)
        rows = await self._threads.pool(lambda: self._clients.last_datagrams(self._slot(flow_id), limit))
        return [as_json(row) for row in rows]

    async def steps(self, flow_id: str, from_unix_ns: int, to_unix_ns: int, step_s: float | None) -> Steps:
        """What happened over time to a flow that arrives here, is carried, or that a sender sends.

        Raises: RequestError (404).
        """
        span = (from_unix_ns, to_unix_ns, step_s)
        if self._heard.has(flow_id):
            return await self._heard.steps(flow_id, *span)
        if flow_id.startswith(SENDER):
            return await self._senders.steps(flow_id, *span)
        carried = await self._carried_one(flow_id)
        if carried is not None:
            return await self._relays.steps(*carried, *span)
        return await self._clients.steps(flow_id, *span)

    async def picture(self, flow_id: str) -> Json:
        """The picture of a flow that a receiver hears. Raises: RequestError (404)."""
        return await self._heard.picture(flow_id)

    # -- the pool's thread

    def _slot(self, flow_id: str) -> int:
        slot = self._assembly.pool.table.slot_of_id.get(flow_id)
        if slot is None:
            raise RequestError(f"no flow {flow_id!r}", field="id", kind="not-found")
        return slot

    def _of_clients(
        self, form: FlowFormat | None, query: str | None, offset: int, limit: int
    ) -> tuple[list[Json], int]:
        slots = self._clients.matching(None, query)
        if form is not None:
            stream = self._assembly.pool.table.stream
            slots = [slot for slot in slots if stream[slot] == _STREAM_OF_FORMAT[form]]
        bodies = self._clients.bodies(slots[offset : offset + limit])
        return [flow_of_client(body) for body in bodies], len(slots)

    # -- the server's thread

    def _session(self, slot: int) -> Json:
        table = self._assembly.server.table
        server_address = format_address(self._assembly.udp_addresses[int(table.socket_index[slot])])
        body = session_body(table, slot, self._assembly.clock.now_ns())
        rgb = table.recent.newest(slot, int(table.next_sequence[slot]))
        return flow_of_session(body, server_address, hex_of(rgb))

    def _of_sessions(
        self, form: FlowFormat | None, query: str | None, offset: int, limit: int
    ) -> tuple[list[Json], int]:
        table = self._assembly.server.table
        slots = [
            slot
            for slot in table.matching(query or "", {})
            if form is None or table.is_measured(slot) == (form == "measured")
        ]
        slots.sort(key=lambda slot: -table.sessions[slot].started_ns)
        return [self._session(slot) for slot in slots[offset : offset + limit]], len(slots)
