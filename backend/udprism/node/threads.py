"""Asks the two UDP threads and the store, from an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from udprism.errors import RequestError, StoreError
from udprism.node.assembly import Assembly
from udprism.node.store import Store

T = TypeVar("T")


class Threads:
    """Runs work on another thread and waits for it, without blocking the event loop."""

    def __init__(self, assembly: Assembly, store: Store | None) -> None:
        self.store_error: str | None = None
        """Why the last change could not be kept; None if it was."""
        self._assembly = assembly
        self._store = store

    async def pool(self, work: Callable[[], T]) -> T:
        """What `work` returns on the pool's thread."""
        return await asyncio.wrap_future(self._assembly.pool.inbox.submit(work))

    async def server(self, work: Callable[[], T]) -> T:
        """What `work` returns on the server's thread."""
        return await asyncio.wrap_future(self._assembly.server.inbox.submit(work))

    async def keep(self, write: Callable[[Store], None]) -> None:
        """Write to the store, if there is one; returns after the commit. Raises: RequestError (507)."""
        if self._store is None:
            return
        try:
            await asyncio.to_thread(write, self._store)
        except StoreError as error:
            self.store_error = str(error)
            raise RequestError(f"{error}; nothing was changed", kind="not-kept") from error
        self.store_error = None
