"""The hosted clients' thread: thousands of sockets, one readiness loop, batches of columns."""

from __future__ import annotations

import logging
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial

import numpy as np

from udprism.columns.types import NEVER_NS, NS_PER_MS, NS_PER_S, Address, Clock
from udprism.errors import RequestError
from udprism.ledger.send_log import SendLog
from udprism.ledger.taps import Tap, Taps
from udprism.ledger.timeline import Totals, whole_totals
from udprism.serving import commands
from udprism.serving.book import ClientColumns
from udprism.serving.clients import HostedClient, Mode, State
from udprism.serving.other_nodes import OtherNodes
from udprism.serving.routes import Route
from udprism.udp.arrivals import Receiver
from udprism.udp.client_accounting import ClientAccounting
from udprism.udp.client_sender import ClientSender
from udprism.udp.client_sockets import ClientSockets
from udprism.udp.inbox import InboxThread
from udprism.udp.lookups import Found, Lookups
from udprism.wire.measured import HEADER_BYTES

log = logging.getLogger(__name__)

_SWEEP_NS = 250 * NS_PER_MS
_EARLY_NS = 40 * NS_PER_MS
"""A sweep rides on a wake that comes so much too early: few slow streams are due at the same quarters of a second."""
_REFRESHES = 16
"""How many parts of the medians are brought up to date in a sweep."""
_MAX_TIMERS_A_TURN = 512
"""Clients that send something before arrivals get their turn, and the heartbeat."""


