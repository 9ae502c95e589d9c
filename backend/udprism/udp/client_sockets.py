"""The hosted clients' sockets: opened, moved to another address, closed, within what this machine can hold."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator

import numpy as np

from udprism.columns.types import Address, I32Column, I64Column, format_address
from udprism.serving.clients import ClientTable, HostedClient
from udprism.udp.arrivals import Receiver
from udprism.udp.sockets import dropped_by_kernel, open_client, report_errors, source_address


class ClientSockets:
    """By slot. Pool thread only, except for `open_all`.

    max_sockets: as many as leave descriptors for all else; None: nothing limits them. client_of_address: clients' ids
    by the address from which they speak, written here before they do; for others to read.
    """

    def __init__(
        self,
        table: ClientTable,
        receiver: Receiver,
        receive_buffer_bytes: int,
        max_sockets: int | None,
        client_of_address: dict[Address, str],
    ) -> None:
        self._table = table
        self._receiver = receiver
        self._receive_buffer_bytes = receive_buffer_bytes
        self._max_sockets = max_sockets
        self._client_of_address = client_of_address
        self._of: dict[int, socket.socket] = {}

    def __contains__(self, slot: int) -> bool:
        return slot in self._of

    def __iter__(self) -> Iterator[int]:
        return iter(self._of)

    def __getitem__(self, slot: int) -> socket.socket:
        return self._of[slot]

    def open_all(self, clients: list[HostedClient]) -> list[socket.socket]:
        """Open a socket for each client, all or none; each knows its address.

        Raises: OSError (EMFILE if descriptors ran out).
        """
        opened: list[socket.socket] = []
        try:
            for client in clients:
                opened.append(self._open(client))  # noqa: PERF401 - what is open already must be closed on failure
        except OSError:
            for sock in opened:
                sock.close()
            raise
        return opened

    def open_possible(self, clients: list[HostedClient]) -> list[socket.socket | None]:
        """Open a socket for each client that can have one; the `error` of the others says why they cannot.

        Only before the thread runs. What fails here is tried again at the client's own tries.
        """
        sockets: list[socket.socket | None] = []
        opened = 0
        for client in clients:
            sock = None
            if client.address[0]:
                try:
                    self._require_room(opened)
                    sock = self._open(client)
                    opened += 1
                except OSError as error:
                    client.error = str(error)
            sockets.append(sock)
        return sockets

    def adopt(self, slot: int, sock: socket.socket) -> None:
        """Receive and send through this socket from now on."""
        client = self._table.clients[slot]
        self._of[slot] = sock
        self._table.has_socket[slot] = True
        self._receiver.add(sock, slot, None if client.connected else client.address[0])
        self._client_of_address[client.local] = client.id

    def point(self, slot: int, address: Address, *, connected: bool) -> None:
        """Give the client a new socket to `address`, in place of the one that it may have.

        connected: otherwise it receives from any port of that IP address, because another kind of server may use one.

        Raises: OSError; then the client has the socket and the address that it had before.
        """
        client = self._table.clients[slot]
        old, before = self._of.get(slot), client.local
        was = client.address, client.connected
        client.address, client.connected = address, connected
        try:
            if old is None:
                self._require_room()
            new = self._open(client)
        except OSError:
            client.address, client.connected = was
            raise
        if old is None:
            self.adopt(slot, new)
            return
        self._receiver.remove(old, slot)
        self._client_of_address.pop(before, None)
        self._client_of_address[client.local] = client.id
        old.close()
        self._of[slot] = new
        self._receiver.add(new, slot, None if connected else address[0])

    def close(self, slot: int) -> None:
        """Close the client's socket, if it has one."""
        sock = self._of.pop(slot, None)
        self._table.has_socket[slot] = False
        if sock is not None:
            client = self._table.clients[slot]
            self._receiver.remove(sock, slot)
            self._client_of_address.pop(client.local, None)
            sock.close()

    def close_all(self) -> None:
        """Close all, when the thread has ended."""
        for sock in self._of.values():
            sock.close()
        self._of.clear()

    def dropped(self, slots: I32Column) -> I64Column:
        """The kernel's drop counters of these clients' sockets: int64[n]."""
        drops = [(dropped_by_kernel(self._of[slot]) or 0) if slot in self._of else 0 for slot in slots.tolist()]
        return np.array(drops, np.int64)

    def _require_room(self, opened: int = 0) -> None:
        """Raises: OSError if a socket more, beside `opened` new ones, would leave too few descriptors for all else."""
        if self._max_sockets is not None and len(self._of) + opened >= self._max_sockets:
            raise OSError(
                errno.EMFILE, f"no more than {self._max_sockets} clients fit under the limit of open files (ulimit -n)"
            )

    def _open(self, client: HostedClient) -> socket.socket:
        family = socket.AF_INET6 if ":" in client.address[0] else socket.AF_INET
        if client.connected:
            sock = open_client(client.address, family, self._receive_buffer_bytes)
        else:
            local = source_address(client.address)
            sock = open_client(None, family, self._receive_buffer_bytes, local=local)
            report_errors(sock)
        name = sock.getsockname()
        client.local = sys.intern(name[0]), name[1]
        client.local_address = format_address(client.local)
        return sock
