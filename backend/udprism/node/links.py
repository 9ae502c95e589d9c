"""Sets, removes and sums up links. Who has which is in the server's `link.book`, the only copy."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from udprism.columns.types import NS_PER_MS
from udprism.errors import RequestError
from udprism.link.link import Link
from udprism.node import bodies
from udprism.node.assembly import Assembly
from udprism.node.bodies.json import Json, as_json
from udprism.node.bodies.links import link_body
from udprism.node.bodies.whole import Attention, attention
from udprism.node.directory import Directory
from udprism.node.kept import DEFAULT_LINK
from udprism.node.threads import Threads

_TOLD_S = 10.0
"""After the last datagram that found no room."""


class Links:
    """The links of one bridge. Coroutines on its event loop; one change at a time."""

    def __init__(
        self, assembly: Assembly, threads: Threads, directory: Directory, *, delays_over_all_links: bool
    ) -> None:
        """delays_over_all_links: see `Bridge`."""
        self._server, self._pool = assembly.server, assembly.pool
        self._client_of_address = assembly.client_of_address
        self._note = assembly.note
        self._book = assembly.server.links
        self._threads = threads
        self._directory = directory
        self._delays_over_all_links = delays_over_all_links
        self._since_unix_ns: int | None = None
        self._turned_away, self._turned_away_s = 0, -_TOLD_S

    def restore(self, of_client: Mapping[str, Link], default: Link | None) -> None:
        """What was kept; before the first client speaks. May block."""

        def put() -> None:
            self._book.put_owners(of_client)
            self._book.put_default(default)

        self._server.inbox.submit(put).result()
        self._note_since()

    # -- one owner's

    def of_client(self, client_id: str) -> Link | None:
        """A client's own link."""
        return self._book.of_owner.get(client_id)

    async def get(self, owner_id: str) -> Json | None:
        """The link of a client or session, if it has its own. Raises: RequestError (404) for an unknown owner."""
        if owner_id in self._directory:
            return _own(self.of_client(owner_id))
        server, of_slot = self._server, self._book.of_slot
        return _own(await self._threads.server(lambda: of_slot.get(server.slot_of(owner_id))))

    async def put(self, owner_id: str, body: Mapping[str, Any]) -> Json:
        """Give a client or session its own link. Raises: RequestError (404, 409, 422, 507)."""
        link = Link.from_body(body)
        await self._set(owner_id, link)
        return self._with_warning(link)

    async def remove(self, owner_id: str) -> None:
        """Remove it: the default link applies again. Raises: RequestError (404, 409, 507)."""
        await self._set(owner_id, None)

    async def _set(self, owner_id: str, link: Link | None) -> None:
        async with self._directory.changing:
            if owner_id in self._directory:
                await self._set_clients([owner_id], link)
            else:
                await self._threads.server(lambda: self._put_session(owner_id, link))
                self._note_since()
                self._note("link", f"link of session {owner_id}: {_words(link)}", owner_id)

    async def put_many(self, client_ids: list[str], body: Mapping[str, Any], *, keep_delays: bool = False) -> None:
        """Give these clients the same link, all or none. Raises: RequestError (404, 422, 507).

        keep_delays: their delay figures go on, instead of starting again with the new link.
        """
        link = Link.from_body(body)
        async with self._directory.changing:
            for client_id in client_ids:
                self._directory.require(client_id)
            await self._set_clients(client_ids, link, keep_delays=keep_delays)

    async def _set_clients(self, client_ids: Collection[str], link: Link | None, *, keep_delays: bool = False) -> None:
        """Kept first, then set."""
        body = None if link is None else link.to_body()
        await self._threads.keep(lambda store: store.put_links(dict.fromkeys(client_ids, body)))
        await self._threads.server_in_the_end(lambda: self._book.put_owners(dict.fromkeys(client_ids, link)))
        if keep_delays:
            self._note_since()
        else:
            await self._changed(client_ids)
        for client_id in client_ids:
            self._note("link", f"link of {self._directory.name_of(client_id)}: {_words(link)}", client_id)

    def _put_session(self, session_id: str, link: Link | None) -> None:
        """A raw client's own link goes with its session. Server thread only. Raises: RequestError (404, 409)."""
        slot = self._server.slot_of(session_id)
        client_id = self._client_of_address.get(self._server.table.sessions[slot].address)
        if client_id is not None:
            raise RequestError(
                f"this session is the hosted client {client_id}'s: set its link under that id",
                field="id",
                kind="hosted-session",
            )
        self._book.put_slot(slot, link)

    async def forget_clients(self, client_ids: Collection[str]) -> None:
        """These clients are gone, from the store as well."""
        if any(client_id in self._book.of_owner for client_id in client_ids):
            await self._threads.server_in_the_end(lambda: self._book.put_owners(dict.fromkeys(client_ids)))
            self._note_since()

    # -- the default, and all of them

    async def get_default(self) -> Json | None:
        """The default link."""
        return _own(self._book.default)

    async def put_default(self, body: Mapping[str, Any]) -> Json:
        """Set it. Raises: RequestError (422, 507)."""
        link = Link.from_body(body)
        await self._set_default(link)
        return self._with_warning(link)

    async def remove_default(self) -> None:
        """Remove it. Raises: RequestError (507)."""
        await self._set_default(None)

    async def _set_default(self, link: Link | None) -> None:
        body = None if link is None else link.to_body()
        async with self._directory.changing:
            await self._threads.keep(lambda store: store.put_links({DEFAULT_LINK: body}))
            await self._threads.server_in_the_end(lambda: self._book.put_default(link))
            await self._changed(None, but=self._book.of_owner)
            self._note("link", f"default link: {link or Link()}")

    async def clear(self) -> None:
        """Remove all links: the default, all clients', all sessions'. All or none. Raises: RequestError (507)."""
        async with self._directory.changing:
            await self._threads.keep(lambda store: store.clear_links())
            await self._threads.server_in_the_end(self._book.clear)
            await self._changed(None)
            self._note("link", "all links were cleared")

    # -- summed up

    async def summary(self) -> bodies.Links:
        """What is impaired, and since when."""
        since = self._since_unix_ns
        default, clients, sessions = self._on()
        return {
            "default": default,
            "clients": clients,
            "sessions": sessions,
            "since_unix_ms": None if since is None else since // NS_PER_MS,
            "room": self._room(),
        }

    def attention(self) -> list[Attention]:
        """An entry for "Needs attention" while delayed datagrams find no room."""
        room, now_s = self._room(), time.monotonic()
        if room["turned_away"] > self._turned_away:
            self._turned_away, self._turned_away_s = room["turned_away"], now_s
        if now_s - self._turned_away_s > _TOLD_S:
            return []
        value = room["needed"] / room["datagrams"]
        return [attention("link-room", value)]

    def _room(self) -> bodies.LinkRoom:
        """For how many delayed datagrams there is room, and what becomes of it."""
        line = self._server.outlet.line
        return {
            "datagrams": line.capacity,
            "needed": self._server.link_room_needed(),
            "held": len(line),
            "turned_away": self._server.outlet.turned_away,
        }

    def _with_warning(self, link: Link) -> Json:
        """A link's body; with a `warning` if datagrams will be lost although no loss was requested."""
        room = self._room()
        if room["needed"] <= room["datagrams"]:
            return as_json(link_body(link))
        warning = (
            f"at these rates the link delays about {room['needed']:,} datagrams at once and has room for "
            f"{room['datagrams']:,}: the others are dropped and count as lost by the link. Lower the delay or the "
            "rates, or set UDPRISM_LINK_QUEUE_DATAGRAMS"
        )
        return as_json(link_body(link)) | {"warning": warning}

    def _on(self) -> tuple[bool, int, int]:
        """Whether the default link is on, and how many clients and sessions have one of their own that is."""
        return (
            _is_on(self._book.default),
            sum(_is_on(link) for link in self._book.of_owner.values()),
            sum(_is_on(link) for link in self._book.of_slot.values()),
        )

    async def _changed(self, client_ids: Collection[str] | None, but: Collection[str] = ()) -> None:
        """The links of these clients (None: of all but some) have changed: their delays and jitter restart."""
        self._note_since()
        if not self._delays_over_all_links:
            await self._threads.pool(lambda: self._restart_delays(client_ids, but))

    def _restart_delays(self, client_ids: Collection[str] | None, but: Collection[str]) -> None:
        """Pool thread only."""
        slot_of_id = self._pool.table.slot_of_id
        if client_ids is None:
            slots = [slot for client_id, slot in slot_of_id.items() if client_id not in but]
        else:
            slots = [slot_of_id[client_id] for client_id in client_ids if client_id in slot_of_id]
        self._pool.ledger.delays.restart(np.array(slots, np.int32))

    def _note_since(self) -> None:
        if not any(self._on()):
            self._since_unix_ns = None
        elif self._since_unix_ns is None:
            self._since_unix_ns = time.time_ns()


def _own(link: Link | None) -> Json | None:
    return None if link is None else as_json(link_body(link))


def _is_on(link: Link | None) -> bool:
    return link is not None and not link.is_off


def _words(link: Link | None) -> str:
    return "none of its own" if link is None else str(link)
