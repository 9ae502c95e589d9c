"""The bridge: the colour server, the hosted clients and what is kept of them, as one thing to drive.

No HTTP in here: the web app, scenarios and the bench all drive this. Its coroutines belong to one event loop; what they
need from the two UDP threads they ask for through the threads' inboxes, so that no thread waits for another one's lock.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from udprism.columns.types import Address, format_address, is_loopback
from udprism.errors import RequestError, StoreError
from udprism.ledger.timeline import Steps
from udprism.link.link import Link
from udprism.node.flows import Flows
from udprism.node.heard import HeardByReceivers
from udprism.node.history import HistoryBody, history_body
from udprism.node.kept import OWN_SERVER, KeptClient
from udprism.node.lanes import Lanes
from udprism.node.links import Links
from udprism.node.receivers import KIND as RECEIVER
from udprism.node.receivers import Receivers
from udprism.node.relays import Relays
from udprism.node.store import Store
from udprism.node.threads import Threads
from udprism.node.view import MOST_ATTENTION, Roster, Snapshot
from udprism.node.works import Works
from udprism.serving.clients import HostedClient, Mode, ModeName
from udprism.serving.commands import name_fault
from udprism.serving.routes import Route
from udprism.serving.sessions import is_session_id
from udprism.settings import Settings
from udprism.udp.descriptors import raise_limit, require_room
from udprism.udp.networks import has_name
from udprism.udp.tap_stream import TapStream
from udprism.wire.measured import ByeReason

__all__ = ["Bridge", "Roster", "Snapshot"]

log = logging.getLogger(__name__)
T = TypeVar("T")

_ADDED_AT_ONCE = 500
"""Clients handed to the pool's thread in one piece, so that its batches do not wait long."""
_MOST_REASONS = 5
_LOOK_UP_WITHIN_S = 10.0
"""Whoever adds a client waits no longer for a name server. glibc gives up after 10 to 40 s (resolv.conf(5))."""
_ID_BYTES = 6
"""Enough for ids that are unique across nodes without asking: a million clients collide with a chance of 0.2 %."""


