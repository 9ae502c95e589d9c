"""The colour server's thread: commands in, colours out."""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from udprism.columns.types import NS_PER_MS, NS_PER_S, Address, Clock, I32Column, I64Column
from udprism.errors import RequestError
from udprism.ledger.send_log import SendLog
from udprism.link.book import LinkBook
from udprism.serving.admission import Admission
from udprism.serving.encoder import Encoder
from udprism.serving.sessions import SessionTable
from udprism.udp.command_handler import CommandHandler
from udprism.udp.inbox import InboxThread
from udprism.udp.outlet import Outlet
from udprism.udp.threads_engine import ThreadsEngine
from udprism.udp.wake import Wake
from udprism.wire.measured import ByeReason

_SELECT_DESCRIPTORS = 512
"""What select() takes on every system. The server's few sockets are opened before its clients'."""

_SLOWEST_TICK_NS = 8 * NS_PER_MS
_FASTEST_TICK_NS = NS_PER_MS // 2
_BEHIND_NS = 8 * NS_PER_MS
"""A server that much late with what its link holds sends nothing new."""
_LEASE_CHECK_NS = NS_PER_S // 4
_BEAT_S = 0.5
_LOOK_EVERY_NS = 2 * NS_PER_MS
_STOOD_STILL_NS = NS_PER_S
_GRACE_NS = 10 * NS_PER_S
"""For leases after this thread stood still: the renewals of that time wait in the sockets, behind all the rest."""


