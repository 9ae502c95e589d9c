"""The hosted clients' thread against servers that mean harm."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from udprism.columns.types import Address, Arrivals
from udprism.node.bridge import Bridge
from udprism.settings import Settings
from udprism.udp.arrivals import Receiver
from udprism.udp.thread import HANGS_AFTER_NS
from udprism.wire import measured as wire

SESSION = 7
DEADLINE_S = 20.0


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    bridge = Bridge(Settings(udp="127.0.0.1:0", clients=0))
    bridge.start()
    yield bridge
    bridge.stop()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(DEADLINE_S)
        yield sock


def hosted(bridge: Bridge, server: socket.socket) -> tuple[str, Address]:
    """Id and address of a client that asks this server for a measured stream."""
    target = f"127.0.0.1:{server.getsockname()[1]}"
    (body,) = asyncio.run(bridge.add_clients(target=target, mode="measured"))
    _, address = server.recvfrom(2048)
    server.sendto(wire.encode_colour(wire.Colour(SESSION, 0, 0, b"\xff\0\0")), address)
    return body["id"], address


def test_a_measured_server_that_was_replaced_by_a_plain_one_is_heard_again(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("udprism.serving.clients.UNANSWERED_BEFORE_DOUBT", 2)  # eight tries take twenty seconds
    bridge = Bridge(Settings(udp="127.0.0.1:0", clients=0, silent_after_s=0.1))
    bridge.start()
    try:
        target = f"127.0.0.1:{server.getsockname()[1]}"
        (body,) = asyncio.run(bridge.add_clients(target=target, rate_hz=1000))
        _, address = server.recvfrom(2048)
        server.sendto(wire.encode_colour(wire.Colour(SESSION, 0, 0, b"\xff\0\0")), address)
        data = b""
        while data != b"connect":
            data, address = server.recvfrom(2048)
        server.sendto(b"green", address)
        until_s = time.monotonic() + DEADLINE_S
        while (client := asyncio.run(bridge.get_client(body["id"])))["last_colour"]["name"] != "green":
            assert time.monotonic() < until_s
        assert client["stream"] == "plain"
    finally:
        bridge.stop()


def heard(bridge: Bridge, client_id: str, sequence: int) -> bool:
    async def read() -> bool:
        return any(row["sequence"] == sequence for row in await bridge.datagrams(client_id, 10))

    return asyncio.run(read())


@pytest.mark.parametrize("sent_at_unix_ns", [-(2**63), -1, 0, 2**63 - 1])
def test_an_echo_of_a_report_from_any_year_is_survived(
    bridge: Bridge, server: socket.socket, sent_at_unix_ns: int
) -> None:
    client_id, address = hosted(bridge, server)
    report = wire.Report(SESSION, 0, sent_at_unix_ns, 0, 1, 0, 0, 0, 0, 0)
    server.sendto(wire.encode_report_ack(wire.ReportAck(report)), address)
    server.sendto(wire.encode_colour(wire.Colour(SESSION, 1, sent_at_unix_ns, b"\0\xff\0")), address)
    until_s = time.monotonic() + DEADLINE_S
    while not heard(bridge, client_id, 1):
        assert time.monotonic() < until_s
    assert bridge.counters()["thread_restarts_total"]["pool"] == 0
    body = asyncio.run(bridge.get_client(client_id))
    assert body["state"] == "live"
    assert body["rtt_ms"] is None or 0 < body["rtt_ms"] <= 60_000


class HangingReceiver:
    """A receiver that, once told to, does not come back with its next datagrams before it may."""

    def __init__(self, receiver: Receiver) -> None:
        self.may_return = threading.Event()
        self.hung = threading.Event()
        self.hanging: threading.Thread | None = None
        self.is_to_hang = False
        self._receiver = receiver

    def __getattr__(self, name: str) -> Any:
        return getattr(self._receiver, name)

    def poll(self, timeout_s: float) -> Arrivals:
        arrivals = self._receiver.poll(timeout_s)
        if self.is_to_hang and len(arrivals):
            self.is_to_hang = False
            self.hanging = threading.current_thread()
            self.hung.set()
            self.may_return.wait(DEADLINE_S)
        return arrivals


def test_thread_that_hung_in_a_poll_takes_nothing_beside_the_one_that_replaced_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bridge = Bridge(Settings(udp="127.0.0.1:0", clients=1, rate_hz=100))
    pool = bridge._works.pool
    receiver = HangingReceiver(pool.receiver)
    monkeypatch.setattr(pool, "receiver", receiver)
    take, taken_by, taken = pool.intake.take, [], threading.Event()

    def note_and_take(arrivals: Arrivals, now_ns: int) -> None:
        taken_by.append(threading.current_thread())
        taken.set()
        take(arrivals, now_ns)

    monkeypatch.setattr(pool.intake, "take", note_and_take)
    bridge.start()
    try:
        receiver.is_to_hang = True
        assert receiver.hung.wait(DEADLINE_S)
        taken_by.clear()
        taken.clear()
        pool.thread._beat_ns -= 2 * HANGS_AFTER_NS
        pool.thread.watch()
        assert taken.wait(DEADLINE_S)
        receiver.may_return.set()
        receiver.hanging.join(DEADLINE_S)
        assert not receiver.hanging.is_alive()
        assert receiver.hanging not in taken_by
    finally:
        bridge.stop()
