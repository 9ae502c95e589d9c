"""The hosted clients' thread, stopped where a test wants it, and servers that a test plays."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socket import socket
from typing import Any

from udprism.columns.types import Address
from udprism.node.bridge import Bridge
from udprism.wire import measured as wire

DEADLINE_S = 20.0
PAUSE_AT_MOST_S = 1.5
"""A thread that stands still for two seconds is replaced."""


@contextmanager
def reader_stands_still(bridge: Bridge) -> Iterator[None]:
    """The pool's thread reads nothing meanwhile."""
    still, go_on = threading.Event(), threading.Event()

    def stand_still() -> None:
        still.set()
        assert go_on.wait(PAUSE_AT_MOST_S)

    bridge._assembly.pool.inbox.submit(stand_still)
    assert still.wait(DEADLINE_S)
    try:
        yield
    finally:
        go_on.set()


def wait_for(condition: Callable[[], object]) -> None:
    until_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.005)


def body_of(bridge: Bridge, client_id: str) -> dict[str, Any]:
    return asyncio.run(bridge.clients.get(client_id))


def hosted(bridge: Bridge, server: socket, session_id: int) -> tuple[str, Address]:
    """Id and address of a client that asks this server for a measured stream, and has got its first colour."""
    target = f"127.0.0.1:{server.getsockname()[1]}"
    (body,) = asyncio.run(bridge.clients.add(target=target, mode="measured"))
    _, address = server.recvfrom(2048)
    send_colour(server, address, session_id, 0)
    return body["id"], address


def send_colour(server: socket, address: Address, session_id: int, sequence: int) -> None:
    """One datagram of a measured stream, sent now."""
    colour = wire.Colour(session_id, sequence, time.time_ns(), b"\xff\0\0")
    server.sendto(wire.encode_colour(colour), address)
