"""The colour server's single datagrams: commands in, answers back to where they came from."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

from udprism.columns.types import Address
from udprism.udp.sockets import drain_error_queue, send_from
from udprism.udp.source import RECEIVED_BYTES, source_of, tells_source

_RECEIVE_BYTES = 2048
_TRIES = 3


class Requester(NamedTuple):
    """A datagram's sender, the socket that received it, and which of this machine's addresses it was sent to.

    source: see `udprism.udp.source`; empty for a socket that is bound to one address.
    """

    address: Address
    socket_index: int
    source: bytes


class CommandSockets:
    """The server's sockets, except for streams. Server thread only.

    gone: called with each peer that the kernel reports as unreachable.
    """

    def __init__(self, sockets: list[socket.socket], gone: Callable[[Address], None]) -> None:
        self._sockets = sockets
        self._tells_source = [tells_source(sock) for sock in sockets]
        self._gone = gone

    def receive(self, index: int, most: int) -> Iterator[tuple[bytes, Requester]]:
        """The datagrams that wait in a socket, `most` at most."""
        sock, tells, source = self._sockets[index], self._tells_source[index], b""
        self._drain(sock)
        for _ in range(most):
            try:
                if tells:
                    data, received, _, name = sock.recvmsg(_RECEIVE_BYTES, RECEIVED_BYTES)
                    source = source_of(sock.family, received)
                else:
                    data, name = sock.recvfrom(_RECEIVE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                continue  # an earlier send's ICMP error, reported on the next call whatever that is
            yield data, Requester((sys.intern(name[0]), name[1]), index, source)  # one text for all sessions of a host

    def reply(self, requester: Requester, data: bytes) -> bool:
        """Send one datagram outside a stream. False if the kernel refuses it."""
        sock = self._sockets[requester.socket_index]
        source = requester.source if self._tells_source[requester.socket_index] else b""
        for _ in range(_TRIES):
            try:
                send_from(sock, data, requester.address, source)
                return True
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.ENOBUFS):
                    return False
                self._drain(sock)  # another peer's error failed our send: find out whose, then send again
        return False

    def _drain(self, sock: socket.socket) -> None:
        for gone in drain_error_queue(sock):
            self._gone(gone.address)
