"""Decodes what arrives at hosted clients, matches it to sessions and accounts for it, in batches of columns."""

from __future__ import annotations

from collections import Counter

import numpy as np

from udprism.columns.arrivals import Arrivals
from udprism.columns.runs import distinct
from udprism.columns.types import (
    BoolColumn,
    Clock,
    I32Column,
    I64Column,
    U8Column,
)
from udprism.errors import WireError
from udprism.ledger.fates import LATE, NEW
from udprism.ledger.send_log import SendLog
from udprism.ledger.taps import Taps
from udprism.serving import commands
from udprism.serving.book import ClientColumns
from udprism.serving.clients import Mode, State
from udprism.serving.own_server import OwnServer
from udprism.serving.rules import round_trip_ns
from udprism.udp.client_sender import ClientSender
from udprism.udp.sight import ReceiverTap, key_of
from udprism.wire import measured as wire
from udprism.wire.colours import decode_plain


class ClientAccounting:
    """Accounts for batches and for the send log's reports. Pool thread only."""

    def __init__(
        self,
        columns: ClientColumns,
        taps: Taps,
        sender: ClientSender,
        drops: Counter[str],
        clock: Clock,
        rng: np.random.Generator,
        send_log: SendLog | None,
    ) -> None:
        self.table, self.ledger, self.history, _, self.latest, _ = columns
        self.taps = taps
        self.drops = drops
        self.datagrams = 0
        clients = self.table.clients
        self.settled_ns = clock.now_ns()
        """Datagrams overdue until then have been declared lost. Any thread may read it."""
        self.tap = ReceiverTap(self.table.max_clients, lambda slot: clients[slot].local)
        self._sender = sender
        self._rules = sender.rules
        self._clock = clock
        self._rng = rng
        self._own_server = None if send_log is None else OwnServer(columns, send_log)

    def take(self, arrivals: Arrivals, now_ns: int) -> None:
        """Account for one batch. A BYE among its rows counts after the colours: they were sent before it."""
        slot = arrivals.slot
        decoded = wire.decode_colours(arrivals.rows, arrivals.length)
        mine = decoded.session_id == self.table.session_id[slot]
        if not decoded.all_valid:
            mine &= decoded.valid
        if not mine.all():
            mine = self._adopt(slot, decoded, mine, now_ns)
        if mine.all():
            self._account(slot, arrivals, decoded, now_ns)
        else:
            self._account_some(np.flatnonzero(mine), arrivals, now_ns)
            self._take_strays(np.flatnonzero(decoded.valid & ~mine), arrivals, decoded, now_ns)
        if not decoded.all_valid:
            self._take_others(arrivals, decoded, now_ns)

    def _account_some(self, kept: I64Column, arrivals: Arrivals, now_ns: int, *, live: bool = True) -> None:
        if len(kept):
            part = arrivals.part(kept)
            self._account(part.slot, part, wire.decode_colours(part.rows, part.length), now_ns, live=live)

    def _take_strays(self, rows: I64Column, arrivals: Arrivals, decoded: wire.ColourBatch, now_ns: int) -> None:
        """Colours of sessions that are not their clients': of earlier ones they still count, others are dropped."""
        slot, session_id = arrivals.slot[rows], decoded.session_id[rows]
        left = (self.ledger.session[slot] == session_id) & (session_id != 0)
        self._account_some(rows[left], arrivals, now_ns, live=False)
        for row in rows[~left].tolist():
            some = slice(row, row + 1)
            one, sequence = int(arrivals.slot[row]), int(decoded.sequence[row])
            flags = self.ledger.past.take(one, int(decoded.session_id[row]), sequence)
            if flags is None:
                self.drops["other-session"] += 1
            else:
                late: U8Column = np.array([flags | LATE if flags & NEW else flags], np.uint8)
                self.latest.update(arrivals.slot[some], decoded.rgb[some], arrivals.received_unix_ns[some], late)

    def _account(
        self, slot: I32Column, arrivals: Arrivals, decoded: wire.ColourBatch, now_ns: int, *, live: bool = True
    ) -> None:
        """Rows of measured streams, each of its ledger's session. live: it is its client's session as well."""
        outcome = self.ledger.update(slot, decoded.sequence, decoded.sent_at_unix_ns, arrivals.received_unix_ns, now_ns)
        self.history.record(
            slot,
            outcome.extended,
            arrivals.received_unix_ns,
            arrivals.length,
            arrivals.rows,
            decoded.rgb,
            outcome.flags,
            decoded.sent_at_unix_ns,
        )
        if self.tap.recorder is not None:
            self.tap.arrived(arrivals, key_of(decoded.session_id, decoded.sequence), outcome.flags)
        self._show(slot, arrivals, decoded.rgb, outcome.flags, now_ns, live=live)
        if self.taps.any:
            self.taps.feed(slot, outcome.extended, outcome.flags, decoded, arrivals, self.ledger.shared_clock)

    def _show(
        self, slot: I32Column, arrivals: Arrivals, rgb: U8Column, flags: U8Column, now_ns: int, *, live: bool = True
    ) -> None:
        self.latest.update(slot, rgb, arrivals.received_unix_ns, flags)
        self.datagrams += len(slot)
        if not live:
            return
        table = self.table
        table.last_arrival_ns[slot] = now_ns
        if (table.state[slot] != State.LIVE).any():
            self._came_alive(slot, now_ns)

    def _came_alive(self, slot: I32Column, now_ns: int) -> None:
        table = self.table
        woken = self._rules.came_alive(distinct(slot[table.state[slot] != State.LIVE]), now_ns)
        self._sender.requested.hear_unwanted(slot, now_ns)
        measured = woken[table.stream[woken] == Mode.MEASURED]
        self._set_report_timers(measured, now_ns)
        self._sender.answered(woken, now_ns)

    def _set_report_timers(self, slots: I32Column, now_ns: int) -> None:
        part = self._rng.random(len(slots)).tolist()
        for one, its_part in zip(slots.tolist(), part, strict=True):
            self.table.timer_ns[one] = self._sender.report_at_ns(self.table.clients[one], now_ns, its_part)

    def _adopt(self, slot: I32Column, decoded: wire.ColourBatch, mine: BoolColumn, now_ns: int) -> BoolColumn:
        """Colours of a session that is not the client's: a new stream's first ones, or strays.

        A client takes another server's word for a new session at most once a second. Returns which rows are the
        client's own now.
        """
        table = self.table
        begun: set[int] = set()
        for row in np.flatnonzero(decoded.valid & ~mine).tolist():
            one = int(slot[row])
            new = int(decoded.session_id[row])
            if new != table.session_id[one] and one not in begun and self._may_adopt(one, new, now_ns):
                table.session_id[one] = new
                begun.add(one)
        if begun:
            self._begin_sessions(np.array(sorted(begun), np.int32), now_ns)
            mine = decoded.valid & (decoded.session_id == table.session_id[slot])
        return mine

    def _may_adopt(self, slot: int, session_id: int, now_ns: int) -> bool:
        """Our own server's answer is enough; and if it was the one asked, no one else's is.

        A link that damages headers damages session ids too.
        """
        if self.table.state[slot] in (State.PAUSED, State.FREE):
            self._sender.requested.hear_unwanted(np.array([slot], np.int32), now_ns)
            return False
        if self._own_server is not None and self._own_server.serves(slot, session_id):
            return True
        return self.table.clients[slot].falls_back and self._rules.may_adopt(slot, now_ns)

    def _begin_sessions(self, slots: I32Column, now_ns: int) -> None:
        """These clients, each at most once, have another session than before; it may be the one they have left."""
        table = self.table
        had_another = slots[(table.state[slots] == State.LIVE) & (table.stream[slots] != Mode.MEASURED)]
        self._rules.begin_sessions(slots, now_ns)
        self._set_report_timers(had_another, now_ns)
        table.touch(slots.tolist())
        slots = slots[self.ledger.session[slots] != table.session_id[slots]]
        session_id = table.session_id[slots]
        own = self._own_server
        server_slot = np.full(len(slots), -1, np.int32) if own is None else own.find(slots, session_id)
        loopback = np.array([table.clients[one].loopback for one in slots.tolist()], np.bool_)
        self.ledger.begin_session(slots, server_slot >= 0, loopback, session_id)
        self.history.begin_session(slots, session_id)
        if own is not None:
            own.begun(slots, server_slot)

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
            self.table.rtt_ns[slot] = round_trip_ns(received_unix_ns, datagram.report)
        elif isinstance(datagram, wire.Bye):
            if self.table.state[slot] != State.PAUSED:
                self._rules.ended(slot, now_ns)
        else:
            raise WireError("client-binary")

    def _take_plain(self, rows: I64Column, arrivals: Arrivals, now_ns: int) -> None:
        slot, length = arrivals.slot[rows], arrivals.length[rows]
        index, rgb = decode_plain(arrivals.rows[rows], length)
        known = (index >= 0) & self._rules.takes_plain(slot)
        for row in np.flatnonzero(~known).tolist():
            self._take_retry(int(slot[row]), arrivals.rows[rows[row], : length[row]].tobytes(), now_ns)
        self._rules.hear_plain(slot[known], now_ns)
        self._sender.requested.hear_unwanted(slot[(index >= 0) & ~known], now_ns)
        kept = rows[known]
        if len(kept):
            part = arrivals.part(kept)
            number = self.ledger.update_plain(part.slot, part.received_unix_ns)
            flags = np.full(len(kept), NEW, np.uint8)
            self.history.record(
                part.slot,
                number,
                part.received_unix_ns,
                part.length,
                part.rows,
                rgb[known],
                flags,
            )
            self.tap.arrived(part, None, flags)
            self._show(part.slot, part, rgb[known], flags, now_ns)
            if self.taps.any:
                self.taps.feed_plain(part.slot, part, rgb[known])

    def _take_retry(self, slot: int, data: bytes, now_ns: int) -> None:
        """The server wants proof that we are where we say: ask again with its token."""
        try:
            token = commands.parse_retry(data)
        except WireError:
            self.drops["not-a-colour"] += 1
            return
        if not self._rules.may_prove(slot, token):
            self.drops["retry-unasked"] += 1
        else:
            self._sender.prove(slot, now_ns)

    # -- the send log's reports, and what is overdue

    @property
    def hold_ns(self) -> int:
        """For how long a link of our own server may hold a datagram back."""
        return 0 if self._own_server is None else self._own_server.hold_ns

    def settle(self, read_ns: int | None) -> None:
        """Bring the ledger up to date with the send log's reports and with what is overdue.

        read_ns: until when all that arrived has been read; None if a socket may still hold something.
        """
        own = self._own_server
        if own is not None:
            # A late server still has datagrams that should have left: no losses are declared until it has sent them.
            left_until_ns = own.left_until_ns
            reports = own.take_reports()
            self.tap.told(reports)
            own.hear_issued()
            slots, session_id = own.unheard()
            if len(slots):
                self.table.session_id[slots] = session_id
                self._begin_sessions(slots, self._clock.now_ns())
            own.hear_fates(reports)
            read_ns = None if read_ns is None else min(read_ns, left_until_ns)
        if read_ns is None:
            return
        self.settled_ns = read_ns
        declared = self.ledger.expire(read_ns, self._sender.sockets.dropped, self.hold_ns)
        if len(declared.slot):
            self.tap.lost(key_of(self.ledger.session[declared.slot], declared.extended), declared.cause)
            self.history.mark_lost(declared.slot, declared.extended, declared.cause)

    def forget(self, slots: I32Column) -> None:
        """These clients are removed. Their datagrams stay in the sums."""
        self.ledger.depart(slots, self._sender.sockets.dropped, self.hold_ns)
        self.latest.depart(slots)
        if self._own_server is not None:
            self._own_server.forget(slots)
