"""Who has which link: the default, hosted clients' own, sessions' own; and where each client can be found."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from udprism.columns.types import NS_PER_MS, Address
from udprism.errors import RequestError
from udprism.link.link import Link
from udprism.node.works import Works
from udprism.serving.clients import HostedClient

T = TypeVar("T")


class Links:
    """The links of one bridge. Coroutines on its event loop; `moved` on the pool's thread."""

    def __init__(self) -> None:
        self.default: Link | None = None
        self.of_client: dict[str, Link] = {}
        self.client_of_address: dict[Address, str] = {}
        """Hosted clients by the address from which they speak; bounded as they are."""
        self._since_unix_ns: int | None = None
        self._works: Works

    def attach(self, works: Works) -> None:
        """These are the threads to tell."""
        self._works = works

    def restore(self, of_client: Mapping[str, Link], default: Link | None) -> None:
        """What was kept; before the first client speaks. May block."""
        self.of_client = dict(of_client)
        self.default = default
        self._works.server.inbox.submit(lambda: self._works.server.put_default_link(default)).result()
        self._mark()
        if default is not None or of_client:
            self._since_unix_ns = time.time_ns()

    async def put_for_client(self, client_id: str, link: Link | None) -> None:
        """Give a client its own link, or take it away (None)."""
        if link is None:
            self.of_client.pop(client_id, None)
        else:
            self.of_client[client_id] = link
        for address, found in list(self.client_of_address.items()):
            if found == client_id:
                await self._server(partial(self._works.server.put_link, address, link))
        self._mark()
        await self.summary()

    async def put_default(self, link: Link | None) -> None:
        """The link of all who have none of their own."""
        self.default = link
        await self._server(lambda: self._works.server.put_default_link(link))
        self._mark()
        await self.summary()

    async def put_for_session(self, session_id: str, link: Link | None) -> None:
        """Give a raw client's session its own link, which goes with it. Raises: RequestError (404, 409)."""
        await self._server(lambda: self._put_for_session(session_id, link))
        await self.summary()

    def _put_for_session(self, session_id: str, link: Link | None) -> None:
        """Server thread only."""
        server = self._works.server
        slot = server.slot_of(session_id)
        client_id = self.client_of_address.get(server.table.sessions[slot].address)
        if client_id is not None:
            raise RequestError(
                f"this session is the hosted client {client_id}'s: set its link under that id",
                field="id",
                status=409,
                kind="hosted-session",
            )
        server.put_session_link(slot, link)

    async def of_session(self, session_id: str) -> Link | None:
        """A session's own link. Raises: RequestError (404)."""
        server = self._works.server
        return await self._server(lambda: server.table.sessions[server.slot_of(session_id)].link)

    async def clear_sessions(self) -> None:
        """Take away every session's own link."""
        await self._server(self._works.server.clear_session_links)

    async def summary(self) -> dict[str, Any]:
        """What is impaired, and since when."""
        links = {
            "default": _is_on(self.default),
            "clients": sum(_is_on(link) for link in self.of_client.values()),
            "sessions": await self._server(self._works.server.linked_sessions),
        }
        if not any(links.values()):
            self._since_unix_ns = None
        elif self._since_unix_ns is None:
            self._since_unix_ns = time.time_ns()
        since = self._since_unix_ns
        return links | {"since_unix_ms": None if since is None else since // NS_PER_MS}

    def moved(self, client: HostedClient, old: Address | None, new: Address | None) -> None:
        """A client's socket has another address now. Pool thread only; runs before the client speaks from there."""
        link = self.of_client.get(client.id)
        if old is not None:
            self.client_of_address.pop(old, None)
            if link is not None:
                self._works.server.inbox.submit(lambda: self._works.server.put_link(old, None))
        if new is not None:
            self.client_of_address[new] = client.id
            if link is not None:
                self._works.server.inbox.submit(lambda: self._works.server.put_link(new, link))

    def _mark(self) -> None:
        """Tell the pool's view who has a link."""
        default_on = _is_on(self.default)
        own = {client_id: _is_on(link) for client_id, link in self.of_client.items()}
        self._works.pool.inbox.submit(lambda: self._works.mark_linked(default_on, own))

    async def _server(self, work: Callable[[], T]) -> T:
        return await asyncio.wrap_future(self._works.server.inbox.submit(work))


def _is_on(link: Link | None) -> bool:
    return link is not None and not link.is_off
