"""What was lost and why: what the send log reports, and what is overdue.

Nothing is declared while datagrams arrive, only in `expire`: by then all reports have been read that the sender made
before it sent the datagrams that revealed the hole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from udprism.columns.runs import distinct, runs_of
from udprism.columns.types import NS_PER_S, BoolColumn, I32Column, I64Column, U8Column
from udprism.ledger.accounts import Accounts
from udprism.ledger.fates import Cause
from udprism.ledger.past import Past
from udprism.ledger.told import NOTHING_DECLARED, Declared, Told
from udprism.ledger.window import DAMAGED, HELD, HELD_DAMAGED, LOST, OPEN, RECEIVED, Overdue, cause_of

MAX_PENDING_REPORTS = 65_536

_LINK = int(Cause.LINK)
_RECEIVER = int(Cause.RECEIVER_KERNEL)
_UNEXPLAINED = int(Cause.UNEXPLAINED)
_UNKNOWN = int(Cause.UNKNOWN_PATH)
_AWAITING = int(Cause.AWAITING)
_WITHOUT_CAUSE = (Cause.UNEXPLAINED, Cause.PATH, Cause.AWAITING)


class Damaged(NamedTuple):
    """Numbers whose datagrams left corrupted. Both columns have one length."""

    slot: I32Column
    number: I64Column

    def part(self, which: BoolColumn | slice) -> Damaged:
        """A part of them."""
        return Damaged(self.slot[which], self.number[which])


NONE_DAMAGED = Damaged(np.zeros(0, np.int32), np.zeros(0, np.int64))


class Losses:
    """Turns holes into losses with causes. Pool thread only.

    loss_after_ns, loss_after_arrivals (in the window): when a hole is overdue.
    """

    def __init__(self, accounts: Accounts, loss_after_ns: int) -> None:
        capacity = len(accounts.highest)
        self.reports_forgotten = 0
        """Reports that found no room to wait in: their losses show as unexplained."""
        self.past = Past(accounts, loss_after_ns)
        self.told = Told(accounts, self.past)
        self._accounts = accounts
        self._window = accounts.window
        self._loss_after_ns = loss_after_ns
        self._room = np.zeros(capacity, np.int64)  # drops by the kernel that explain no loss yet, as of each `expire`
        self._aged = np.zeros(capacity, np.int64)  # numbers below it were issued so long ago that none can come still
        self._ageing = np.zeros(capacity, np.int64)  # numbers below it will be so at _aged_ns
        self._aged_ns = 0
        self._pending: dict[int, dict[int, int]] = {}
        self._pending_count = 0
        self._reported: list[tuple[int, int, int]] = []
        self._damaged = NONE_DAMAGED  # reported, and not here yet

    def reset(self, slots: I32Column) -> None:
        """New clients, with new sockets."""
        self._aged[slots] = self._ageing[slots] = 0
        for slot in slots.tolist():
            self._window.clear(slot)
            self._take_pending(slot)
            self._take_damaged(slot)
            self.past.forget(slot)

    def end_session(self, slot: int) -> None:
        """What the session leaves open may still come, or be reported; no number of it is issued that is not known."""
        accounts = self._accounts
        pending = self._take_pending(slot)
        highest = accounts.highest_at[slot]
        issued = (
            max(highest, accounts.issued_at[slot] - 1, *pending) + 1
            if pending
            else max(highest + 1, accounts.issued_at[slot])
        )
        self.told.end_session(slot)
        states = self._window.take(slot, highest) | dict.fromkeys(range(highest + 1, issued), OPEN)
        accounts.unsettled_at[slot] += sum(state < LOST for state in states.values())
        accounts.offset_at[slot] += issued
        accounts.highest_at[slot] = -1
        accounts.base_at[slot] = accounts.issued_at[slot] = 0
        self._aged[slot] = self._ageing[slot] = 0
        session_id = int(accounts.session[slot])
        self.past.add(slot, session_id, highest, issued, states)
        for number, cause in pending.items():
            if not self.past.report_unsent(session_id, number, cause):
                accounts.explain_unsettled(slot, cause)
        for number in self._take_damaged(slot):
            self.past.report_corrupt(session_id, number)

    def depart(self, slots: I32Column, receiver_drops: Callable[[I32Column], I64Column], hold_ns: int) -> None:
        """These clients, whose sessions have ended, are removed."""
        unsettled = slots[self._accounts.unsettled[slots] > self._accounts.open_past[slots]].astype(np.int64)
        self._room[unsettled] = self._accounts.unused_drops(unsettled, receiver_drops)
        self._settle(unsettled, hold_ns)
        for slot in slots.tolist():
            self.past.depart(slot)

    # -- what the send log reports

    def report_unsent(self, slot: I32Column, sequence: I64Column, cause: U8Column) -> Declared:
        """Datagrams that never left.

        Numbers beyond the next one wait for their turn, because what lies before them may still come. Returns which
        are lost now; the others are in the answer of a later call or of `expire`.
        """
        for one, number, why in zip(slot.tolist(), sequence.tolist(), cause.tolist(), strict=True):
            if not self._lose(one, number, why):
                self._keep_pending(one, number, why)
            elif one in self._pending:
                self._apply_pending(one)
        return self._take_reported()

    def _take_reported(self) -> Declared:
        if not self._reported:
            return NOTHING_DECLARED
        slot, number, cause = zip(*self._reported, strict=True)
        self._reported.clear()
        return Declared(np.array(slot, np.int32), np.array(number, np.int64), np.array(cause, np.uint8))

    def report_corrupt(self, slot: I32Column, sequence: I64Column) -> Damaged:
        """Datagrams that left corrupted. They count once they have arrived. Returns those reported so far that have."""
        every = Damaged(np.concatenate((self._damaged.slot, slot)), np.concatenate((self._damaged.number, sequence)))
        self.reports_forgotten += max(0, len(every.slot) - MAX_PENDING_REPORTS)
        return self._ask_damaged(every.part(slice(-MAX_PENDING_REPORTS, None)))

    @property
    def awaits_damaged(self) -> bool:
        """Whether any was reported that had not come."""
        return bool(len(self._damaged.slot))

    def _ask_damaged(self, damaged: Damaged) -> Damaged:
        pairs = zip(damaged.slot.tolist(), damaged.number.tolist(), strict=True)
        later = np.array([self._damage(*pair) for pair in pairs], np.bool_)
        self._damaged = damaged.part(later)
        return damaged.part(~later)

    def _take_damaged(self, slot: int) -> list[int]:
        mine = self._damaged.slot == slot
        if not mine.any():
            return []
        taken: list[int] = self._damaged.number[mine].tolist()
        self._damaged = self._damaged.part(~mine)
        return taken

    def _lose(self, slot: int, number: int, cause: int) -> bool:
        """Whether the report could be taken: its number is known, or the next one."""
        accounts, window = self._accounts, self._window
        highest = accounts.highest_at[slot]
        if number > highest + 1:
            return False
        if number < accounts.base_at[slot]:
            return True  # from before we joined
        if number <= highest - window.width:
            if self.told.takes(slot, number):
                accounts.explain_unsettled(slot, cause)
            return True
        if number > highest:
            accounts.unsettled_at[slot] += window.advance(slot, highest, number, 0, 0)
            accounts.highest_at[slot] = number
            old = OPEN
        else:
            old = window.state(slot, number)
        if old == RECEIVED:
            return True  # it came after all, so there is nothing to explain
        if old < LOST:
            accounts.lost_at[slot] += 1
        else:
            accounts.forget_cause(slot, old)
        window.put(slot, number, LOST | cause)
        accounts.by_cause_at[cause][slot] += 1
        self._reported.append((slot, number, cause))
        return True

    def _damage(self, slot: int, number: int) -> bool:
        """Whether to ask again later."""
        accounts, window = self._accounts, self._window
        highest = accounts.highest_at[slot]
        if number > highest:
            return True
        state = window.state(slot, number) if number > highest - window.width else RECEIVED
        if state == RECEIVED:
            accounts.corrupt[slot] += 1
        elif state < LOST:
            window.put(slot, number, DAMAGED)
        elif state == HELD:
            window.put(slot, number, HELD_DAMAGED)
        elif cause_of(state) in _WITHOUT_CAUSE:
            self._lose(slot, number, _LINK)
        return RECEIVED < state < LOST

    def _keep_pending(self, slot: int, number: int, cause: int) -> None:
        if self._pending_count >= MAX_PENDING_REPORTS:
            self.reports_forgotten += 1
            return
        waiting = self._pending.setdefault(slot, {})
        self._pending_count += number not in waiting
        waiting[number] = cause

    def _apply_pending(self, slot: int) -> None:
        waiting = self._pending[slot]
        for number in sorted(waiting):
            if not self._lose(slot, number, waiting[number]):
                break
            del waiting[number]
            self._pending_count -= 1
        if not waiting:
            del self._pending[slot]

    def _take_pending(self, slot: int) -> dict[int, int]:
        pending = self._pending.pop(slot, {})
        self._pending_count -= len(pending)
        return pending

    # -- what is overdue

    def expire(self, now_ns: int, receiver_drops: Callable[[I32Column], I64Column], hold_ns: int) -> Declared:
        """Declare lost what is overdue; cheap if nothing is. Returns what is lost now, or has another cause.

        receiver_drops: cumulative drops by the kernel of these clients' sockets, int64[k]; asked only where something
        is overdue. hold_ns: for how long a link model in this process may still hold a datagram back. A hole that the
        link may still hold counts as LINK until it arrives (late) or can no longer arrive.
        """
        self._age(now_ns, hold_ns)
        if self._open_tails(now_ns) and len(self._damaged.slot):
            self._ask_damaged(self._damaged)  # of a damaged datagram nothing may come that could be recognised
        self.past.expire(now_ns, receiver_drops, hold_ns)
        # Only now: what is reported of a tail must not take the kernel's drops for its own.
        for slot in list(self._pending):
            self._apply_pending(slot)
        reported = self._take_reported()
        declared = self._declare_overdue(now_ns, receiver_drops, hold_ns)
        if not len(reported.slot):
            return declared
        return Declared(
            np.concatenate((reported.slot, declared.slot)),
            np.concatenate((reported.extended, declared.extended)),
            np.concatenate((reported.cause, declared.cause)),
        )

    def _declare_overdue(self, now_ns: int, receiver_drops: Callable[[I32Column], I64Column], hold_ns: int) -> Declared:
        accounts, window = self._accounts, self._window
        used = slice(0, accounts.high)
        busy = np.flatnonzero(window.holes[used] + window.held[used] + accounts.unsettled[used])
        if not len(busy):
            return NOTHING_DECLARED
        unsettled = busy[accounts.unsettled[busy] > accounts.open_past[busy]]
        overdue = window.overdue(busy, accounts.highest[busy], accounts.received_of(busy), now_ns)
        if not len(overdue.slot) and not len(unsettled):
            return NOTHING_DECLARED
        losing = distinct(np.concatenate((overdue.slot, unsettled)))
        self._room[losing] = accounts.unused_drops(losing, receiver_drops)
        self._settle(unsettled, hold_ns)
        if not len(overdue.slot):
            return NOTHING_DECLARED
        return self._declare(overdue, now_ns, hold_ns)

    def _age(self, now_ns: int, hold_ns: int) -> None:
        """Move the mark below which no number can arrive any more: the link has released all issued before."""
        if now_ns < self._aged_ns:
            return
        used = slice(0, self._accounts.high)
        self._aged[used] = self._ageing[used]
        self._ageing[used] = np.where(self._accounts.told[used], self.told.word[used], self._accounts.issued[used])
        self._aged_ns = now_ns + self._loss_after_ns + hold_ns

    def _open_tails(self, now_ns: int) -> bool:
        """Make overdue holes of numbers that can come no more and after which nothing came; whether there were any."""
        accounts = self._accounts
        used = slice(0, accounts.high)
        slots = np.flatnonzero(self._aged[used] > accounts.highest[used] + 1).tolist()
        for slot in slots:
            highest, last = accounts.highest_at[slot], int(self._aged[slot]) - 1
            accounts.unsettled_at[slot] += self._window.advance_missing(slot, highest, last, now_ns - NS_PER_S)
            accounts.highest_at[slot] = last
        return bool(slots)

    def _settle(self, slots: I64Column, hold_ns: int) -> None:
        """Declare what left the window undeclared: only how many these are is known, not which."""
        accounts = self._accounts
        count = accounts.unsettled[slots] - accounts.open_past[slots]
        told = accounts.told[slots]
        dropped = np.where(told, 0, np.minimum(count, self._room[slots]))  # the sender's node has the first word
        self._room[slots] -= dropped
        accounts.drops_used[slots] += dropped
        accounts.lost_by_cause[_RECEIVER, slots] += dropped
        elsewhere = np.where(told, _AWAITING, _UNKNOWN)
        rest = np.where(accounts.in_process[slots], _LINK if hold_ns else _UNEXPLAINED, elsewhere)
        accounts.lost_by_cause[rest, slots] += count - dropped
        accounts.lost[slots] += count
        accounts.unsettled[slots] -= count

    def _declare(self, overdue: Overdue, now_ns: int, hold_ns: int) -> Declared:
        """Give overdue numbers their causes.

        As many of a client's as its kernel dropped get that cause: the oldest first, corrupted ones last.
        """
        accounts, slot, was_open = self._accounts, overdue.slot, overdue.was_open
        in_process = accounts.in_process[slot]
        cause = np.where(in_process, _UNEXPLAINED, self.told.causes(slot, overdue.number))
        damaged = (overdue.state == DAMAGED) | (overdue.state == HELD_DAMAGED)
        cause[damaged] = _LINK  # it came, but as nothing that could be recognised
        rank = np.empty(len(slot), np.int64)
        rank[np.lexsort((damaged, slot))] = runs_of(slot).rank()
        dropped = (rank < self._room[slot]) & (cause != _AWAITING)
        cause[dropped] = _RECEIVER
        state = cause | LOST
        # a damaged number can make holes of what is not even sent yet
        may_come = in_process & ~dropped & (accounts.issued[slot] > 0) & (overdue.number >= self._aged[slot])
        cause[may_come] = _LINK
        state[may_come] = np.where(damaged[may_come], HELD_DAMAGED, HELD)
        self._window.declare(overdue, state.astype(np.uint8), now_ns + hold_ns + self._loss_after_ns)
        np.add.at(accounts.lost, slot[was_open], 1)
        np.subtract.at(accounts.lost_by_cause[_LINK], slot[~was_open], 1)
        np.add.at(accounts.lost_by_cause, (cause, slot), 1)
        np.add.at(accounts.drops_used, slot[dropped], 1)
        return Declared(slot.astype(np.int32), overdue.number, cause.astype(np.uint8))
