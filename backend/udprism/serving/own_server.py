"""Hosted clients of the server in this process: its send log's reports go into their ledger."""

from __future__ import annotations

import numpy as np

from udprism.columns.types import I32Column, I64Column, U32Column
from udprism.ledger.losses import NONE_DAMAGED, Damaged
from udprism.ledger.send_log import CORRUPT, FateReport, SendLog
from udprism.serving.book import ClientColumns
from udprism.serving.clients import Mode, State

_ASKS = ~np.isin(np.arange(len(State)), (State.FREE, State.PAUSED))
"""By state: whether a session may have begun of which nothing has reached the client."""


class OwnServer:
    """Pool thread only. The ledger's sessions, not the clients', are spoken of: it still counts what they have left."""

    def __init__(self, columns: ClientColumns, send_log: SendLog) -> None:
        self._table, self._ledger, self._history = columns.table, columns.ledger, columns.history
        self._send_log = send_log
        self._client_of_server_slot = np.full(len(send_log.session_id), -1, np.int32)
        self._displaced: dict[int, int] = {}
        """Clients by session id, where another client's session has the server's slot now."""
        self._server_slot = np.zeros(self._table.max_clients, np.int32)
        self._served = np.zeros(self._table.max_clients, np.bool_)
        """Whose numbers are still being issued."""
        self._damaged = NONE_DAMAGED
        self._ledger.ask_sender = self._issued_to

    @property
    def hold_ns(self) -> int:
        """For how long the link may hold a datagram back."""
        return self._send_log.hold_ns

    @property
    def left_until_ns(self) -> int:
        """All that the link held back until then has left: a server that is behind still has it. To be read before
        `take_reports`, which then has all that was to be said until then."""
        return self._send_log.next_release_ns

    # -- sessions

    def serves(self, slot: int, session_id: int) -> bool:
        """Whether the server has this session, and with this client: a damaged id may be another client's."""
        send_log = self._send_log
        server_slot = send_log.slot_of_id.get(session_id)
        return server_slot is not None and send_log.slot_of_address.get(self._table.clients[slot].local) == server_slot

    def find(self, slots: I32Column, session_id: U32Column) -> I32Column:
        """int32[n]: where the server has these clients' sessions, -1 for those that are not its own."""
        pairs = zip(slots.tolist(), session_id.tolist(), strict=True)
        where = [self._send_log.slot_of_id.get(one, -1) if self.serves(slot, one) else -1 for slot, one in pairs]
        return np.array(where, np.int32)

    def begun(self, slots: I32Column, server_slot: I32Column) -> None:
        """The ledger has begun a session for each of these; server_slot: as found before."""
        self._served[slots] = server_slot >= 0
        self._server_slot[slots] = server_slot
        ours = server_slot >= 0
        for slot, at in zip(slots[ours].tolist(), server_slot[ours].tolist(), strict=True):
            before = int(self._client_of_server_slot[at])
            if before >= 0:
                self._displaced[int(self._ledger.session[before])] = before
            self._client_of_server_slot[at] = slot

    def forget(self, slots: I32Column) -> None:
        """These clients are removed."""
        self._served[slots] = False

    def unheard(self) -> tuple[I32Column, U32Column]:
        """Clients whose server session is open while nothing of it has reached them yet, and these sessions.

        What the link drops before the first arrival then has an account to go to.
        """
        table, send_log = self._table, self._send_log
        used = slice(0, table.high)
        waits = _ASKS[table.state[used]] & ((table.session_id[used] == 0) | ~self._served[used])
        found: list[tuple[int, int]] = []
        for slot in np.flatnonzero(waits).tolist():
            client = table.clients[slot]
            if client.falls_back or client.mode == Mode.PLAIN:
                continue  # not our own server's, or one that answers from elsewhere; or nothing that could be accounted
            server_slot = send_log.slot_of_address.get(client.local)
            session_id = 0 if server_slot is None else int(send_log.session_id[server_slot])
            if session_id and session_id != table.session_id[slot] and self.serves(slot, session_id):
                found.append((slot, session_id))
        slots, ids = zip(*found, strict=True) if found else ((), ())
        return np.array(slots, np.int32), np.array(ids, np.uint32)

    # -- the send log's reports

    def take_reports(self) -> list[FateReport]:
        """To be taken before `hear_issued` and `unheard`: every session was there before its first report."""
        return self._send_log.take()

    def hear_issued(self) -> None:
        """Take into the ledger how many numbers were issued, and which sessions are over."""
        ledger, send_log = self._ledger, self._send_log
        slots = np.flatnonzero(self._served[: self._table.high]).astype(np.int32)
        if len(slots):
            server_slot = self._server_slot[slots]
            issued = send_log.next_sequence[server_slot]
            still = send_log.session_id[server_slot] == ledger.session[slots]
            ledger.set_sent(slots[still], issued[still])
            for slot in slots[~still].tolist():
                self._hear_end(slot)
        for session_id in ledger.past.in_process():
            self._hear_past(session_id)

    def hear_fates(self, reports: list[FateReport]) -> None:
        """Take into ledger and history what became of those that did not leave as they were made."""
        if reports:
            self._hear_fates(FateReport(*(np.concatenate(column) for column in zip(*reports, strict=True))))
        if len(self._damaged.slot) or self._ledger.awaits_damaged:
            self._history.mark_corrupt(*self._ledger.report_corrupt(*self._damaged))
            self._damaged = NONE_DAMAGED

    def _issued_to(self, slots: I64Column) -> I64Column:
        """int64[n]: how many numbers the server has used for the ledger's sessions of these clients by now."""
        ledger, send_log = self._ledger, self._send_log
        at = self._server_slot[slots]
        issued = send_log.next_sequence[at]  # first: afterwards the row may belong to another session
        over = (send_log.session_id[at] != ledger.session[slots]) | (at < 0)
        for row in np.flatnonzero(over).tolist():
            slot = int(slots[row])
            issued[row] = send_log.ended.get(int(ledger.session[slot]), int(ledger.issued[slot]))
        return issued

    def _hear_end(self, slot: int) -> None:
        """The session is over: no more numbers will be issued to it."""
        slots = np.array([slot], np.int64)
        self._ledger.set_sent(slots.astype(np.int32), self._issued_to(slots))
        self._served[slot] = False

    def _hear_past(self, session_id: int) -> None:
        send_log, past = self._send_log, self._ledger.past
        server_slot = send_log.slot_of_id.get(session_id)
        if server_slot is None:
            past.set_issued(session_id, send_log.ended.get(session_id, 0), over=True)
            return
        issued = int(send_log.next_sequence[server_slot])
        if send_log.session_id[server_slot] == session_id:
            past.set_issued(session_id, issued, over=False)

    def _hear_fates(self, report: FateReport) -> None:
        slot = self._client_of_server_slot[report.session_slot]
        current = (slot >= 0) & (self._ledger.session[slot] == report.session_id)
        if self._displaced:
            self._displaced = {one: at for one, at in self._displaced.items() if self._ledger.session[at] == one}
            for row in np.flatnonzero(~current).tolist():
                slot[row] = self._displaced.get(int(report.session_id[row]), -1)
                current[row] = slot[row] >= 0
        if current.all():
            self._hear_current(slot, report)
            return
        self._hear_current(slot[current], FateReport(*(column[current] for column in report)))
        if len(self._ledger.past):
            self._hear_of_past(FateReport(*(column[~current] for column in report)))

    def _hear_current(self, slot: I32Column, report: FateReport) -> None:
        damaged = report.cause == CORRUPT
        lost = self._ledger.report_unsent(slot[~damaged], report.sequence[~damaged], report.cause[~damaged])
        self._history.mark_lost(*lost)
        self._damaged = Damaged(slot[damaged], report.sequence[damaged])

    def _hear_of_past(self, report: FateReport) -> None:
        past = self._ledger.past
        rows = zip(report.session_id.tolist(), report.sequence.tolist(), report.cause.tolist(), strict=True)
        for session_id, number, cause in rows:
            if cause == CORRUPT:
                past.report_corrupt(session_id, number)
            else:
                past.report_unsent(session_id, number, cause)
