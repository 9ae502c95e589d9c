"""Two guards over every test: no thread outlives it, nothing blocks an event loop.

What blocks an event loop is told apart from a machine that is merely busy. A callback is at fault where it burnt more
than 100 ms of its thread's own CPU time, or where it stood still for more than 100 ms while *another* thread of the
process was woken on time again and again: then the CPU and the GIL were free, and only the callback's own call (a
sleep, a file, a lock, a socket) can have held it up. A stall of the whole machine stalls that other thread as well, so
that it accuses nobody. Garbage collection does not count: what it walks through is the heap of all tests before.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

LIMIT_S = 0.1
_PERIOD_S = 0.005
_LATE_S = 0.003
"""Woken later than this, the watchman cannot say that CPU and GIL were free."""

THREAD_DEADLINE_S = 10.0


@dataclass
class _Callback:
    thread: int
    started_s: float
    cpu_started_s: float
    free_periods: int = 0
    stack: str = ""


@dataclass
class LoopWatch:
    """Callbacks that blocked an event loop, as text, and what runs at this moment."""

    blocked: list[str] = field(default_factory=list)
    _running: dict[int, _Callback] = field(default_factory=dict)
    _collection_started_s: float = 0.0

    def enter(self) -> _Callback:
        """A callback begins on this thread."""
        callback = _Callback(threading.get_ident(), time.perf_counter(), time.thread_time())
        self._running[callback.thread] = callback
        return callback

    def leave(self, callback: _Callback, name: str) -> None:
        """It ended, on the same thread."""
        self._running.pop(callback.thread, None)
        cpu_s = time.thread_time() - callback.cpu_started_s
        stood_s = callback.free_periods * _PERIOD_S
        if cpu_s > LIMIT_S:
            self.blocked.append(f"{name}: {cpu_s * 1000:.0f} ms of CPU time in one callback\n{callback.stack}")
        elif stood_s > LIMIT_S:
            wall_s = time.perf_counter() - callback.started_s
            self.blocked.append(f"{name}: blocked for {wall_s * 1000:.0f} ms in one callback\n{callback.stack}")

    def collect(self, phase: str, info: object) -> None:
        """A garbage collection begins or ends on this thread; see gc.callbacks."""
        if phase == "start":
            self._collection_started_s = time.thread_time()
        elif (callback := self._running.get(threading.get_ident())) is not None:
            callback.cpu_started_s += time.thread_time() - self._collection_started_s

    def observe(self) -> None:
        """One period in which CPU and GIL were free: whoever runs a callback now stands still."""
        for callback in list(self._running.values()):
            callback.free_periods += 1

    def picture(self) -> None:
        """Keep the stack of callbacks that have taken more than half the limit, free CPU or not."""
        for callback in list(self._running.values()):
            if not callback.stack and time.perf_counter() - callback.started_s > LIMIT_S / 2:
                frame = sys._current_frames().get(callback.thread)
                if frame is not None:
                    callback.stack = "".join(traceback.format_stack(frame)[-6:])


@contextmanager
def watched_loops() -> Iterator[LoopWatch]:
    """Watch every asyncio callback of every thread; uvloop's own handles are out of its sight."""
    watch = LoopWatch()
    original = asyncio.Handle._run  # the one place that every callback goes through
    ended = threading.Event()

    def run(handle: asyncio.Handle) -> None:
        callback = watch.enter()
        try:
            original(handle)
        finally:
            watch.leave(callback, repr(handle))

    def keep_watch() -> None:
        while not ended.is_set():
            asleep_s = time.perf_counter()
            time.sleep(_PERIOD_S)
            if time.perf_counter() - asleep_s < _PERIOD_S + _LATE_S:
                watch.observe()
            watch.picture()

    watchman = threading.Thread(target=keep_watch, name="event loop watchman", daemon=True)
    watchman.start()
    gc.callbacks.append(watch.collect)
    asyncio.Handle._run = run  # type: ignore[method-assign, assignment]
    try:
        yield watch
    finally:
        asyncio.Handle._run = original  # type: ignore[method-assign]
        gc.callbacks.remove(watch.collect)
        ended.set()
        watchman.join()


def threads_left(before: set[threading.Thread]) -> list[threading.Thread]:
    """Threads that were not there before and do not end within THREAD_DEADLINE_S from now."""
    until_s = time.monotonic() + THREAD_DEADLINE_S
    new = [thread for thread in threading.enumerate() if thread not in before]
    for thread in new:
        thread.join(max(0.0, until_s - time.monotonic()))
    return [thread for thread in new if thread.is_alive()]
