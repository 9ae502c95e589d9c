"""The senders of this program: starts, shows, changes links of, ends and stores them."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeVar

from udprism.columns.types import format_address
from udprism.errors import RequestError
from udprism.ledger.timeline import Steps
from udprism.link.link import Link
from udprism.node.bodies import senders as bodies
from udprism.node.kept import KeptEndpoint
from udprism.node.looking_up import look_up
from udprism.node.receivers import Keep
from udprism.node.sender_plan import SenderPlan
from udprism.udp.clock import SystemClock
from udprism.udp.endpoints.sender import SenderEndpoint
from udprism.udp.lookups import Lookups
from udprism.udp.sending import MAX_SENDERS, Sending

log = logging.getLogger(__name__)
T = TypeVar("T")

KIND: Final = "sender"
SENDER: Final = "o-"
"""Ids of senders and of their flows begin so; no others do."""


@dataclass(slots=True)
class Entry:
    """One sender. endpoint: None before it runs, and error says why."""

    id: str
    plan: SenderPlan
    endpoint: SenderEndpoint | None = None
    error: str | None = None


class Senders:
    """Coroutines belong to one event loop; what the loop's thread owns is asked for by its inbox."""

    def __init__(
        self,
        keep: Keep,
        lookups: Lookups,
        note: Callable[[str, str, str | None], None],
        given_up: Callable[[BaseException | None], None] = lambda error: None,
    ) -> None:
        """keep: writes to the store; returns after the commit, or raises RequestError. note: writes down an event."""
        self._keep, self._lookups, self._note, self._given_up = keep, lookups, note, given_up
        self._entries: dict[str, Entry] = {}
        self._changing = asyncio.Lock()
        self.rows_left_out = 0
        """Kept ones that could not be read."""
        self._clock = SystemClock()
        self._sending: Sending | None = None
        self._gone = self._told = 0
        """Datagrams that removed senders offered; what was told of all."""

    # -- life

    def restore(self, kept: list[KeptEndpoint]) -> None:
        """Begin those that were kept. One that cannot send is in state `error`, and tries again.

        A row that is no sender is left out, and said; it stays on the disk.
        """
        for one in kept:
            try:
                entry = Entry(one.id, SenderPlan.from_json(one.body))
            except RequestError as fault:
                self.rows_left_out += 1
                log.warning("skipped the stored sender %r: %s (%s)", one.id, fault.detail, fault.field)
                continue
            self._entries[entry.id] = entry
            sending = self._begun()
            sending.loop.inbox.submit(partial(self._begin_or_want, entry, sending))

    def stop(self) -> None:
        """End all of them, with their formats' goodbyes. Stored definitions stay."""
        if self._sending is not None:
            self._sending.loop.stop()

    def _begun(self) -> Sending:
        if self._sending is None:
            self._sending = Sending(self._clock, self._given_up)
        return self._sending

    async def _ask(self, work: Callable[[Sending], T]) -> T:
        return await asyncio.wrap_future(self._begun().loop.inbox.submit(partial(work, self._begun())))

    # -- what there is

    async def every(self) -> list[dict[str, Any]]:
        """All of them, in the order in which they were started."""
        entries = list(self._entries.values())
        return await self._ask(lambda sending: [_body(entry) for entry in entries]) if entries else []

    async def get(self, sender_id: str) -> dict[str, Any]:
        """One. Raises: RequestError (404)."""
        entry = self._entry(sender_id)
        return await self._ask(lambda sending: _body(entry))

    async def flows(self, form: str | None, query: str | None) -> list[dict[str, Any]]:
        """All their flows that match."""
        entries = [entry for entry in self._entries.values() if form in (None, entry.plan.format)]
        words = (query or "").lower().split()
        found = (
            await self._ask(lambda sending: [flow for entry in entries for flow in _flows(entry)]) if entries else []
        )
        return [
            flow
            for flow in found
            if all(word in f"{flow['id']} {flow['name']} {flow['from']} {flow['to']}".lower() for word in words)
        ]

    async def flow(self, flow_id: str) -> dict[str, Any]:
        """One flow. Raises: RequestError (404)."""
        for flow in await self.flows(None, flow_id):
            if flow["id"] == flow_id:
                return flow
        raise RequestError(f"no flow {flow_id!r}", field="id", kind="not-found")

    async def steps(self, flow_id: str, from_unix_ns: int, to_unix_ns: int, step_s: float | None) -> Steps:
        """What departed over time; it is kept in finer steps from now on. Raises: RequestError (404)."""
        sender_id, _, place = flow_id.rpartition("-")
        entry = self._entries.get(sender_id)

        def read(sending: Sending) -> Steps | None:
            endpoint = None if entry is None else entry.endpoint
            if endpoint is None or not place.isdecimal() or int(place) >= len(endpoint.flows.keys):
                return None
            now_ns = self._clock.now_ns()
            endpoint.timeline.watch(int(place), now_ns)
            offset_ns = self._clock.unix_ns() - now_ns
            return endpoint.timeline.flow(int(place), from_unix_ns, to_unix_ns, step_s, offset_ns)

        steps = None if entry is None else await self._ask(read)
        if steps is None:
            raise RequestError(f"no flow {flow_id!r}", field="id", kind="not-found")
        return steps

    # -- what is done

    async def add(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Begin a sender, and keep it. Raises: RequestError (403, 409, 422, 503, 507), with the field at fault."""
        (target, *_) = await look_up(self._lookups, asked["target"])  # before the lock: it may take its time
        plan = SenderPlan.asked(asked, target)
        async with self._changing:
            if len(self._entries) >= MAX_SENDERS:
                raise RequestError(f"at most {MAX_SENDERS} senders", kind="too-many-senders")
            entry = Entry(f"{SENDER}{secrets.token_hex(6)}", plan)
            await self._write(entry)
            self._entries[entry.id] = entry
            await self._ask(partial(self._begin_or_want, entry))
            self._note("sender", f"sender {plan.name} sends {plan.format} to {format_address(plan.target)}", None)
            return await self._ask(lambda sending: _body(entry))

    async def set_link(self, sender_id: str, body: dict[str, Any] | None) -> dict[str, Any]:
        """Send through this link from now on; None for none. Raises: RequestError (404, 422, 507)."""
        link = Link.from_body(body or {})
        async with self._changing:
            entry = self._entry(sender_id)
            before, entry.plan = entry.plan, replace(entry.plan, link=link)
            try:
                await self._write(entry)
            except RequestError:
                entry.plan = before
                raise

            def act(sending: Sending) -> None:
                if entry.endpoint is not None:
                    entry.endpoint.set_link(link)

            await self._ask(act)
            self._note("link", f"link of the sender {entry.plan.name}: {link}", None)
            return link.to_body()

    def link(self, sender_id: str) -> dict[str, Any]:
        """Its link. Raises: RequestError (404)."""
        return self._entry(sender_id).plan.link.to_body()

    async def remove(self, sender_id: str) -> None:
        """End a sender, with its format's goodbye. Raises: RequestError (404, 507)."""
        async with self._changing:
            entry = self._entry(sender_id)
            await self._keep(lambda store: store.remove_endpoint(sender_id))
            del self._entries[sender_id]
            await self._ask(partial(self._end, entry))
            self._note("sender", f"sender {entry.plan.name} ended", None)

    # -- figures

    def counters(self) -> dict[str, Any]:
        """For /metrics. From any thread."""
        endpoints = [entry.endpoint for entry in list(self._entries.values()) if entry.endpoint is not None]
        # Between a sender's end and its sum among those of the removed ones they would fall for a moment.
        self._told = max(self._told, self._gone + sum(int(one.flows.offered.sum()) for one in endpoints))
        return {"senders": len(self._entries), "sender_datagrams_total": self._told}

    # -- the loop's thread

    def _begin_or_want(self, entry: Entry, sending: Sending) -> None:
        if not self._try(entry, sending):
            sending.retries.want(partial(self._try, entry, sending), self._clock.now_ns())

    def _try(self, entry: Entry, sending: Sending) -> bool:
        """Whether no further try is wanted."""
        if self._entries.get(entry.id) is not entry:
            return True
        plan = entry.plan
        try:
            self._lookups.resolve(format_address(plan.target))  # whether it may: addresses of this machine come and go
            endpoint = SenderEndpoint(entry.id, plan.show, plan.target, plan.link, self._clock)
        except (OSError, RequestError) as error:
            reason = str(error.strerror if isinstance(error, OSError) else error)
            if reason != entry.error:
                log.warning("the sender %s cannot send: %s", plan.name, reason)
            entry.error = reason
            return False
        entry.endpoint, entry.error = endpoint, None
        sending.begin(endpoint)
        return True

    def _end(self, entry: Entry, sending: Sending) -> None:
        if entry.endpoint is not None:
            sending.end(entry.endpoint)
            self._gone += int(entry.endpoint.flows.offered.sum())

    async def _write(self, entry: Entry) -> None:
        await self._keep(lambda store: store.put_endpoint(KeptEndpoint(entry.id, KIND, entry.plan.to_json())))

    def _entry(self, sender_id: str) -> Entry:
        entry = self._entries.get(sender_id)
        if entry is None:
            raise RequestError(f"no sender {sender_id!r}", field="id", kind="not-found")
        return entry


def _body(entry: Entry) -> dict[str, Any]:
    return bodies.sender_body(entry.id, entry.plan, entry.endpoint, entry.error)


def _flows(entry: Entry) -> list[dict[str, Any]]:
    if entry.endpoint is None:
        return []
    return [
        bodies.flow_body(entry.id, entry.plan, entry.endpoint, slot) for slot in range(len(entry.endpoint.flows.keys))
    ]
