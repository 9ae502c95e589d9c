"""The hosted clients' thread: thousands of sockets, one readiness loop, batches of columns."""

from __future__ import annotations

import logging
import socket
from collections import Counter
from collections.abc import Callable

import numpy as np

from udprism.core import commands, wire
from udprism.core.clients import ClientTable, HostedClient, attempt
from udprism.core.commands import Connect
from udprism.core.history import History
from udprism.core.latest import Latest
from udprism.core.ledger import Ledger
from udprism.core.palette import decode_plain
from udprism.core.rates import Rates
from udprism.core.sessions import format_address
from udprism.core.taps import Tap, Taps
from udprism.core.types import (
    NEVER_NS,
    NS_PER_MS,
    NS_PER_S,
    Address,
    Arrivals,
    BoolColumn,
    Clock,
    I32Column,
    I64Column,
    Mode,
    State,
)
from udprism.core.witness import CORRUPT, Witness
from udprism.errors import WireError
from udprism.udp.arrivals import Receiver
from udprism.udp.inbox import Inbox
from udprism.udp.sockets import dropped_by_kernel, open_client, report_errors
from udprism.udp.thread import SupervisedThread

log = logging.getLogger(__name__)

_SWEEP_NS = 125 * NS_PER_MS
_SWEEPS_A_SAMPLE = 2
_REPORT_NS = NS_PER_S
MAX_REPORTS_HZ = 200
"""REPORTs a second of all hosted clients together: beyond two hundred clients each reports less often than once a
second, so that measuring does not become the load."""
_RENEWAL_NS = 10 * NS_PER_S
"""Longest time between two REPORTs to another machine, where they renew a lease of a minute."""
_MOST_CORRUPT_WAITING = 256
"""Batches of reports of damaged datagrams that wait for these to arrive."""
MAX_CONNECTS_HZ = 200
"""Attempts a second beyond loopback, of all hosted clients together."""
_AT_ONCE = getattr(socket, "MSG_DONTWAIT", 0)
"""For every send: the receiver may keep sockets in blocking mode."""
_SESSION_CHANGES_WITHIN_NS = NS_PER_S
_LONGEST_RTT_NS = 60 * NS_PER_S
"""An echo of a report older than that tells nothing; and a forged one can be as old as 2**64 ns."""


