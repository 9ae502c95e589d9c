"""The colour server's thread: commands in, colours out."""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from udprism.columns.types import NS_PER_MS, NS_PER_S, Address, Clock, I32Column, I64Column
from udprism.errors import RequestError, WireError
from udprism.ledger.send_log import SendLog
from udprism.link.book import LinkBook
from udprism.link.link import client_key
from udprism.serving import commands
from udprism.serving.admission import Admission, Refuse, Retry
from udprism.serving.encoder import Encoder
from udprism.serving.sessions import ServiceTerms, SessionTable
from udprism.udp.command_sockets import CommandSockets, Requester
from udprism.udp.inbox import Inbox
from udprism.udp.outlet import Outlet
from udprism.udp.sockets import header_bytes, sockaddr_row
from udprism.udp.thread import ENDS_WITHIN_S, SupervisedThread
from udprism.udp.threads_engine import ThreadsEngine
from udprism.udp.wake import Wake
from udprism.wire import measured as wire
from udprism.wire.measured import ByeReason

MAX_READS_A_TURN = 512
"""Datagrams read from one socket before the next tick gets its turn."""
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
    """Serves colours from its own thread; every public coroutine-free method may be called from any thread.

    What the thread owns (`table`, `outlet`) is reached from outside by `inbox` alone; the counters are read as
    they are.
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
        self.drops: Counter[str] = Counter()
        self.skipped_ticks = 0
        self.lag_ns = 0
        """The largest lag behind the schedule within the last second or so."""
        self.commands = 0
        self._admission = admission
        self._command_sockets = CommandSockets(self.sockets, self._strike)
        self._clock = clock
        self.engine = engine
        self._owning = contextlib.nullcontext() if engine is None else engine.owning
        self._owner_of = owner_of
        self._wake = Wake()
        # select() waits to the microsecond, epoll up to a millisecond too long.
        low = max(sock.fileno() for sock in (*self.sockets, self._wake.reader)) < _SELECT_DESCRIPTORS
        self._selector = selectors.SelectSelector() if low else selectors.DefaultSelector()
        self._selector.register(self._wake.reader, selectors.EVENT_READ, None)
        for index, sock in enumerate(self.sockets):
            self._selector.register(sock, selectors.EVENT_READ, index)
        self.inbox = Inbox(self.wake)
        self.thread = SupervisedThread("udprism-server", self._run, given_up)
        self._lag_window_ns = 0
        self._next_lease_check_ns = 0
        self._next_tick_ns = 0

    # -- any thread

    def start(self) -> None:
        """Start the thread."""
        self.thread.start()

    def wake(self) -> None:
        """Make the thread look at its inbox at once."""
        self._wake.set()

    def stop(self) -> None:
        """Say BYE to measured clients, end the thread and close the sockets."""
        self.thread.stopping.set()
        self.wake()
        ended = self.thread.stop(ENDS_WITHIN_S)
        self.inbox.close()
        if not ended:
            return  # its sockets and tables are still in use
        if self.engine is not None:
            self.engine.stop()
        self._selector.close()
        self.outlet.close()
        self._wake.close()
        for sock in self.sockets:
            sock.close()

    # -- server thread only, by `inbox`

    def schedule(self) -> tuple[int, int]:
        """Datagrams that were made so far, and those that were due and were not: skipped, or overdue by now."""
        return self._encoder.made, self.skipped_ticks + self.table.overdue(self._clock.now_ns())

    def link_room_needed(self) -> int:
        """How many datagrams links delay at once, at the rates that were asked for. Any thread."""
        slots = np.flatnonzero(self.table.session_id[: self.table.high]).astype(np.int32)
        period_ns = np.maximum(self.table.period_ns[slots], 1)
        return round(float((self.outlet.link.delay_ns(slots) / period_ns).sum()))

    def end_session(self, slot: int, reason: ByeReason) -> None:
        """Send BYE if the stream is measured, and forget the session."""
        self._say_bye(np.array([slot], np.int32), reason)
        self._forget(slot)

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
            self._say_bye(np.fromiter(self.table.sessions, np.int32), ByeReason.SHUTDOWN)

    def _turn(self, ready: list[int | None]) -> None:
        """What has come (index of a socket, or None for a wake), what was asked for, and what is due."""
        for index in ready:
            if index is None:
                self._wake.clear()
            else:
                self._read(index)
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
            self._strike(address)

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

    def _read(self, index: int) -> None:
        for data, requester in self._command_sockets.receive(index, MAX_READS_A_TURN):
            try:
                self._receive(data, requester)
            except WireError as error:
                self.drops[error.reason] += 1
                if error.reason in commands.SERVER_ONLY_REASONS:
                    self._suspect(requester.address)

    def _receive(self, data: bytes, requester: Requester) -> None:
        now_ns = self._clock.now_ns()
        slot = self.table.slot_of_address.get(requester.address)
        if wire.is_binary(data):
            self._receive_report(data, slot, requester, now_ns)
            return
        command = commands.parse_command(data)
        self.commands += 1
        if isinstance(command, commands.Connect):
            self._connect(command, len(data), requester, now_ns)
        elif slot is None:
            raise WireError("no-session")
        elif isinstance(command, commands.Disconnect):
            self._forget(slot)
        else:
            self.table.respond(slot, command.text, now_ns, self._clock.unix_ns())
            self.table.heard(slot, now_ns)

    def _connect(self, command: commands.Connect, length: int, requester: Requester, now_ns: int) -> None:
        table, address, index = self.table, requester.address, requester.socket_index
        unix_ns = self._clock.unix_ns()
        known = table.slot_of_address.get(address)
        if known is None:
            terms = self._terms_for(command, length, requester, now_ns, unix_ns)
            if terms is None:
                return
        else:
            terms = table.sessions[known].terms
            if table.is_measured(known) != command.measured:
                self._forget(known)  # a new session takes its place: nothing that a link holds may leave as that one's
        row = sockaddr_row(address, socket.AddressFamily(self.sockets[index].family))
        served = table.connect(address, row, index, command, terms, now_ns, unix_ns)
        if served is None:
            raise WireError("table-full")
        slot, started = served
        if requester.source:
            table.source[slot, : len(requester.source)] = np.frombuffer(requester.source, np.uint8)
        if started:
            self._begin_link(slot, index)
        else:
            self.links.owner_is(slot, self._owner_of.get(address))
        if self.engine is not None:
            self.engine.serve(slot, address, requester.source)

    def _begin_link(self, slot: int, index: int) -> None:
        session = self.table.sessions[slot]
        key = client_key(session.name or f"{session.address[0]}:{session.address[1]}")
        payload_at = wire.HEADER_BYTES if session.encoding.measured else 0
        owner = self._owner_of.get(session.address)
        self.links.begin(slot, owner, key, payload_at, header_bytes(self.sockets[index].family))

    def _terms_for(
        self, command: commands.Connect, length: int, requester: Requester, now_ns: int, unix_ns: int
    ) -> ServiceTerms | None:
        """On what conditions a new address is served; None if it was asked for a token first."""
        table, address = self.table, requester.address
        decision = self._admission.decide(
            address, command, length, now_ns, unix_ns, table.sessions_of(address[0]), table.remote
        )
        if isinstance(decision, Refuse):
            raise WireError(decision.reason)
        if isinstance(decision, Retry):
            self._reply(requester, decision.payload)
            return None
        return ServiceTerms(decision.source_class, decision.lease_ns, decision.max_rate_hz)

    def _receive_report(self, data: bytes, slot: int | None, requester: Requester, now_ns: int) -> None:
        report = wire.decode_report(data)
        if slot is None or report.session_id != int(self.table.session_id[slot]):
            raise WireError("unknown-session")
        session = self.table.sessions[slot]
        session.report = report
        session.reported_ns = now_ns
        self.table.heard(slot, now_ns)
        self._reply(requester, wire.acknowledge(data))

    def _reply(self, requester: Requester, data: bytes) -> None:
        if not self._command_sockets.reply(requester, data):
            self.drops["answer-not-sent"] += 1

    def _strike(self, address: Address) -> None:
        slot = self.table.slot_of_address.get(address)
        if slot is not None and self.table.strike(slot):
            self._forget(slot)

    def _suspect(self, address: Address) -> None:
        """Only a server says such things: two servers that a forged `connect` joined must fall silent."""
        slot = self.table.slot_of_address.get(address)
        if slot is not None:
            session = self.table.sessions[slot]
            session.server_only_in_a_row += 1
            if session.server_only_in_a_row >= commands.MAX_SERVER_ONLY_IN_A_ROW:
                self._forget(slot)

    def _end_expired(self, now_ns: int) -> None:
        slots = self.table.expired(now_ns)
        if len(slots):
            self._say_bye(slots, ByeReason.LEASE_EXPIRED)
            for slot in slots.tolist():
                self._forget(slot)

    def _say_bye(self, slots: I32Column, reason: ByeReason) -> None:
        for slot in slots.tolist():
            session = self.table.sessions.get(slot)  # an error that one BYE meets may end another session
            if session is not None and session.encoding.measured:
                bye = wire.Bye(int(self.table.session_id[slot]), 0, self._clock.unix_ns(), reason)
                source = self.table.source[slot].tobytes()
                self._reply(
                    Requester(session.address, int(self.table.socket_index[slot]), source), wire.encode_bye(bye)
                )

    def _forget(self, slot: int) -> None:
        if slot not in self.table.sessions:
            return
        if self.engine is not None:
            self.engine.end(slot)
        self.outlet.forget(slot)
        self.table.recent.remember(self.table, slot, self.links.is_owned(slot))
        self.links.end(slot)
        self.table.end(slot)