class Bridge:
    """Everything but the web app. `start` and `stop` once each; coroutines in between."""

    def __init__(
        self,
        settings: Settings,
        store: Store | None = None,
        *,
        given_up: Callable[[BaseException | None], None] = lambda error: None,
        delays_over_all_links: bool = False,
    ) -> None:
        """Binds the UDP sockets. Raises: BindError, with nothing left open.

        delays_over_all_links: keep a client's delay figures when its link changes. Otherwise they start again, so that
        the effect of a slider shows at once.
        """
        raise_limit()
        self.settings = settings
        self.instance_id = secrets.token_hex(8)
        self.identity = _identity(store)
        """Of what is kept: the same after a restart, another one for another directory. Lower-case hexadecimal."""
        self.started_unix_ns = time.time_ns()
        self._store = store
        self._kept: dict[str, KeptClient] = {}
        self._id_of_name: dict[str, str] = {}
        self._held_back: list[KeptClient] = []
        """Kept clients beyond `settings.max_clients`."""
        self._works = Works(settings, given_up=given_up)
        self._threads = Threads(self._works, store)
        self._pool, self._server, self._keep = self._threads.pool, self._threads.server, self._threads.keep
        self._links = Links(self._works, self._threads, delays_over_all_links=delays_over_all_links)
        self.relays = Relays(store, self._works.targets, self._note)
        self.receivers = Receivers(settings, self._keep, self._note, given_up)
        self._lanes = Lanes(self._works, self._threads, self.receivers)
        self.flows = Flows(self._works, self._threads, self.relays, HeardByReceivers(self.receivers))
        self._changing = asyncio.Lock()
        self._taps = 0
        self._rows_left_out = 0

    # -- life

    @property
    def udp_address(self) -> Address:
        """What the colour server is bound to."""
        return self._works.udp_address

    @property
    def udp_addresses(self) -> list[Address]:
        """All that the colour server is bound to: one address a family."""
        return self._works.udp_addresses

    @property
    def own_target(self) -> Address:
        """Where hosted clients find the colour server."""
        return self._works.own_target

    def start(self) -> None:
        """Start both threads and bring back what was kept; the first start makes `settings.clients` clients.

        Clients are there when this returns, and begin to ask for their streams. One that cannot is in state `error` and
        tries again. Those beyond `settings.max_clients` stay on the disk for a start with more room.
        """
        self._works.start_server()
        kept = None if self._store is None else self._store.load()
        if kept is not None:
            kept = kept.with_names_once()
            if kept.left_out:
                reasons = "; ".join(kept.left_out[:_MOST_REASONS])
                log.warning("damaged rows of the database that were left out: %d. %s", len(kept.left_out), reasons)
            self._rows_left_out = len(kept.left_out)
            self._links.restore(
                {owner: Link.from_body(body) for owner, body in kept.links.items()},
                None if kept.default_link is None else Link.from_body(kept.default_link),
            )
        if kept is None or kept.first_start:
            definitions = self._define(None, OWN_SERVER, self.settings.rate_hz, 1, "auto", self.settings.clients)
            if self._store is not None:
                self._store.add_clients(definitions)
        else:
            definitions = kept.clients
        definitions, self._held_back = (
            definitions[: self.settings.max_clients],
            definitions[self.settings.max_clients :],
        )
        for definition in self._held_back:
            self._id_of_name[definition.name] = definition.id  # it will want its name back
        routes = {target: self._known_route(target) for target in {definition.target for definition in definitions}}
        for piece in _pieces(definitions):
            self._bring_back(piece, routes)
        self._tell_who_cannot_start()
        self._works.start_pool()
        self.relays.restore()
        if self._store is not None:
            self.receivers.restore(self._store.endpoints(RECEIVER))

    def _tell_who_cannot_start(self) -> None:
        """One line per limit, however many clients it keeps from running."""
        errors = Counter(client.error for client in self._works.pool.table.clients.values() if client.error is not None)
        if errors:
            reasons = "; ".join(f"{count}: {error}" for error, count in errors.most_common(_MOST_REASONS))
            log.warning(
                "%d of %d clients cannot start yet; each tries again. %s", errors.total(), len(self._kept), reasons
            )
        if self._held_back:
            log.warning(
                "%d of %d kept clients were left on the disk: max_clients (UDPRISM_MAX_CLIENTS) is %d",
                len(self._held_back),
                len(self._held_back) + len(self._kept),
                self.settings.max_clients,
            )

    def _bring_back(self, definitions: list[KeptClient], routes: Mapping[str, tuple[Route, str | None]]) -> None:
        """On this thread, because the pool's does not run yet: two that take turns need three times as long.

        routes: by target, what is known of it without asking a name server, and what is wrong with it.
        """
        pool = self._works.pool
        known = [routes[definition.target] for definition in definitions]
        clients = [
            self._hosted(definition, next(iter(route.addresses), None), error)
            for definition, (route, error) in zip(definitions, known, strict=True)
        ]
        slots = pool.add(clients, pool.sockets.open_possible(clients), [route for route, _ in known])
        for slot, definition in zip(slots, definitions, strict=True):
            self._remember(definition)
            if definition.paused:
                pool.pause(slot, True)

    def _known_route(self, target: str) -> tuple[Route, str | None]:
        if target == OWN_SERVER:
            return Route([self.own_target]), None
        if has_name(target):
            return Route(is_name=True), None  # its clients have it looked up, when they ask
        try:
            return Route(self._works.targets.resolve(target)), None
        except RequestError as error:
            return Route(), error.detail

    def stop(self) -> None:
        """BYE to measured clients, both threads ended, sockets and store closed; within two seconds or so."""
        self.relays.stop()
        self.receivers.stop()
        self._works.stop()
        if self._store is not None:
            self._store.close()

    # -- hosted clients

    async def add_clients(
        self,
        name: str | None = None,
        target: str | None = None,
        rate_hz: float | None = None,
        colours: int | None = None,
        mode: ModeName | None = None,
        count: int = 1,
    ) -> list[dict[str, Any]]:
        """Add `count` clients, all or none; answers their bodies once they are kept.

        Raises: RequestError (403, 409, 422, 507), with the field at fault.
        """
        where = target or OWN_SERVER
        addresses = await self._look_up(where)  # before the lock: it may take a name server's time
        async with self._changing:
            most = self.settings.max_clients - len(self._kept)
            if count > most:
                raise RequestError(
                    f"{count} more would be over the limit of {self.settings.max_clients} clients; {most} more fit",
                    field="count",
                    kind="too-many-clients",
                )
            require_room(count)
            definitions = await asyncio.to_thread(
                self._define, name, where, rate_hz or self.settings.rate_hz, colours or 1, mode or "auto", count
            )
            clients, sockets = await asyncio.to_thread(self._open, definitions, addresses)
            try:
                await self._keep(lambda store: store.add_clients(definitions))
            except RequestError:
                for sock in sockets:
                    sock.close()
                raise
            for definition in definitions:
                self._remember(definition)
            bodies: list[dict[str, Any]] = []
            route = Route(addresses, is_name=has_name(where))
            for start in range(0, count, _ADDED_AT_ONCE):
                part = slice(start, start + _ADDED_AT_ONCE)
                bodies += await self._pool(partial(self._add, clients[part], sockets[part], route))
            return [self._complete(body) for body in bodies]

    async def _look_up(self, target: str) -> tuple[Address, ...]:
        """A target's addresses. Raises: RequestError (403, 422)."""
        if target == OWN_SERVER:
            return (self.own_target,)
        future = asyncio.wrap_future(self._works.lookups.look_up(target))
        future.add_done_callback(lambda done: done.cancelled() or done.exception())  # in case nobody waits any more
        try:
            return await asyncio.wait_for(asyncio.shield(future), _LOOK_UP_WITHIN_S)
        except TimeoutError:
            raise RequestError(
                f"no name server said within {_LOOK_UP_WITHIN_S:.0f} s where {target} is: give an address",
                field="target",
            ) from None

    def _open(
        self, definitions: list[KeptClient], addresses: tuple[Address, ...]
    ) -> tuple[list[HostedClient], list[socket.socket]]:
        """New clients with their sockets, all or none, to the first address that this machine can send to. Any thread.

        Raises: RequestError (409).
        """
        for address in addresses:
            clients = [self._hosted(definition, address) for definition in definitions]
            try:
                return clients, self._works.pool.sockets.open_all(clients)
            except OSError as error:
                reason = error.strerror
        raise RequestError(
            f"cannot open {len(definitions)} sockets: {reason}; nothing was added", field="count", kind="no-socket"
        )

    def _add(self, clients: list[HostedClient], sockets: list[socket.socket], route: Route) -> list[dict[str, Any]]:
        """Pool thread only."""
        return self._works.client_bodies(self._works.pool.add(clients, sockets, [route] * len(clients)))

    def _remove(self, ids: list[str]) -> None:
        """Pool thread only."""
        self._works.pool.remove([self._slot(one) for one in ids])

    async def list_clients(
        self, offset: int = 0, limit: int = 1000, state: str | None = None, query: str | None = None
    ) -> tuple[list[dict[str, Any]], int]:
        """One page of clients in the order of their names, and how many match."""

        def read() -> tuple[list[dict[str, Any]], int]:
            slots = self._works.matching(state, query)
            return self._works.client_bodies(slots[offset : offset + limit]), len(slots)

        bodies, total = await self._pool(read)
        return [self._complete(body) for body in bodies], total

    async def get_client(self, client_id: str) -> dict[str, Any]:
        """One client's body. Raises: RequestError (404)."""
        (body,) = await self._pool(lambda: self._works.client_bodies([self._slot(client_id)]))
        return self._complete(body)

    async def patch_client(self, client_id: str, changes: dict[str, Any]) -> dict[str, Any]:
        """Change `name`, `rate_hz`, `colours` or `paused`. Raises: RequestError (404, 409, 507)."""
        async with self._changing:
            old = self._kept.get(client_id)
            if old is None:
                raise _no_client(client_id)
            name = changes.get("name") or old.name
            if self._id_of_name.get(name, client_id) != client_id:
                raise _name_taken(name)
            new = KeptClient(
                id=client_id,
                name=name,
                target=old.target,
                mode=old.mode,
                rate_hz=changes.get("rate_hz") or old.rate_hz,
                colours=changes.get("colours") or old.colours,
                paused=old.paused if changes.get("paused") is None else bool(changes["paused"]),
            )
            await self._keep(lambda store: store.update_client(new))
            del self._id_of_name[old.name]
            self._remember(new)

            def change() -> dict[str, Any]:
                slot = self._slot(client_id)
                if (new.name, new.rate_hz, new.colours) != (old.name, old.rate_hz, old.colours):
                    self._works.pool.change(slot, name=new.name, rate_hz=new.rate_hz, colours=new.colours)
                if "paused" in changes:  # even if unchanged: `false` also means: ask now
                    self._works.pool.pause(slot, new.paused)
                return self._works.client_bodies([slot])[0]

            return self._complete(await self._pool(change))

    async def delete_client(self, client_id: str) -> None:
        """Remove one client. Raises: RequestError (404, 507)."""
        if client_id not in self._kept:
            raise _no_client(client_id)
        await self.delete_clients([client_id])

    async def delete_clients(self, ids: list[str] | None = None) -> int:
        """Remove these clients (None: all of them); answers how many there were. Raises: RequestError (404, 507)."""
        async with self._changing:
            chosen = list(self._kept) if ids is None else list(dict.fromkeys(ids))
            for client_id in chosen:
                if client_id not in self._kept:
                    raise _no_client(client_id)
            await self._keep(lambda store: store.remove_clients(chosen))
            for client_id in chosen:
                del self._id_of_name[self._kept.pop(client_id).name]
            for piece in _pieces(chosen):
                await self._pool(partial(self._remove, piece))
            await self._links.forget_clients(chosen)
            return len(chosen)

    async def datagrams(self, client_id: str, limit: int) -> list[dict[str, Any]]:
        """The client's last datagrams, newest last. Raises: RequestError (404)."""
        return await self._pool(lambda: self._works.datagrams(self._slot(client_id), limit))

    def tap(self, client_id: str) -> TapStream:
        """The client's datagrams as they come: a context manager and an async iterator.

        Raises: RequestError (404, 503).
        """
        if client_id not in self._kept:
            raise _no_client(client_id)
        if self._taps >= self.settings.max_taps:
            raise RequestError(f"{self._taps} streams are open already, the most that are allowed", kind="busy")
        return TapStream(self._works.pool, client_id, self.settings.tap_queue_datagrams, self._count_tap)

    def _count_tap(self, change: int) -> None:
        self._taps += change

    # -- sessions

    async def sessions(self, limit: int = 1000, query: str | None = None) -> tuple[list[dict[str, Any]], int]:
        """The colour server's sessions, raw ones first and newest first, and how many match."""
        names: dict[Address, str] = {}
        if query and not is_session_id(query):
            client_of = list(self._works.client_of_address.items())
            names = {address: self._kept[one].name for address, one in client_of if one in self._kept}
        bodies, total = await self._server(lambda: self._works.session_bodies(limit, query or "", names))
        return [self._complete_session(body) for body in bodies], total

    async def end_session(self, session_id: str) -> None:
        """End a session, with a BYE if its stream is measured. Raises: RequestError (404)."""
        server = self._works.server
        await self._server(lambda: server.end_session(server.slot_of(session_id), ByeReason.OPERATOR))

    # -- links

    async def get_link(self, owner_id: str) -> dict[str, Any] | None:
        """The link of a client or session, if it has its own. Raises: RequestError (404) for an unknown owner."""
        known = owner_id in self._kept
        link = self._links.of_client(owner_id) if known else await self._links.of_session(owner_id)
        return _link_body(link)

    async def put_links(self, client_ids: list[str], body: dict[str, Any]) -> None:
        """Give these clients the same link, all or none. Raises: RequestError (404, 422, 507)."""
        link = Link.from_body(body)
        async with self._changing:
            for client_id in client_ids:
                if client_id not in self._kept:
                    raise _no_client(client_id)
            await self._links.put_clients(client_ids, link)
            for client_id in client_ids:
                self._note("link", f"link of {self._kept[client_id].name}: {link}", client_id)

    async def put_link(self, owner_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """Give a client or session its own link. Raises: RequestError (404, 409, 422, 507)."""
        link = Link.from_body(body)
        await self._set_link(owner_id, link)
        return self._answer(link)

    async def delete_link(self, owner_id: str) -> None:
        """Take it away: the default link holds again. Raises: RequestError (404, 409, 507)."""
        await self._set_link(owner_id, None)

    async def get_default_link(self) -> dict[str, Any] | None:
        """The link of all who have none of their own."""
        return _link_body(self._links.default)

    async def put_default_link(self, body: dict[str, Any]) -> dict[str, Any]:
        """Set it. Raises: RequestError (422, 507)."""
        link = Link.from_body(body)
        await self._set_default_link(link)
        return self._answer(link)

    def _answer(self, link: Link) -> dict[str, Any]:
        """A link's body; with a `warning`, if it has less room than it needs."""
        warning = self._links.warning()
        return link.to_body() | ({} if warning is None else {"warning": warning})

    async def delete_default_link(self) -> None:
        """Take it away. Raises: RequestError (507)."""
        await self._set_default_link(None)

    async def links(self) -> dict[str, Any]:
        """What is impaired, and since when."""
        return self._links.summary()

    async def delete_links(self) -> None:
        """Clear every impairment: the default, all clients', all sessions'. All or none. Raises: RequestError (507)."""
        async with self._changing:
            await self._links.clear()
            self._note("link", "all links were cleared")

    async def _set_link(self, owner_id: str, link: Link | None) -> None:
        async with self._changing:
            if owner_id in self._kept:
                await self._links.put_clients([owner_id], link)
                self._note("link", f"link of {self._kept[owner_id].name}: {_words(link)}", owner_id)
            else:
                await self._links.put_session(owner_id, link)
                self._note("link", f"link of session {owner_id}: {_words(link)}", owner_id)

    async def _set_default_link(self, link: Link | None) -> None:
        async with self._changing:
            await self._links.put_default(link)
            self._note("link", f"link of everybody: {link or Link()}")

    # -- the whole

    async def ledger(self) -> dict[str, Any]:
        """What became of every datagram, all clients together."""
        return await self._pool(self._works.whole_ledger)

    async def history(self, flow: str | None, from_unix_ns: int, to_unix_ns: int, step_s: float | None) -> HistoryBody:
        """What happened over time, to one client (by id) or all of them. Raises: RequestError (404)."""

        def read() -> Steps:
            slot = None if flow is None else self._works.pool.table.slot_of_id.get(flow)
            if flow is not None and slot is None:
                raise _no_client(flow)
            return self._works.history(slot, from_unix_ns, to_unix_ns, step_s)

        steps = await self._pool(read)
        return history_body(steps, flow, self._works.events.between(from_unix_ns, to_unix_ns, flow))

    def _note(self, kind: str, text: str, flow: str | None = None) -> None:
        self._works.events.note(time.time_ns(), kind, text, flow)

    async def snapshot(self, watch_slots: list[int]) -> Snapshot:
        """One moment of all clients and of what receivers hear, for the live feed."""
        return await self._lanes.snapshot(watch_slots)

    async def roster(self, since_version: int) -> Roster:
        """Who is in which slot."""
        return await self._lanes.roster(since_version)

    async def schedule(self) -> tuple[int, int]:
        """Datagrams that the colour server has made since its start, and those that were due and it did not make."""
        return await self._server(self._works.server.schedule)

    async def status(self) -> dict[str, Any]:
        """What the page's header line shows."""
        status = await self._pool(self._works.status)
        status["sessions"] = self._works.session_counts()
        status["links"] = await self.links()
        status["attention"] = [*self._links.attention(), *status["attention"]][:MOST_ATTENTION]
        return status

    def checks(self) -> list[dict[str, Any]]:
        """What must be true for this program to do its work. From any thread."""
        checks = self._works.checks()
        if self._store is not None:
            kept = self._threads.store_error is None
            checks.append(
                {
                    "name": "store",
                    "ok": kept,
                    "detail": self._threads.store_error or "the last change was kept",
                    "fatal": False,
                }
            )
        return checks

    def counters(self) -> dict[str, Any]:
        """Figures for /metrics. From any thread."""
        return self._works.counters() | {
            "clients_kept": len(self._kept) + len(self._held_back),
            "clients_held_back": len(self._held_back),
            "store_rows_left_out": self._rows_left_out,
            "taps": self._taps,
            **self.relays.counters(),
            **self.receivers.counters(),
        }

    # -- asking the threads, and keeping

    def _slot(self, client_id: str) -> int:
        slot = self._works.pool.table.slot_of_id.get(client_id)
        if slot is None:
            raise _no_client(client_id)
        return slot

    def _hosted(self, definition: KeptClient, address: Address | None, error: str | None = None) -> HostedClient:
        mode = Mode[definition.mode.upper()]
        return HostedClient(
            id=definition.id,
            name=definition.name,
            target=definition.target or sys.intern(format_address(self.own_target)),
            address=address or ("", 0),
            loopback=address is not None and is_loopback(address[0]),
            mode=mode,
            rate_hz=definition.rate_hz,
            colours=definition.colours,
            connected=mode != Mode.PLAIN,
            falls_back=address is None or not self._works.is_ours(address),
            error=error,
        )

    def _remember(self, definition: KeptClient) -> None:
        self._kept[definition.id] = definition
        self._id_of_name[definition.name] = definition.id

    def _define(
        self, name: str | None, target: str, rate_hz: float, colours: int, mode: ModeName, count: int
    ) -> list[KeptClient]:
        """Names and ids for new clients: `name` itself for one, else `name-001` and so on with free numbers."""
        if name is not None and count == 1:
            if name in self._id_of_name:
                raise _name_taken(name)
            names = [name]
        else:
            names = []
            number = 0
            while len(names) < count:
                number += 1
                numbered = f"{name or 'client'}-{number:03d}"
                if numbered not in self._id_of_name:
                    names.append(numbered)
        fault = name_fault(max(names, key=len, default="client"))
        if fault is not None:
            raise RequestError(f"{fault} (several clients are numbered: {names[-1]})", field="name")
        return [
            KeptClient(f"c-{secrets.token_hex(_ID_BYTES)}", one, target, mode, rate_hz, colours, False) for one in names
        ]

    def _complete(self, body: dict[str, Any]) -> dict[str, Any]:
        body["link"] = _link_body(self._links.of_client(body["id"]))
        return body

    def _complete_session(self, body: dict[str, Any]) -> dict[str, Any]:
        client_id = body["client_id"] or ""
        if client_id in self._kept:
            body["name"] = self._kept[client_id].name  # a bare connect has not told it
        return body


def _pieces(items: list[T]) -> list[list[T]]:
    return [items[start : start + _ADDED_AT_ONCE] for start in range(0, len(items), _ADDED_AT_ONCE)]


def _link_body(link: Link | None) -> dict[str, Any] | None:
    return None if link is None else link.to_body()


def _no_client(client_id: str) -> RequestError:
    return RequestError(f"no client {client_id!r}", field="id", kind="not-found")


def _name_taken(name: str) -> RequestError:
    return RequestError(f"a client is called {name!r} already: choose another name", field="name", kind="name-taken")


def _words(link: Link | None) -> str:
    return "none of its own" if link is None else str(link)


def _identity(store: Store | None) -> str:
    if store is not None:
        with suppress(StoreError):  # a full disk: then the name is this process's alone
            return store.identity()
    return secrets.token_hex(4)