class ClientPool:
    """Runs the hosted clients in its own thread. What the thread owns is reached from outside by `inbox` alone."""

    def __init__(
        self,
        columns: ClientColumns,
        taps: Taps,
        receiver: Receiver,
        clock: Clock,
        rng: np.random.Generator,
        *,
        client_buffer_bytes: int,
        silent_after_ns: int,
        max_sockets: int | None = None,
        lookups: Lookups,
        is_ours: Callable[[Address], bool] = lambda address: False,
        send_log: SendLog | None = None,
        swept: Callable[[int], None] = lambda now_ns: None,
        client_of_address: dict[Address, str] | None = None,
        given_up: Callable[[BaseException | None], None] = lambda error: None,
    ) -> None:
        """client_of_address: hosted clients by the address from which they speak; written here, for others to read."""
        self.columns = columns
        self.table, self.ledger, _, self.rates, _, self.timeline = columns
        self.taps = taps
        self.receiver = receiver
        self.drops: Counter[str] = Counter()
        self.batches = 0
        self.totals: Mapping[str, int] = self.ledger.ever()
        """`Accounts.ever` as of the last sweep: for other threads, replaced whole, so that no figure ever falls."""
        self.thread = InboxThread("udprism-pool", self._run, receiver.wake, given_up)
        self.inbox = self.thread.inbox
        self._clock = clock
        self._silent_after_ns = silent_after_ns
        self._next_sweep_ns = 0
        self._polled_ns = 0
        self._lookups = lookups
        self._looked_up: set[str] = set()
        addresses = {} if client_of_address is None else client_of_address
        self.sockets = ClientSockets(self.table, receiver, client_buffer_bytes, max_sockets, addresses)
        self.sender = ClientSender(
            self.table, self.ledger, self.sockets, self.drops, clock, rng, self._look_up, is_ours
        )
        self._send_log = send_log
        self._swept = swept
        self.accounting = ClientAccounting(columns, taps, self.sender, self.drops, clock, rng, send_log)
        self.other_nodes = OtherNodes(columns, self.sockets.dropped)

    # -- any thread

    def stop(self) -> None:
        """Disconnect all clients, end the thread and close the sockets."""
        if self.thread.end():
            self.receiver.close()
            self.sockets.close_all()

    # -- pool thread only, by `inbox`

    def add(
        self, clients: list[HostedClient], sockets: Sequence[socket.socket | None], routes: Sequence[Route]
    ) -> list[int]:
        """Take over clients with their open sockets, and what is known of their targets; returns their slots.

        None in place of a socket: there is none yet, and `error` may say why.
        """
        now_ns = self._clock.now_ns()
        slots = [self.table.add(client, self._silence_ns(client), now_ns) for client in clients]
        column = np.array(slots, np.int32)
        self.columns.reset(column, now_ns)
        for slot, sock, route in zip(slots, sockets, routes, strict=True):
            self.sender.welcome(slot, sock, route)
        return slots

    def remove(self, slots: list[int]) -> None:
        """Disconnect and forget clients. Their ledgers go on in the account of removed clients."""
        self.accounting.forget(np.array(slots, np.int32))  # while their sockets can be asked what the kernel dropped
        for slot in slots:
            self.sender.release(slot)
            self.table.remove(slot)
            self.taps.end(slot)
        self.totals = self.ledger.ever()

    def pause(self, slot: int, paused: bool) -> None:
        """Disconnect, or connect again (at once, if it has no stream); what is in flight is settled in its time."""
        now_ns = self._clock.now_ns()
        if paused:
            if slot in self.sockets:
                self.sender.send(slot, commands.encode_disconnect())
            self.sender.requested.paused(slot, now_ns)
            self.table.state[slot] = State.PAUSED
            self.table.timer_ns[slot] = NEVER_NS  # its session stays known: what is on its way still arrives
        elif self.table.state[slot] == State.PAUSED:
            self.table.restart(slot, now_ns)
        elif self.table.state[slot] != State.LIVE:
            self.table.timer_ns[slot] = now_ns
        self.table.touch([slot])

    def change(self, slot: int, *, name: str | None, rate_hz: float | None, colours: int | None) -> None:
        """Change what a client asks for, and ask again."""
        client = self.table.clients[slot]
        if name is not None and name != client.name:
            self.table.rename(slot, name)
        client.rate_hz = rate_hz if rate_hz is not None else client.rate_hz
        self.table.asked_hz[slot] = client.rate_hz
        client.colours = colours if colours is not None else client.colours
        self.sender.rules.set_silence(slot, self._silence_ns(client))
        if self.table.state[slot] == State.LIVE and self.table.stream[slot] == Mode.MEASURED:
            self.sender.requested.changed(slot, self.ledger.next_sequence(slot), self._clock.now_ns())
            self.sender.send_connect(slot, measured=True)  # a bare one tells nothing, and may begin another stream
        elif self.table.state[slot] not in (State.LIVE, State.PAUSED):
            if self.table.state[slot] == State.ERROR:  # the change may have mended it, and the next try will tell
                self.table.state[slot], client.error = State.CONNECTING, None
            self.table.timer_ns[slot] = self._clock.now_ns()
        self.table.touch([slot])

    def open_tap(self, tap: Tap) -> None:
        """Feed a tap; one whose client is gone meanwhile ends at once."""
        if self.table.slot_of_id.get(tap.client_id) == tap.slot:
            self.taps.open(tap)
        else:
            tap.end()

    # -- targets' addresses

    def _look_up(self, target: str) -> None:
        """Pool thread only; what was found comes back by the inbox."""
        if target not in self._looked_up:
            self._looked_up.add(target)
            self._lookups.look_up(target).add_done_callback(partial(self._deliver, target))

    def _deliver(self, target: str, future: Future[Found]) -> None:
        """Any thread."""
        self._looked_up.discard(target)
        with suppress(RequestError):  # the program ends, or is too busy: the clients ask again
            self.inbox.submit(partial(self._learn, target, future))

    def _learn(self, target: str, future: Future[Found]) -> None:
        now_ns = self._clock.now_ns()
        try:
            self.sender.found(target, future.result(), now_ns)
        except RequestError as error:
            self.sender.not_found(target, error.detail, now_ns)

    # -- the thread

    def _run(self) -> None:
        while not self.thread.stopping.is_set():
            self.thread.beat()
            now_ns = self._clock.now_ns()
            wake_ns = min(self._next_sweep_ns, self.table.next_timer_ns())
            arrivals = self.receiver.poll(max(0.0, (wake_ns - now_ns) / NS_PER_S))
            self._polled_ns = now_ns = self._clock.now_ns()
            if len(arrivals):
                self.batches += 1
                self.accounting.take(arrivals, now_ns)
            for slot, error in self.receiver.errors:
                self.sender.on_error(slot, error)
            self.inbox.run()
            self.thread.beat()
            due = self.table.due(now_ns)[:_MAX_TIMERS_A_TURN]
            if len(due):
                self.sender.on_timers(due, now_ns)
            # Silence and losses need a poll that left nothing: a sweep waits for one, but not for ever.
            patience_ns = _SWEEP_NS if self.receiver.behind else -_EARLY_NS
            if now_ns >= self._next_sweep_ns + patience_ns:
                self._sweep(now_ns)
                self._next_sweep_ns = ((now_ns + _EARLY_NS) // _SWEEP_NS + 1) * _SWEEP_NS + _EARLY_NS // 2
        for slot in self.sockets:
            if self.table.state[slot] == State.LIVE:
                self.sender.send(slot, commands.encode_disconnect())

    def settle(self, now_ns: int) -> None:
        """Bring the ledger up to date."""
        self.accounting.settle(None if self.receiver.behind else min(now_ns, self._polled_ns))

    def _sweep(self, now_ns: int) -> None:
        self.settle(now_ns)
        silent = self.table.fell_silent(now_ns)
        if len(silent) and not self.receiver.behind:
            self.sender.fell_silent(silent, now_ns)
        self.totals = self.ledger.ever()
        self.sender.repeat_requests(now_ns, self._colours_of)
        self.rates.sample(now_ns, self.ledger, self.table.high, self.table.asked_hz)
        self.timeline.sample(now_ns, self.table.high, self._whole_totals)
        for _ in range(_REFRESHES):
            if not self.ledger.delays.refresh(self.table.high):
                break
        self._swept(now_ns)

    def _whole_totals(self) -> Totals:
        lost = self.ledger.lost_by_cause[1:].sum(axis=1)
        return whole_totals(self.ledger, self.table.high, self.totals["received"], lost)

    def _colours_of(self, slot: int) -> int | None:
        """How many colours the client's newest datagram had, if that is known."""
        size_bytes = self.columns.history.newest_size_bytes(slot)
        return None if size_bytes is None else (size_bytes - HEADER_BYTES) // 3

    def _silence_ns(self, client: HostedClient) -> int:
        return max(self._silent_after_ns, round(3 * NS_PER_S / client.rate_hz))
