"""A toy endpoint: sends every datagram back to where it came from, and counts."""

from __future__ import annotations

import socket

from udprism.columns.arrivals import Arrivals
from udprism.columns.types import NEVER_NS, Address
from udprism.udp.sockets import address_of_row


class EchoEndpoint:
    """`loop.Endpoint` for one bound socket. The loop's thread only.

    refused: datagrams that the kernel took no answer for.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.slot = -1
        self.datagrams = self.refused = 0
        host, port = sock.getsockname()[:2]
        self.address: Address = (str(host), int(port))

    def take(self, arrivals: Arrivals, now_ns: int) -> None:
        self.datagrams += len(arrivals)
        family = socket.AddressFamily(self.sock.family)
        for row, length, source in zip(arrivals.rows, arrivals.length.tolist(), arrivals.source, strict=True):
            try:
                self.sock.sendto(row[:length].tobytes(), address_of_row(source, family))
            except OSError:
                self.refused += 1

    def fail(self, error: int, now_ns: int) -> None:
        self.refused += 1

    def next_due_ns(self) -> int:
        return NEVER_NS

    def act(self, now_ns: int) -> None:
        raise AssertionError("it has no timer")

    def end(self, now_ns: int) -> None:
        self.sock.close()
