"""Losses of sessions whose sender is another node, which tells what it did not send; see `remote_send_log`.

Its word comes later than the datagrams, or for a while not at all. So a loss is AWAITING until the word covers its
number. What is then still without a cause left the sender's kernel, and was not refused here: it was lost on the path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from udprism.columns.types import I32Column, I64Column, U8Column
from udprism.ledger.accounts import Accounts
from udprism.ledger.fates import Cause
from udprism.ledger.past import Past
from udprism.ledger.window import AWAITS, LOST

_UNKNOWN = int(Cause.UNKNOWN_PATH)
_PATH = int(Cause.PATH)
_AWAITING = int(Cause.AWAITING)
_RECEIVER = int(Cause.RECEIVER_KERNEL)


class Declared(NamedTuple):
    """Numbers that were declared lost, or whose cause has changed. All columns have one length."""

    slot: I32Column
    extended: I64Column
    cause: U8Column


NOTHING_DECLARED = Declared(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.uint8))


class Told:
    """Pool thread only. All columns are int64[capacity + 1].

    word: all that is to be said of numbers below it has been said. Numbers that have left the window are known by
    their count alone: `_marked` of them are not above `_mark`.
    """

    def __init__(self, accounts: Accounts, past: Past) -> None:
        rows = len(accounts.highest)
        self.word = np.zeros(rows, np.int64)
        self._first = np.zeros(rows, np.int64)  # losses below it were declared before anybody told
        self._gap = np.zeros(rows, np.int64)  # of what was to be said of numbers below it, a part is missing
        self._mark = np.zeros(rows, np.int64)
        self._marked = np.zeros(rows, np.int64)
        self._settled = np.zeros(rows, np.int64)  # up to it those that have left the window have their causes
        self._accounts = accounts
        self._window = accounts.window
        self._past = past

    # -- sessions

    def begin(self, slot: int, *, whole: bool) -> None:
        """A node tells of this client's session from now on; whole: from its first number."""
        accounts = self._accounts
        highest = accounts.highest_at[slot]
        accounts.told[slot] = True
        self.word[slot] = self._gap[slot] = self._marked[slot] = self._settled[slot] = 0
        self._mark[slot] = -1
        self._first[slot] = max(0, highest - self._window.width + 1)
        self._move(slot, _UNKNOWN, _AWAITING, self._window.relabel(slot, LOST | _UNKNOWN, AWAITS))
        if not whole:
            self.miss(slot)

    def miss(self, slot: int) -> None:
        """A part of what was said is lost: causes up to the highest number may be missing."""
        accounts = self._accounts
        self._gap[slot] = max(accounts.highest_at[slot] + 1, accounts.issued_at[slot])

    def end(self, slot: int) -> None:
        """Nobody tells of this client's session any more: what waits is unknown."""
        self.end_session(slot)
        self._move(slot, _AWAITING, _UNKNOWN, self._window.relabel(slot, AWAITS, LOST | _UNKNOWN))
        self._accounts.told[slot] = False

    def end_session(self, slot: int) -> None:
        """The client goes on with another session: which of this one's numbers have left the window is unknown."""
        if self._accounts.told[slot]:
            inside = len(self._window.awaiting(slot, self._accounts.highest_at[slot]))
            self._move(slot, _AWAITING, _UNKNOWN, self._outside(slot, inside))

    def _outside(self, slot: int, inside: int) -> int:
        """How many of those that wait have left the window."""
        return self._accounts.by_cause_at[_AWAITING][slot] - inside - self._past.awaiting(slot)

    def _move(self, slot: int, old: int, new: int, count: int) -> None:
        self._accounts.by_cause_at[old][slot] -= count
        self._accounts.by_cause_at[new][slot] += count

    # -- losses

    def causes(self, slot: I64Column, number: I64Column) -> I64Column:
        """int64[n]: the causes of losses of which nothing was said, as far as can be known now."""
        silent = np.where(number < self._gap[slot], _UNKNOWN, _PATH)
        told = np.where(number < self.word[slot], silent, _AWAITING)
        causes: I64Column = np.where(self._accounts.told[slot], told, _UNKNOWN)
        return causes

    def takes(self, slot: int, number: int) -> bool:
        """Whether a report of a number that has left the window is to be counted; True if nobody tells."""
        if not self._accounts.told[slot]:
            return True
        if number <= self._mark[slot]:
            self._marked[slot] = max(0, self._marked[slot] - 1)
        return bool(number >= self._first[slot])

    def hear(self, slots: I64Column, word: I64Column, receiver_drops: Callable[[I32Column], I64Column]) -> Declared:
        """All was said of numbers below `word`: int64[k]. Losses that waited for it get their causes.

        receiver_drops: as of `Losses.expire`.
        """
        accounts = self._accounts
        self.word[slots] = np.maximum(self.word[slots], word)
        waiting = slots[accounts.lost_by_cause[_AWAITING, slots] > 0]
        if not len(waiting):
            return NOTHING_DECLARED
        room = accounts.unused_drops(waiting, receiver_drops)
        found: list[tuple[int, int, int]] = []
        for slot, drops in zip(waiting.tolist(), room.tolist(), strict=True):
            self._settle(slot, drops, found)
        if not found:
            return NOTHING_DECLARED
        slot, number, cause = zip(*found, strict=True)
        return Declared(np.array(slot, np.int32), np.array(number, np.int64), np.array(cause, np.uint8))

    def _settle(self, slot: int, room: int, found: list[tuple[int, int, int]]) -> None:
        highest, word, gap = self._accounts.highest_at[slot], int(self.word[slot]), int(self._gap[slot])
        inside = self._window.awaiting(slot, highest)
        room -= self._settle_outside(slot, highest - self._window.width, self._outside(slot, len(inside)), room)
        for number in inside:
            if number >= word:
                break
            cause = _RECEIVER if room > 0 else _UNKNOWN if number < gap else _PATH
            room -= 1
            self._name(slot, cause, 1)
            self._window.put(slot, number, LOST | cause)
            found.append((slot, number, cause))

    def _settle_outside(self, slot: int, edge: int, outside: int, room: int) -> int:
        """Those that have left the window are at most `edge`. Returns how many the kernel here had dropped."""
        word, mark = int(self.word[slot]), int(self._mark[slot])
        if word > edge:
            mark, count = edge, outside
        elif word > mark:
            count = min(outside, int(self._marked[slot]))
        else:
            return 0
        dropped = min(count, max(0, room))
        self._name(slot, _RECEIVER, dropped)
        self._name(slot, _UNKNOWN if self._gap[slot] > self._settled[slot] else _PATH, count - dropped)
        self._settled[slot] = max(int(self._settled[slot]), mark + 1)
        self._mark[slot], self._marked[slot] = edge, outside - count
        return dropped

    def _name(self, slot: int, cause: int, count: int) -> None:
        self._move(slot, _AWAITING, cause, count)
        if cause == _RECEIVER:
            self._accounts.drops_used[slot] += count
