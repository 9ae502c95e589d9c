"""A supervised thread: a heartbeat, restarts with backoff, and a loud end."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from udprism.columns.types import NS_PER_S

log = logging.getLogger(__name__)

HANGS_AFTER_NS = 2 * NS_PER_S
MAX_RESTARTS = 5
_RESTARTS_WITHIN_NS = 60 * NS_PER_S
_BACKOFF_S = 0.05


class SupervisedThread:
    """Runs `body` until `stop`; an error in it is logged and `body` runs again, at most five times a minute.

    `body` must call `beat` at least once a second and return soon after `stopping` is set. One that hangs is left
    behind: a second thread takes over, and the first ends at its next `beat`. After too many restarts `given_up` is
    called, once, from the dying thread.
    """

    def __init__(
        self,
        name: str,
        body: Callable[[], None],
        given_up: Callable[[BaseException | None], None],
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.name = name
        self.stopping = threading.Event()
        self.restarts = 0
        self.last_cause: str | None = None
        self._body = body
        self._given_up = given_up
        self._recent: deque[int] = deque(maxlen=MAX_RESTARTS + 1)
        self._epoch = 0
        self._now_ns = now_ns
        self._beat_ns = self._watched_ns = now_ns()
        self._is_waiting = False
        self._thread: threading.Thread | None = None
        self._local = threading.local()

    def start(self) -> None:
        """Start the thread."""
        self._spawn()

    def _spawn(self) -> None:
        self._epoch += 1
        self._beat_ns = self._now_ns()
        self._thread = threading.Thread(target=self._run, args=(self._epoch,), name=self.name, daemon=True)
        self._thread.start()

    def _run(self, epoch: int) -> None:
        self._local.epoch = epoch
        with contextlib.suppress(OSError):  # Linux: so that `top -H` and the bench tell the threads apart
            Path("/proc/thread-self/comm").write_text(self.name, encoding="ascii")
        while not self.stopping.is_set():
            try:
                self._body()
                return
            except _LeftBehind:
                log.warning("%s: a hanging thread woke up and ends", self.name)
                return
            except BaseException as error:
                log.exception("%s failed", self.name)
                if epoch != self._epoch or not self._may_restart(f"{type(error).__name__}: {error}"):
                    if epoch == self._epoch:
                        self._given_up(error)
                    return
            self._is_waiting = True
            self.stopping.wait(_BACKOFF_S * 2 ** len(self._recent))
            self._is_waiting = False
            self._beat_ns = self._now_ns()

    def _may_restart(self, cause: str) -> bool:
        now_ns = self._now_ns()
        self.restarts += 1
        self.last_cause = cause
        self._recent.append(now_ns)
        while self._recent[0] < now_ns - _RESTARTS_WITHIN_NS:
            self._recent.popleft()
        return len(self._recent) <= MAX_RESTARTS

    def beat(self) -> None:
        """Say that the body is alive. Raises in a thread that was replaced while it hung."""
        if self._local.epoch != self._epoch:
            raise _LeftBehind
        self._beat_ns = self._now_ns()

    def watch(self) -> None:
        """Replace the thread where it hangs. Call about twice a second, from one other thread."""
        now_ns = self._now_ns()
        since_ns, self._watched_ns = now_ns - self._watched_ns, now_ns
        if since_ns > HANGS_AFTER_NS // 2:
            self._beat_ns = now_ns  # the watcher stood still as well: the process was stopped, nobody hangs
        elif self.hangs and not self.stopping.is_set():
            log.error("%s hangs for more than %d s: another thread takes over", self.name, HANGS_AFTER_NS // NS_PER_S)
            if self._may_restart("hung"):
                self._spawn()
            else:
                self._given_up(None)

    @property
    def hangs(self) -> bool:
        """True where the last heartbeat is more than two seconds old."""
        return self._now_ns() - self._beat_ns > HANGS_AFTER_NS

    @property
    def alive(self) -> bool:
        """True while the thread runs and its heart beats; not between a failure and the next try."""
        return self._thread is not None and self._thread.is_alive() and not (self._is_waiting or self.hangs)

    def stop(self, timeout_s: float) -> bool:
        """Wait for the end of `body`; False where it did not come in time. Call `wake` of the body's poll as well."""
        self.stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            return not self._thread.is_alive()
        return True


class _LeftBehind(BaseException):
    """Raised inside a thread that hung and was replaced."""
