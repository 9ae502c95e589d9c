"""The receivers of this program: starts, shows, ends and stores them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

from udprism.columns.types import format_address
from udprism.errors import BindError, RequestError
from udprism.ledger.heard import FlowState, HeardFlows
from udprism.node.bodies import receivers as bodies
from udprism.node.kept import KeptEndpoint
from udprism.node.lamps import LampServer, Live
from udprism.node.receiver_plan import Entry, ReceiverPlan
from udprism.node.store import Store
from udprism.settings import Settings, split_host_port
from udprism.udp.clock import SystemClock
from udprism.udp.listening import MAX_RECEIVERS, Listening
from udprism.udp.neighbours import neighbours
from udprism.udp.sockets import bind

log = logging.getLogger(__name__)
T = TypeVar("T")

Keep: TypeAlias = Callable[[Callable[[Store], None]], Awaitable[None]]
KIND: Final = "receiver"
RECEIVER: Final = "p-"
"""Ids of receivers begin so; no others do."""
_SIZES: Final = "UDPRISM_MAX_FLOWS, UDPRISM_HISTORY_DATAGRAMS, UDPRISM_HISTORY_PAYLOAD_BYTES"
_LOOK_WITHIN_S: Final = 2.0


class Receivers:
    """Coroutines belong to one event loop; what the loop's thread owns is asked for by its inbox."""

    def __init__(
        self,
        settings: Settings,
        keep: Keep,
        note: Callable[[str, str, str | None], None],
        given_up: Callable[[BaseException | None], None] = lambda error: None,
    ) -> None:
        """keep: writes to the store; returns after the commit, or raises RequestError. note: writes down an event."""
        self._settings, self._keep, self._note, self._given_up = settings, keep, note, given_up
        self._entries: dict[str, Entry] = {}
        self._changing = asyncio.Lock()
        self.rows_left_out = 0
        """Kept ones that could not be read."""
        self._clock = SystemClock()
        self._drops_gone: Counter[str] = Counter()
        self._drops_told: Counter[str] = Counter()
        self.listening: Listening | None = None
        """None before the first receiver."""

    # -- life

    def restore(self, kept: list[KeptEndpoint]) -> None:
        """Begin those that were kept. One whose port is taken is in state `error`, and tries again.

        Raises: RequestError, if no memory holds the tables of receivers.
        """
        for one in kept:
            try:
                entry = Entry(one.id, ReceiverPlan.from_json(one.body))
            except RequestError as fault:
                self.rows_left_out += 1
                log.warning("skipped the stored receiver %r: %s (%s)", one.id, fault.detail, fault.field)
                continue
            self._entries[entry.id] = entry
            listening = self._begun()
            listening.loop.inbox.submit(partial(self._open_or_want, listening, entry))

    def stop(self) -> None:
        """End all of them; what is kept stays."""
        for entry in self._entries.values():
            if entry.lamp is not None:
                entry.lamp.close()
        if self.listening is not None:
            self.listening.loop.stop()

    def _begun(self) -> Listening:
        if self.listening is None:
            try:
                self.listening = Listening(self._settings, self._clock, self._given_up)
            except MemoryError:
                raise RequestError(f"not enough memory for receivers: lower one of {_SIZES}", kind="busy") from None
        return self.listening

    async def ask(self, work: Callable[[Listening], T]) -> T:
        """What `work` returns on the loop's thread. There must be a loop. Raises: RequestError (503)."""
        listening = self._begun()
        return await asyncio.wrap_future(listening.loop.inbox.submit(partial(work, listening)))

    # -- what there is

    async def every(self) -> list[dict[str, Any]]:
        """All of them, in the order in which they were started."""
        entries = list(self._entries.values())
        if not entries:
            return []
        bodies = await self.ask(lambda listening: [self._body(entry, listening) for entry in entries])
        others = await asyncio.to_thread(neighbours, [entry.plan.address for entry in entries])
        return [body | {"also_bound": [*map(str, there)]} for body, there in zip(bodies, others, strict=True)]

    async def get(self, receiver_id: str) -> dict[str, Any]:
        """One. Raises: RequestError (404)."""
        return await self._whole_body(self._entry(receiver_id))

    # -- what is done

    async def add(
        self,
        name: str | None,
        form: str,
        listen: str | None,
        lamp: str | None = None,
        pixels: int | None = None,
        interface: str | None = None,
        universes: list[int] | None = None,
        clock_hz: int | None = None,
    ) -> dict[str, Any]:
        """Begin a receiver, and keep it. Raises: RequestError (409, 422, 503, 507), with the field at fault."""
        async with self._changing:
            plan = ReceiverPlan.asked(name, form, listen, lamp, pixels, interface, universes, clock_hz)
            if len(self._entries) >= MAX_RECEIVERS:
                raise RequestError(f"at most {MAX_RECEIVERS} receivers", kind="too-many-receivers")
            entry = Entry(f"{RECEIVER}{secrets.token_hex(6)}", plan)
            await asyncio.to_thread(self._begun)  # its columns take a quarter of a second, once
            await self.ask(partial(self._open, entry))
            try:
                await asyncio.to_thread(self._open_lamp, entry)
            except RequestError:
                await self._close(entry)
                raise
            try:
                await self._keep(lambda store: store.put_endpoint(KeptEndpoint(entry.id, KIND, entry.plan.to_json())))
            except RequestError:
                await self._close(entry)
                raise
            self._entries[entry.id] = entry
            self._note("receiver", f"receiver {entry.plan.name} listens on {format_address(entry.plan.address)}", None)
            return await self._whole_body(entry)

    async def remove(self, receiver_id: str) -> None:
        """End a receiver and forget its flows. Raises: RequestError (404, 507)."""
        async with self._changing:
            entry = self._entry(receiver_id)
            await self._keep(lambda store: store.remove_endpoint(receiver_id))
            del self._entries[receiver_id]
            await self._close(entry)
            self._note("receiver", f"receiver {entry.plan.name} ended", None)

    async def _whole_body(self, entry: Entry) -> dict[str, Any]:
        body = await self.ask(partial(self._body, entry))
        (others,) = await asyncio.to_thread(neighbours, [entry.plan.address])
        return body | {"also_bound": [*map(str, others)]}

    async def _close(self, entry: Entry) -> None:
        await self.ask(partial(self._stop_listening, entry))
        if entry.lamp is not None:  # after that the loop opens none for it any more
            await asyncio.to_thread(entry.lamp.close)
        await self.ask(lambda listening: None)  # a poll later, when the port is free

    def _open_lamp(self, entry: Entry) -> None:
        """Must not run on the loop's thread, which lamps query. Raises: RequestError."""
        if entry.plan.lamp is None:
            return
        digest = hashlib.blake2s(entry.id.encode(), digest_size=5).digest()
        try:
            entry.lamp = LampServer(
                split_host_port(entry.plan.lamp), entry.plan.name, b"\x02" + digest, entry.plan.pixels, self._live
            )
        except BindError as error:
            raise RequestError(str(error), field="lamp", kind="cannot-bind") from error
        entry.plan = replace(entry.plan, lamp=format_address(entry.lamp.address))

    def _live(self) -> Live:
        """What any receiver hears now, in a lamp's terms. A lamp's thread."""
        listening = self.listening
        assert listening is not None, "the lamp belongs to a receiver"
        return listening.loop.inbox.submit(lambda: live_of(listening.flows)).result(_LOOK_WITHIN_S)

    # -- figures

    def counters(self) -> dict[str, Any]:
        """For /metrics. From any thread."""
        drops = self._drops_gone.copy()
        endpoints = [entry.endpoint for entry in list(self._entries.values()) if entry.endpoint is not None]
        for endpoint in endpoints:
            drops.update(dict(endpoint.drops))
        # Between a receiver's end and its sums among those of the removed ones they would fall for a moment.
        self._drops_told |= drops
        listening = self.listening
        return {
            "receivers": len(self._entries),
            "receiver_flows": 0 if listening is None else len(listening.flows.flows),
            "receiver_datagrams_total": 0 if listening is None else listening.flows.datagrams,
            "receiver_drops_total": dict(self._drops_told),
        }

    # -- the loop's thread

    def _open(self, entry: Entry, listening: Listening) -> None:
        plan = entry.plan
        buffer_bytes = self._settings.receive_buffer_bytes
        try:
            sock = bind(plan.host, plan.port, buffer_bytes)
        except BindError as error:
            raise RequestError(str(error), field="listen", kind="cannot-bind") from error
        try:
            groups = plan.groups(sock.getsockname()[1], buffer_bytes)
        except BindError as error:
            sock.close()
            raise RequestError(str(error), field="interface", kind="cannot-bind") from error
        endpoint = listening.endpoint(entry.id, plan.form, sock, groups)
        try:
            listening.open(endpoint)
        except RequestError:
            endpoint.end(self._clock.now_ns())
            raise
        entry.endpoint = endpoint
        entry.plan = replace(plan, host=endpoint.address[0], port=endpoint.address[1])

    def _open_or_want(self, listening: Listening, entry: Entry) -> None:
        if not self._try(listening, entry):
            listening.retries.want(partial(self._try, listening, entry), self._clock.now_ns())

    def _try(self, listening: Listening, entry: Entry) -> bool:
        """Whether no further try is wanted."""
        if self._entries.get(entry.id) is not entry:
            return True
        try:
            if entry.endpoint is None:
                self._open(entry, listening)
            if entry.lamp is None:
                self._open_lamp(entry)
        except RequestError as error:
            if error.detail != entry.error:
                log.warning("the receiver %s cannot listen: %s", entry.plan.name, error.detail)
            entry.error = error.detail
            return False
        entry.error = None
        return True

    def _stop_listening(self, entry: Entry, listening: Listening) -> None:
        if entry.endpoint is not None:
            listening.close(entry.endpoint)
            self._drops_gone.update(entry.endpoint.drops)

    def _body(self, entry: Entry, listening: Listening) -> dict[str, Any]:
        return bodies.receiver_body(entry, listening)

    def _entry(self, receiver_id: str) -> Entry:
        entry = self._entries.get(receiver_id)
        if entry is None:
            raise RequestError(f"no receiver {receiver_id!r}", field="id", kind="not-found")
        return entry


def live_of(flows: HeardFlows) -> Live:
    """The newest of what is heard now. The loop's thread only."""
    live = [slot for slot in flows.flows if flows.state[slot] in (FlowState.LIVE, FlowState.HELD)]
    if not live:
        return Live("", "", 0)
    newest = max(live, key=flows.last_ns.__getitem__)
    flow = flows.flows[newest]
    host = flow.source.rpartition(":")[0].strip("[]")
    return Live(host, flow.form.name.upper(), round(float(flows.frames.rate_hz[newest])))
