"""Without io_uring a relay does the same, more slowly."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from udprism.link.link import Link
from udprism.relay import loop as relay_loop
from udprism.relay.epoll_port import EpollPort
from udprism.relay.loop import Loop
from udprism.relay.memory import Count, Memory, Sum
from udprism.relay.plan import Plan
from udprism.relay.port import Port
from udprism.relay.ring_port import RingPort
from udprism.udp.sockets import bind


@contextmanager
def running(plan: Plan) -> Iterator[tuple[Memory, tuple[str, int]]]:
    """A relay's loop on a thread of this process."""
    file, memory = Memory.create(plan.max_flows)
    front = bind("127.0.0.1", 0, 1 << 20)
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    started = threading.Event()

    def run() -> None:
        loop = Loop(plan, memory, [front], there)  # a ring belongs to the thread that made it
        started.set()
        loop.run()
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(10)
    try:
        yield memory, front.getsockname()
    finally:
        here.close()
        thread.join()
        there.close()
        front.close()
        os.close(file)


@pytest.fixture(params=[RingPort, EpollPort])
def port(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[Port]:
    """Which way into the kernel the loop takes."""
    kind: type[Port] = request.param

    def make(slots: int) -> Port:
        return EpollPort() if kind is EpollPort else RingPort(slots)

    monkeypatch.setattr(relay_loop, "best_port", make)
    return kind


@pytest.fixture
def target() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(10)
        yield sock


def test_bursts_sizes_and_answers_pass_either_way(port: type[Port], target: socket.socket) -> None:
    with running(Plan("p", ("127.0.0.1", 0), target.getsockname())) as (memory, address):
        clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(30)]
        try:
            for number, client in enumerate(clients):
                client.settimeout(10)
                client.connect(address)
                for size in (0, 100, 9000):
                    client.send(bytes([number]) * size)
            sources: dict[tuple[str, int], list[int]] = {}
            for _ in range(90):
                data, source = target.recvfrom(10_000)
                sources.setdefault(source, []).append(len(data))
                target.sendto(data, source)
            assert list(sources.values()) == [[0, 100, 9000]] * 30
            for number, client in enumerate(clients):
                assert [client.recv(10_000) for _ in range(3)] == [bytes([number]) * size for size in (0, 100, 9000)]
            for number in range(700):
                clients[0].send(b"%d" % number)
            assert [target.recv(100) for _ in range(700)] == [b"%d" % number for number in range(700)]
        finally:
            for client in clients:
                client.close()
    assert memory.ledger[Sum.LEFT].sum() == 90 + 90 + 700


def test_a_refusal_eats_nothing_and_delays_are_kept(port: type[Port], target: socket.socket) -> None:
    address_of_target = target.getsockname()
    target.close()
    plan = Plan("p", ("127.0.0.1", 0), address_of_target, down=Link(delay_ms=30))
    with running(plan) as (memory, address), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(address)
        client.settimeout(10)
        for number in range(10):
            client.send(b"%d" % number)
        until = threading.Event()
        while memory.read().ledger[Sum.REFUSED].sum() < 10:
            until.wait(0.01)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as alive:
            alive.bind(address_of_target)
            alive.settimeout(10)
            client.send(b"again")
            data, source = alive.recvfrom(100)
            assert data == b"again"
            alive.sendto(b"answer", source)
            assert client.recv(100) == b"answer"
    assert memory.counts[Count.FLOWS_BEGUN] == 1
