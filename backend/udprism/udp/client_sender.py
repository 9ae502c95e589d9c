"""Sends the hosted clients' connects, reports and disconnects, and decides when they retry."""

from __future__ import annotations

import errno
import os
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from udprism.columns.types import NEVER_NS, NS_PER_S, Address, Clock, I32Column, I64Column, is_loopback
from udprism.ledger.ledger import Ledger
from udprism.serving import commands
from udprism.serving.clients import ClientTable, HostedClient, Mode, State
from udprism.serving.commands import Connect
from udprism.serving.requested_changes import RequestedChanges
from udprism.serving.routes import Route
from udprism.serving.rules import Rules, attempt, connect_of
from udprism.udp.client_sockets import ClientSockets
from udprism.udp.sockets import name_of_address, source_address
from udprism.wire import measured as wire

_REPORT_NS = NS_PER_S
_RENEWAL_NS = 10 * NS_PER_S
"""Longest time between two REPORTs to another machine, on which they renew a lease of a minute."""
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
_LOOK_UP_WITHIN_NS = 4 * NS_PER_S
"""Time until a client whose target is being looked up asks for it again, in case the answer was lost on its way."""
_NEXT_ADDRESS_NS = NS_PER_S // 8
"""Time from one address that refuses to the next one of the same target."""
_OUT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""Errors that another address would not change."""
_AT_ONCE = getattr(socket, "MSG_DONTWAIT", 0)
"""For every send: the receiver may keep sockets in blocking mode."""


class ClientSender:
    """Sends through the clients' sockets. Pool thread only.

    look_up: starts the lookup of a target's addresses and must not block; `found` or `not_found` gets the result.
    is_ours: whether this program's own server is at an address, and answers from it.
    """

    def __init__(
        self,
        table: ClientTable,
        ledger: Ledger,
        sockets: ClientSockets,
        drops: Counter[str],
        clock: Clock,
        rng: np.random.Generator,
        look_up: Callable[[str], None] = lambda target: None,
        is_ours: Callable[[Address], bool] = lambda address: False,
    ) -> None:
        self.table = table
        self.rules = Rules(table, rng.random)
        self.requested = RequestedChanges(table)
        self.ledger = ledger
        self.sockets = sockets
        self.drops = drops
        self.routes: dict[str, Route] = {}
        """By target."""
        self.node_id: str | None = None  # among other nodes, whose servers then tell what they sent
        self._clock = clock
        self._rng = rng
        self._look_up = look_up
        self._is_ours = is_ours
        self._connects_left = MAX_CONNECTS_HZ
        self._connects_since_ns = 0

    # -- targets

    def welcome(self, slot: int, sock: socket.socket | None, route: Route) -> None:
        """A new client, with its open socket if it has one. route: its target's, if no other client has that target."""
        client = self.table.clients[slot]
        self.rules.begin(slot)
        self.requested.begin(slot)
        self.routes.setdefault(client.target, route).clients += 1
        if sock is not None:
            self.sockets.adopt(slot, sock)
        elif client.error is not None:
            self.table.state[slot] = State.ERROR

    def release(self, slot: int) -> None:
        """Disconnect, and close the client's socket, if it has one."""
        if slot in self.sockets:
            self.send(slot, commands.encode_disconnect())
            self.sockets.close(slot)
        target = self.table.clients[slot].target
        self.routes[target].clients -= 1
        if not self.routes[target].clients:
            del self.routes[target]

    def found(self, target: str, addresses: Sequence[Address], now_ns: int) -> None:
        """A target has these addresses: clients that wait for them ask now."""
        route = self.routes.get(target)
        if route is not None:
            route.learn(addresses)
            self.table.timer_ns[self._without_address(target)] = now_ns

    def not_found(self, target: str, reason: str, now_ns: int) -> None:
        """A target has no address, or none that is allowed: it is looked up again at its clients' next tries."""
        route = self.routes.get(target)
        if route is None:
            return
        if route.addresses:
            self.drops["target-not-found"] += 1  # those that it had may still be right
            return
        slots = self._without_address(target)
        route.failures += 1
        self.table.timer_ns[slots] = now_ns + self._patience_ns(route.failures)  # all of them: it is one look-up
        for slot in slots.tolist():
            self._fail(slot, reason)

    def _without_address(self, target: str) -> I32Column:
        """Clients that wait for an address of this target: int32[n]."""
        table = self.table
        slots = np.flatnonzero(~table.has_socket[: table.high] & (table.timer_ns[: table.high] < NEVER_NS))
        waiting = [slot for slot in slots.tolist() if table.clients[slot].target == target]
        return np.array([slot for slot in waiting if not table.clients[slot].address[0]], np.int32)

    def _patience_ns(self, failures: int) -> int:
        """Until the next try of what this machine could not do: thousands may wait for it, so not as on loopback."""
        return attempt(Mode.AUTO, failures, near=False, unheard=True, draw=self._rng.random()).wait_ns

    def _aim(self, slot: int, now_ns: int) -> bool:
        """Give the client a socket to the address whose turn it is.

        Returns False if there is no address or no socket; then the next try is set and the reason stored.
        """
        table, client = self.table, self.table.clients[slot]
        route, number = self.routes[client.target], int(table.attempts[slot])
        if route.wants_look_up(number, now_ns):
            self._look_up(client.target)
        if not route.addresses:
            table.timer_ns[slot] = now_ns + _LOOK_UP_WITHIN_NS
            return False
        if not table.refused[slot]:
            route.pardon(client.address)
        address = route.choose(number)
        has_socket = slot in self.sockets
        if has_socket and address == client.address:
            return True
        try:
            self.sockets.point(slot, address, connected=client.mode != Mode.PLAIN)
        except OSError as error:
            self._fail(slot, str(error))
            table.attempts[slot] = number + 1
            has_another = route.refuse(address) and error.errno not in _OUT_OF
            table.timer_ns[slot] = now_ns if has_another else _bunched(now_ns + self._patience_ns(number))
            return False
        self._moved_to(slot, client, has_socket, now_ns)
        table.refused[slot] &= route.has_refused(address)
        return True

    def _moved_to(self, slot: int, client: HostedClient, had_socket: bool, now_ns: int) -> None:
        """The client has a new target, or its first one."""
        client.loopback = is_loopback(client.address[0])
        client.falls_back = not self._is_ours(client.address)
        client.token = None
        self.table.target[slot] = hash(client.address)
        self.rules.readdressed(slot)
        if had_socket:
            self.table.forget_session(slot)
        else:
            self.table.restart(slot, now_ns)
            client.error = None
        self.table.touch([slot])

    # -- words

    def on_timers(self, slots: I32Column, now_ns: int) -> None:
        """The timers of these clients have expired."""
        held, measured = self.table.held_back(slots, now_ns), self.table.speak_measured(slots)
        for slot, is_held, is_measured in zip(slots.tolist(), held.tolist(), measured.tolist(), strict=True):
            if self.table.state[slot] == State.PAUSED:
                self.requested.disconnect_again(slot, now_ns)
                self.send(slot, commands.encode_disconnect())
            elif self.table.state[slot] != State.LIVE:
                self._try(slot, is_held, is_measured, now_ns)
            elif self.table.stream[slot] == Mode.MEASURED:
                self.send_report(slot, now_ns)
            elif self.rules.ask_measured_again(slot, now_ns):
                self.send_connect(slot, measured=True)

    def _try(self, slot: int, is_held: bool, is_measured: bool, now_ns: int) -> None:
        table, client = self.table, self.table.clients[slot]
        if not self._aim(slot, now_ns):
            return
        if not client.loopback and not self._may_connect(now_ns):
            table.timer_ns[slot] = now_ns + int(self._rng.uniform(0.1, 1.0) * NS_PER_S)
            return
        if self._has_moved(slot, client):
            self.rules.moved(slot)
        addresses = len(self.routes[client.target].in_turn)
        what = self.rules.ask(slot, now_ns, speaks_measured=is_measured, addresses=addresses)
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
            return source_address(client.address).partition("%")[0] != client.local[0]
        except OSError:
            return False  # no way there at all: sending finds that out as well

    def fell_silent(self, slots: I32Column, now_ns: int) -> None:
        """These clients' streams have stopped: ask again, at staggered times."""
        self.rules.fell_silent(slots, now_ns)
        within_ns = np.where(self.table.held_back(slots, now_ns), _HELD_BACK_NS, NS_PER_S)
        self.table.timer_ns[slots] = _bunched(now_ns + (self._rng.random(len(slots)) * within_ns).astype(np.int64))

    def answered(self, slots: I32Column, now_ns: int) -> None:
        """These clients' targets answer again: all others that wait for them ask soon."""
        for client in map(self.table.clients.__getitem__, slots.tolist()):
            self.routes[client.target].answer(client.address)
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
        try:
            self.sockets.point(slot, client.address, connected=client.connected)
        except OSError as error:
            self._fail(slot, str(error), new_socket=True)
            return False
        self.table.touch([slot])
        return True

    def repeat_requests(self, now_ns: int, colours_of: Callable[[int], int | None]) -> None:
        """For all whose streams are not what they asked for."""
        for slot in self.requested.unmet(now_ns, self.ledger.next_sequence, colours_of):
            if self.table.clients[slot].loopback or self._may_connect(now_ns):
                self.send_connect(slot, measured=True)

    def send_connect(self, slot: int, *, measured: bool) -> None:
        client = self.table.clients[slot]
        asker = f"{self.node_id}.{client.id}" if self.node_id and client.falls_back else None
        request = Connect(rate_hz=client.rate_hz, colours=client.colours, name=client.name, asker=asker)
        command = connect_of(request, measured=measured, token=client.token)
        try:
            data = commands.encode_connect(command)
        except ValueError as error:  # a name from a time that allowed it: this client's trouble only
            self._fail(slot, commands.name_fault(client.name) or str(error))
        else:
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

    def send(self, slot: int, data: bytes) -> None:
        """One datagram to the client's target. What the kernel answers becomes the client's state."""
        client, sock = self.table.clients[slot], self.sockets[slot]
        try:
            if client.connected:
                sock.send(data, _AT_ONCE)
            else:
                sock.sendto(data, _AT_ONCE, name_of_address(client.address))
        except BlockingIOError:
            self.drops["command-not-sent"] += 1
        except ConnectionRefusedError:
            self._refuse(slot)  # the answer to an earlier datagram
        except OSError as error:
            self._fail(slot, str(error), new_socket=True)

    def on_error(self, slot: int, error: int) -> None:
        """The kernel reports that something sent earlier did not arrive."""
        if error == errno.ECONNREFUSED:
            self._refuse(slot)
        else:
            self._fail(slot, str(OSError(error, os.strerror(error))), new_socket=True)

    def _refuse(self, slot: int) -> None:
        if self.table.state[slot] in (State.PAUSED, State.FREE):
            return
        now_ns = self._clock.now_ns()
        self.rules.refused(slot, now_ns)
        client = self.table.clients[slot]
        if self.routes[client.target].refuse(client.address):
            soon_ns = now_ns + int(self._rng.uniform(0.5, 1.0) * _NEXT_ADDRESS_NS)
            self.table.timer_ns[slot] = min(int(self.table.timer_ns[slot]), soon_ns)

    def _fail(self, slot: int, reason: str, *, new_socket: bool = False) -> None:
        if self.table.state[slot] not in (State.PAUSED, State.FREE):
            self.rules.failed(slot, reason, self._clock.now_ns(), new_socket=new_socket)

    def report_at_ns(self, client: HostedClient, now_ns: int, part: float = 1.0) -> int:
        """When a client reports next: after this part of the time between two of its reports."""
        fair_ns = max(_REPORT_NS, len(self.table) * NS_PER_S // MAX_REPORTS_HZ)
        turn_ns = fair_ns if client.loopback else min(fair_ns, _RENEWAL_NS)
        return _bunched(now_ns + int(part * turn_ns), _REPORT_NS if len(self.table) <= _FEW else _BUNCH_NS)


_Instants = TypeVar("_Instants", int, I64Column)


def _bunched(at_ns: _Instants, bunch_ns: int = _BUNCH_NS) -> _Instants:
    """The next instant at which many act together."""
    return -(-at_ns // bunch_ns) * bunch_ns
