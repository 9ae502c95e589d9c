"""Looks targets up on threads of its own, because a name server that does not answer takes ten seconds."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Final, TypeAlias

from udprism.columns.types import Address
from udprism.errors import RequestError

MAX_AT_ONCE: Final = 8
"""Threads; the other targets wait in their order. Bounded by the number of clients' targets."""

Found: TypeAlias = tuple[Address, ...]


class Lookups:
    """Any thread. Each target has at most one lookup at a time; nothing is remembered.

    The threads are daemons, and end when there is nothing to do: the end of the program waits for no name server.
    """

    def __init__(self, resolve: Callable[[str], Found]) -> None:
        """resolve: may block, unless the target is an address. Raises: RequestError, which becomes the future's."""
        self.resolve = resolve
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[Found]] = {}
        self._waiting: deque[str] = deque()
        self._threads = 0

    def look_up(self, target: str) -> Future[Found]:
        """The addresses that a target has now. Shared by all who ask meanwhile: do not cancel it."""
        with self._lock:
            future = self._under_way.get(target)
            if future is None:
                future = self._under_way[target] = Future()
                self._waiting.append(target)
                if self._threads < MAX_AT_ONCE:
                    self._threads += 1
                    threading.Thread(target=self._run, name="udprism-lookup", daemon=True).start()
        return future

    def close(self) -> None:
        """Callers that still wait are told that the program ends."""
        with self._lock:
            self._waiting.clear()
            left = list(self._under_way.values())
            self._under_way.clear()
        for future in left:
            with suppress(InvalidStateError):
                future.set_exception(RequestError("the program is stopping", kind="busy"))

    def _run(self) -> None:
        while (target := self._next()) is not None:
            try:
                found: Found | BaseException = self.resolve(target)
            except BaseException as error:  # noqa: BLE001  # a bug as well: it is raised where the future is asked
                found = error
            with self._lock:
                future = self._under_way.pop(target, None)
            if future is None:
                continue
            with suppress(InvalidStateError):  # `close` was quicker
                if isinstance(found, BaseException):
                    future.set_exception(found)
                else:
                    future.set_result(found)

    def _next(self) -> str | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._threads -= 1
            return None
