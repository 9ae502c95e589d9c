"""The hosted clients' thread against servers that mean harm."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from udprism.columns.types import NS_PER_S, Address
from udprism.node.bridge import Bridge
from udprism.serving.commands import Connect, parse_command
from udprism.serving.rules import UNANSWERED_BEFORE_DOUBT
from udprism.settings import Settings
from udprism.udp.pool import ClientPool
from udprism.udp.server import ColourServer
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
    (body,) = asyncio.run(bridge.clients.add(target=target, mode="measured"))
    _, address = server.recvfrom(2048)
    server.sendto(wire.encode_colour(wire.Colour(SESSION, 0, 0, b"\xff\0\0")), address)
    return body["id"], address


def test_a_measured_server_that_was_replaced_by_a_plain_one_is_heard_again(server: socket.socket) -> None:
    bridge = Bridge(Settings(udp="127.0.0.1:0", clients=0, silent_after_s=0.1))
    bridge.start()
    try:
        target = f"127.0.0.1:{server.getsockname()[1]}"
        (body,) = asyncio.run(bridge.clients.add(target=target, rate_hz=1000))
        _, address = server.recvfrom(2048)
        server.sendto(wire.encode_colour(wire.Colour(SESSION, 0, 0, b"\xff\0\0")), address)
        data, _ = server.recvfrom(2048)
        pool = bridge._assembly.pool
        attempts, slot = pool.table.attempts, pool.table.slot_of_id[body["id"]]
        # Eight tries take twenty seconds: these are said to have been made.
        pool.inbox.submit(lambda: attempts.__setitem__(slot, UNANSWERED_BEFORE_DOUBT)).result(DEADLINE_S)
        while data != b"connect":
            data, address = server.recvfrom(2048)
        server.sendto(b"green", address)
        until_s = time.monotonic() + DEADLINE_S
        while (client := asyncio.run(bridge.clients.get(body["id"])))["last_colour"]["name"] != "green":
            assert time.monotonic() < until_s
        assert client["stream"] == "plain"
    finally:
        bridge.stop()


def heard(bridge: Bridge, client_id: str, sequence: int) -> bool:
    async def read() -> bool:
        return any(row["sequence"] == sequence for row in await bridge.clients.datagrams(client_id, 10))

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
    body = asyncio.run(bridge.clients.get(client_id))
    assert body["state"] == "live"
    assert body["rtt_ms"] is None or 0 < body["rtt_ms"] <= 60_000


def test_a_thread_that_is_late_has_its_tables_for_itself_and_goes_on(bridge: Bridge, server: socket.socket) -> None:
    client_id, address = hosted(bridge, server)
    pool, may_go_on, began = bridge._assembly.pool, threading.Event(), threading.Event()

    def hang() -> None:
        began.set()
        may_go_on.wait(DEADLINE_S)

    hanging = pool.inbox.submit(hang)
    assert began.wait(DEADLINE_S)
    pool.thread._beat_ns -= 10 * NS_PER_S  # ten seconds without a heartbeat, without waiting for them
    for _ in range(10):
        pool.thread.watch()
    assert [one.name for one in threading.enumerate()].count("udprism-pool") == 1
    may_go_on.set()
    hanging.result(DEADLINE_S)
    server.sendto(wire.encode_colour(wire.Colour(SESSION, 1, 0, b"\0\xff\0")), address)
    until_s = time.monotonic() + DEADLINE_S
    while not heard(bridge, client_id, 1):
        assert time.monotonic() < until_s
    assert bridge.counters()["thread_restarts_total"]["pool"] == 0


def test_what_a_thread_owns_that_does_not_end_is_left_to_it() -> None:
    """Its sockets stay open and its tables whole: it may be in the midst of both."""
    bridge = Bridge(Settings(udp="127.0.0.1:0", clients=20, max_clients=20))
    bridge.start()
    works, may_go_on, failed = bridge._assembly, threading.Event(), []
    begun = threading.Semaphore(0)

    def work_on(which: ClientPool | ColourServer) -> None:
        begun.release()
        may_go_on.wait(DEADLINE_S)
        try:
            assert all(sock.fileno() >= 0 for sock in works.server.sockets)
            for slot in works.pool.sockets:
                time.sleep(0.001)
                assert works.pool.sockets[slot].fileno() >= 0
        except BaseException as error:
            failed.append(error)
            raise

    late = [one.inbox.submit(partial(work_on, one)) for one in (works.pool, works.server)]
    assert all(begun.acquire(timeout=DEADLINE_S) for _ in late)
    for one in (works.pool, works.server):
        one.thread.stop = lambda timeout_s, stop=one.thread.stop: stop(0.01)  # type: ignore[method-assign,misc]
    works.stop()
    may_go_on.set()
    for future in late:
        future.result(DEADLINE_S)
    assert failed == []
    for one in (works.pool, works.server):  # now they end, and leave nothing open
        del one.thread.stop
        one.stop()


def test_change_whose_connect_was_lost_is_said_again_until_what_comes_agrees(
    bridge: Bridge, server: socket.socket
) -> None:
    client_id, address = hosted(bridge, server)
    asyncio.run(bridge.clients.change(client_id, {"rate_hz": 50, "colours": 2}))
    server.settimeout(0.005)
    period_s, pixels, asked, sequence = 0.1, 1, 0, 0
    next_s = agreed_s = time.monotonic()
    while time.monotonic() < agreed_s + 3:
        with contextlib.suppress(TimeoutError):
            data = server.recv(2048)
            if data.startswith(b"connect"):
                asked += 1
                assert parse_command(data) == Connect(True, 50, 2, name="client-001")
                if asked == 3:  # the ones before were lost on their way
                    period_s, pixels, agreed_s = 0.02, 2, time.monotonic()
        if time.monotonic() >= next_s:
            sequence += 1
            next_s += period_s
            server.sendto(wire.encode_colour(wire.Colour(SESSION, sequence, 0, b"\xff\0\0" * pixels)), address)
        assert time.monotonic() < agreed_s + DEADLINE_S
        if asked < 3:
            agreed_s = max(agreed_s, time.monotonic() - 1)
    assert asked == 3, "what comes agrees: it is not said a fourth time"


def test_disconnect_that_was_lost_is_said_again_while_colours_come(bridge: Bridge, server: socket.socket) -> None:
    client_id, address = hosted(bridge, server)
    asyncio.run(bridge.clients.change(client_id, {"paused": True}))
    server.settimeout(0.02)
    said_s: list[float] = []
    sequence, end_s = 0, time.monotonic() + DEADLINE_S
    while len(said_s) < 3:
        assert time.monotonic() < end_s
        with contextlib.suppress(TimeoutError):
            if server.recv(2048) == b"disconnect":
                said_s.append(time.monotonic())
        sequence += 1
        server.sendto(wire.encode_colour(wire.Colour(SESSION, sequence, 0, b"\xff\0\0")), address)
    assert said_s[1] - said_s[0] > 0.8
    assert said_s[2] - said_s[1] > 1.6
    assert asyncio.run(bridge.clients.get(client_id))["state"] == "paused"


def test_bye_does_not_wake_a_client_that_is_paused(bridge: Bridge, server: socket.socket) -> None:
    client_id, address = hosted(bridge, server)
    asyncio.run(bridge.clients.change(client_id, {"paused": True}))
    server.sendto(wire.encode_bye(wire.Bye(SESSION, 0, 0, wire.ByeReason.OPERATOR)), address)
    server.sendto(wire.encode_colour(wire.Colour(SESSION, 1, 0, b"\xff\0\0")), address)
    until_s = time.monotonic() + DEADLINE_S
    while not heard(bridge, client_id, 1):
        assert time.monotonic() < until_s
    assert asyncio.run(bridge.clients.get(client_id))["state"] == "paused"
