"""Supervised threads: restarted with a cause, replaced where they hang, and loud in the end."""

from __future__ import annotations

import threading
import time

import pytest

from support.clock import FakeClock
from udprism.udp.thread import HANGS_AFTER_NS, MAX_RESTARTS, SupervisedThread


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


def test_a_body_that_hangs_is_replaced_and_the_old_thread_ends_when_it_wakes() -> None:
    hanging = threading.Event()
    second = threading.Event()
    ended = threading.Event()
    started: list[threading.Thread] = []

    def body() -> None:
        started.append(threading.current_thread())
        if len(started) == 1:
            hanging.wait(10)
            try:
                thread.beat()
            finally:
                ended.set()
        second.set()

    thread = SupervisedThread("test", body, lambda error: None)
    thread.start()
    thread._beat_ns -= 2 * HANGS_AFTER_NS  # two seconds without a heartbeat, without waiting for them
    assert thread.hangs
    thread.watch()
    assert second.wait(5)
    assert not thread.hangs
    assert thread.last_cause == "hung"
    hanging.set()
    assert ended.wait(5)
    started[0].join(5)
    assert not started[0].is_alive()
    assert thread.stop(5)


def test_a_thread_that_stood_still_because_the_whole_process_did_is_not_replaced(clock: FakeClock) -> None:
    release = threading.Event()

    def body() -> None:
        release.wait(10)

    thread = SupervisedThread("test", body, lambda error: None, clock.now_ns)
    thread.start()
    clock.advance(60)
    thread.watch()
    assert thread.alive
    for _ in range(4):
        clock.advance(0.5)
        thread.watch()
    assert thread.restarts == 0, "two seconds without a heartbeat, but not more"
    clock.advance(0.5)
    thread.watch()
    assert (thread.restarts, thread.last_cause) == (1, "hung")
    release.set()
    assert thread.stop(5)


def test_a_thread_is_not_alive_between_a_failure_and_the_next_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("udprism.udp.thread._BACKOFF_S", 60)

    def body() -> None:
        raise ValueError("once")

    thread = SupervisedThread("test", body, lambda error: None)
    thread.start()
    until_s = time.monotonic() + 5
    while thread.alive:
        assert time.monotonic() < until_s
    assert thread.last_cause == "ValueError: once"
    assert thread.stop(5)
