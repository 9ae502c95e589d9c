"""Supervised threads: restarted with a cause, waited for when they are late, and loud in the end."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator

import pytest

from support.clock import FakeClock
from udprism.columns.types import NS_PER_S
from udprism.udp.thread import MAX_RESTARTS, SupervisedThread, ThreadState, clock_of_this_thread


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("udprism.udp.thread._BACKOFF_S", 0.001)


def test_a_body_that_fails_runs_again_and_its_cause_is_kept() -> None:
    runs = 0
    done = threading.Event()

    def body() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise ValueError("once")
        done.set()

    thread = SupervisedThread("test", body, lambda error: None)
    thread.start()
    assert done.wait(5)
    assert thread.stop(5)
    assert (thread.restarts, thread.last_cause) == (1, "ValueError: once")


def test_a_body_that_fails_for_ever_is_given_up_with_its_error() -> None:
    gave_up: list[BaseException | None] = []
    told = threading.Event()

    def body() -> None:
        raise ValueError("always")

    def given_up(error: BaseException | None) -> None:
        gave_up.append(error)
        told.set()

    thread = SupervisedThread("test", body, given_up)
    thread.start()
    assert told.wait(5)
    assert thread.stop(5)
    assert thread.restarts == MAX_RESTARTS + 1
    assert len(gave_up) == 1
    assert str(gave_up[0]) == "always"


class Watched:
    """A thread whose body waits until it may end, on a clock and with a processor time that the test sets."""

    def __init__(self, clock: FakeClock) -> None:
        self.cpu_ns = 0
        self.given_up: list[BaseException | None] = []
        self.bodies = 0
        self.may_end = threading.Event()
        self.begun = threading.Event()
        self._clock = clock
        self.thread = SupervisedThread(
            "test", self._body, self.given_up.append, clock.now_ns, lambda thread_clock: self.cpu_ns
        )
        self.thread.start()
        assert self.begun.wait(5)
        self.after(0.5)

    def _body(self) -> None:
        self.bodies += 1
        self.begun.set()
        self.may_end.wait(10)

    def after(self, seconds: float, cpu_s: float = 0) -> ThreadState:
        """Watch it for so long, twice a second, while it uses so much processor time."""
        for _ in range(round(2 * seconds)):
            self._clock.advance(0.5)
            self.cpu_ns += round(cpu_s / (2 * seconds) * NS_PER_S)
            self.thread.watch()
        return self.thread.state


@pytest.fixture
def watched(clock: FakeClock) -> Iterator[Watched]:
    made = Watched(clock)
    yield made
    made.may_end.set()
    assert made.thread.stop(5)


def test_a_thread_that_uses_its_processor_is_busy_and_goes_on(watched: Watched) -> None:
    assert watched.after(1.5, cpu_s=0.1) == ThreadState.RUNNING
    assert watched.after(100, cpu_s=20) == ThreadState.BUSY
    assert (watched.given_up, watched.thread.restarts) == ([], 0)
    watched.thread.beat()
    assert watched.after(0.5) == ThreadState.RUNNING


def test_a_thread_that_stands_still_hangs_is_never_joined_by_another_and_may_come_back(watched: Watched) -> None:
    assert watched.after(29) == ThreadState.HANGS
    assert (watched.bodies, watched.given_up) == (1, [])
    watched.thread.beat()
    assert watched.after(0.5) == ThreadState.RUNNING


def test_a_thread_that_hangs_for_good_is_given_up_once_and_its_place_is_logged(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.after(40)
    assert (watched.bodies, watched.given_up) == (1, [None])
    assert "may_end.wait" in caplog.text


def test_a_thread_that_loops_for_good_is_given_up(watched: Watched) -> None:
    watched.after(100, cpu_s=100)
    assert watched.given_up == []
    watched.after(30, cpu_s=30)
    assert watched.given_up == [None]


def test_a_thread_that_stood_still_because_the_whole_process_did_does_not_hang(
    watched: Watched, clock: FakeClock
) -> None:
    clock.advance(60)
    watched.thread.watch()
    assert watched.thread.state == ThreadState.RUNNING
    assert watched.after(29) == ThreadState.HANGS
    assert watched.given_up == []


@pytest.mark.skipif(sys.platform != "linux", reason="each thread's processor time")
def test_the_clock_of_a_thread_tells_work_from_waiting() -> None:
    may_work, may_end, clocks = threading.Event(), threading.Event(), []

    def body() -> None:
        clocks.append(clock_of_this_thread())
        may_work.wait(10)
        while not may_end.is_set():
            pass

    thread = threading.Thread(target=body)
    thread.start()
    while not clocks:
        time.sleep(0.001)
    (clock,) = clocks
    assert clock is not None
    before_ns = time.clock_gettime_ns(clock)
    time.sleep(0.05)
    assert time.clock_gettime_ns(clock) - before_ns < 10_000_000
    may_work.set()
    until_s = time.monotonic() + 5
    while time.clock_gettime_ns(clock) - before_ns < 20_000_000:
        assert time.monotonic() < until_s
    may_end.set()
    thread.join()


def test_a_thread_is_not_alive_between_a_failure_and_the_next_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("udprism.udp.thread._BACKOFF_S", 60)

    def body() -> None:
        raise ValueError("once")

    thread = SupervisedThread("test", body, lambda error: None)
    thread.start()
    until_s = time.monotonic() + 5
    while thread.state != ThreadState.RESTARTING:
        assert time.monotonic() < until_s
    assert thread.last_cause == "ValueError: once"
    assert thread.stop(5)
