"""Two guards over every test: no thread outlives it, nothing blocks an event loop.

What blocks an event loop is told apart from a machine that is merely busy. A callback is at fault where it stood still
for more than 100 ms although nothing was in its way: a watchman thread was woken on time again and again (so a CPU and
the GIL were free), and no other thread of the process was waiting for a CPU (so it was neither the callback itself nor
one that it waits for). Then only its own call (a sleep, a file, a lock, a socket) can have held it up. A stall of the
whole machine accuses nobody. A callback that computes is at fault after 250 ms of its thread's CPU time; garbage
collection does not count, because what that walks through is the heap of all tests before.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

STOOD_STILL_S = 0.1
COMPUTED_S = 0.25
_YOUNG_S = 0.02
"""Callbacks that are younger need no watching: nearly all are, and then the watchman does nothing."""
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
        if cpu_s > COMPUTED_S:
            self.blocked.append(f"{name}: {cpu_s * 1000:.0f} ms of CPU time in one callback\n{callback.stack}")
        elif stood_s > STOOD_STILL_S:
            wall_s = time.perf_counter() - callback.started_s
            self.blocked.append(f"{name}: blocked for {wall_s * 1000:.0f} ms in one callback\n{callback.stack}")

    def collect(self, phase: str, info: object) -> None:
        """A garbage collection begins or ends on this thread; see gc.callbacks."""
        if phase == "start":
            self._collection_started_s = time.thread_time()
        elif (callback := self._running.get(threading.get_ident())) is not None:
            callback.cpu_started_s += time.thread_time() - self._collection_started_s

    def observe(self, on_time: bool) -> None:
        """One period of the watchman is over."""
        now_s = time.perf_counter()
        old = [callback for callback in list(self._running.values()) if now_s - callback.started_s > _YOUNG_S]
        if not old:
            return
        free = on_time and not _somebody_else_wants_a_cpu()
        for callback in old:
            callback.free_periods += free
            if not callback.stack and now_s - callback.started_s > STOOD_STILL_S / 2:
                frame = sys._current_frames().get(callback.thread)
                callback.stack = "".join(traceback.format_stack(frame)[-6:]) if frame is not None else ""


def _somebody_else_wants_a_cpu() -> bool:
    """Whether a thread of this process, other than the caller, runs or waits for a CPU; False where nobody can tell."""
    mine = str(threading.get_native_id())
    for task in Path("/proc/self/task").glob("*"):
        with suppress(OSError):  # it may have ended meanwhile
            # proc(5): the name, in parentheses, may hold anything; the state is the first field behind it.
            if task.name != mine and (task / "stat").read_text().rpartition(")")[2].split()[0] == "R":
                return True
    return False


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
            watch.observe(on_time=time.perf_counter() - asleep_s < _PERIOD_S + _LATE_S)

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
