"""The fate of every datagram, by client. The sums close at every step.

A batch in which every datagram is its client's next one costs a dozen NumPy calls. Everything else goes through
`_take`, one datagram at a time: that method is the definition of what counts as what.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from udprism.columns.runs import Runs, runs_of
from udprism.columns.types import BoolColumn, I32Column, I64Column, U8Column, U32Column
from udprism.ledger.accounts import Accounts
from udprism.ledger.fates import BEYOND, DUPLICATE, LATE, NEW, REORDERED
from udprism.ledger.losses import Damaged, Losses
from udprism.ledger.numbers import distance, extend
from udprism.ledger.told import Declared
from udprism.ledger.window import LOST, RECEIVED, Window, tick_of

_FEW = 8
"""Up to so many datagrams out of order are quicker one by one; and up to so many missing ones go by column."""
_SUSPECT = 1 << 20
"""Added to a client's exceptions while a far number waits to be confirmed: its next datagram must be looked at."""


class BatchResult(NamedTuple):
    """The ledger's judgement of a batch's rows. extended: int64[n]. flags: uint8[n], NEW … BEYOND; read only."""

    extended: I64Column
    flags: U8Column


class Ledger(Accounts):
    """Takes arrivals, sessions and reports into the accounts. Pool thread only.

    window: how far behind the highest number a datagram may be and still be told from a duplicate; a power of two.
    loss_after_ns, loss_after_arrivals: when a hole counts as lost, as soon as `expire` is called.
    """

    def __init__(self, capacity: int, *, window: int = 256, loss_after_ns: int, loss_after_arrivals: int) -> None:
        super().__init__(capacity, Window(capacity + 1, window, loss_after_arrivals))
        self._losses = Losses(self, loss_after_ns)
        self.past, self.of_told = self._losses.past, self._losses.told
        """Earlier sessions of which not everything is known yet; and those of which their sender's node tells."""
        self._loss_after_ns = loss_after_ns
        self.ask_sender: Callable[[I64Column], I64Column] | None = None
        """How many numbers a sender in our own process has issued to these slots' sessions by now; None to believe
        what comes."""
        self._suspect = np.zeros(capacity, np.int64)  # a far number's sequence + 1; 0 none
        self._suspect_at = self._suspect.data
        self._row_of = np.zeros(capacity, np.int32)
        self._rows = np.arange(4096, dtype=np.int32)
        self._all_new = np.ones(4096, np.uint8)

    @property
    def nbytes_a_client(self) -> int:
        """Bytes that a client takes here once all its columns are in use."""
        return self.window.nbytes_a_client + self.delays.nbytes_a_client + 31 * 8

    @property
    def reports_forgotten(self) -> int:
        """Reports, and numbers of earlier sessions, that found no room to wait in: their losses show as unexplained."""
        return self._losses.reports_forgotten + self.past.forgotten

    # -- clients and sessions

    def reset(self, slots: I32Column) -> None:
        """New clients in these slots: everything zero."""
        self._losses.reset(slots)
        self._suspect[slots] = 0
        self.clear(slots)

    def depart(self, slots: I32Column, receiver_drops: Callable[[I32Column], I64Column], hold_ns: int) -> None:
        """These clients are removed; arguments as of `expire`. Their sums go on in the `departed` row."""
        self._end_sessions(slots)
        self._losses.depart(slots, receiver_drops, hold_ns)
        self.add_to_departed(slots)
        self.reset(slots)

    def begin_session(
        self, slots: I32Column, in_process: BoolColumn, shared_clock: BoolColumn, session_id: U32Column | int = 0
    ) -> None:
        """Numbers restart at 0, totals go on. What the earlier session left open counts as it comes, see `past`; if its
        id was 0, it is lost at the next `expire`."""
        self.high = max(self.high, int(slots.max(initial=-1)) + 1)
        self._end_sessions(slots)
        self._suspect[slots] = 0
        self.session[slots] = session_id
        self.delays.restart(slots)
        self.in_process[slots] = in_process
        self.told[slots] = False
        self.shared_clock[slots] = shared_clock
        self.measured[slots] = True
        self.mark_report(slots)

    def _end_sessions(self, slots: I32Column) -> None:
        self._learn_issued(slots.astype(np.int64))
        for slot in slots.tolist():
            self._losses.end_session(slot)

    def _learn_issued(self, slots: I64Column) -> None:
        """Ask the sender in our own process, if there is one; slots: each any number of times."""
        if self.ask_sender is not None:
            slots = slots[self.in_process[slots]]
            self.issued[slots] = np.maximum(self.issued[slots], self.ask_sender(slots))

    # -- arrivals

    def update(
        self, slot: I32Column, sequence: U32Column, sent_at_unix_ns: I64Column, received_unix_ns: I64Column, now_ns: int
    ) -> BatchResult:
        """Account for one batch, in order of arrival; a client may come several times."""
        count = len(slot)
        if count > len(self._rows):
            self._rows = np.arange(count, dtype=np.int32)
            self._all_new = np.ones(count, np.uint8)
        rows = self._rows[:count]
        clients = slot.astype(np.int64)
        extended = self.highest.take(clients) + 1
        self._row_of[clients] = rows
        once = bool((self._row_of.take(clients) == rows).all())  # no client comes twice
        if once and (extended.astype(np.uint32) == sequence).all() and not self.window.exceptions.take(clients).any():
            self.highest[clients] = extended
            flags = self._all_new[:count]
            self.delays.append(clients, received_unix_ns - sent_at_unix_ns, flags)
            return BatchResult(extended, flags)
        if once:
            extended, flags = self._update_by_client(clients, sequence, None, now_ns)
        else:
            order = np.argsort(clients, kind="stable")
            by_client = clients[order]
            extended, flags = np.empty(count, np.int64), np.empty(count, np.uint8)
            extended[order], flags[order] = self._update_by_client(
                by_client, sequence[order], runs_of(by_client), now_ns
            )
        known = flags != BEYOND
        if known.all():
            self.delays.append(clients, received_unix_ns - sent_at_unix_ns, (flags & NEW) != 0)
        else:
            self.delays.append(
                clients[known], received_unix_ns[known] - sent_at_unix_ns[known], (flags[known] & NEW) != 0
            )
        return BatchResult(extended, flags)

    def _update_by_client(
        self, slot: I64Column, sequence: U32Column, runs: Runs | None, now_ns: int
    ) -> tuple[I64Column, U8Column]:
        """Those clients whose datagrams are all next in order go by column, the others one by one.

        slot: each client's rows together, in order of arrival. runs: of it; None if no client comes twice.
        """
        highest = self.highest[slot]
        extended = highest + 1
        if runs is not None:
            rank = runs.rank()
            extended += rank
        easy = extended.astype(np.uint32) == sequence
        exceptions = self.window.exceptions[slot]
        excepted = exceptions.any()
        if excepted:
            states = self.window.states(slot, extended)
            states[exceptions == 0] = RECEIVED
            easy &= ((states == RECEIVED) | (states >= LOST)) & (exceptions < _SUSPECT)
            if runs is not None:
                # a run longer than the window would meet its own places again
                easy &= (rank < self.window.width) | (exceptions == 0)
        if runs is not None:
            easy = np.repeat(np.logical_and.reduceat(easy, runs.starts), runs.lengths)
        if excepted:
            gone = np.flatnonzero(easy & (states != RECEIVED))
            if len(gone):
                self.window.forget_lost(slot[gone], extended[gone], states[gone])
        # ascending within a client, and of several writes to one place the last one stays
        self.highest[slot[easy]] = extended[easy]
        flags = easy.astype(np.uint8)  # True is NEW
        hard = np.flatnonzero(~easy)
        if len(hard) and self.ask_sender is not None:
            self._learn_issued(slot[hard])
        if len(hard) > _FEW:
            alone = exceptions[hard] < _SUSPECT
            if runs is not None:
                alone &= np.repeat(runs.lengths, runs.lengths)[hard] == 1
            single = hard[alone]
            skipped = self._skip(slot[single], highest[single], sequence[single], now_ns)
            single, skipped = single[skipped > 0], skipped[skipped > 0]
            extended[single] = highest[single] + skipped
            flags[single] = NEW
            hard = hard[flags[hard] == 0]
        if len(hard):
            due_tick = tick_of(now_ns + self._loss_after_ns)
            pairs = zip(slot[hard].tolist(), sequence[hard].tolist(), strict=True)
            taken = [self._take(one, number, due_tick) for one, number in pairs]
            extended[hard], flags[hard] = zip(*taken, strict=True)
        return extended, flags

    def _skip(self, slot: I64Column, highest: I64Column, sequence: U32Column, now_ns: int) -> I64Column:
        """The commonest thing but one, some datagrams missing before this one, for clients that come once.

        Returns how far their highest number moved, 0 if it did not: those are for `_take`.
        """
        ahead = (sequence - highest.astype(np.uint32)).view(np.int32).astype(np.int64)
        moved = np.zeros(len(slot), np.int64)
        short = np.flatnonzero((ahead > 0) & (ahead <= _FEW))
        if self.ask_sender is not None:
            short = short[self._were_sent(slot[short], highest[short] + ahead[short])]
        if len(short):
            clients = slot[short]
            due_tick = tick_of(now_ns + self._loss_after_ns)
            done = short[self.window.skip(clients, highest[short], ahead[short], due_tick, self.received_of(clients))]
            moved[done] = ahead[done]
            self.highest[slot[done]] = highest[done] + ahead[done]
        return moved

    def _take(self, slot: int, sequence: int, due_tick: int) -> tuple[int, int]:
        """One arrival: its number, extended, and its flags."""
        width = self.window.width
        if self.highest_at[slot] < 0 and sequence > width and not self.in_process_at[slot]:
            self._join(slot, sequence)
        highest = self.highest_at[slot]
        extended = extend(sequence, highest)
        ahead = extended - highest
        if self.in_process_at[slot]:
            if ahead <= -width or (ahead > 1 and not self._was_sent(slot, extended)):
                self.beyond_window[slot] += 1
                return extended, BEYOND
        elif not -width < ahead <= width:
            return self._take_far(slot, sequence, extended, due_tick)
        if extended < self.base_at[slot]:
            self.beyond_window[slot] += 1
            return extended, BEYOND
        if self._suspect_at[slot]:
            self._set_suspect(slot, 0)
        if ahead > 0:
            self._advance(slot, highest, extended, due_tick)
            return extended, NEW
        return extended, self._take_behind(slot, extended, highest)

    def _was_sent(self, slot: int, extended: int) -> bool:
        """Whether a sender in our own process has sent this number: the link may have damaged it on its way."""
        return self.ask_sender is None or extended < self.issued_at[slot]

    def _were_sent(self, slot: I64Column, extended: I64Column) -> BoolColumn:
        """As `_was_sent`, bool[n]; True as well if the sender is elsewhere."""
        sent: BoolColumn = (extended < self.issued[slot]) | ~self.in_process[slot]
        return sent

    def _join(self, slot: int, sequence: int) -> None:
        """The first datagram that arrives in a session is far from its beginning: count from there."""
        self.base_at[slot] = sequence
        self.offset_at[slot] -= sequence
        self.highest_at[slot] = sequence - 1

    def _advance(self, slot: int, highest: int, extended: int, due_tick: int) -> None:
        known = self.plain_at[slot] + self.offset_at[slot] + highest + 1
        arrivals = known - self.lost_at[slot] - self.window.holes_of(slot) - self.unsettled_at[slot]
        self.unsettled_at[slot] += self.window.advance(slot, highest, extended, due_tick, arrivals)
        self.highest_at[slot] = extended

    def _take_behind(self, slot: int, extended: int, highest: int) -> int:
        old = self.window.state(slot, extended)
        if old == RECEIVED:
            self.duplicates[slot] += 1
            return DUPLICATE
        flags = NEW
        if self.window.received_above(slot, extended, highest):
            self.reordered[slot] += 1
            flags |= REORDERED
        self.window.put(slot, extended, RECEIVED)
        if old >= LOST:
            self.lost_at[slot] -= 1
            self.forget_cause(slot, old)
            self.late[slot] += 1
            flags |= LATE
        return flags

    def _take_far(self, slot: int, sequence: int, extended: int, due_tick: int) -> tuple[int, int]:
        """A number more than a window away is believed when one shortly after it is the next to come.

        RFC 3550 appendix A.1 does so: one forged number must not move the highest by a million. Ahead of it, the gap
        is lost; behind it, the sender has restarted its numbers.
        """
        highest = self.highest_at[slot]
        suspect = self._suspect_at[slot] - 1
        if suspect >= 0 and 0 < distance(sequence, suspect) <= self.window.width // 2:
            number = extend(suspect, highest)
            self._set_suspect(slot, 0)
            self.jumps[slot] += 1
            self.beyond_window[slot] -= 1
            if number > highest:
                self._advance(slot, highest, number, due_tick)
            else:
                self._number_anew(slot, highest, suspect)
            return self._take(slot, sequence, due_tick)
        self._set_suspect(slot, sequence + 1)
        self.beyond_window[slot] += 1
        return extended, BEYOND

    def _number_anew(self, slot: int, highest: int, number: int) -> None:
        """`number` is received, and the first of a new count."""
        self.unsettled_at[slot] += self.window.clear(slot)
        self.offset_at[slot] += highest + 1 - number
        self.base_at[slot] = self.highest_at[slot] = number

    def _set_suspect(self, slot: int, suspect: int) -> None:
        was = self._suspect_at[slot]
        self.window.exceptions[slot] += ((suspect > 0) - (was > 0)) * _SUSPECT
        self._suspect_at[slot] = suspect

    def update_plain(self, slot: I32Column, received_unix_ns: I64Column) -> I64Column:
        """Datagrams without numbers: int64[n], each one's index within its client, from 0."""
        count = len(slot)
        order = np.argsort(slot, kind="stable")
        slots = slot[order]
        number = np.empty(count, np.int64)
        number[order] = self.plain[slots] + runs_of(slots).rank()
        np.add.at(self.plain, slot, 1)
        return number

    # -- what the sender tells, and what is overdue

    def set_sent(self, slots: I32Column, next_sequence: I64Column) -> None:
        """How many numbers these clients' sessions were issued so far, if the sender is in this process."""
        self.issued[slots] = np.maximum(self.issued[slots], next_sequence)

    def report_unsent(self, slot: I32Column, sequence: I64Column, cause: U8Column) -> Declared:
        """Datagrams that never left, by extended number, and why; see `Losses.report_unsent`."""
        return self._losses.report_unsent(slot, sequence, cause)

    def report_corrupt(self, slot: I32Column, sequence: I64Column) -> Damaged:
        """Datagrams that left corrupted; see `Losses.report_corrupt`."""
        return self._losses.report_corrupt(slot, sequence)

    @property
    def awaits_damaged(self) -> bool:
        """Whether damaged datagrams were reported that had not come; `report_corrupt` looks again."""
        return self._losses.awaits_damaged

    def expire(self, now_ns: int, receiver_drops: Callable[[I32Column], I64Column], hold_ns: int) -> Declared:
        """Declare lost what is overdue; see `Losses.expire`."""
        return self._losses.expire(now_ns, receiver_drops, hold_ns)
