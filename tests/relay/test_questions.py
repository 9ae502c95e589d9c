"""Twelve questions to a relay, each of which some well-known relay answers wrong; and three more for ours.

Asked of ours by default. `RELAY_COMMAND='socat -T60 UDP4-LISTEN:{listen},fork,reuseaddr UDP4:127.0.0.1:{target}'` asks
them of another one (all it needs is to listen on 127.0.0.1), and the tests that fail are what it does otherwise.
"""

from __future__ import annotations

import os
import shlex
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from udprism.testing import UdpRelay

COMMAND = os.environ.get("RELAY_COMMAND")
ours_alone = pytest.mark.skipif(COMMAND is not None, reason="an option of ours")
Start: TypeAlias = Callable[..., tuple[str, int]]
SOL_UDP, UDP_SEGMENT = 17, 103
IP_TOS, IP_TTL, IP_RECVTTL, IP_RECVTOS = 1, 2, 12, 13


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def relay(stack: ExitStack) -> Start:
    """Start a relay to an address; where it listens."""

    def start(to: tuple[str, int], **options: Any) -> tuple[str, int]:
        if COMMAND is None:
            return stack.enter_context(UdpRelay(to=to, **options)).address
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        process = subprocess.Popen(shlex.split(COMMAND.format(listen=port, target=to[1])))
        stack.callback(process.wait)
        stack.callback(process.terminate)
        until_s = time.monotonic() + 10
        while f":{port:04X} " not in Path("/proc/net/udp").read_text():
            assert time.monotonic() < until_s, "it does not listen"
            assert process.poll() is None, "it ended"
        return "127.0.0.1", port

    return start


@pytest.fixture
def udp(stack: ExitStack) -> Callable[..., socket.socket]:
    """A socket with room for bursts: bound, or connected to `to`."""

    def make(to: tuple[str, int] | None = None, family: int = socket.AF_INET) -> socket.socket:
        sock = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.settimeout(5)
        if to is None:
            sock.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        else:
            sock.connect(to)
        return sock

    return make


Udp: TypeAlias = Callable[..., socket.socket]


def there_and_back(relay: Start, udp: Udp, data: bytes) -> None:
    target = udp()
    client = udp(relay(target.getsockname()))
    for payload in (b"first", data, b"between", data):
        client.send(payload)
        got, address = target.recvfrom(70_000)
        assert got == payload
        target.sendto(payload, address)
        assert client.recv(70_000) == payload


def test_1_an_empty_datagram_is_a_datagram(relay: Start, udp: Udp) -> None:
    there_and_back(relay, udp, b"")


def test_2_a_jumbo_frames_worth_passes_whole(relay: Start, udp: Udp) -> None:
    there_and_back(relay, udp, os.urandom(8_960))


def test_3_the_largest_datagram_of_all_passes_whole(relay: Start, udp: Udp) -> None:
    there_and_back(relay, udp, os.urandom(65_507))


@pytest.mark.parametrize("tos", [0xB8, 0x01, 0x02, 0xBB])
def test_4_the_marks_for_quality_and_congestion_are_kept(relay: Start, udp: Udp, tos: int) -> None:
    target = udp()
    target.setsockopt(socket.IPPROTO_IP, IP_RECVTOS, 1)
    client = udp(relay(target.getsockname()))
    client.setsockopt(socket.IPPROTO_IP, IP_RECVTOS, 1)
    for mark in (0, tos, tos, 0):
        client.setsockopt(socket.IPPROTO_IP, IP_TOS, mark)
        client.send(b"marked")
        _, control, _, address = target.recvmsg(100, 100)
        assert control[0][2][0] == mark
        target.setsockopt(socket.IPPROTO_IP, IP_TOS, mark)
        target.sendto(b"answer", address)
        assert client.recvmsg(100, 100)[1][0][2][0] == mark


def ttl_at_target(relay: Start, udp: Udp, **options: bool) -> int:
    target = udp()
    target.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
    client = udp(relay(target.getsockname(), **options))
    client.setsockopt(socket.IPPROTO_IP, IP_TTL, 7)
    client.send(b"short-lived")
    return int(struct.unpack("=i", target.recvmsg(100, 100)[1][0][2])[0])


def test_5_a_relay_is_a_hop_of_its_own_with_a_ttl_of_its_own(relay: Start, udp: Udp) -> None:
    assert ttl_at_target(relay, udp) == 64


@ours_alone
def test_5_the_ttl_is_kept_on_request(relay: Start, udp: Udp) -> None:
    assert ttl_at_target(relay, udp, keep_ttl=True) == 7


