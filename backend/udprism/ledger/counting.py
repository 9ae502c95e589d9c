"""How foreign senders count: their numbers, modulo 255 or 15 or none at all, as sequences that the ledger takes.

Many senders do not follow their format: one number for ever, one counter over several flows, one number per frame. So
loss is reported only for a flow whose numbers advanced by one 32 times in a row; then it is *believed*, and its numbers
become sequences from 0 on. Differences are signed and modulo the format's cycle, and taken from the highest number so
far.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from udprism.columns.turns import Turns
from udprism.columns.types import BoolColumn, I32Column, I64Column, U32Column
from udprism.wire.format import Decoded, Numbering

STREAK: Final = 32
"""After this many steps of one in a row, a sender is believed."""
_ASTRAY: Final = 64
"""After this many numbers in a row that are not the next one, a sender is no longer believed."""
_TOLD: Final = 15
"""After this many numbers that do not follow each other, or without a number, a sender is taken not to count."""
_ANEW: Final = 8
"""After this many consecutive numbers behind the highest, the sender has restarted its count."""


class Counted(NamedTuple):
    """sequence: int64[n], undefined where counts is False. counts: bool[n], the row is of a believed flow and bears a
    number of its own, which is not from before its count began: that one may have come already. begun: flows whose next
    sequence is 0: believed since this batch, or counting anew."""

    sequence: I64Column
    counts: BoolColumn
    begun: I32Column


class Counting:
    """Columns [capacity]; one thread only.

    believed: bool. rows: int64. numbers: int64, those that bore a number of their own. modulus: int64, 0 if the format
    has none. top: int64, the highest sequence; -1 none.
    """

    def __init__(self, capacity: int) -> None:
        self.believed = np.zeros(capacity, np.bool_)
        self.rows = np.zeros(capacity, np.int64)
        self.numbers = np.zeros(capacity, np.int64)
        self.modulus = np.zeros(capacity, np.int64)
        self.top = np.full(capacity, -1, np.int64)
        self._highest = np.zeros(capacity, np.int64)
        """The wire's number that belongs to `top`."""
        self._last = np.zeros(capacity, np.int64)
        """The previous row's, and its part."""
        self._part = np.zeros(capacity, np.int64)
        self._streak = np.zeros(capacity, np.int64)
        self._astray = np.zeros(capacity, np.int64)
        self._anew = np.zeros(capacity, np.int64)
        self._restarts = np.zeros(capacity, np.bool_)

    def begin(self, slot: int, numbering: Numbering) -> None:
        """A new flow in this slot."""
        self.modulus[slot] = numbering.modulus
        self.believed[slot] = self._restarts[slot] = False
        self.top[slot] = -1
        for column in (
            self.rows,
            self.numbers,
            self._highest,
            self._last,
            self._part,
            self._streak,
            self._astray,
            self._anew,
        ):
            column[slot] = 0

    def interrupted(self, slots: I32Column) -> None:
        """These were silent for long, or have ended: whatever number comes next is the next one."""
        self._restarts[slots] = True

    def word(self, slot: int) -> str | None:
        """`believed`, `does not count` or `not yet known`; None if the format has no numbers."""
        if not self.modulus[slot]:
            return None
        if self.believed[slot]:
            return "believed"
        is_known = self.rows[slot] >= 2 * STREAK or self._astray[slot] >= _TOLD
        is_known |= self.numbers[slot] == 0 and self.rows[slot] >= _TOLD
        return "does not count" if is_known else "not yet known"

    def numbers_frames(self, slot: int) -> bool:
        """Whether this believed sender gives one number to several datagrams of a frame."""
        return bool(self.believed[slot] and 4 * self.numbers[slot] <= 3 * self.rows[slot])

    def count(self, slot: I32Column, decoded: Decoded, *, once: bool = False) -> Counted:
        """One batch, all valid, in order of arrival. once: no flow comes twice."""
        if once and decoded.numbered.all():
            counted = self._count_next(slot, decoded.number.astype(np.int64), decoded.part)
            if counted is not None:
                return counted
        sequence, counts = np.zeros(len(slot), np.int64), np.zeros(len(slot), np.bool_)
        if not self.modulus[slot].any():
            return Counted(sequence, counts, slot[:0])
        np.add.at(self.rows, slot, 1)
        if not decoded.numbered.any():
            return Counted(sequence, counts, slot[:0])
        turns = Turns(slot, decoded.numbered)
        number = decoded.number[turns.rows].astype(np.int64)
        slots, modulus = turns.slots, turns.spread(self.modulus[turns.slots])
        step = _signed(number - turns.before(number, self._highest[slots]), modulus)
        is_easy = np.logical_and.reduceat(step > 0, turns.starts)
        is_easy &= (self.numbers[slots] > 0) & ~self._restarts[slots]
        begun = self._take_easy(turns, is_easy, number, step, sequence, counts)
        for place in np.flatnonzero(~is_easy).tolist():
            start, length = int(turns.starts[place]), int(turns.lengths[place])
            rows = turns.rows[start : start + length]
            if self._take_slowly(int(slots[place]), rows, decoded.number, decoded.part, sequence, counts):
                begun.append(int(slots[place]))
        if decoded.part is not None:
            self._part[slots] = decoded.part[turns.rows[turns.last()]]
        return Counted(sequence, counts, np.array(begun, np.int32))

    def _count_next(self, slot: I32Column, number: I64Column, part: U32Column | None) -> Counted | None:
        """The usual batch: every number is its flow's next one. None, with nothing changed, if it is not so."""
        step = number - self._highest[slot]
        is_next = (step == 1) | (step == 1 - self.modulus[slot])
        is_next &= (self.numbers[slot] > 0) & ~self._restarts[slot]
        if not is_next.all():
            return None
        sequence, believed = self.top[slot] + 1, self.believed[slot]
        self.top[slot] = sequence
        self._highest[slot] = self._last[slot] = number
        for column in (self.rows, self.numbers, self._streak):
            column[slot] += 1
        self._astray[slot] = self._anew[slot] = 0
        if part is not None:
            self._part[slot] = part
        begun = [] if believed.all() else self._judge(slot[~believed])
        return Counted(sequence, believed, np.array(begun, np.int32))

    def _take_easy(
        self,
        turns: Turns,
        is_easy: BoolColumn,
        number: I64Column,
        step: I64Column,
        sequence: I64Column,
        counts: BoolColumn,
    ) -> list[int]:
        """Flows whose numbers only rise. Returns those that are believed from now on."""
        slots = turns.slots
        rises = np.where(np.repeat(is_easy, turns.lengths), step, 0)
        climbed = turns.sum_before(rises) + rises + turns.spread(self.top[slots])
        chosen = np.repeat(is_easy & self.believed[slots], turns.lengths)
        sequence[turns.rows[chosen]] = climbed[chosen]
        counts[turns.rows[chosen]] = True
        easy = np.flatnonzero(is_easy)
        mine, last = slots[easy], turns.last()[easy]
        self.top[mine] = climbed[last]
        self._highest[mine] = self._last[mine] = number[last]
        self.numbers[mine] += turns.lengths[easy]
        self._anew[mine] = 0
        broken = np.maximum.reduceat(np.where(step != 1, np.arange(len(step)), -1), turns.starts)[easy]
        whole = broken < turns.starts[easy]
        self._streak[mine] = np.where(whole, self._streak[mine] + turns.lengths[easy], last - broken)
        kept = np.maximum.reduceat(np.where(step == 1, np.arange(len(step)), -1), turns.starts)[easy]
        self._astray[mine] = np.where(kept < turns.starts[easy], self._astray[mine] + turns.lengths[easy], last - kept)
        return self._judge(mine)

    def _judge(self, slots: I32Column) -> list[int]:
        """Believe or disbelieve; returns those that are believed from now on."""
        begun = slots[~self.believed[slots] & (self._streak[slots] >= STREAK)]
        self.believed[begun], self.top[begun] = True, -1
        self.believed[slots[self.believed[slots] & (self._astray[slots] >= _ASTRAY)]] = False
        found: list[int] = begun.tolist()
        return found

    def _take_slowly(
        self,
        slot: int,
        rows: I64Column,
        number: U32Column,
        part: U32Column | None,
        sequence: I64Column,
        counts: BoolColumn,
    ) -> bool:
        """One flow, row by row: the definition of what a number means. Returns whether its sequences restart."""
        modulus, begun = int(self.modulus[slot]), False
        for place, row in enumerate(rows.tolist()):
            one, its_part = int(number[row]), 0 if part is None else int(part[row])
            if self.numbers[slot] and one == self._last[slot] and part is not None and its_part > self._part[slot]:
                self._part[slot] = its_part  # a frame's number, again with its next part
                continue
            if not self.numbers[slot] or self._restarts[slot]:
                begun |= self._start(slot, one, rows[:place], counts)
            else:
                step = int(_signed(np.int64(one - self._highest[slot]), np.int64(modulus)))
                follows = (one - self._last[slot]) % modulus == 1
                self._anew[slot] = self._anew[slot] + 1 if step <= 0 and follows else 0
                if self._anew[slot] >= _ANEW:
                    begun |= self._start(slot, one, rows[:place], counts)
                else:
                    self._step(slot, row, one, step, sequence, counts)
            self._last[slot], self._part[slot] = one, its_part
            self.numbers[slot] += 1
        return bool(self._judge(np.array([slot], np.int32))) or begun

    def _start(self, slot: int, number: int, before: I64Column, counts: BoolColumn) -> bool:
        """This number is the one before the next sequence, which is 0; returns whether the flow is believed.

        before: the flow's earlier rows of this batch; their sequences are those of an earlier count, so they do not
        count as numbered.
        """
        counts[before] = False
        self._highest[slot], self.top[slot] = number, -1
        self._restarts[slot], self._anew[slot] = False, 0
        return bool(self.believed[slot])

    def _step(self, slot: int, row: int, number: int, step: int, sequence: I64Column, counts: BoolColumn) -> None:
        sequence[row] = self.top[slot] + step
        counts[row] = self.believed[slot] and sequence[row] >= 0
        self._streak[slot] = self._streak[slot] + 1 if step == 1 else 0
        self._astray[slot] = 0 if step == 1 else self._astray[slot] + 1
        if step > 0:
            self._highest[slot] = number
            self.top[slot] += step


def _signed(difference: I64Column | np.int64, modulus: I64Column | np.int64) -> I64Column:
    """The difference of two numbers as the shortest way around their cycle: -modulus // 2 … (modulus - 1) // 2."""
    half = modulus // 2
    signed: I64Column = (difference + half) % np.maximum(modulus, 1) - half
    return signed
