"""What hosted clients say: connects, reports, good-byes; when they try again, and what a failed try means."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from udprism.columns.types import NEVER_NS, NS_PER_S, Address, Clock, I32Column, I64Column, format_address
from udprism.ledger.ledger import Ledger
from udprism.serving import commands
from udprism.serving.clients import ClientTable, HostedClient, Mode, State
from udprism.serving.commands import Connect
from udprism.serving.rules import Rules, attempt, connect_of
from udprism.udp.arrivals import Receiver
from udprism.udp.sockets import dropped_by_kernel, open_client, report_errors, source_address
from udprism.wire import measured as wire

_REPORT_NS = NS_PER_S
_RENEWAL_NS = 10 * NS_PER_S
"""Longest time between two REPORTs to another machine, where they renew a lease of a minute."""
MAX_REPORTS_HZ = 200
"""REPORTs a second of all hosted clients together: beyond two hundred clients each reports less often than once a
second, so that measuring does not become the load."""
_BUNCH_NS = NS_PER_S // 8
"""Reports and tries leave in bunches, so that their answers come in bunches: a batch of colours with one among them is
slow."""
_FEW = MAX_REPORTS_HZ // 8
"""Clients that make no more than one bunch report together once a second: each bunch wakes both threads."""
MAX_CONNECTS_HZ = 200
"""Attempts a second beyond loopback, of all hosted clients together."""
_MAX_TRIES_HZ = 5000
"""On loopback, of the clients of one target that is back."""
_HELD_BACK_NS = 60 * NS_PER_S
"""A client that waits for others to find its target tries by itself as well, in case theirs is another trouble."""
_AT_ONCE = getattr(socket, "MSG_DONTWAIT", 0)
"""For every send: the receiver may keep sockets in blocking mode."""


class Asking:
    """The clients' sockets and what goes out through them. Pool thread only, but for `open_sockets`."""

    def __init__(
        self,
        table: ClientTable,
        ledger: Ledger,
        receiver: Receiver,
        drops: Counter[str],
        clock: Clock,
        rng: np.random.Generator,
        client_buffer_bytes: int,
        max_sockets: int | None,
        moved: Callable[[HostedClient, Address | None, Address | None], None],
    ) -> None:
        self.table = table
        self.rules = Rules(table, rng.random)
        self.ledger = ledger
        self.receiver = receiver
        self.drops = drops
        self.sockets: dict[int, socket.socket] = {}
        self._clock = clock
        self._rng = rng
        self._client_buffer_bytes = client_buffer_bytes
        self._max_sockets = max_sockets
        self._moved = moved
        self._connects_left = MAX_CONNECTS_HZ
        self._connects_since_ns = 0

    # -- sockets

    def adopt(self, slot: int, sock: socket.socket) -> None:
        """Listen and speak through this socket from now on."""
        client = self.table.clients[slot]
        self.sockets[slot] = sock
        self.table.has_socket[slot] = True
        self.receiver.add(sock, slot, None if client.connected else client.address[0])
        self._moved(client, None, client.local)

    def release(self, slot: int) -> None:
        """Disconnect and close the client's socket, if it has one."""
        sock = self.sockets.pop(slot, None)
        self.table.has_socket[slot] = False
        if sock is not None:
            self.send(slot, commands.encode_disconnect(), sock)
            self.receiver.remove(sock, slot)
            client = self.table.clients[slot]
            self._moved(client, client.local, None)
            sock.close()

    def close(self) -> None:
        """Close all sockets."""
        for sock in self.sockets.values():
            sock.close()
        self.sockets.clear()

    def open_sockets(self, clients: list[HostedClient]) -> list[socket.socket | None]:
        """Open a socket for each client that has an address; all or none.

        Raises: OSError (EMFILE where descriptors ran out).
        """
        opened: list[socket.socket | None] = []
        try:
            for client in clients:
                opened.append(self._open(client) if client.address[0] else None)  # noqa: PERF401 - what is open already must be closed on failure
        except OSError:
            for sock in opened:
                if sock is not None:
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

    def _require_room(self, opened: int = 0) -> None:
        """Raises: OSError if a socket more, beside `opened` new ones, would leave too few descriptors for all else."""
        if self._max_sockets is not None and len(self.sockets) + opened >= self._max_sockets:
            raise OSError(
                errno.EMFILE, f"no more than {self._max_sockets} clients fit under the limit of open files (ulimit -n)"
            )

    def _open_late(self, slot: int, now_ns: int) -> bool:
        """Open the socket that this client could not have so far. False, and its next try set, if it still cannot."""
        client = self.table.clients[slot]
        if not client.address[0]:
            self.table.timer_ns[slot] = NEVER_NS
            return False
        try:
            self._require_room()
            sock = self._open(client)
        except OSError as error:
            self._fail(slot, str(error))
            number = int(self.table.attempts[slot])
            self.table.attempts[slot] = number + 1
            # Not as soon as on loopback: what is missing is this machine's, and thousands may wait for it.
            wait_ns = attempt(client.mode, number, near=False, unheard=True, draw=self._rng.random()).wait_ns
            self.table.timer_ns[slot] = _bunched(now_ns + wait_ns)
            return False
        self.table.restart(slot, now_ns)
        client.error = None
        self.adopt(slot, sock)
        self.table.touch([slot])
        return True

    def _open(self, client: HostedClient) -> socket.socket:
        family = socket.AF_INET6 if ":" in client.address[0] else socket.AF_INET
        if client.connected:
            sock = open_client(client.address, family, self._client_buffer_bytes)
        else:
            local = source_address(client.address)
            sock = open_client(None, family, self._client_buffer_bytes, local=local)
            report_errors(sock)
        name = sock.getsockname()
        client.local = sys.intern(name[0]), name[1]
        client.local_address = format_address(client.local)
        return sock

    # -- words

    def on_timers(self, slots: I32Column, now_ns: int) -> None:
        """The timers of these clients have run out."""
        held, measured = self.table.held_back(slots, now_ns), self.table.speak_measured(slots)
        for slot, is_held, is_measured in zip(slots.tolist(), held.tolist(), measured.tolist(), strict=True):
            if self.table.state[slot] != State.LIVE:
                self._try(slot, is_held, is_measured, now_ns)
            elif self.table.stream[slot] == Mode.MEASURED:
                self.send_report(slot, now_ns)
            elif self.rules.ask_measured_again(slot, now_ns):
                self.send_connect(slot, measured=True)

    def _try(self, slot: int, is_held: bool, is_measured: bool, now_ns: int) -> None:
        table, client = self.table, self.table.clients[slot]
        if slot not in self.sockets and not self._open_late(slot, now_ns):
            return
        if not client.loopback and not self._may_connect(now_ns):
            table.timer_ns[slot] = now_ns + int(self._rng.uniform(0.1, 1.0) * NS_PER_S)
            return
        if self._has_moved(slot, client):
            self.rules.moved(slot)
        what = self.rules.ask(slot, now_ns, speaks_measured=is_measured)
        if is_held:
            table.timer_ns[slot] = now_ns + int(self._rng.uniform(0.5, 1.0) * _HELD_BACK_NS)
        table.timer_ns[slot] = _bunched(int(table.timer_ns[slot]))
        if not what.new_socket or self._reopen(slot, client):
            self.send_connect(slot, measured=what.measured)

    def _has_moved(self, slot: int, client: HostedClient) -> bool:
        """Whether this machine would speak to the target from another address now than it does from the old socket."""
        is_first = self.table.state[slot] == State.CONNECTING and not self.table.attempts[slot]
        if client.loopback or is_first:
            return False
        try:
            return source_address(client.address) != client.local[0]
        except OSError:
            return False  # no way there at all: sending finds that out as well

    def fell_silent(self, slots: I32Column, now_ns: int) -> None:
        """These clients' streams have stopped: ask anew, one sooner, another one later."""
        self.rules.fell_silent(slots, now_ns)
        within_ns = np.where(self.table.held_back(slots, now_ns), _HELD_BACK_NS, NS_PER_S)
        self.table.timer_ns[slots] = _bunched(now_ns + (self._rng.random(len(slots)) * within_ns).astype(np.int64))

    def answered(self, slots: I32Column, now_ns: int) -> None:
        """These clients' targets answer again: all others that wait for them ask soon."""
        waiting = self.table.waiting(slots)
        if len(waiting):
            is_near = self.table.clients[int(slots[0])].loopback
            within_ns = len(waiting) * NS_PER_S // (_MAX_TRIES_HZ if is_near else MAX_CONNECTS_HZ)
            later = waiting[self.table.timer_ns[waiting] > now_ns + within_ns + _BUNCH_NS]
            soon_ns = now_ns + (self._rng.random(len(later)) * within_ns).astype(np.int64)
            self.table.timer_ns[later] = _bunched(soon_ns)
            self.table.attempts[later] = 0

    def _may_connect(self, now_ns: int) -> bool:
        if now_ns - self._connects_since_ns >= NS_PER_S:
            self._connects_since_ns, self._connects_left = now_ns, MAX_CONNECTS_HZ
        self._connects_left -= 1
        return self._connects_left >= 0

    def _reopen(self, slot: int, client: HostedClient) -> bool:
        """Go on through a new socket, connected or not as the client has it now. False if there can be none."""
        old, before = self.sockets[slot], client.local
        try:
            new = self._open(client)
        except OSError as error:
            self._fail(slot, str(error), new_socket=True)
            return False
        self.receiver.remove(old, slot)
        self._moved(client, before, client.local)
        old.close()
        self.sockets[slot] = new
        self.receiver.add(new, slot, None if client.connected else client.address[0])
        self.table.touch([slot])
        return True

    def send_connect(self, slot: int, *, measured: bool) -> None:
        client = self.table.clients[slot]
        wish = Connect(rate_hz=client.rate_hz, colours=client.colours, name=client.name)
        command = connect_of(wish, measured=measured, token=client.token)
        try:
            data = commands.encode_connect(command)
        except ValueError as error:
            # one client's name, kept from a time that allowed it, is that client's trouble only
            self._fail(slot, commands.name_fault(client.name) or str(error))
            return
        self.send(slot, data)

    def prove(self, slot: int, now_ns: int) -> None:
        """Say the last `connect` again, with the token that the server has sent, or else with the next try."""
        if self.table.clients[slot].loopback or self._may_connect(now_ns):
            self.send_connect(slot, measured=self.rules.asks_measured(slot))
        else:
            self.drops["retry-unanswered"] += 1

    def send_report(self, slot: int, now_ns: int) -> None:
        sequence = int(self.table.report_sequence[slot])
        self.table.report_sequence[slot] = sequence + 1
        self.table.timer_ns[slot] = self.report_at_ns(self.table.clients[slot], now_ns)
        figures = self.ledger.report(np.array([slot], np.int32))
        report = wire.Report(
            int(self.table.session_id[slot]),
            sequence & 0xFFFFFFFF,
            self._clock.unix_ns(),
            *(int(column[0]) for column in figures),
        )
        self.send(slot, wire.encode_report(report))

    def send(self, slot: int, data: bytes, sock: socket.socket | None = None) -> None:
        """One datagram to the client's target. What the kernel answers becomes the client's state."""
        client = self.table.clients[slot]
        sock = sock or self.sockets[slot]
        try:
            if client.connected:
                sock.send(data, _AT_ONCE)
            else:
                sock.sendto(data, _AT_ONCE, client.address)
        except BlockingIOError:
            self.drops["command-not-sent"] += 1
        except ConnectionRefusedError:
            self._refuse(slot)  # the answer to an earlier datagram
        except OSError as error:
            self._fail(slot, str(error), new_socket=True)

    def on_error(self, slot: int, error: int) -> None:
        """The kernel says that something sent earlier did not arrive."""
        if error == errno.ECONNREFUSED:
            self._refuse(slot)
        else:
            self._fail(slot, str(OSError(error, os.strerror(error))), new_socket=True)

    def _refuse(self, slot: int) -> None:
        if self.table.state[slot] not in (State.PAUSED, State.FREE):
            self.rules.refused(slot, self._clock.now_ns())

    def _fail(self, slot: int, reason: str, *, new_socket: bool = False) -> None:
        if self.table.state[slot] not in (State.PAUSED, State.FREE):
            self.rules.failed(slot, reason, self._clock.now_ns(), new_socket=new_socket)

    def report_at_ns(self, client: HostedClient, now_ns: int, part: float = 1.0) -> int:
        """When a client reports next: after this part of the time between two of its reports."""
        fair_ns = max(_REPORT_NS, len(self.table) * NS_PER_S // MAX_REPORTS_HZ)
        turn_ns = fair_ns if client.loopback else min(fair_ns, _RENEWAL_NS)
        at_ns = now_ns + int(part * turn_ns)
        return _bunched(at_ns, _REPORT_NS) if len(self.table) <= _FEW else _bunched(at_ns)

    def receiver_drops(self, slots: I32Column) -> I64Column:
        """The kernel's drop counters of these clients' sockets."""
        drops = [(dropped_by_kernel(self.sockets[slot]) or 0) if slot in self.sockets else 0 for slot in slots.tolist()]
        return np.array(drops, np.int64)


_Instants = TypeVar("_Instants", int, I64Column)


def _bunched(at_ns: _Instants, bunch_ns: int = _BUNCH_NS) -> _Instants:
    """The next instant at which many act together."""
    return -(-at_ns // bunch_ns) * bunch_ns
