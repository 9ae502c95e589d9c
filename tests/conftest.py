"""Guards and fixtures of every test."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import hypothesis
import pytest

from support.branches import pytest_collection_modifyitems, pytest_unconfigure
from support.clock import FakeClock
from support.guards import LoopWatch, threads_left, watched_loops

__all__ = ["pytest_collection_modifyitems", "pytest_unconfigure"]

# A shell starts what it puts into the background with SIGINT ignored, and `nohup` with SIGHUP ignored; what tests start
# would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda number, frame: None)  # a handler is not inherited, and keeps what was asked for

# One and the same examples wherever CI runs; no deadline and nothing too slow, because a busy machine is no defect.
SLOW = [hypothesis.HealthCheck.too_slow]
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True, suppress_health_check=SLOW)
hypothesis.settings.register_profile("here", deadline=None, suppress_health_check=SLOW)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture(autouse=True)
def _no_thread_outlives_its_test() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = threads_left(before)
    assert not left, f"threads outlive their test: {[thread.name for thread in left]}"


@pytest.fixture(scope="session")
def _loop_watch() -> Iterator[LoopWatch]:
    with watched_loops() as watch:
        yield watch


@pytest.fixture(autouse=True)
def _nothing_blocks_an_event_loop(_loop_watch: LoopWatch) -> Iterator[None]:
    _loop_watch.blocked.clear()
    yield
    assert not _loop_watch.blocked, "\n".join(["an event loop was blocked:", *_loop_watch.blocked])


@pytest.fixture
def clock() -> FakeClock:
    """A clock that moves only when it is told to."""
    return FakeClock()
