"""The relays of this program: starts, shows, changes, ends and stores them."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeAlias

from udprism.columns.types import Address, format_address
from udprism.errors import BindError, RelayError, RequestError, StoreError
from udprism.ledger.timeline import Steps
from udprism.link.link import Link
from udprism.link.rules import Rule
from udprism.node.bodies import relay_flows
from udprism.node.bodies import relays as relay_bodies
from udprism.node.bodies.json import as_json
from udprism.node.bodies.relay_cells import cells_of_flows
from udprism.node.bodies.whole import Attention, attention
from udprism.node.kept import KeptEndpoint
from udprism.node.looking_up import look_up
from udprism.node.relay_watch import Entry, RelayWatch
from udprism.node.store import Store
from udprism.relay.memory import DIRECTIONS, UP
from udprism.relay.plan import DEFAULT_IDLE_S, DEFAULT_MAX_FLOWS, Plan, ends
from udprism.relay.relay import Relay
from udprism.udp.lookups import Lookups

log = logging.getLogger(__name__)

KIND = "relay"
MAX_RELAYS = 64


Body: TypeAlias = dict[str, Any]


class Relays:
    """Coroutines belong to one event loop; whatever may block runs in a thread."""

    def __init__(
        self,
        store: Store | None,
        lookups: Lookups,
        note: Callable[[str, str, str | None], None],
        *,
        keeps_history: bool = True,
    ) -> None:
        """note: writes down an event: kind, words, whose. keeps_history: whether each flow has figures over time."""
        self._store, self._lookups, self._note = store, lookups, note
        self._entries = RelayWatch(lambda target: lookups.resolve(format_address(target)), keeps_history=keeps_history)
        self._changing = asyncio.Lock()
        self.rows_left_out = 0
        """Kept ones that could not be read."""

    # -- life

    def restore(self) -> None:
        """Begin those that were kept. One that cannot is in state `error`, and tries again."""
        for kept in [] if self._store is None else self._store.endpoints(KIND):
            try:
                entry = Entry(kept.id, Plan.from_json(kept.body))
            except RequestError as fault:  # a disk may give back anything; the row stays as it is
                self.rows_left_out += 1
                log.warning("skipped the stored relay %r: %s (%s)", kept.id, fault.detail, fault.field)
                continue
            self._entries.put(entry)

    def stop(self) -> None:
        """End all of them; what is kept stays."""
        self._entries.stop()

    # -- what there is

    async def every(self) -> list[dict[str, Any]]:
        """All of them, in the order in which they were started."""
        return [await asyncio.to_thread(self._body, entry) for entry in self._entries.all()]

    async def get(self, relay_id: str) -> dict[str, Any]:
        """One. Raises: RequestError (404)."""
        return await asyncio.to_thread(self._body, self._entry(relay_id))

    async def flows(
        self, relay_id: str, query: str | None, offset: int, limit: int, cells: int = 0
    ) -> tuple[list[dict[str, Any]], int]:
        """A relay's flows in the order in which they began, and how many there are, with their last `cells` datagrams.

        Raises: RequestError (404, 503).
        """
        relay = self._running(relay_id)
        shown, total = await self._do(lambda: relay_flows.flow_page(relay_id, relay, query, offset, limit))
        if cells:
            ordinals = [body["ordinal"] for body in shown]
            told = await self._do(lambda: cells_of_flows(relay, ordinals, cells))
            shown = [{**body, "cells": told.get(body["ordinal"])} for body in shown]
        return [as_json(body) for body in shown], total

    async def flow(self, relay_id: str, flow_id: str) -> dict[str, Any]:
        """One flow. Raises: RequestError (404, 503)."""
        relay, ordinal = self._running(relay_id), relay_flows.ordinal_of(relay_id, flow_id)
        body = None
        if ordinal is not None:
            body = await self._do(lambda: relay_flows.flow_body(relay_id, relay, ordinal))
        if body is None:
            raise _not_found("flow", flow_id)
        return as_json(body)

    async def datagrams(self, relay_id: str, flow_id: str, direction: str, limit: int) -> list[dict[str, Any]]:
        """The last datagrams of one direction, newest last. Raises: RequestError (404, 503)."""
        relay, which = self._running(relay_id), _direction(direction)
        row, _ = await self._row(relay, relay_id, flow_id)
        records = await self._do(lambda: relay.records(row, which))
        return [as_json(body) for body in relay_bodies.datagram_bodies(records[-limit:])]

    async def steps(
        self, relay_id: str, flow_id: str, direction: str, from_unix_ns: int, to_unix_ns: int, step_s: float | None
    ) -> Steps:
        """What left over time in one direction. Raises: RequestError (404, 503)."""
        entry, relay, which = self._entry(relay_id), self._running(relay_id), _direction(direction)

        def read() -> Steps:
            history = self._entries.sample(entry, relay)
            row, _ = _row(relay, relay_id, flow_id)
            return history.steps(row, which, from_unix_ns, to_unix_ns, step_s)

        steps: Steps = await self._do(read)
        return steps

    def running(self) -> list[tuple[str, Relay]]:
        """Those that run, by id. Any thread."""
        return [(entry.id, entry.relay) for entry in self._entries.all() if entry.relay is not None]

    # -- what is done

    async def add(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Begin a relay, and keep it. Raises: RequestError (403, 409, 422, 503, 507), with the field at fault."""
        plan = self._plan(asked, await look_up(self._lookups, asked["target"]))  # no lock: it may take its time
        async with self._changing:
            if len(self._entries) >= MAX_RELAYS:
                raise RequestError(f"at most {MAX_RELAYS} relays", kind="too-many-relays")
            entry = Entry(f"r-{secrets.token_hex(6)}", plan)
            try:
                entry.relay = await asyncio.to_thread(Relay, plan)
            except BindError as error:
                raise RequestError(str(error), field="listen", kind="cannot-bind") from error
            except RelayError as error:
                raise _down(error) from error
            entry.plan = entry.relay.plan  # the port that was bound is the one that it listens on next time
            try:
                await self._keep(entry)
            except RequestError:
                await asyncio.to_thread(entry.relay.close)
                raise
            self._entries.put(entry)
            self._note("relay", f"relay {plan.name} begun", entry.id)
            return await asyncio.to_thread(self._body, entry)

    async def remove(self, relay_id: str) -> None:
        """End a relay and forget it. Raises: RequestError (404, 507)."""
        async with self._changing:
            entry = self._entry(relay_id)
            await self._write(lambda store: store.remove_endpoint(relay_id))
            await asyncio.to_thread(self._entries.take, relay_id)
            self._note("relay", f"relay {entry.plan.name} ended", relay_id)

    async def change(self, relay_id: str, changes: dict[str, Any]) -> dict[str, Any]:
        """Change up, down, rules or idle_s. Raises: RequestError (404, 422, 503, 507)."""
        links = {name: _link(changes[name], name) for name in DIRECTIONS if name in changes}
        rules = _rules(changes["rules"]) if "rules" in changes else None
        async with self._changing:
            entry, relay = self._entry(relay_id), self._running(relay_id)
            plan = replace(
                entry.plan,
                up=links.get("up", entry.plan.up),
                down=links.get("down", entry.plan.down),
                rules=entry.plan.rules if rules is None else rules,
                idle_s=changes.get("idle_s", entry.plan.idle_s),
            ).checked()
            entry.plan, before = plan, entry.plan
            try:
                await self._keep(entry)
            except RequestError:
                entry.plan = before
                raise

            def act() -> None:
                for name, link in links.items():
                    relay.set_link(DIRECTIONS.index(name), link)
                if rules is not None:
                    relay.set_rules(rules)
                if "idle_s" in changes:
                    relay.set_idle(plan.idle_s)

            await self._do(act)
            self._note("link", f"relay {plan.name}: {', '.join(changes)} changed", relay_id)
            return await asyncio.to_thread(self._body, entry)

    async def link(self, relay_id: str, direction: str) -> dict[str, Any]:
        """The link of one direction. Raises: RequestError (404)."""
        plan = self._entry(relay_id).plan
        return (plan.up if _direction(direction) == UP else plan.down).to_body()

    async def set_flow_link(self, relay_id: str, flow_id: str, direction: str, body: dict[str, Any] | None) -> None:
        """Give one flow a link of its own, or remove it (None). Not stored. Raises: RequestError (404, 422, 503)."""
        relay, which = self._running(relay_id), _direction(direction)
        link = None if body is None else Link.from_body(body)
        _, ordinal = await self._row(relay, relay_id, flow_id)
        if link is None:
            await self._do(lambda: relay.clear_own_link(which, ordinal))
        else:
            await self._do(lambda: relay.set_link(which, link, ordinal))

    async def end_flow(self, relay_id: str, flow_id: str) -> None:
        """End one flow. Raises: RequestError (404, 503)."""
        relay = self._running(relay_id)
        _, ordinal = await self._row(relay, relay_id, flow_id)
        await self._do(lambda: relay.end_flows(ordinal))

    async def rebind(self, relay_id: str, flow_id: str | None) -> int:
        """Change the ports towards the target, of one flow or all; how many. Raises: RequestError (404, 503)."""
        relay, ordinal = self._running(relay_id), None
        if flow_id is not None:
            _, ordinal = await self._row(relay, relay_id, flow_id)
        rebound = await self._do(lambda: relay.rebind(ordinal))
        self._note("relay", f"relay {self._entry(relay_id).plan.name}: {rebound} flows have other ports", relay_id)
        return int(rebound)

    async def reset(self, relay_id: str) -> None:
        """End all flows and restart the counts: the next client is the first again and meets the same fates."""
        relay = self._running(relay_id)
        self._entries.totals.add_reset(await self._do(relay.reset))

    # -- figures

    def attention(self) -> list[Attention]:
        """An entry for "Needs attention" while a relay's delayed datagrams find no room."""
        return [attention("relay-room", None)] if self._entries.lacks_room else []

    def counters(self) -> dict[str, Any]:
        """For /metrics. From any thread."""
        return self._entries.counters()

    # -- inside

    def _plan(self, asked: dict[str, Any], found: Sequence[Address]) -> Plan:
        listen, target = ends(asked.get("listen") or "127.0.0.1:0", found)
        for entry in self._entries.all():
            if entry.relay is not None and target == entry.relay.address:
                raise RequestError(f"{format_address(target)} is the relay {entry.plan.name}", field="target")
        return Plan(
            name=asked.get("name") or "relay",
            listen=listen,
            target=target,
            up=_link(asked.get("up") or {}, "up"),
            down=_link(asked.get("down") or {}, "down"),
            rules=_rules(asked.get("rules") or ()),
            idle_s=asked.get("idle_s") or DEFAULT_IDLE_S,
            max_flows=asked.get("max_flows") or DEFAULT_MAX_FLOWS,
            any_port=bool(asked.get("any_port")),
            keep_ttl=bool(asked.get("keep_ttl")),
            dont_fragment=bool(asked.get("dont_fragment")),
            keep_payload=asked.get("keep_payload") is not False,
            allow_from=tuple(asked.get("allow_from") or ()),
        ).checked()

    def _body(self, entry: Entry) -> dict[str, Any]:
        return as_json(relay_bodies.relay_body(entry.id, entry.plan, entry.relay, entry.error))

    def _entry(self, relay_id: str) -> Entry:
        entry = self._entries.get(relay_id)
        if entry is None:
            raise _not_found("relay", relay_id)
        return entry

    def _running(self, relay_id: str) -> Relay:
        entry = self._entry(relay_id)
        if entry.relay is None:
            raise RequestError(entry.error or "it is not running", kind="relay-down")
        return entry.relay

    async def _row(self, relay: Relay, relay_id: str, flow_id: str) -> tuple[int, int]:
        row, ordinal = await self._do(lambda: _row(relay, relay_id, flow_id))
        return row, ordinal

    async def _do(self, act: Callable[[], Any]) -> Any:
        try:
            return await asyncio.to_thread(act)
        except RelayError as error:
            raise _down(error) from error

    async def _keep(self, entry: Entry) -> None:
        await self._write(lambda store: store.put_endpoint(KeptEndpoint(entry.id, KIND, entry.plan.to_json())))

    async def _write(self, write: Callable[[Store], None]) -> None:
        if self._store is None:
            return
        try:
            await asyncio.to_thread(write, self._store)
        except StoreError as error:
            raise RequestError(f"{error}; nothing was changed", kind="not-kept") from error


