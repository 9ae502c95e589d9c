"""The terminal client's socket: to one of the server's addresses at a time, and a new one when the network changes."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence

from udprism.columns.types import Address
from udprism.serving.routes import Route
from udprism.udp.arrivals import PollReceiver
from udprism.udp.sockets import address_of_name, name_of_address, open_client, report_errors, source_address

_RECEIVE_BUFFER_BYTES = 256 << 10
_SLOT = 0


class Line:
    """The socket behind `receiver`. address: the one that is asked now."""

    def __init__(self, addresses: Sequence[Address], receiver: PollReceiver) -> None:
        self.address = addresses[0]
        self._route = Route(addresses)
        self._receiver = receiver
        self._socket: socket.socket | None = None
        self._any_port = False
        self._refused = False

    @property
    def is_open(self) -> bool:
        """Whether there is a socket: none can be made without a way to the server."""
        return self._socket is not None

    @property
    def addresses(self) -> int:
        """How many addresses take turns."""
        return len(self._route.in_turn)

    def turn(self, number: int) -> bool:
        """Choose the address for try `number`. Returns True if it has changed: then open a new socket."""
        if not self._refused:
            self._route.pardon(self.address)
        self._refused = False
        before, self.address = self.address, self._route.choose(number)
        return self.address != before

    def refuse(self) -> bool:
        """No one listens at this address, or there is no route to it. Returns True if another address remains."""
        self._refused = True
        return self._route.refuse(self.address)

    def answer(self) -> None:
        """This address has answered."""
        self._route.answer(self.address)

    def has_moved(self) -> bool:
        """Whether this machine would speak to the server from another address now than it does from the socket."""
        if self._socket is None or self._any_port:
            return False  # not bound to an address: each datagram takes the way that is there
        with contextlib.suppress(OSError):  # no way there at all: sending finds that out as well
            return source_address(self.address) != address_of_name(self._socket.getsockname())[0]
        return False

    def open(self, *, any_port: bool) -> None:
        """Go on through a new socket. Raises: OSError, without one then.

        A connected socket receives from its server only, and its errors; one for any port checks only the address.
        """
        self.close()
        self._any_port = any_port
        family = socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET
        sock = open_client(None if any_port else self.address, family, _RECEIVE_BUFFER_BYTES)
        if any_port:
            report_errors(sock)
        self._receiver.add(sock, _SLOT, self.address[0] if any_port else None)
        self._socket = sock

    def send(self, data: bytes) -> None:
        """Say it, if there is a socket. Raises: OSError."""
        with contextlib.suppress(BlockingIOError):  # the next try or report says it again
            if self._socket is not None and self._any_port:
                self._socket.sendto(data, name_of_address(self.address))
            elif self._socket is not None:
                self._socket.send(data)

    def close(self) -> None:
        """Without a socket."""
        if self._socket is not None:
            self._receiver.remove(self._socket, _SLOT)
            self._socket.close()
            self._socket = None
