"""A receive buffer that is too small, and a reader that stands still: the ledger tells what the kernel turned away.

Real sockets, each receiver, to the datagram. The kernel's own count of a socket's drops is the judge.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from support.pools import DEADLINE_S, body_of, reader_stands_still, wait_for
from udprism.columns.types import NS_PER_S
from udprism.link.link import Link, client_key
from udprism.link.model import LinkModel
from udprism.node.bridge import Bridge
from udprism.settings import Settings
from udprism.udp.arrivals import PollReceiver, Receiver
from udprism.udp.sockets import dropped_by_kernel
from udprism.udp.uring import UringReceiver
from udprism.wire import measured as wire

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not count what they drop")

SESSION = 7
BURST = 60


def uring(capacity: int, width: int, max_batch: int, coalesce_s: float) -> Receiver:
    try:
        return UringReceiver(capacity, width, max_batch, coalesce_s)
    except OSError as error:
        pytest.skip(f"no io_uring here: {error}")


def epoll(capacity: int, width: int, max_batch: int, coalesce_s: float) -> Receiver:
    return PollReceiver(width, max_batch, coalesce_s)


@pytest.fixture(params=[uring, epoll])
def bridge(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bridge]:
    """One whose clients have the smallest receive buffer that can be asked for."""
    monkeypatch.setattr("udprism.node.assembly.best_receiver", request.param)
    monkeypatch.setattr("udprism.udp.client_sender._REPORT_NS", 3600 * NS_PER_S)  # the kernel counts ACKs too
    settings = Settings(
        udp="127.0.0.1:0", clients=0, max_clients=8, client_buffer_bytes=2048, loss_after_s=0.2, history_datagrams=4096
    )
    bridge = Bridge(settings)
    bridge.start()
    yield bridge
    bridge.stop()


def rows_of(bridge: Bridge, client_id: str) -> list[dict[str, Any]]:
    return asyncio.run(bridge.clients.datagrams(client_id, 4096))


def socket_of(bridge: Bridge, client_id: str) -> socket.socket:
    pool = bridge._assembly.pool
    return pool.sockets[pool.table.slot_of_id[client_id]]


def numbers(rows: list[dict[str, Any]], cause: str) -> set[int]:
    return {row["sequence"] for row in rows if row["cause"] == cause}


def test_what_a_full_buffer_turned_away_is_known_number_by_number(bridge: Bridge) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, socket.socket(type=socket.SOCK_DGRAM) as probe:
        server.bind(("127.0.0.1", 0))
        probe.bind(("127.0.0.1", 0))
        server.settimeout(DEADLINE_S)
        probe.settimeout(DEADLINE_S)
        target = f"127.0.0.1:{server.getsockname()[1]}"
        (body,) = asyncio.run(bridge.clients.add(target=target, mode="measured"))
        client_id = body["id"]
        _, address = server.recvfrom(2048)

        def send(sequence: int) -> None:
            server.sendto(wire.encode_colour(wire.Colour(SESSION, sequence, 0, b"\xff\0\0")), address)

        def received() -> int:
            return body_of(bridge, client_id)["ledger"]["received"] or 0

        send(0)
        wait_for(lambda: received() == 1)
        with reader_stands_still(bridge):
            for sequence in range(1, 1 + BURST):
                send(sequence)
            server.sendto(b"last", probe.getsockname())
            probe.recv(16)  # loopback has delivered or dropped all that was sent before
            dropped = dropped_by_kernel(socket_of(bridge, client_id)) or 0
        assert 0 < dropped < BURST
        wait_for(lambda: received() == 1 + BURST - dropped)
        send(1 + BURST)
        wait_for(lambda: body_of(bridge, client_id)["ledger"]["lost"] == dropped)

        ledger = body_of(bridge, client_id)["ledger"]
        assert ledger["lost_by_cause"]["receiver_kernel"] == dropped == dropped_by_kernel(socket_of(bridge, client_id))
        assert ledger["lost_by_cause"]["unknown_path"] == 0
        # a full buffer turns away what comes last
        rows = rows_of(bridge, client_id)
        assert numbers(rows, "receiver_kernel") == set(range(1 + BURST - dropped, 1 + BURST))
        assert {row["sequence"] for row in rows if row["fate"] == "lost"} == numbers(rows, "receiver_kernel")


def test_what_the_link_drops_and_what_the_kernel_drops_are_told_apart_to_the_datagram(bridge: Bridge) -> None:
    link = {"loss_ratio": 0.2, "seed": 5}
    asyncio.run(bridge.links.put_default(link))
    clients = asyncio.run(bridge.clients.add(count=3, rate_hz=500))
    ids = [client["id"] for client in clients]
    wait_for(lambda: all((body_of(bridge, one)["ledger"]["sent"] or 0) > 100 for one in ids))
    sockets = [socket_of(bridge, one) for one in ids]
    with reader_stands_still(bridge):
        wait_for(lambda: all((dropped_by_kernel(sock) or 0) > 20 for sock in sockets))
    for one in ids:
        asyncio.run(bridge.clients.change(one, {"paused": True}))
    wait_for(lambda: asyncio.run(bridge.sessions.page())[1] == 0)
    wait_for(lambda: all(body_of(bridge, one)["ledger"]["in_flight"] == 0 for one in ids))

    for client, sock in zip(clients, sockets, strict=True):
        ledger, rows = body_of(bridge, client["id"])["ledger"], rows_of(bridge, client["id"])
        assert [row["sequence"] for row in rows] == list(range(ledger["sent"]))
        by_link = lost_by_link(Link.from_body(link), client["name"], len(rows))
        by_kernel = {row["sequence"] for row in rows if row["fate"] == "lost"} - by_link
        assert numbers(rows, "link") == by_link
        assert numbers(rows, "receiver_kernel") == by_kernel
        assert len(by_kernel) == dropped_by_kernel(sock)
        causes = {"link": len(by_link), "sender_kernel": 0, "receiver_kernel": len(by_kernel), "unexplained": 0}
        assert causes.items() <= ledger["lost_by_cause"].items()


def lost_by_link(link: Link, name: str, sent: int) -> set[int]:
    """Which of a client's first numbers a link drops: it depends on nothing but these arguments."""
    model = LinkModel(1)
    slots = np.zeros(sent, np.int32)
    model.assign(slots[:1], link, np.array([client_key(name)], np.uint64))
    verdict = model.judge(slots, np.arange(sent), np.full(sent, 23, np.int32), 0)
    return set(np.flatnonzero(verdict.dropped).tolist())
