"""Sessions that are over while some of their numbers are still on their way, or still to be reported.

A client goes on with its next session at once. What then arrives of the earlier one, and what its sender says of it,
still counts where it belongs. Sessions end rarely, so these are objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from udprism.columns.types import NEVER_NS, I32Column, I64Column
from udprism.ledger.accounts import Accounts
from udprism.ledger.fates import BEYOND, DUPLICATE, LATE, NEW, Cause
from udprism.ledger.numbers import extend
from udprism.ledger.window import AWAITS, DAMAGED, HELD, HELD_DAMAGED, LOST, OPEN, cause_of

MAX_NUMBERS = 262_144
"""Numbers of all sessions that are over; what finds no room is declared lost at the next `expire`, and counted."""


@dataclass(slots=True)
class _Session:
    slot: int
    session_id: int
    in_process: bool
    highest: int
    """The highest number that had arrived."""
    issued: int
    states: dict[int, int]
    """By number, as in the window: those that are not simply received."""
    over: bool
    """Whether no more numbers will be issued or reported."""
    told: bool = False
    """Whether the sender's node reports what it did not send."""
    due_ns: int = NEVER_NS


class Past:
    """Pool thread only. Numbers that may still come are `unsettled` in the accounts, and counted in `open_past`."""

    def __init__(self, accounts: Accounts, loss_after_ns: int) -> None:
        self.forgotten = 0
        """Numbers that found no room here."""
        self._accounts = accounts
        self._loss_after_ns = loss_after_ns
        self._of_slot: dict[int, list[_Session]] = {}
        self._in_process: dict[int, _Session] = {}
        self._told: dict[int, _Session] = {}
        """Both by session id."""
        self._numbers = 0

    def __len__(self) -> int:
        """How many sessions of a sender in this process are kept."""
        return len(self._in_process)

    def add(self, slot: int, session_id: int, highest: int, issued: int, states: dict[int, int]) -> None:
        """A session is over at its client. Numbers below LOST in `states` are counted as unsettled already."""
        accounts = self._accounts
        in_process, told = bool(accounts.in_process[slot]), bool(accounts.told[slot])
        if session_id == 0 or not (states or in_process):
            return
        if self._numbers + len(states) > MAX_NUMBERS:
            self.forgotten += sum(state < LOST for state in states.values())
            return
        again = self._find(slot, session_id)
        if again is not None:  # a stranger's session that came, went and came again
            self._close(again, 0)
            self._of_slot[slot].remove(again)
        over = not (in_process or told)
        session = _Session(slot, session_id, in_process, highest, issued, states, over, told)
        self._of_slot.setdefault(slot, []).append(session)
        if in_process:
            self._in_process[session_id] = session
        elif told:
            self._told[session_id] = session
        self._numbers += len(states)
        accounts.open_past[slot] += sum(state < LOST for state in states.values())

    def forget(self, slot: int) -> None:
        """A new client in this slot: its accounts start from zero."""
        for session in self._of_slot.pop(slot, ()):
            self._drop(session)

    def depart(self, slot: int) -> None:
        """The client is removed: what is open goes to the account of all who are gone."""
        gone = self._of_slot.pop(slot, ())
        for session in gone:
            session.slot = self._accounts.departed
        if gone:
            self._of_slot.setdefault(self._accounts.departed, []).extend(gone)

    def _find(self, slot: int, session_id: int) -> _Session | None:
        return next((one for one in self._of_slot.get(slot, ()) if one.session_id == session_id), None)

    # -- what arrives, and what the sender says

    def take(self, slot: int, session_id: int, sequence: int) -> int | None:
        """One arrival's flags; None if no such session is known."""
        session = self._find(slot, session_id)
        if session is None:
            return None
        accounts, width = self._accounts, self._accounts.window.width
        number = extend(sequence, session.issued - 1)
        if not session.in_process and session.issued <= number < session.issued + width:
            self._issue(session, number + 1)
        state = session.states.pop(number, None)
        if state is None:
            if not session.highest - width < number < session.issued:
                accounts.beyond_window[slot] += 1
                return BEYOND
            accounts.duplicates[slot] += 1
            return DUPLICATE
        self._numbers -= 1
        accounts.corrupt[slot] += state in (DAMAGED, HELD_DAMAGED)
        if state < LOST:
            accounts.unsettled[slot] -= 1
            accounts.open_past[slot] -= 1
            return NEW
        accounts.lost[slot] -= 1
        accounts.forget_cause(slot, state)
        accounts.late[slot] += 1
        return NEW | LATE

    def in_process(self) -> Iterator[int]:
        """The ids of sessions of a sender in this process."""
        return iter(list(self._in_process))

    def set_issued(self, session_id: int, issued: int, *, over: bool) -> None:
        """How many numbers a session was issued, if its sender is in this process; over: and will ever be."""
        session = self._in_process[session_id]
        self._issue(session, issued)
        session.over = session.over or over

    def _issue(self, session: _Session, issued: int) -> None:
        more = issued - session.issued
        if more <= 0:
            return
        accounts = self._accounts
        accounts.offset[session.slot] += more
        accounts.unsettled[session.slot] += more
        if self._numbers + more > MAX_NUMBERS:
            self.forgotten += more
        else:
            session.states.update(dict.fromkeys(range(session.issued, issued), OPEN))
            accounts.open_past[session.slot] += more
            self._numbers += more
        session.issued = issued

    def report_unsent(self, session_id: int, number: int, cause: int) -> bool:
        """A number of a sender in this process that never left; False if no such session is known."""
        session = self._in_process.get(session_id)
        if session is None:
            return False
        self._issue(session, number + 1)
        state = session.states.get(number)
        if state is not None:
            self._lose(session, number, state, cause)
        elif number <= session.highest - self._accounts.window.width:
            self._accounts.explain_unsettled(session.slot, cause)
        return True

    def report_corrupt(self, session_id: int, number: int) -> bool:
        """A number that left corrupted; False if no such session is known."""
        session = self._in_process.get(session_id)
        if session is None:
            return False
        self._issue(session, number + 1)
        state = session.states.get(number)
        if state is None:
            self._accounts.corrupt[session.slot] += 1
        elif state == OPEN:
            session.states[number] = DAMAGED
        elif state == HELD:
            session.states[number] = HELD_DAMAGED
        elif cause_of(state) == Cause.UNEXPLAINED:
            self._lose(session, number, state, Cause.LINK)
        return True

    def told(self) -> dict[int, int]:
        """Sessions of which their sender's node still speaks: how many numbers each was issued, by id."""
        return {session_id: session.issued for session_id, session in self._told.items()}

    def tell_unsent(self, session_id: int, number: int, cause: int) -> None:
        """A number that never left, as the sender's node reports."""
        session = self._told.get(session_id)
        state = None if session is None else session.states.get(number)
        if session is not None and state is not None:
            self._lose(session, number, state, cause)

    def tell_over(self, session_id: int, *, whole: bool) -> None:
        """The sender's node has reported all that it will. whole: nothing of that is missing here."""
        session = self._told.pop(session_id)
        session.over, session.told = True, whole

    def awaiting(self, slot: int) -> int:
        """How many of a client's losses in earlier sessions await their sender's report."""
        return sum(list(one.states.values()).count(AWAITS) for one in self._of_slot.get(slot, ()))

    def _lose(self, session: _Session, number: int, state: int, cause: int) -> None:
        accounts, slot = self._accounts, session.slot
        if state < LOST:
            accounts.unsettled[slot] -= 1
            accounts.open_past[slot] -= 1
            accounts.lost[slot] += 1
        else:
            accounts.forget_cause(slot, state)
        accounts.lost_by_cause[cause, slot] += 1
        session.states[number] = LOST | cause

    # -- what is overdue

    def expire(self, now_ns: int, receiver_drops: Callable[[I32Column], I64Column], hold_ns: int) -> None:
        """Declare lost what can come no more; arguments as of `Losses.expire`."""
        for slot, sessions in list(self._of_slot.items()):
            for session in sessions:
                if session.over and session.due_ns == NEVER_NS:
                    session.due_ns = now_ns + hold_ns + self._loss_after_ns
                elif session.due_ns <= now_ns:
                    self._close(session, self._room(session, receiver_drops))
            self._of_slot[slot] = [session for session in sessions if session.due_ns > now_ns]
            if not self._of_slot[slot]:
                del self._of_slot[slot]

    def _room(self, session: _Session, receiver_drops: Callable[[I32Column], I64Column]) -> int:
        """How many losses the kernel's drops of this client's socket can still explain."""
        slot = session.slot
        if slot == self._accounts.departed or not any(_is_undeclared(state) for state in session.states.values()):
            return 0
        return self._accounts.unused_drops(np.array([slot]), receiver_drops).item()

    def _close(self, session: _Session, room: int) -> None:
        """Losses without an explanation: first as many as the kernel dropped, the oldest ones; damaged ones last."""
        accounts, slot = self._accounts, session.slot
        undeclared = [(number, state) for number, state in session.states.items() if _is_undeclared(state)]
        for number, state in sorted(undeclared, key=lambda one: (one[1] in (DAMAGED, HELD_DAMAGED), one[0])):
            if room:
                room -= 1
                accounts.drops_used[slot] += 1
                cause = Cause.RECEIVER_KERNEL
            elif state in (DAMAGED, HELD_DAMAGED):
                cause = Cause.LINK  # it came, but as nothing that could be recognised
            elif not session.in_process:
                cause = Cause.PATH if session.told else Cause.UNKNOWN_PATH
            elif slot == accounts.departed:
                cause = Cause.RECEIVER_KERNEL  # it found its client's socket closed
            else:
                cause = Cause.UNEXPLAINED
            self._lose(session, number, state, cause)
        self._drop(session)

    def _drop(self, session: _Session) -> None:
        self._numbers -= len(session.states)
        if self._in_process.get(session.session_id) is session:
            del self._in_process[session.session_id]
        if self._told.get(session.session_id) is session:
            del self._told[session.session_id]


def _is_undeclared(state: int) -> bool:
    """OPEN or DAMAGED, or counted under LINK or AWAITING because its cause is not known yet."""
    return state < LOST or state >= HELD_DAMAGED or state == AWAITS
