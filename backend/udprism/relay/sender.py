"""Sends a batch, tries again what failed, one by one, and records refusals."""

from __future__ import annotations

import ctypes
import errno
import socket

import numpy as np

from udprism.columns.types import Address, BoolColumn, I64Column, U8Column, U64Column
from udprism.relay.accounts import Accounts
from udprism.relay.flows import Flows, Told
from udprism.relay.fronts import Front
from udprism.relay.memory import DOWN, Count, Memory, State, Sum
from udprism.relay.messages import MAX_ROWS, Messages, Routes
from udprism.relay.port import Failure, Port
from udprism.relay.table import Table, identity, is_six
from udprism.udp.sockets import sockaddr_row

_TRIES = 3
_SEEMS_ALIVE = 64
_NO_ROOM = (errno.EAGAIN, errno.ENOBUFS)
_NO_SEGMENTS = (errno.EINVAL, errno.EIO, errno.EMSGSIZE, errno.EOPNOTSUPP, errno.ENOPROTOOPT)


class Sender:
    """Relay's loop only."""

    def __init__(
        self,
        memory: Memory,
        port: Port,
        fronts: list[Front],
        flows: Flows,
        table: Table,
        routes: Routes,
        accounts: Accounts,
    ) -> None:
        self._memory, self._port, self._fronts, self._flows = memory, port, fronts, flows
        self._table, self._routes, self._accounts = table, routes, accounts
        self._messages = Messages(routes)
        self._may_merge = np.ones(memory.width, np.bool_)
        self._refused: list[tuple[int, bytes]] = []

    def restart(self, direction: int) -> None:
        """Another flow may now have this row."""
        self._may_merge[direction] = True

    def send(
        self, direction: I64Column, address: U64Column, length: I64Column, tos: U8Column, ttl: U8Column | None
    ) -> BoolColumn | None:
        """Send these; bool[n] of those that the kernel refused, or None if it took all."""
        lost: BoolColumn | None = None
        for start in range(0, len(direction), MAX_ROWS):
            part = slice(start, start + MAX_ROWS)
            messages = self._messages
            its_ttl = None if ttl is None else ttl[part]
            may_merge = self._merges(direction[part]) if len(direction) > 1 else None
            messages.build(direction[part], address[part], length[part], tos[part], its_ttl, may_merge)
            for failure in self._port.send(messages):
                lost = np.zeros(len(direction), np.bool_) if lost is None else lost
                first = start + int(messages.starts[failure.place])
                for offset, left in enumerate(self._send_again(failure, int(direction[first]), int(tos[first]))):
                    lost[first + offset] = not left
        return lost

    def _merges(self, direction: I64Column) -> BoolColumn:
        """bool[n]: whether runs may leave as one message that the kernel splits.

        Over loopback such a message is refused and reported as a whole: not before the target seems to listen.
        """
        merges: BoolColumn = self._may_merge[direction] & (self._memory.ledger[Sum.LEFT, direction] >= _SEEMS_ALIVE)
        merges &= self._memory.flows["state"][direction >> 1] != State.REFUSED
        return merges

    def _send_again(self, failure: Failure, direction: int, tos: int) -> list[bool]:
        """A message did not leave: try its datagrams one by one, and return whether each one left."""
        datagrams = self._messages.split(failure.place)
        if failure.error in _NO_ROOM:
            return [False] * len(datagrams)
        if len(datagrams) > 1 and failure.error in _NO_SEGMENTS:
            self._may_merge[direction] = False  # this way out does not split: from now on singly
        elif failure.error == errno.EMSGSIZE:
            self._memory.counts[Count.TOO_BIG] += 1
            return [False]
        return [self.send_one(direction, ctypes.string_at(at, size), tos) for at, size in datagrams]

    def send_one(self, direction: int, data: bytes, tos: int) -> bool:
        """Send one by itself, past the errors of others that are pending on its socket; False if the kernel refuses."""
        sock = self._socket_of(direction)
        for _ in range(_TRIES):
            self.hear_errors(direction)
            try:
                sock.sendmsg(
                    [data],
                    self._routes.ancillary(direction, tos),
                    socket.MSG_DONTWAIT,
                    *self._routes.address(direction),
                )
            except OSError as error:
                if error.errno in _NO_ROOM or error.errno == errno.EMSGSIZE:
                    return False
            else:
                return True
        return False

    def client_address(self, slot: int) -> Address:
        """Where this flow's answers go."""
        return self._routes.address(2 * slot + DOWN)[0]

    def _socket_of(self, direction: int) -> socket.socket:
        if direction & 1:
            return self._fronts[int(self._memory.flows["front"][direction >> 1])].sock
        return self._flows.sockets[direction >> 1]

    # -- errors

    def hear_errors(self, direction: int) -> None:
        """Empty the error queue of the socket that this direction leaves by."""
        told = self._flows.refused(self._socket_of(direction))
        self.tell(None if direction & 1 else direction, told)

    def hear_errors_of(self, slot: int) -> None:
        """The same, by the port's slot: a flow's, or a client's socket behind those."""
        if slot >= self._memory.rows:
            self.tell(None, self._flows.refused(self._fronts[slot - self._memory.rows].sock))
        elif slot in self._flows.sockets:
            self.hear_errors(2 * slot)

    def tell(self, direction: int | None, told: list[Told]) -> None:
        """Note who was refused. direction: whose socket said so; None if the entry's address says whose it is."""
        for one in told:
            which = self._direction_to(one) if direction is None else direction
            if one.error == errno.EMSGSIZE:
                self._memory.counts[Count.TOO_BIG] += 1
            elif which is not None and one.error == errno.ECONNREFUSED:
                self._refused.append((which, one.data))

    def write_down_refused(self) -> None:
        """Count who was refused: after the batch in which they left is in the history."""
        for direction, data in self._refused:
            self._accounts.tell_refused(direction, data)
        self._refused.clear()

    def _direction_to(self, told: Told) -> int | None:
        if told.address is None:
            return None
        family = socket.AF_INET6 if ":" in told.address[0] else socket.AF_INET
        row = sockaddr_row(told.address, family)
        flow = self._table.slot_of.get(identity(row, is_six(row)))
        return None if flow is None else 2 * flow + DOWN
