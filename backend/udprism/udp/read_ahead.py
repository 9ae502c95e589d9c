"""Reads ahead on a thread of its own, so that a sender with a schedule never waits for a file."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, TypeVar

T = TypeVar("T")

_SWITCH_S: Final = 100e-6
"""For how long one thread may keep the interpreter lock from another that waits for it."""
_LOOK_EVERY_S: Final = 0.1


@contextmanager
def read_ahead(items: Iterator[T], most: int) -> Iterator[Iterator[T]]:
    """An iterator over the same items, up to `most` of which are there already. It raises what `items` raises.

    Meanwhile threads of this process give way to each other after 0.1 ms.
    """
    waiting: queue.Queue[list[T]] = queue.Queue(most)  # one item each, and an empty list at the end
    ended = threading.Event()
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    with ThreadPoolExecutor(1, "udprism-read-ahead") as executor:
        try:
            yield _taken(waiting, executor.submit(_read, items, waiting, ended))
        finally:
            ended.set()
            sys.setswitchinterval(before_s)


def _taken(waiting: queue.Queue[list[T]], reading: Future[None]) -> Iterator[T]:
    while item := waiting.get():
        yield item[0]
    reading.result()


def _read(items: Iterator[T], waiting: queue.Queue[list[T]], ended: threading.Event) -> None:
    try:
        for item in items:
            if not _put(waiting, [item], ended):
                return
    finally:
        _put(waiting, [], ended)


def _put(waiting: queue.Queue[list[T]], item: list[T], ended: threading.Event) -> bool:
    while not ended.is_set():
        try:
            waiting.put(item, timeout=_LOOK_EVERY_S)
        except queue.Full:
            continue
        return True
    return False
