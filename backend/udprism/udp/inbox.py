"""Work for another thread: callables that it runs between two batches."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from udprism.errors import RequestError
from udprism.udp.thread import SupervisedThread

_ENDS_WITHIN_S = 5.0
"""A busy thread ends within this time, even on a busy machine."""

T = TypeVar("T")


class Inbox:
    """A bounded queue of callables. `submit` from any thread, `run` on the thread that owns it.

    Call `close` after that thread has ended, or after waiting for it for too long.
    """

    def __init__(self, wake: Callable[[], None], max_waiting: int = 4096) -> None:
        self._wake = wake
        self._max_waiting = max_waiting
        self._waiting: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._closed = False

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Queue `work`; its result or exception goes into the future.

        Raises: RequestError (503) if the queue is full or the thread has ended.
        """
        if self._closed or len(self._waiting) >= self._max_waiting:
            raise RequestError("the program is stopping or too busy: try again", kind="busy")
        future: Future[T] = Future()
        self._waiting.append((work, future))
        self._wake()
        return future

    def run(self) -> None:
        """Run what waits now; what is added meanwhile waits for the next call."""
        for _ in range(len(self._waiting)):
            try:
                work, future = self._waiting.popleft()
            except IndexError:  # closed meanwhile
                return
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = work()
            except BaseException as error:
                future.set_exception(error)
                if not isinstance(error, (RequestError, OSError)):
                    raise  # a bug: the asker learns of it, and so does the thread
            else:
                future.set_result(result)

    def close(self) -> None:
        """Refuse what waits and everything that is submitted later."""
        self._closed = True
        with contextlib.suppress(IndexError):
            while True:
                _, future = self._waiting.popleft()
                future.cancel()


class InboxThread(SupervisedThread):
    """A supervised thread with an inbox. wake: interrupts what its body waits for."""

    def __init__(
        self,
        name: str,
        body: Callable[[], None],
        wake: Callable[[], None],
        given_up: Callable[[BaseException | None], None],
    ) -> None:
        super().__init__(name, body, given_up)
        self.inbox = Inbox(wake)
        self._wake = wake

    def end(self) -> bool:
        """Stop the thread and refuse what still waits. Returns False if it did not end and still uses what it owns."""
        self.stopping.set()
        self._wake()
        ended = self.stop(_ENDS_WITHIN_S)
        self.inbox.close()
        return ended