def _row(relay: Relay, relay_id: str, flow_id: str) -> tuple[int, int]:
    """A flow's row and its ordinal. May block. Raises: RelayError, RequestError (404)."""
    ordinal = relay_flows.ordinal_of(relay_id, flow_id)
    row = None if ordinal is None else relay_flows.row_of(relay.read(), ordinal)
    if ordinal is None or row is None:
        raise _not_found("flow", flow_id)
    return row, ordinal


def _link(body: dict[str, Any], direction: str) -> Link:
    """Raises: RequestError, whose field says which way's link it is."""
    with _inside(direction):
        return Link.from_body(body)


def _rules(bodies: Iterable[dict[str, Any]]) -> tuple[Rule, ...]:
    rules: list[Rule] = []
    for place, body in enumerate(bodies):
        with _inside(f"rules.{place}"):
            rules.append(Rule.from_body(body))
    return tuple(rules)


@contextmanager
def _inside(field: str) -> Iterator[None]:
    """A field at fault is one of this field's."""
    try:
        yield
    except RequestError as error:
        name = field if error.field is None else f"{field}.{error.field}"
        raise RequestError(error.detail, field=name, kind=error.kind) from error


def _direction(name: str) -> int:
    if name not in DIRECTIONS:
        raise RequestError("expected up or down", field="direction", kind="not-found")
    return DIRECTIONS.index(name)


def _not_found(what: str, its_id: str) -> RequestError:
    return RequestError(f"no {what} {its_id!r}", field="id", kind="not-found")


def _down(error: RelayError) -> RequestError:
    return RequestError(str(error), kind="relay-down")
