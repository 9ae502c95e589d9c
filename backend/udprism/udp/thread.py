"""A supervised thread: a heartbeat, restarts with backoff, and a loud end."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from udprism.columns.types import NS_PER_S

log = logging.getLogger(__name__)

LATE_AFTER_NS = 2 * NS_PER_S
HANGS_FOR_GOOD_NS = 30 * NS_PER_S
"""Without a heartbeat and without processor time: it hangs."""
LOOPS_FOR_GOOD_NS = 120 * NS_PER_S
"""Of its own processor time, without a heartbeat: no turn takes as long as that."""
MAX_RESTARTS = 5
_RESTARTS_WITHIN_NS = 60 * NS_PER_S
_BACKOFF_S = 0.05


class ThreadState(Enum):
    """How a supervised thread is."""

    RUNNING = "running"
    RESTARTING = "restarting"
    """Between a failure and the next attempt."""
    BUSY = "busy"
    """No heartbeat for two seconds, but processor time: much to do, or a machine that has little time for it."""
    HANGS = "hangs"
    """No heartbeat for two seconds, and no processor time."""
    ENDED = "ended"


class SupervisedThread:
    """Runs `body` until `stop`; an error in it is logged and `body` runs again, at most five times a minute.

    It is one thread all its life, so what it owns never has two masters. Python cannot end a thread that hangs, and
    another one beside it would find tables in the midst of a change; so one that is late is waited for, and one that
    never comes back ends the program. `body` must call `beat` at least once a second and return soon after `stopping`
    is set. After too many restarts, or if it hangs for good, `given_up` is called, once, from the dying or from the
    watching thread.
    """

    def __init__(
        self,
        name: str,
        body: Callable[[], None],
        given_up: Callable[[BaseException | None], None],
        now_ns: Callable[[], int] = time.monotonic_ns,
        cpu_ns: Callable[[int], int | None] | None = None,
    ) -> None:
        """cpu_ns: the processor time of the thread with this clock, see `clock_of_this_thread`."""
        self.name = name
        self.stopping = threading.Event()
        self.restarts = 0
        self.last_cause: str | None = None
        self._body = body
        self._given_up = given_up
        self._recent: deque[int] = deque(maxlen=MAX_RESTARTS + 1)
        self._now_ns = now_ns
        self._read_cpu_ns = cpu_ns or _cpu_ns
        self._clock: int | None = None
        self._beats = 0
        self._beat_ns = self._watched_ns = now_ns()
        self._seen_beats = 0
        self._cpu_at_beat_ns = self._cpu_seen_ns = 0
        self._still_since_ns = self._beat_ns
        self._is_waiting = False
        self._has_given_up = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._beat_ns = self._still_since_ns = self._now_ns()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._clock = clock_of_this_thread()
        with contextlib.suppress(OSError):  # Linux: so that `top -H` and the bench tell the threads apart
            Path("/proc/thread-self/comm").write_text(self.name, encoding="ascii")
        while not self.stopping.is_set():
            try:
                self._body()
                return
            except BaseException as error:
                log.exception("%s failed", self.name)
                if not self._may_restart(f"{type(error).__name__}: {error}"):
                    self._give_up(error)
                    return
            self._is_waiting = True
            self.stopping.wait(_BACKOFF_S * 2 ** len(self._recent))
            self._is_waiting = False
            self.beat()

    def _may_restart(self, cause: str) -> bool:
        now_ns = self._now_ns()
        self.restarts += 1
        self.last_cause = cause
        self._recent.append(now_ns)
        while self._recent[0] < now_ns - _RESTARTS_WITHIN_NS:
            self._recent.popleft()
        return len(self._recent) <= MAX_RESTARTS

    def _give_up(self, error: BaseException | None) -> None:
        if not self._has_given_up:
            self._has_given_up = True
            self._given_up(error)

    def beat(self) -> None:
        """Report that the body is alive. Called by this thread only."""
        self._beats += 1
        self._beat_ns = self._now_ns()

    def watch(self) -> None:
        """Check the thread, and give up one that hangs for good. Call twice per second, from one other thread."""
        now_ns, cpu_ns = self._now_ns(), None if self._clock is None else self._read_cpu_ns(self._clock)
        since_ns, self._watched_ns = now_ns - self._watched_ns, now_ns
        if since_ns > LATE_AFTER_NS // 2:
            # The watcher stood still as well: the process was stopped, and no thread hangs.
            self._beat_ns = self._still_since_ns = now_ns
        if self._beats != self._seen_beats or self._is_waiting:
            self._seen_beats = self._beats
            self._cpu_at_beat_ns = self._cpu_seen_ns = cpu_ns or 0
            self._still_since_ns = now_ns
        elif cpu_ns is not None and cpu_ns > self._cpu_seen_ns:
            self._cpu_seen_ns = cpu_ns
            self._still_since_ns = now_ns
        if not self.is_late or self.stopping.is_set():
            return
        if now_ns - self._still_since_ns > HANGS_FOR_GOOD_NS:
            self._end(f"hangs: no heartbeat and no processor time for {HANGS_FOR_GOOD_NS // NS_PER_S} s")
        elif self._cpu_seen_ns - self._cpu_at_beat_ns > LOOPS_FOR_GOOD_NS:
            self._end(f"loops: no heartbeat in {LOOPS_FOR_GOOD_NS // NS_PER_S} s of processor time")

    def _end(self, cause: str) -> None:
        self.last_cause = cause
        if not self._has_given_up:
            log.error("%s %s; its stack:\n%s", self.name, cause, "".join(self._stack()))
        self._give_up(None)

    def _stack(self) -> list[str]:
        ident = None if self._thread is None else self._thread.ident
        frame = sys._current_frames().get(ident or 0)
        return [] if frame is None else traceback.format_stack(frame)

    @property
    def is_late(self) -> bool:
        """True if the last heartbeat is more than two seconds old."""
        return self._now_ns() - self._beat_ns > LATE_AFTER_NS

    @property
    def state(self) -> ThreadState:
        """The state now. Any thread. Busy and hanging are told apart as of the last `watch`."""
        if self._thread is None or not self._thread.is_alive():
            return ThreadState.ENDED
        if self._is_waiting:
            return ThreadState.RESTARTING
        if not self.is_late:
            return ThreadState.RUNNING
        still_ns = self._watched_ns - self._still_since_ns
        return ThreadState.HANGS if still_ns >= LATE_AFTER_NS // 2 else ThreadState.BUSY

    def stop(self, timeout_s: float) -> bool:
        """Wait for the end of `body`; False if it did not end in time; then it still uses what it owns.

        Call `wake` of the body's poll as well.
        """
        self.stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                log.warning("%s did not end within %g s and was abandoned", self.name, timeout_s)
                return False
        return True


def clock_of_this_thread() -> int | None:
    """The clock of the calling thread's processor time; None if the system has no such clock."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return None
    return time.pthread_getcpuclockid(threading.get_ident())


def _cpu_ns(clock: int) -> int | None:
    try:
        return time.clock_gettime_ns(clock)
    except OSError:  # the thread has ended
        return None
