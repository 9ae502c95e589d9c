"""One client's datagrams on an event loop, as they arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any

from udprism.ledger.taps import Tap
from udprism.udp.pool import ClientPool


class TapStream:
    """A context manager that opens a tap on the pool's thread, and an async iterator over what it yields."""

    def __init__(self, pool: ClientPool, client_id: str, max_waiting: int, count: Callable[[int], None]) -> None:
        self._pool = pool
        self._client_id = client_id
        self._max_waiting = max_waiting
        self._count = count

    def __enter__(self) -> TapStream:
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        slot = self._pool.table.slot_of_id.get(self._client_id, -1)
        self._tap = Tap(self._client_id, slot, self._max_waiting, self._wake)
        self._pool.inbox.submit(lambda: self._pool.open_tap(self._tap))
        self._count(1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._count(-1)
        self._pool.inbox.submit(lambda: self._pool.taps.close(self._tap))

    @property
    def dropped(self) -> int:
        """Datagrams that this listener missed because it was too slow."""
        return self._tap.dropped

    def _wake(self) -> None:
        """Pool thread only."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._news.set)

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        while True:
            await self._news.wait()
            self._news.clear()
            for value in self._tap.take():
                yield value
            if self._tap.ended:
                return
