"""Waiting for sockets."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator

import pytest

from udprism.core.types import NS_PER_MS, NS_PER_S
from udprism.udp.clock import select_within


@pytest.fixture
def selector() -> Iterator[selectors.BaseSelector]:
    """It watches one socket."""
    with selectors.DefaultSelector() as made, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        made.register(sock, selectors.EVENT_READ, sock.getsockname())
        yield made


def waited_ns(selector: selectors.BaseSelector, wait_ns: int) -> int:
    begun_ns = time.monotonic_ns()
    assert select_within(selector, wait_ns) == []
    return time.monotonic_ns() - begun_ns


@pytest.mark.parametrize("wait_ns", [200_000, NS_PER_MS, 3 * NS_PER_MS + 200_000])
def test_a_wait_is_as_long_as_asked_and_not_rounded_up_to_the_next_millisecond(
    selector: selectors.BaseSelector, wait_ns: int
) -> None:
    waits_ns = [waited_ns(selector, wait_ns) for _ in range(100)]
    assert wait_ns <= min(waits_ns) < wait_ns + NS_PER_MS // 2  # the shortest: a busy machine makes others longer


def test_no_wait_and_a_time_that_is_over_do_not_wait(selector: selectors.BaseSelector) -> None:
    assert waited_ns(selector, 0) < NS_PER_S
    assert waited_ns(selector, -NS_PER_S) < NS_PER_S


def test_what_is_ready_ends_the_wait(selector: selectors.BaseSelector) -> None:
    (key,) = selector.get_map().values()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", key.data)
    begun_ns = time.monotonic_ns()
    assert select_within(selector, 60 * NS_PER_S) == [key]
    assert time.monotonic_ns() - begun_ns < 30 * NS_PER_S
