"""Asks the two UDP threads and the store, from an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from udprism.errors import RequestError, StoreError
from udprism.node.assembly import Assembly
from udprism.node.store import Store

T = TypeVar("T")

_IN_THE_END_S = 10.0
_AGAIN_AFTER_S = 0.05


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

    async def pool_in_the_end(self, work: Callable[[], T]) -> T:
        """As `pool`, for what is kept already: tried again while the thread is too busy to take it, for ten seconds.

        Raises: RequestError (503).
        """
        return await _in_the_end(lambda: self.pool(work))

    async def server_in_the_end(self, work: Callable[[], T]) -> T:
        """The same of `server`."""
        return await _in_the_end(lambda: self.server(work))

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


async def _in_the_end(ask: Callable[[], Awaitable[T]]) -> T:
    until_s = time.monotonic() + _IN_THE_END_S
    while True:
        try:
            return await ask()
        except RequestError as error:
            if error.kind != "busy" or time.monotonic() > until_s:
                raise
        await asyncio.sleep(_AGAIN_AFTER_S)
