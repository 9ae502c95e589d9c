"""Socket options, the error queue, and the two ways to send a batch."""

from __future__ import annotations

import socket
import sys

import numpy as np
import pytest

from udprism.columns.arrivals import SOCKADDR_BYTES
from udprism.errors import BindError
from udprism.udp.sockets import (
    BatchSender,
    address_of_row,
    bind_server,
    drain_error_queue,
    dropped_by_kernel,
    open_client,
    sockaddr_row,
)


def udp() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(5)
    return sock


@pytest.mark.parametrize(
    ("address", "family"),
    [(("127.0.0.1", 1), socket.AF_INET), (("10.1.2.3", 65535), socket.AF_INET), (("::1", 5353), socket.AF_INET6)],
)
def test_an_address_survives_its_row(address: tuple[str, int], family: socket.AddressFamily) -> None:
    row = sockaddr_row(address, family)
    assert row.shape == (SOCKADDR_BYTES,)
    assert address_of_row(row, family) == address


def test_a_port_in_use_is_a_bind_error_that_names_it_and_leaves_nothing_open() -> None:
    with udp() as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match=str(port)):
            bind_server("127.0.0.1", port, 1 << 16)


@pytest.mark.parametrize("use_sendmmsg", [True, False])
def test_a_batch_reaches_each_address_with_its_own_bytes(use_sendmmsg: bool) -> None:
    receivers = [udp() for _ in range(5)]
    with udp() as sock:
        sock.setblocking(False)
        sender = BatchSender(sock, 16, use_sendmmsg=use_sendmmsg)
        addresses = np.stack([sockaddr_row(one.getsockname(), socket.AF_INET) for one in receivers])
        rows = np.arange(5 * 8, dtype=np.uint8).reshape(5, 8)
        length = np.array([8, 1, 2, 3, 4], np.int32)
        sender.prepare(rows, length, addresses, np.array([4, 3, 2, 1, 0], np.int32))
        assert sender.send(0, 2) == (2, 0)
        assert sender.send(2, 5) == (3, 0)
    for slot, receiver in enumerate(receivers):
        row = 4 - slot
        assert receiver.recv(100) == rows[row, : length[row]].tobytes()
        receiver.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the error queue is Linux's")
def test_the_error_queue_says_which_peer_is_gone_and_drained_it_harms_nobody() -> None:
    (server, *others) = bind_server("127.0.0.1", 0, 1 << 16)
    for other in others:
        other.close()
    with server, udp() as healthy:
        gone = udp()
        gone_address = gone.getsockname()
        gone.close()
        server.sendto(b"x", gone_address)
        with pytest.raises(ConnectionRefusedError):
            server.sendto(b"y", healthy.getsockname())  # somebody else's error: this is what draining is for
        assert [peer.address for peer in drain_error_queue(server)] == [gone_address]
        server.sendto(b"z", healthy.getsockname())
        assert healthy.recv(10) == b"z"
        assert drain_error_queue(server) == []


@pytest.mark.skipif(sys.platform != "linux", reason="SO_MEMINFO is Linux's")
def test_the_kernel_counts_what_a_full_buffer_turned_away() -> None:
    with udp() as sender:
        client = open_client(sender.getsockname(), socket.AF_INET, 2304)
        with client:
            assert dropped_by_kernel(client) == 0
            for _ in range(100):
                sender.sendto(b"x" * 100, client.getsockname())
            heard = 0
            client.setblocking(False)
            while True:
                try:
                    client.recv(1000)
                except BlockingIOError:
                    break
                heard += 1
            assert 0 < heard < 100
            assert dropped_by_kernel(client) == 100 - heard