def test_6_an_answer_from_another_port_is_dropped(relay: Start, udp: Udp) -> None:
    target, stranger = udp(), udp()
    client = udp(relay(target.getsockname()))
    client.send(b"ask")
    _, address = target.recvfrom(100)
    stranger.sendto(b"from elsewhere", address)
    target.sendto(b"answer", address)
    assert client.recv(100) == b"answer"


@ours_alone
def test_6_on_request_it_is_taken_and_that_port_is_sent_to_from_then_on(relay: Start, udp: Udp) -> None:
    target, other_port = udp(), udp()
    client = udp(relay(target.getsockname(), any_port=True))
    client.send(b"ask")
    _, address = target.recvfrom(100)
    other_port.sendto(b"answer", address)
    assert client.recv(100) == b"answer"
    client.send(b"acknowledge")
    assert other_port.recv(100) == b"acknowledge"


def test_7_a_client_is_not_told_of_a_refusal_and_hears_no_datagram_that_nobody_sent(relay: Start, udp: Udp) -> None:
    closed = udp()
    address = closed.getsockname()
    closed.close()
    client = udp(relay(address))
    client.send(b"anybody?")
    client.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.recv(100)


@pytest.fixture
def after_a_refusal(relay: Start, udp: Udp, stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    """A client that was refused, and the target that lives now."""
    closed = udp()
    address = closed.getsockname()
    closed.close()
    client = udp(relay(address))
    client.send(b"nobody is there")
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):  # until the refusal is pending
        client.recv(100)
    target = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    target.bind(address)
    target.settimeout(5)
    return client, target


def test_8_datagrams_after_a_refusal_arrive(after_a_refusal: tuple[socket.socket, socket.socket]) -> None:
    client, target = after_a_refusal
    for number in range(5):
        client.send(b"%d" % number)
        assert target.recv(100) == b"%d" % number


def test_9_a_burst_after_a_refusal_arrives_whole(after_a_refusal: tuple[socket.socket, socket.socket]) -> None:
    client, target = after_a_refusal
    for number in range(20):
        client.send(b"%d" % number)
    assert [target.recv(100) for _ in range(20)] == [b"%d" % number for number in range(20)]


def test_10_the_first_200_datagrams_of_a_new_client_arrive_in_order(relay: Start, udp: Udp) -> None:
    target = udp()
    client = udp(relay(target.getsockname()))
    for number in range(200):
        client.send(b"%d" % number)
    assert [target.recv(100) for _ in range(200)] == [b"%d" % number for number in range(200)]


def test_11_500_clients_at_once_each_hear_their_own_answer(relay: Start, udp: Udp) -> None:
    target = udp()
    address = relay(target.getsockname())
    clients = [udp(address) for _ in range(500)]
    for number, client in enumerate(clients):
        client.send(b"%d" % number)
    for _ in clients:
        data, source = target.recvfrom(100)
        target.sendto(data, source)
    for number, client in enumerate(clients):
        assert client.recv(100) == b"%d" % number
        client.settimeout(0)
        with pytest.raises(BlockingIOError):
            client.recv(100)


def test_12_the_sizes_of_a_sender_that_segments_are_kept(relay: Start, udp: Udp) -> None:
    target = udp()
    client = udp(relay(target.getsockname()))
    client.setsockopt(SOL_UDP, UDP_SEGMENT, 1200)
    data = os.urandom(1200 * 10 + 77)
    client.send(data)
    received = [target.recv(70_000) for _ in range(11)]
    assert [len(one) for one in received] == [1200] * 10 + [77]
    assert b"".join(received) == data


@ours_alone
@pytest.mark.parametrize("families", [(socket.AF_INET6, socket.AF_INET), (socket.AF_INET, socket.AF_INET6)])
def test_either_side_may_be_ipv6(relay: Start, udp: Udp, families: tuple[int, int]) -> None:
    here, there = families
    target = udp(family=there)
    host = "::1" if here == socket.AF_INET6 else "127.0.0.1"
    address = relay(target.getsockname()[:2], listen=(host, 0))
    clients = [udp(address, family=here) for _ in range(20)]
    for turn in range(3):
        for number, client in enumerate(clients):
            client.send(b"%d" % (number + turn))
        for _ in clients:
            data, source = target.recvfrom(100)
            target.sendto(data, source)
        assert [client.recv(100) for client in clients] == [b"%d" % (number + turn) for number in range(20)]


@ours_alone
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "127.9.8.7"])
def test_a_wildcard_listener_answers_from_the_address_that_was_asked(relay: Start, udp: Udp, host: str) -> None:
    target = udp()
    _, port = relay(target.getsockname(), listen=("0.0.0.0", 0))
    client = udp((host, port))  # connected: hears this address alone
    for number in range(10):
        client.send(b"%d" % number)
        data, source = target.recvfrom(100)
        target.sendto(data, source)
        assert client.recv(100) == b"%d" % number