class ColourServer:
    """Serves colours from its own thread.

    What the thread owns (`table`, `outlet`, `links`, `handler`) is reached from outside by `inbox` alone. Any thread
    may read the counters.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        table: SessionTable,
        admission: Admission,
        encoder: Encoder,
        outlet: Outlet,
        send_log: SendLog,
        clock: Clock,
        *,
        owner_of: Mapping[Address, str] = MappingProxyType({}),
        engine: ThreadsEngine | None = None,
        given_up: Callable[[BaseException | None], None] = lambda error: None,
    ) -> None:
        """owner_of: whose links hold for an address; written on other threads."""
        self.sockets = list(sockets)
        self.table = table
        self.outlet = outlet
        self._encoder = encoder
        self.links = LinkBook(outlet.link, table.max_sessions)
        self.send_log = send_log
        self.skipped_ticks = 0
        self.lag_ns = 0
        """The largest lag behind the schedule within the last second or so."""
        self.handler = CommandHandler(
            self.sockets, table, admission, outlet, self.links, clock, owner_of=owner_of, engine=engine
        )
        self._clock = clock
        self.engine = engine
        self._owning = contextlib.nullcontext() if engine is None else engine.owning
        self._wake = Wake()
        # select() waits to the microsecond, epoll up to a millisecond too long.
        low = max(sock.fileno() for sock in (*self.sockets, self._wake.reader)) < _SELECT_DESCRIPTORS
        self._selector = selectors.SelectSelector() if low else selectors.DefaultSelector()
        self._selector.register(self._wake.reader, selectors.EVENT_READ, None)
        for index, sock in enumerate(self.sockets):
            self._selector.register(sock, selectors.EVENT_READ, index)
        self.thread = InboxThread("udprism-server", self._run, self._wake.set, given_up)
        self.inbox = self.thread.inbox
        self._lag_window_ns = 0
        self._next_lease_check_ns = 0
        self._next_tick_ns = 0

    # -- any thread

    def stop(self) -> None:
        """Say BYE to measured clients, end the thread and close the sockets."""
        if not self.thread.end():
            return
        if self.engine is not None:
            self.engine.stop()
        self._selector.close()
        self.outlet.close()
        self._wake.close()
        for sock in self.sockets:
            sock.close()

    # -- server thread only, by `inbox`

    def schedule(self) -> tuple[int, int]:
        """How many datagrams were made so far, and how many were due but not made: skipped or overdue."""
        return self._encoder.made, self.skipped_ticks + self.table.overdue(self._clock.now_ns())

    def link_room_needed(self) -> int:
        """How many datagrams links delay at once, at the rates that were asked for. Any thread."""
        slots = np.flatnonzero(self.table.session_id[: self.table.high]).astype(np.int32)
        period_ns = np.maximum(self.table.period_ns[slots], 1)
        return round(float((self.outlet.link.delay_ns(slots) / period_ns).sum()))

    def end_session(self, slot: int, reason: ByeReason) -> None:
        """Send BYE if the stream is measured, and forget the session."""
        self.handler.say_bye(np.array([slot], np.int32), reason)
        self.handler.forget(slot)

    def slot_of(self, session_id: str) -> int:
        """The slot of `s-XXXXXXXX`. Raises: RequestError (404)."""
        try:
            return self.table.slot_of_id[int(session_id.removeprefix("s-"), 16)]
        except (KeyError, ValueError):
            raise RequestError(f"no session {session_id!r}", field="id", kind="not-found") from None

    # -- the thread

    def _run(self) -> None:
        while not self.thread.stopping.is_set():
            self.thread.beat()
            now_ns = self._clock.now_ns()
            wake_ns = self._next_wake_ns(now_ns)
            ready = self._selector.select(max(0, wake_ns - now_ns) / NS_PER_S)
            with self._owning:
                self._turn([key.data for key, _ in ready])
        with self._owning:
            self.handler.say_bye(np.fromiter(self.table.sessions, np.int32), ByeReason.SHUTDOWN)

    def _turn(self, ready: list[int | None]) -> None:
        """Handle what has arrived (index of a socket, or None for a wake), what the inbox asks, and what is due."""
        for index in ready:
            if index is None:
                self._wake.clear()
            else:
                self.handler.read(index)
        self.inbox.run()
        now_ns = self._clock.now_ns()
        self._tick(now_ns)
        if now_ns >= self._next_lease_check_ns:
            if now_ns - self._next_lease_check_ns > _STOOD_STILL_NS:
                self.table.give_grace(now_ns + _GRACE_NS)
            self._end_expired(now_ns)
            self.send_log.hold_ns = max(0, self.outlet.last_release_ns - now_ns)
            self._lag_window_ns //= 2
            self.lag_ns = self._lag_window_ns
            self._next_lease_check_ns = now_ns + _LEASE_CHECK_NS

    def _next_wake_ns(self, now_ns: int) -> int:
        """When the next session is due, but no sooner than one tick after the last: larger ticks are cheaper."""
        due_ns = max(self.table.next_due_ns(), self._next_tick_ns)
        if self.engine is not None and self.outlet.link.active:
            due_ns = min(due_ns, now_ns + _LOOK_EVERY_NS)  # what streams of their own give the link may be due at once
        return min(due_ns, self.outlet.wake_ns, now_ns + int(_BEAT_S * NS_PER_S))

    def _tick(self, now_ns: int) -> None:
        if self.engine is not None:
            self.skipped_ticks = self.engine.skipped_ticks
        # What was held back goes first, so that a new datagram does not overtake it by accident.
        self.outlet.release(now_ns)
        # On a machine with too much to do ticks are skipped; or the link would hold ever more, and for ever longer.
        if now_ns >= self._next_tick_ns and self.outlet.next_release_ns > now_ns - _BEHIND_NS:
            self._send_due(now_ns)
        for address in self.outlet.take_unreachable():
            self.handler.strike(address)

    def _send_due(self, now_ns: int) -> None:
        slot = self.table.due(now_ns)
        if len(slot):
            # A quarter of the fastest stream's period, which is due at every tick or nearly.
            fastest_ns = int(self.table.period_ns[slot].min())
            self._next_tick_ns = now_ns + max(_FASTEST_TICK_NS, min(_SLOWEST_TICK_NS, fastest_ns // 4))
            due_ns, lag_ns, skipped = self.table.advance(slot, now_ns)
            self.skipped_ticks += skipped
            self._lag_window_ns = max(self._lag_window_ns, lag_ns)
            self.lag_ns = max(self.lag_ns, lag_ns)
            self.send_due(slot, due_ns, now_ns)

    def send_due(self, slot: I32Column, due_ns: I64Column, now_ns: int) -> None:
        """Make and send one datagram for each slot (each at most once). due_ns: int64[n], when each of them was due."""
        enters_ns = self.outlet.enter(due_ns, now_ns)
        for which, batch in self._encoder.batches(slot, now_ns):
            self.outlet.send(batch, enters_ns[which])
        if self.outlet.link.active:
            self.outlet.release(self._clock.now_ns())

    def _end_expired(self, now_ns: int) -> None:
        slots = self.table.expired(now_ns)
        if len(slots):
            self.handler.say_bye(slots, ByeReason.LEASE_EXPIRED)
            for slot in slots.tolist():
                self.handler.forget(slot)
