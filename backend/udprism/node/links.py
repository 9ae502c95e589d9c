"""Links: set, cleared and summed up. Who has which is in the server's `link.book`, the only copy."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

from udprism.columns.types import NS_PER_MS
from udprism.errors import RequestError
from udprism.link.link import Link
from udprism.node.kept import DEFAULT_LINK
from udprism.node.threads import Threads
from udprism.node.works import Works

_TOLD_S = 10.0
"""After the last datagram that found no room."""


class Links:
    """The links of one bridge. Coroutines on its event loop; one change at a time."""

    def __init__(self, works: Works, threads: Threads, *, delays_over_all_links: bool) -> None:
        """delays_over_all_links: see `Bridge`."""
        self._works = works
        self._book = works.server.links
        self._threads = threads
        self._delays_over_all_links = delays_over_all_links
        self._since_unix_ns: int | None = None
        self._turned_away, self._turned_away_s = 0, -_TOLD_S

    @property
    def default(self) -> Link | None:
        """Of all who have none of their own."""
        return self._book.default

    def of_client(self, client_id: str) -> Link | None:
        """A client's own."""
        return self._book.of_owner.get(client_id)

    def restore(self, of_client: Mapping[str, Link], default: Link | None) -> None:
        """What was kept; before the first client speaks. May block."""

        def put() -> None:
            self._book.put_owners(of_client)
            self._book.put_default(default)

        self._works.server.inbox.submit(put).result()
        self._note_since()

    async def put_clients(self, client_ids: Collection[str], link: Link | None) -> None:
        """Give these clients a link of their own, or take it away (None). All or none. Raises: RequestError (507)."""
        body = None if link is None else link.to_body()
        await self._threads.keep(lambda store: store.put_links(dict.fromkeys(client_ids, body)))
        await self._threads.server(lambda: self._book.put_owners(dict.fromkeys(client_ids, link)))
        await self._changed(client_ids)

    async def put_default(self, link: Link | None) -> None:
        """The link of all who have none of their own. Raises: RequestError (507)."""
        body = None if link is None else link.to_body()
        await self._threads.keep(lambda store: store.put_links({DEFAULT_LINK: body}))
        await self._threads.server(lambda: self._book.put_default(link))
        await self._changed(None, but=self._book.of_owner)

    async def clear(self) -> None:
        """No link for anybody: the default, clients' own, sessions' own. All or none. Raises: RequestError (507)."""
        await self._threads.keep(lambda store: store.clear_links())
        await self._threads.server(self._book.clear)
        await self._changed(None)

    async def put_session(self, session_id: str, link: Link | None) -> None:
        """Give a raw client's session its own link, which goes with it. Raises: RequestError (404, 409)."""
        await self._threads.server(lambda: self._put_session(session_id, link))
        self._note_since()

    def _put_session(self, session_id: str, link: Link | None) -> None:
        """Server thread only."""
        server = self._works.server
        slot = server.slot_of(session_id)
        client_id = self._works.client_of_address.get(server.table.sessions[slot].address)
        if client_id is not None:
            raise RequestError(
                f"this session is the hosted client {client_id}'s: set its link under that id",
                field="id",
                kind="hosted-session",
            )
        self._book.put_slot(slot, link)

    async def of_session(self, session_id: str) -> Link | None:
        """A session's own link. Raises: RequestError (404)."""
        server = self._works.server
        return await self._threads.server(lambda: self._book.of_slot.get(server.slot_of(session_id)))

    async def forget_clients(self, client_ids: Collection[str]) -> None:
        """These clients are gone, from the store as well."""
        if any(client_id in self._book.of_owner for client_id in client_ids):
            await self._threads.server(lambda: self._book.put_owners(dict.fromkeys(client_ids)))
            self._note_since()

    def summary(self) -> dict[str, Any]:
        """What is impaired, and since when."""
        since = self._since_unix_ns
        return self._counts() | {"since_unix_ms": None if since is None else since // NS_PER_MS, "room": self.room()}

    def room(self) -> dict[str, int]:
        """For how many delayed datagrams there is room, and what becomes of it."""
        server = self._works.server
        return {
            "datagrams": server.outlet.line.capacity,
            "needed": server.link_room_needed(),
            "held": len(server.outlet.line),
            "turned_away": server.outlet.turned_away,
        }

    def warning(self) -> str | None:
        """Why datagrams will be lost although no loss was requested; None if they will not."""
        room = self.room()
        if room["needed"] <= room["datagrams"]:
            return None
        return (
            f"at these rates the link delays about {room['needed']:,} datagrams at once and has room for "
            f"{room['datagrams']:,}: the others are dropped and count as lost by the link. Lower the delay or the "
            "rates, or set UDPRISM_LINK_QUEUE_DATAGRAMS"
        )

    def attention(self) -> list[dict[str, Any]]:
        """An entry for "Needs attention" while delayed datagrams find no room."""
        room, now_s = self.room(), time.monotonic()
        if room["turned_away"] > self._turned_away:
            self._turned_away, self._turned_away_s = room["turned_away"], now_s
        if now_s - self._turned_away_s > _TOLD_S:
            return []
        value = room["needed"] / room["datagrams"]
        return [{"slot": None, "id": None, "name": None, "why": "link-room", "value": value}]

    def _counts(self) -> dict[str, Any]:
        return {
            "default": _is_on(self._book.default),
            "clients": sum(_is_on(link) for link in self._book.of_owner.values()),
            "sessions": sum(_is_on(link) for link in self._book.of_slot.values()),
        }

    async def _changed(self, client_ids: Collection[str] | None, but: Collection[str] = ()) -> None:
        """The links of these clients (None: of all but some) are others now: their delays begin anew."""
        self._note_since()
        if not self._delays_over_all_links:
            await self._threads.pool(lambda: self._works.restart_delays(client_ids, but))

    def _note_since(self) -> None:
        if not any(self._counts().values()):
            self._since_unix_ns = None
        elif self._since_unix_ns is None:
            self._since_unix_ns = time.time_ns()


def _is_on(link: Link | None) -> bool:
    return link is not None and not link.is_off
