"""What arrives at hosted clients: decoded, taken for a session, accounted for, shown. Batches of columns."""

from __future__ import annotations

from collections import Counter

import numpy as np

from udprism.columns.types import (
    Arrivals,
    BoolColumn,
    Clock,
    I32Column,
    I64Column,
    U8Column,
    U32Column,
)
from udprism.errors import WireError
from udprism.ledger.fates import NEW
from udprism.ledger.taps import Taps
from udprism.ledger.witness import CORRUPT, FateReport, Witness
from udprism.serving import commands
from udprism.serving.book import ClientColumns
from udprism.serving.clients import Mode, State
from udprism.serving.rules import round_trip_ns
from udprism.udp.asking import Asking
from udprism.wire import measured as wire
from udprism.wire.colours import decode_plain

_MOST_CORRUPT_WAITING = 65_536
"""Reports of damaged datagrams that wait for these to arrive; the oldest are forgotten."""


class Intake:
    """Accounts for batches, and for what the witness says. Pool thread only."""

    def __init__(
        self,
        columns: ClientColumns,
        taps: Taps,
        asking: Asking,
        drops: Counter[str],
        clock: Clock,
        rng: np.random.Generator,
        witness: Witness | None,
    ) -> None:
        self.table, self.ledger, self.history, _, self.latest, _ = columns
        self.taps = taps
        self.drops = drops
        self.datagrams = 0
        self._asking = asking
        self._rules = asking.rules
        self._clock = clock
        self._rng = rng
        self._witness = witness
        self._corrupt_slot: I32Column = np.zeros(0, np.int32)
        self._corrupt_sequence: I64Column = np.zeros(0, np.int64)
        self._client_of_server_slot = np.full(0 if witness is None else len(witness.session_id), -1, np.int32)
        self.ledger.ask_sender = self._issued_to

    def take(self, arrivals: Arrivals, now_ns: int) -> None:
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
        self._show(slot, arrivals, decoded.rgb, outcome.flags, now_ns)
        if self.taps.any:
            self.taps.feed(slot, outcome.extended, outcome.flags, decoded, arrivals, self.ledger.shared_clock)

    def _show(self, slot: I32Column, arrivals: Arrivals, rgb: U8Column, flags: U8Column, now_ns: int) -> None:
        self.latest.update(slot, rgb, arrivals.received_unix_ns, flags)
        self.datagrams += len(slot)
        table = self.table
        table.last_arrival_ns[slot] = now_ns
        if (table.state[slot] != State.LIVE).any():
            self._came_alive(slot, now_ns)

    def _came_alive(self, slot: I32Column, now_ns: int) -> None:
        table = self.table
        woken = self._rules.came_alive(np.unique(slot[table.state[slot] != State.LIVE]), now_ns)
        measured = woken[table.stream[woken] == Mode.MEASURED]
        self._set_report_timers(measured, now_ns)
        self._asking.answered(woken, now_ns)

    def _set_report_timers(self, slots: I32Column, now_ns: int) -> None:
        part = self._rng.random(len(slots)).tolist()
        for one, its_part in zip(slots.tolist(), part, strict=True):
            self.table.timer_ns[one] = self._asking.report_at_ns(self.table.clients[one], now_ns, its_part)

    def _adopt(self, slot: I32Column, session_id: U32Column, mine: BoolColumn, now_ns: int) -> BoolColumn:
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
            elif not self._may_adopt(one, new, now_ns):
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

    def _may_adopt(self, slot: int, session_id: int, now_ns: int) -> bool:
        """Our own server's word is enough; and where it is the one that was asked, nobody else's is.

        A link that damages headers damages session ids too.
        """
        if self.table.state[slot] in (State.PAUSED, State.FREE):
            return False
        if self._witness is not None and session_id in self._witness.slot_of_id:
            return True
        return self.table.clients[slot].falls_back and self._rules.may_adopt(slot, now_ns)

    def _begin_sessions(self, slot: I32Column, now_ns: int) -> None:
        """These clients have a new session each."""
        table = self.table
        had_another = slot[(table.state[slot] == State.LIVE) & (table.stream[slot] != Mode.MEASURED)]
        self._rules.begin_sessions(slot, now_ns)
        self._set_report_timers(had_another, now_ns)
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
            self.table.rtt_ns[slot] = round_trip_ns(received_unix_ns, datagram.report)
        elif isinstance(datagram, wire.Bye):
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
        kept = rows[known]
        if len(kept):
            part = Arrivals(
                arrivals.slot[kept], arrivals.received_unix_ns[kept], arrivals.length[kept], arrivals.rows[kept]
            )
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
            self._asking.prove(slot, now_ns)

    # -- what the witness says, and what is overdue

    def settle(self, read_ns: int | None) -> None:
        """Bring the ledger up to date with what the witness says and with what is overdue.

        read_ns: until when all that arrived has been read; None where something may still lie in a socket.
        """
        if self._witness is not None:
            self._hear_witness(self._witness)
        if read_ns is None:
            return
        hold_ns = 0
        if self._witness is not None:
            hold_ns = self._witness.hold_ns
            # A server that is behind still has what it should have let go: time stands still until it has.
            read_ns = min(read_ns, self._witness.next_release_ns)
        declared = self.ledger.expire(read_ns, self._asking.sockets.dropped, hold_ns)
        if len(declared.slot):
            self.history.mark_lost(declared.slot, declared.extended, declared.cause)

    def _hear_witness(self, witness: Witness) -> None:
        table = self.table
        reports = witness.take()  # before the sessions are looked up: a session is there before its first report
        self._foresee_sessions(witness)
        slots = np.flatnonzero(table.witnessed[: table.high]).astype(np.int32)
        if len(slots):
            server_slot = table.server_slot[slots]
            issued = witness.next_sequence[server_slot]
            still = witness.session_id[server_slot] == table.session_id[slots]
            self.ledger.set_sent(slots[still], issued[still])
            for slot in slots[~still].tolist():
                self._hear_end(slot, witness)
        if reports:
            report = FateReport(*(np.concatenate(column) for column in zip(*reports, strict=True)))
            slot = self._client_of_server_slot[report.session_slot]
            known = (slot >= 0) & (table.session_id[slot] == report.session_id)
            slot, sequence, cause = slot[known], report.sequence[known], report.cause[known]
            damaged = cause == CORRUPT
            self._corrupt_slot = np.concatenate((self._corrupt_slot, slot[damaged]))
            self._corrupt_sequence = np.concatenate((self._corrupt_sequence, sequence[damaged]))
            lost = self.ledger.report_unsent(slot[~damaged], sequence[~damaged], cause[~damaged])
            self.history.mark_lost(*lost)
        self._mark_corrupt()

    def _issued_to(self, slot: int) -> int:
        """How many numbers our own server has used for this client's session by now."""
        table, witness = self.table, self._witness
        at = table.server_slot[slot]
        if witness is None:
            return int(self.ledger.issued[slot])
        issued = int(witness.next_sequence[at])
        if witness.session_id[at] == table.session_id[slot]:
            return issued
        return witness.ended.get(int(table.session_id[slot]), int(self.ledger.issued[slot]))

    def _hear_end(self, slot: int, witness: Witness) -> None:
        """This client's session is over: no more numbers will be issued to it."""
        issued = witness.ended.get(int(self.table.session_id[slot]))
        if issued is not None:
            self.ledger.set_sent(np.array([slot], np.int32), np.array([issued]))
        self.table.witnessed[slot] = False

    def _foresee_sessions(self, witness: Witness) -> None:
        """Take up sessions that our own server has opened for clients that have heard nothing yet.

        What the link drops before the first arrival then has an account to go to.
        """
        table, high = self.table, self.table.high
        waiting = np.flatnonzero((table.session_id[:high] == 0) & (table.state[:high] == State.CONNECTING)).tolist()
        found: list[int] = []
        for slot in waiting:
            client = table.clients[slot]
            if client.falls_back or client.mode == Mode.PLAIN:
                continue  # not our own server's, or one that answers from elsewhere; or nothing that could be accounted
            server_slot = witness.slot_of_address.get(client.local)
            session_id = 0 if server_slot is None else int(witness.session_id[server_slot])
            if session_id:
                table.session_id[slot] = session_id
                found.append(slot)
        if found:
            self._begin_sessions(np.array(found, np.int32), self._clock.now_ns())

    def _mark_corrupt(self) -> None:
        slot, sequence = self._corrupt_slot, self._corrupt_sequence
        if len(slot):
            later = self.ledger.report_corrupt(slot, sequence)
            self.history.mark_corrupt(slot[~later], sequence[~later])
            self._corrupt_slot = slot[later][-_MOST_CORRUPT_WAITING:]
            self._corrupt_sequence = sequence[later][-_MOST_CORRUPT_WAITING:]
