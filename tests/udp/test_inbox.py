"""Work for another thread: bounded, in order, and never lost without a word."""

from __future__ import annotations

from functools import partial

import pytest

from udprism.errors import RequestError
from udprism.udp.inbox import Inbox


def test_work_runs_in_order_and_its_results_come_back() -> None:
    woken: list[None] = []
    inbox = Inbox(lambda: woken.append(None))
    futures = [inbox.submit(partial(int.__mul__, one, 2)) for one in range(3)]
    assert len(woken) == 3
    inbox.run()
    assert [future.result(0) for future in futures] == [0, 2, 4]


def test_what_work_adds_waits_for_the_next_run() -> None:
    inbox = Inbox(lambda: None)
    outer = inbox.submit(lambda: inbox.submit(lambda: "inner"))
    inbox.run()
    inner = outer.result(0)
    assert not inner.done()
    inbox.run()
    assert inner.result(0) == "inner"


def test_a_full_or_closed_inbox_refuses() -> None:
    inbox = Inbox(lambda: None, max_waiting=1)
    waiting = inbox.submit(lambda: None)
    with pytest.raises(RequestError):
        inbox.submit(lambda: None)
    inbox.close()
    assert waiting.cancelled()
    with pytest.raises(RequestError):
        inbox.submit(lambda: None)


def test_a_refusal_is_the_askers_and_a_bug_is_the_threads_too() -> None:
    def refuse() -> None:
        raise RequestError("no", kind="not-found")

    def fail() -> None:
        raise AssertionError("a bug")

    inbox = Inbox(lambda: None)
    refused, failed, after = inbox.submit(refuse), inbox.submit(fail), inbox.submit(lambda: 1)
    with pytest.raises(AssertionError):
        inbox.run()
    assert isinstance(refused.exception(0), RequestError)
    assert isinstance(failed.exception(0), AssertionError)
    inbox.run()
    assert after.result(0) == 1


def test_work_that_was_cancelled_does_not_run() -> None:
    inbox, ran = Inbox(lambda: None), list[None]()
    inbox.submit(lambda: ran.append(None)).cancel()
    inbox.run()
    assert ran == []


def test_closing_from_within_ends_the_run() -> None:
    inbox = Inbox(lambda: None)
    inbox.submit(inbox.close)
    after = inbox.submit(lambda: None)
    inbox.run()
    assert after.cancelled()