class ClientPool:
    """Runs the hosted clients in its own thread. What the thread owns is reached from outside by `inbox` alone."""

    def __init__(
        self,
        table: ClientTable,
        ledger: Ledger,
        history: History,
        rates: Rates,
        latest: Latest,
        taps: Taps,
        receiver: Receiver,
        clock: Clock,
        rng: np.random.Generator,
        *,
        client_buffer_bytes: int,
        silent_after_ns: int,
        witness: Witness | None = None,
        moved: Callable[[HostedClient, Address | None, Address | None], None] = lambda client, old, new: None,
        given_up: Callable[[BaseException | None], None] = lambda error: None,
    ) -> None:
        self.table = table
        self.ledger = ledger
        self.history = history
        self.rates = rates
        self.latest = latest
        self.taps = taps
        self.receiver = receiver
        self.drops: Counter[str] = Counter()
        self.batches = 0
        self.datagrams = 0
        self.inbox = Inbox(receiver.wake)
        self.thread = SupervisedThread("udprism-pool", self._run, given_up)
        self._clock = clock
        self._rng = rng
        self._client_buffer_bytes = client_buffer_bytes
        self._silent_after_ns = silent_after_ns
        self._witness = witness
        self._moved = moved
        self._sockets: dict[int, socket.socket] = {}
        self._next_sweep_ns = 0
        self._polled_ns = 0
        self._sweeps = 0
        self._connects_left = MAX_CONNECTS_HZ
        self._connects_since_ns = 0
        self._corrupt_later: list[tuple[I32Column, I64Column]] = []
        self._client_of_server_slot = np.full(0 if witness is None else len(witness.session_id), -1, np.int32)
        self._session_changed_ns = np.zeros(table.max_clients, np.int64)

    # -- any thread

    def start(self) -> None:
        """Start the thread."""
        self.thread.start()

    def stop(self) -> None:
        """Disconnect all clients, end the thread and close the sockets."""
        self.thread.stopping.set()
        self.receiver.wake()
        ended = self.thread.stop(2.0)
        self.inbox.close()
        if ended:
            self.receiver.close()
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()

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

    def _open(self, client: HostedClient) -> socket.socket:
        family = socket.AF_INET6 if ":" in client.address[0] else socket.AF_INET
        if client.connected:
            sock = open_client(client.address, family, self._client_buffer_bytes)
        else:
            local = _source_address(client.address, family)
            sock = open_client(None, family, self._client_buffer_bytes, local=local)
            report_errors(sock)
        name = sock.getsockname()
        client.local_address = format_address((name[0], name[1]))
        return sock

    # -- pool thread only, by `inbox`

    def add(self, clients: list[HostedClient], sockets: list[socket.socket | None]) -> list[int]:
        """Take over clients with their open sockets (None: its target has no address); answers their slots."""
        now_ns = self._clock.now_ns()
        slots = [self.table.add(client, self._silence_ns(client), now_ns) for client in clients]
        column = np.array(slots, np.int32)
        self.ledger.reset(column)
        self.history.reset(column)
        self.rates.reset(column)
        self.latest.reset(column)
        for slot, client, sock in zip(slots, clients, sockets, strict=True):
            if sock is None:
                self.table.state[slot] = State.ERROR
                self.table.timer_ns[slot] = NEVER_NS
                continue
            self._sockets[slot] = sock
            self.receiver.add(sock, slot, None if client.connected else client.address[0])
            self._moved(client, None, _address_of(sock))
        return slots

    def remove(self, slots: list[int]) -> None:
        """Disconnect and forget clients."""
        for slot in slots:
            sock = self._sockets.pop(slot, None)
            if sock is not None:
                self._send(slot, sock, commands.encode_disconnect())
                self.receiver.remove(sock, slot)
                self._moved(self.table.clients[slot], _address_of(sock), None)
                sock.close()
            self.table.remove(slot)
            self.taps.end(slot)

    def pause(self, slot: int, paused: bool) -> None:
        """Disconnect, or connect again; what is still in flight is settled in its time."""
        now_ns = self._clock.now_ns()
        if paused:
            if slot in self._sockets:
                self._send(slot, self._sockets[slot], commands.encode_disconnect())
            self.table.state[slot] = State.PAUSED
            self.table.timer_ns[slot] = NEVER_NS  # its session stays known: what is on its way still arrives
        elif self.table.state[slot] == State.PAUSED and slot in self._sockets:
            self.table.restart(slot, now_ns)
        self.table.touch([slot])

    def change(self, slot: int, *, name: str | None, rate_hz: float | None, colours: int | None) -> None:
        """Change what a client asks for, and ask anew."""
        client = self.table.clients[slot]
        if name is not None and name != client.name:
            self.table.rename(slot, name)
        client.rate_hz = rate_hz if rate_hz is not None else client.rate_hz
        client.colours = colours if colours is not None else client.colours
        self.table.silent_after_ns[slot] = self._silence_ns(client)
        if self.table.state[slot] != State.PAUSED and slot in self._sockets:
            self._send_connect(slot, measured=self.table.stream[slot] != Mode.PLAIN)
        self.table.touch([slot])

    def open_tap(self, tap: Tap) -> None:
        """Feed a tap; one whose client is gone meanwhile ends at once."""
        if self.table.slot_of_id.get(tap.client_id) == tap.slot:
            self.taps.open(tap)
        else:
            tap.end()

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
                self._take(arrivals, now_ns)
            for slot, error in self.receiver.errors:
                self._on_error(slot, error, now_ns)
            self.inbox.run()
            due = self.table.due(now_ns)
            for slot in due.tolist():
                self._on_timer(slot, now_ns)
            if now_ns >= self._next_sweep_ns:
                self._sweep(now_ns)
                self._next_sweep_ns = now_ns + _SWEEP_NS
        for slot, sock in self._sockets.items():
            if self.table.state[slot] == State.LIVE:
                self._send(slot, sock, commands.encode_disconnect())

    def _take(self, arrivals: Arrivals, now_ns: int) -> None:
        """Account for one batch."""
        table = self.table
        slot = arrivals.slot
        decoded = wire.decode_colours(arrivals.rows, arrivals.length)
        if decoded.all_valid:
            mine = decoded.session_id == table.session_id[slot]
            if not mine.all():
                mine = self._adopt(slot, decoded.session_id, mine, now_ns)
        else:
            mine = decoded.valid & (decoded.session_id == table.session_id[slot])
            mine = self._adopt(slot, decoded.session_id, mine | ~decoded.valid, now_ns) & decoded.valid
            self._take_others(arrivals, decoded, now_ns)
        if mine.all():
            self._account(slot, arrivals, decoded, now_ns)
        else:
            self._account_some(np.flatnonzero(mine), arrivals, decoded, now_ns)

    def _account_some(self, kept: I64Column, arrivals: Arrivals, decoded: wire.ColourBatch, now_ns: int) -> None:
        if len(kept):
            part = Arrivals(
                arrivals.slot[kept], arrivals.received_unix_ns[kept], arrivals.length[kept], arrivals.rows[kept]
            )
            self._account(part.slot, part, wire.decode_colours(part.rows, part.length), now_ns)

    def _account(self, slot: I32Column, arrivals: Arrivals, decoded: wire.ColourBatch, now_ns: int) -> None:
        """Rows of measured streams, each of its client's own session."""
        outcome = self.ledger.update(slot, decoded.sequence, decoded.sent_at_unix_ns, arrivals.received_unix_ns, now_ns)
        self.history.record(
            slot,
            outcome.extended,
            arrivals.received_unix_ns,
            arrivals.length,
            arrivals.rows,
            decoded.rgb,
            outcome.flags,
        )
        self._show(slot, arrivals, decoded.rgb, now_ns)
        if self.taps.any:
            self.taps.feed(slot, outcome.extended, outcome.flags, decoded, arrivals, self.ledger.shared_clock)

    def _show(
        self, slot: I32Column, arrivals: Arrivals, rgb: np.ndarray[tuple[int, int], np.dtype[np.uint8]], now_ns: int
    ) -> None:
        self.latest.update(slot, rgb, arrivals.received_unix_ns)
        self.datagrams += len(slot)
        table = self.table
        table.last_arrival_ns[slot] = now_ns
        if (table.state[slot] != State.LIVE).any():
            self._came_alive(slot, now_ns)

    def _came_alive(self, slot: I32Column, now_ns: int) -> None:
        table = self.table
        woken = np.unique(slot[(table.state[slot] != State.LIVE) & (table.state[slot] != State.PAUSED)])
        table.state[woken] = State.LIVE
        table.attempts[woken] = 0
        spread_ns = self._rng.random(len(woken))
        for place, one in enumerate(woken.tolist()):
            client = table.clients[one]
            client.error = None
            client.refused = False
            spread_ns[place] *= self._report_ns(client)
            stream = Mode.MEASURED if table.session_id[one] else Mode.PLAIN
            if table.stream[one] != stream:
                table.stream[one] = stream
                table.touch([one])
        measured = table.session_id[woken] != 0
        table.timer_ns[woken] = np.where(measured, now_ns + spread_ns.astype(np.int64), NEVER_NS)

    def _report_ns(self, client: HostedClient) -> int:
        fair_ns = max(_REPORT_NS, len(self.table) * NS_PER_S // MAX_REPORTS_HZ)
        return fair_ns if client.loopback else min(fair_ns, _RENEWAL_NS)

    def _adopt(
        self, slot: I32Column, session_id: np.ndarray[tuple[int], np.dtype[np.uint32]], mine: BoolColumn, now_ns: int
    ) -> BoolColumn:
        """Rows of a session that is not the client's: a new stream's first ones, or strays.

        A client changes its session at most once a second; what arrives of other sessions meanwhile is dropped and
        counted. Answers which rows are the client's own now.
        """
        table = self.table
        begun: list[int] = []
        for row in np.flatnonzero(~mine).tolist():
            one = int(slot[row])
            new = int(session_id[row])
            if new == table.session_id[one]:
                mine[row] = True
            elif table.state[one] in (State.PAUSED, State.FREE) or (
                table.session_id[one] and now_ns - self._session_changed_ns[one] < _SESSION_CHANGES_WITHIN_NS
            ):
                self.drops["other-session"] += 1
            else:
                # The batch's rows of an earlier session are not told apart from now on: they are dropped as strays.
                table.session_id[one] = new
                begun.append(one)
                mine[row] = True
        if begun:
            self._begin_sessions(np.array(begun, np.int32), now_ns)
            mine &= session_id == table.session_id[slot]
        return mine

    def _begin_sessions(self, slot: I32Column, now_ns: int) -> None:
        """These clients have a new session each."""
        table = self.table
        table.report_sequence[slot] = 0
        self._session_changed_ns[slot] = now_ns
        table.stream[slot] = Mode.MEASURED
        if self._witness is not None:
            at_server = np.array([self._witness.slot_of_id.get(one, -1) for one in table.session_id[slot].tolist()])
            table.witnessed[slot] = at_server >= 0
            table.server_slot[slot] = np.maximum(at_server, 0)
            self._client_of_server_slot[at_server[at_server >= 0]] = slot[at_server >= 0]
        loopback = np.array([table.clients[one].loopback for one in slot.tolist()])
        self.ledger.begin_session(slot, in_process=table.witnessed[slot], shared_clock=loopback)
        self.history.begin_session(slot)
        table.touch(slot.tolist())

    def _take_others(self, arrivals: Arrivals, decoded: wire.ColourBatch, now_ns: int) -> None:
        """Rows that are no colours of a measured stream: plain ones as a batch, the rest one by one."""
        rows = np.flatnonzero(~decoded.valid)
        text = rows[decoded.reason[rows] == wire.DropReason.NOT_BINARY]
        if len(text):
            self._take_plain(text, arrivals, now_ns)
        for row in rows[decoded.reason[rows] != wire.DropReason.NOT_BINARY].tolist():
            slot = int(arrivals.slot[row])
            try:
                data = arrivals.rows[row, : arrivals.length[row]].tobytes()
                self._take_control(slot, wire.decode_datagram(data), int(arrivals.received_unix_ns[row]), now_ns)
            except WireError as error:
                self.drops[error.reason] += 1

    def _take_control(self, slot: int, datagram: wire.Datagram, received_unix_ns: int, now_ns: int) -> None:
        if datagram.session_id != self.table.session_id[slot]:
            raise WireError("other-session")
        if isinstance(datagram, wire.ReportAck):
            rtt_ns = max(1, received_unix_ns - datagram.report.sent_at_unix_ns)
            if rtt_ns > _LONGEST_RTT_NS:
                raise WireError("stale-ack")
            self.table.rtt_ns[slot] = rtt_ns
        elif isinstance(datagram, wire.Bye):
            self.table.restart(slot, now_ns)
            self.table.timer_ns[slot] = now_ns + int(self._rng.uniform(0.2, 1.0) * NS_PER_S)
            self.table.touch([slot])
        else:
            raise WireError("client-binary")

    def _take_plain(self, rows: I64Column, arrivals: Arrivals, now_ns: int) -> None:
        slot, length = arrivals.slot[rows], arrivals.length[rows]
        index, rgb = decode_plain(arrivals.rows[rows], length)
        known = (index >= 0) & (self.table.session_id[slot] == 0) & (self.table.state[slot] != State.PAUSED)
        for row in np.flatnonzero(~known).tolist():
            self._take_retry(int(slot[row]), arrivals.rows[rows[row], : length[row]].tobytes())
        kept = rows[known]
        if len(kept):
            part = Arrivals(
                arrivals.slot[kept], arrivals.received_unix_ns[kept], arrivals.length[kept], arrivals.rows[kept]
            )
            number = self.ledger.update_plain(part.slot, part.received_unix_ns)
            self.history.record(
                part.slot,
                number,
                part.received_unix_ns,
                part.length,
                part.rows,
                rgb[known],
                np.ones(len(kept), np.uint8),
            )
            self._show(part.slot, part, rgb[known], now_ns)
            if self.taps.any:
                self.taps.feed_plain(part.slot, part, rgb[known])

    def _take_retry(self, slot: int, data: bytes) -> None:
        """The server wants proof that we are where we say: ask again with its token."""
        try:
            token = commands.parse_retry(data)
        except WireError:
            self.drops["not-a-colour"] += 1
            return
        client = self.table.clients[slot]
        if client.token != token and self.table.state[slot] not in (State.LIVE, State.PAUSED):
            client.token = token
            self._send_connect(slot, measured=client.mode != Mode.PLAIN)

    # -- timers, errors, sweeps

    def _on_timer(self, slot: int, now_ns: int) -> None:
        if self.table.state[slot] == State.LIVE:
            self._send_report(slot, now_ns)
            return
        client = self.table.clients[slot]
        if not client.loopback and not self._may_connect(now_ns):
            self.table.timer_ns[slot] = now_ns + int(self._rng.uniform(0.1, 1.0) * NS_PER_S)
            return
        number = int(self.table.attempts[slot])
        self.table.attempts[slot] = number + 1
        mode = client.mode if client.falls_back or client.mode == Mode.PLAIN else Mode.MEASURED
        what = attempt(mode, number, loopback=client.loopback, refused=client.refused, draw=float(self._rng.random()))
        if not what.measured and client.connected:
            self._reopen_unconnected(slot, client)
        self.table.timer_ns[slot] = now_ns + what.wait_ns
        self._send_connect(slot, measured=what.measured)

    def _may_connect(self, now_ns: int) -> bool:
        if now_ns - self._connects_since_ns >= NS_PER_S:
            self._connects_since_ns, self._connects_left = now_ns, MAX_CONNECTS_HZ
        self._connects_left -= 1
        return self._connects_left >= 0

    def _reopen_unconnected(self, slot: int, client: HostedClient) -> None:
        """A server of another kind answers from another port: listen on a socket that only checks the address."""
        old = self._sockets[slot]
        client.connected = False
        try:
            new = self._open(client)
        except OSError as error:
            client.connected = True
            self._fail(slot, error)
            return
        self.receiver.remove(old, slot)
        self._moved(client, _address_of(old), _address_of(new))
        old.close()
        self._sockets[slot] = new
        self.receiver.add(new, slot, client.address[0])
        self.table.touch([slot])

    def _send_connect(self, slot: int, *, measured: bool) -> None:
        client = self.table.clients[slot]
        if measured:
            command = Connect(
                measured=True,
                rate_hz=client.rate_hz,
                colours=client.colours,
                name=client.name,
                token=client.token,
            )
        else:
            command = Connect(token=client.token)  # bare: a foreign server compares the whole datagram
        self._send(slot, self._sockets[slot], commands.encode_connect(command))

    def _send_report(self, slot: int, now_ns: int) -> None:
        sequence = int(self.table.report_sequence[slot])
        self.table.report_sequence[slot] = sequence + 1
        self.table.timer_ns[slot] = now_ns + self._report_ns(self.table.clients[slot])
        figures = self.ledger.report(np.array([slot], np.int32))
        report = wire.Report(
            int(self.table.session_id[slot]),
            sequence & 0xFFFFFFFF,
            self._clock.unix_ns(),
            *(int(column[0]) for column in figures),
        )
        self._send(slot, self._sockets[slot], wire.encode_report(report))

    def _send(self, slot: int, sock: socket.socket, data: bytes) -> None:
        client = self.table.clients[slot]
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
            self._fail(slot, error)

    def _on_error(self, slot: int, error: int, now_ns: int) -> None:
        if slot not in self.table.clients or self.table.state[slot] == State.PAUSED:
            return
        if ConnectionRefusedError.__name__ == type(OSError(error, "")).__name__:
            was_live = self.table.state[slot] in (State.LIVE, State.SILENT)
            self._refuse(slot)
            if was_live:
                self.table.timer_ns[slot] = now_ns + int(self._rng.uniform(0.2, 1.0) * NS_PER_S)
        else:
            self._fail(slot, OSError(error, ""))

    def _refuse(self, slot: int) -> None:
        client = self.table.clients[slot]
        if self.table.state[slot] == State.PAUSED:
            return
        if not client.refused:
            self.table.attempts[slot] = 0
        client.refused = True
        self.table.state[slot] = State.REFUSED

    def _fail(self, slot: int, error: OSError) -> None:
        if self.table.state[slot] != State.PAUSED:
            self.table.state[slot] = State.ERROR
            self.table.clients[slot].error = str(error)

    def _sweep(self, now_ns: int) -> None:
        self.settle(now_ns)
        silent = self.table.fell_silent(now_ns)
        if len(silent) and not self.receiver.behind:
            self.table.state[silent] = State.SILENT
            self.table.attempts[silent] = 0
            self.table.timer_ns[silent] = now_ns + (self._rng.random(len(silent)) * NS_PER_S).astype(np.int64)
        self._sweeps += 1
        if self._sweeps % _SWEEPS_A_SAMPLE == 0:
            self.rates.sample(now_ns, self.ledger, self.table.high)
            self.ledger.delays.refresh(self.table.high)

    def settle(self, now_ns: int) -> None:
        """Bring the ledger up to date with what the witness says and with what is overdue."""
        if self._witness is not None:
            self._hear_witness(self._witness)
        if self.receiver.behind:
            return  # what is missing may lie in a socket, not read yet
        hold_ns = 0 if self._witness is None else self._witness.hold_ns
        declared = self.ledger.expire(min(now_ns, self._polled_ns), self._receiver_drops, hold_ns)
        if len(declared.slot):
            self.history.mark_lost(declared.slot, declared.extended, declared.cause)

    def _hear_witness(self, witness: Witness) -> None:
        table = self.table
        slots = np.flatnonzero(table.witnessed[: table.high]).astype(np.int32)
        if len(slots):
            server_slot = table.server_slot[slots]
            issued = witness.next_sequence[server_slot]
            still = witness.session_id[server_slot] == table.session_id[slots]
            self.ledger.set_sent(slots[still], issued[still])
        corrupt, self._corrupt_later = self._corrupt_later, []
        for report in witness.take():
            slot = self._client_of_server_slot[report.session_slot]
            known = (slot >= 0) & (table.session_id[slot] == report.session_id)
            slot, sequence, cause = slot[known], report.sequence[known], report.cause[known]
            damaged = cause == CORRUPT
            corrupt.append((slot[damaged], sequence[damaged]))
            lost = ~damaged
            if lost.any():
                self._lose(slot[lost], sequence[lost], cause[lost])
        self._mark_corrupt(corrupt)

    def _lose(self, slot: I32Column, sequence: I64Column, cause: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> None:
        self.ledger.report_unsent(slot, sequence, cause, self._clock.now_ns())
        self.history.mark_lost(slot, sequence, cause)

    def _mark_corrupt(self, reports: list[tuple[I32Column, I64Column]]) -> None:
        for slot, sequence in reports[-_MOST_CORRUPT_WAITING:]:
            if len(slot):
                later = self.ledger.report_corrupt(slot, sequence)
                self.history.mark_corrupt(slot[~later], sequence[~later])
                if later.any():
                    self._corrupt_later.append((slot[later], sequence[later]))

    def _receiver_drops(self, slots: I32Column) -> I64Column:
        drops = [dropped_by_kernel(self._sockets[slot]) or 0 for slot in slots.tolist()]
        return np.array(drops, np.int64)

    def _silence_ns(self, client: HostedClient) -> int:
        return max(self._silent_after_ns, round(3 * NS_PER_S / client.rate_hz))


def _address_of(sock: socket.socket) -> Address:
    name = sock.getsockname()
    return name[0], name[1]


def _source_address(target: Address, family: socket.AddressFamily) -> str:
    """The local IP address from which the routing table would reach `target`."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(target)
        return str(probe.getsockname()[0])
