"""A supervised thread with one receiver, an inbox, and endpoints that own the sockets."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

import numpy as np

from udprism.columns.arrivals import Arrivals
from udprism.columns.runs import distinct
from udprism.columns.types import NEVER_NS, NS_PER_S, Clock
from udprism.udp.arrivals import Receiver
from udprism.udp.inbox import InboxThread


class Endpoint(Protocol):
    """Runs on a loop: one method at a time, on the loop's thread."""

    def take(self, arrivals: Arrivals, now_ns: int) -> None:
        """Datagrams of its own sockets, in the order of their arrival."""

    def fail(self, error: int, now_ns: int) -> None:
        """One of its sockets reported an errno."""

    def next_due_ns(self) -> int:
        """When `act` is wanted; NEVER_NS if it is not."""

    def act(self, now_ns: int) -> None:
        """It is time."""

    def end(self, now_ns: int) -> None:
        """The loop ends: end the flows and close the sockets."""


class Timer:
    """The half of an endpoint without a socket: it only acts when it is due."""

    def take(self, arrivals: Arrivals, now_ns: int) -> None:
        """Never called."""
        raise AssertionError("it has no socket")

    def fail(self, error: int, now_ns: int) -> None:
        """Never called."""
        raise AssertionError("it has no socket")


class Loop:
    """Runs endpoints in a thread of its own. They are reached from outside by `inbox` alone."""

    def __init__(
        self,
        name: str,
        receiver: Receiver,
        capacity: int,
        clock: Clock,
        given_up: Callable[[BaseException | None], None] = lambda error: None,
    ) -> None:
        """capacity: sockets; the receiver's slots are 0 … capacity - 1."""
        self.receiver = receiver
        self.thread = InboxThread(name, self._run, receiver.wake, given_up)
        self.inbox = self.thread.inbox
        self.batches = 0
        self._clock = clock
        self._free = list(range(capacity - 1, -1, -1))
        self._endpoints: list[Endpoint] = []
        self._of_slot: dict[int, Endpoint] = {}
        self._socks: dict[int, socket.socket] = {}

    # -- any thread

    def stop(self) -> None:
        """End all endpoints, then the thread."""
        if self.thread.end():
            self.receiver.close()

    # -- the loop's thread only, by `inbox`

    def has_room_for(self, sockets: int) -> bool:
        """Whether this many more sockets can be received from."""
        return len(self._free) >= sockets

    def add(self, endpoint: Endpoint) -> None:
        """Ask this endpoint from now on when it is due."""
        self._endpoints.append(endpoint)

    def remove(self, endpoint: Endpoint) -> None:
        """Ask it no more. Its sockets were closed to the loop before."""
        self._endpoints.remove(endpoint)

    def hear(self, endpoint: Endpoint, sock: socket.socket) -> int:
        """The datagrams of `sock` go to this endpoint from now on; returns the socket's slot. See `has_room_for`."""
        slot = self._free.pop()
        self._of_slot[slot], self._socks[slot] = endpoint, sock
        self.receiver.add(sock, slot)
        return slot

    def unhear(self, sock: socket.socket, slot: int) -> None:
        """Call before `sock` is closed. The kernel releases its port in the next poll."""
        self.receiver.remove(sock, slot)
        del self._of_slot[slot], self._socks[slot]
        self._free.append(slot)

    def _run(self) -> None:
        while not self.thread.stopping.is_set():
            self.thread.beat()
            now_ns = self._clock.now_ns()
            due_ns = min((one.next_due_ns() for one in self._endpoints), default=NEVER_NS)
            arrivals = self.receiver.poll(min(1.0, max(0.0, (due_ns - now_ns) / NS_PER_S)))
            now_ns = self._clock.now_ns()
            if len(arrivals):
                self.batches += 1
                self._hand_out(arrivals, now_ns)
            for slot, error in self.receiver.errors:
                if slot in self._of_slot:
                    self._of_slot[slot].fail(error, now_ns)
            self.inbox.run()
            now_ns = self._clock.now_ns()
            for endpoint in list(self._endpoints):
                if now_ns >= endpoint.next_due_ns():
                    endpoint.act(now_ns)
        for slot, sock in list(self._socks.items()):
            self.unhear(sock, slot)
        for endpoint in list(self._endpoints):
            endpoint.end(self._clock.now_ns())
        self.receiver.poll(0)

    def _hand_out(self, arrivals: Arrivals, now_ns: int) -> None:
        first = int(arrivals.slot[0])
        if (arrivals.slot == first).all():
            self._of_slot[first].take(arrivals, now_ns)
            return
        for slot in distinct(arrivals.slot).tolist():
            self._of_slot[slot].take(arrivals.part(np.flatnonzero(arrivals.slot == slot)), now_ns)
