"""Hosted clients: added, listed, changed and removed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

from udprism.columns.types import Address
from udprism.errors import RequestError
from udprism.ledger.timeline import Steps
from udprism.node.assembly import Assembly
from udprism.node.bodies.clients import STATE_WORDS, Client, Datagram, client_bodies, datagram_bodies
from udprism.node.bodies.json import Json, as_json
from udprism.node.bodies.links import own_link_body
from udprism.node.directory import Directory
from udprism.node.hosting import hosted_client, pieces
from udprism.node.kept import OWN_SERVER, KeptClient
from udprism.node.links import Links
from udprism.node.looking_up import look_up
from udprism.node.threads import Threads
from udprism.serving.clients import HostedClient, ModeName
from udprism.serving.routes import Route
from udprism.udp.descriptors import require_room
from udprism.udp.networks import has_name
from udprism.udp.tap_stream import TapStream


class Clients:
    """The hosted clients of one bridge. Coroutines on its event loop."""

    def __init__(self, assembly: Assembly, threads: Threads, directory: Directory, links: Links) -> None:
        self._assembly = assembly
        self._pool = assembly.pool
        self._threads = threads
        self._directory = directory
        self._links = links
        self.taps = 0
        """Open ones."""

    async def add(
        self,
        name: str | None = None,
        target: str | None = None,
        rate_hz: float | None = None,
        colours: int | None = None,
        mode: ModeName | None = None,
        count: int = 1,
    ) -> list[Json]:
        """Add `count` clients, all or none; returns their bodies once they are kept.

        Raises: RequestError (403, 409, 422, 507), with the field at fault.
        """
        added = self.add_in_pieces(name, target, rate_hz, colours, mode, count)
        return [body async for piece in added for body in piece]

    async def add_in_pieces(
        self,
        name: str | None = None,
        target: str | None = None,
        rate_hz: float | None = None,
        colours: int | None = None,
        mode: ModeName | None = None,
        count: int = 1,
    ) -> AsyncGenerator[list[Json], None]:
        """As `add`, but with some hundred bodies at a time: those of thousands of clients take tens of megabytes.

        All are added before the first ones are told. One that is removed meanwhile is left out.
        """
        where = target or OWN_SERVER
        addresses = await self._look_up(where)  # before the lock: it may take a name server's time
        adding = asyncio.ensure_future(self._add_all(where, addresses, name, rate_hz, colours, mode, count))
        adding.add_done_callback(lambda done: done.cancelled() or done.exception())  # the caller may have left
        ids = await asyncio.shield(adding)  # once it is begun, what is kept is there as well
        for piece in pieces(ids):
            bodies = await self._threads.pool(partial(self._bodies_of, piece))
            yield [self._complete(body) for body in bodies]

    async def _add_all(
        self,
        where: str,
        addresses: tuple[Address, ...],
        name: str | None,
        rate_hz: float | None,
        colours: int | None,
        mode: ModeName | None,
        count: int,
    ) -> list[str]:
        """Their ids. Raises: RequestError."""
        settings = self._assembly.settings
        async with self._directory.changing:
            most = settings.max_clients - len(self._directory)
            if count > most:
                raise RequestError(
                    f"{count} more would be over the limit of {settings.max_clients} clients; {most} more fit",
                    field="count",
                    kind="too-many-clients",
                )
            require_room(count)
            definitions = await asyncio.to_thread(
                self._directory.define, name, where, rate_hz or settings.rate_hz, colours or 1, mode or "auto", count
            )
            clients, sockets = await asyncio.to_thread(self._open, definitions, addresses)
            try:
                await self._threads.keep(lambda store: store.add_clients(definitions))
            except RequestError:
                for sock in sockets:
                    sock.close()
                raise
            for definition in definitions:
                self._directory.put(definition)
            route = Route(addresses, is_name=has_name(where))
            for some, theirs in zip(pieces(clients), pieces(sockets), strict=True):
                await self._threads.pool_in_the_end(partial(self._pool.add, some, theirs, [route] * len(some)))
            return [definition.id for definition in definitions]

    async def _look_up(self, target: str) -> tuple[Address, ...]:
        """A target's addresses. Raises: RequestError (403, 422)."""
        if target == OWN_SERVER:
            return (self._assembly.own_target,)
        return await look_up(self._assembly.lookups, target)

    def _open(
        self, definitions: list[KeptClient], addresses: tuple[Address, ...]
    ) -> tuple[list[HostedClient], list[socket.socket]]:
        """New clients with their sockets, all or none, to the first address that this machine can send to. Any thread.

        Raises: RequestError (409).
        """
        for address in addresses:
            clients = [hosted_client(self._assembly, definition, address) for definition in definitions]
            try:
                return clients, self._pool.sockets.open_all(clients)
            except OSError as error:
                reason = error.strerror
        raise RequestError(
            f"cannot open {len(definitions)} sockets: {reason}; nothing was added", field="count", kind="no-socket"
        )

    async def page(
        self, offset: int = 0, limit: int = 1000, state: str | None = None, query: str | None = None
    ) -> tuple[list[Json], int]:
        """One page of clients in the order of their names, and how many match."""

        def read() -> tuple[list[Client], int]:
            slots = self.matching(state, query)
            return self.bodies(slots[offset : offset + limit]), len(slots)

        bodies, total = await self._threads.pool(read)
        return [self._complete(body) for body in bodies], total

    async def get(self, client_id: str) -> Json:
        """One client's body. Raises: RequestError (404)."""
        (body,) = await self._threads.pool(lambda: self.bodies([self.slot(client_id)]))
        return self._complete(body)

    async def several(self, client_ids: list[str]) -> list[Json]:
        """These clients' bodies, all of one moment. Raises: RequestError (404)."""
        bodies = await self._threads.pool(lambda: self.bodies([self.slot(one) for one in client_ids]))
        return [self._complete(body) for body in bodies]

    async def change(self, client_id: str, changes: dict[str, Any]) -> Json:
        """Change `name`, `rate_hz`, `colours` or `paused`. Raises: RequestError (404, 409, 507)."""
        async with self._directory.changing:
            old = self._directory.require(client_id)
            name = changes.get("name") or old.name
            self._directory.require_free(name, but=client_id)
            new = KeptClient(
                id=client_id,
                name=name,
                target=old.target,
                mode=old.mode,
                rate_hz=changes.get("rate_hz") or old.rate_hz,
                colours=changes.get("colours") or old.colours,
                paused=old.paused if changes.get("paused") is None else bool(changes["paused"]),
            )
            await self._threads.keep(lambda store: store.update_client(new))
            self._directory.put(new)

            def change() -> Client:
                slot = self.slot(client_id)
                if (new.name, new.rate_hz, new.colours) != (old.name, old.rate_hz, old.colours):
                    self._pool.change(slot, name=new.name, rate_hz=new.rate_hz, colours=new.colours)
                if "paused" in changes:  # even if unchanged: `false` also means: ask now
                    self._pool.pause(slot, new.paused)
                return self.bodies([slot])[0]

            return self._complete(await self._threads.pool_in_the_end(change))

    async def remove(self, client_id: str) -> None:
        """Remove one client. Raises: RequestError (404, 507)."""
        self._directory.require(client_id)
        await self.remove_many([client_id])

    async def remove_many(self, ids: list[str] | None = None) -> int:
        """Remove these clients (None: all of them); returns how many there were. Raises: RequestError (404, 507)."""
        async with self._directory.changing:
            chosen = list(self._directory.clients) if ids is None else list(dict.fromkeys(ids))
            for client_id in chosen:
                self._directory.require(client_id)
            await self._threads.keep(lambda store: store.remove_clients(chosen))
            for client_id in chosen:
                self._directory.drop(client_id)
            for piece in pieces(chosen):
                await self._threads.pool_in_the_end(partial(self._remove, piece))
            await self._links.forget_clients(chosen)
            return len(chosen)

    async def datagrams(self, client_id: str, limit: int) -> list[Json]:
        """The client's last datagrams, newest last. Raises: RequestError (404)."""
        rows = await self._threads.pool(lambda: self.last_datagrams(self.slot(client_id), limit))
        return [as_json(row) for row in rows]

    async def steps(self, client_id: str, from_unix_ns: int, to_unix_ns: int, step_s: float | None) -> Steps:
        """What happened to one client over time; it is kept in finer steps from now on. Raises: RequestError (404)."""

        def read() -> Steps:
            slot, clock = self.slot(client_id), self._assembly.clock
            now_ns = clock.now_ns()
            self._pool.timeline.watch(slot, now_ns)
            return self._pool.timeline.flow(slot, from_unix_ns, to_unix_ns, step_s, clock.unix_ns() - now_ns)

        return await self._threads.pool(read)

    def tap(self, client_id: str) -> TapStream:
        """The client's datagrams as they come: a context manager and an async iterator.

        Raises: RequestError (404, 503).
        """
        self._directory.require(client_id)
        settings = self._assembly.settings
        if self.taps >= settings.max_taps:
            raise RequestError(f"{self.taps} streams are open already, the most that are allowed", kind="busy")
        return TapStream(self._pool, client_id, settings.tap_queue_datagrams, self._count_tap)

    def _count_tap(self, change: int) -> None:
        self.taps += change

    def _complete(self, body: Client) -> Json:
        body["link"] = own_link_body(self._links.of_client(body["id"]))
        return as_json(body)

    # -- the pool's thread

    def slot(self, client_id: str) -> int:
        """A client's row. Raises: RequestError (404)."""
        slot = self._pool.table.slot_of_id.get(client_id)
        if slot is None:
            raise RequestError(f"no client {client_id!r}", field="id", kind="not-found")
        return slot

    def matching(self, state: str | None, query: str | None) -> list[int]:
        """Slots of the clients in this state whose name, id or target has this text, by name."""
        table = self._pool.table
        text = (query or "").casefold()
        return [
            slot
            for name, slot in sorted(table.slot_of_name.items())
            if (state is None or STATE_WORDS[int(table.state[slot])] == state)
            and (
                text in name.casefold()
                or text in table.clients[slot].id
                or text in table.clients[slot].target.casefold()
            )
        ]

    def bodies(self, slots: list[int]) -> list[Client]:
        """These clients' bodies, of one moment; without their links."""
        now_ns = self._assembly.clock.now_ns()
        self._pool.settle(now_ns)
        return client_bodies(self._pool.columns, slots, now_ns)

    def last_datagrams(self, slot: int, limit: int) -> list[Datagram]:
        """The client's last datagrams, newest last."""
        self._pool.settle(self._assembly.clock.now_ns())
        return datagram_bodies(self._pool.columns, slot, limit)

    def _bodies_of(self, ids: list[str]) -> list[Client]:
        slots = (self._pool.table.slot_of_id.get(one) for one in ids)
        return self.bodies([slot for slot in slots if slot is not None])

    def _remove(self, ids: list[str]) -> None:
        self._pool.remove([self.slot(one) for one in ids])
