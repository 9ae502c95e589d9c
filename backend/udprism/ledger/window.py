"""The last numbers of every client's sequence: which of them are open, lost, or simply received.

A ring of `width` places a client, indexed by number modulo width. Received is 0, so a stream without losses never
writes here and its ring costs no memory.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from udprism.columns.types import BoolColumn, I64Column, U8Column
from udprism.ledger.fates import Cause

RECEIVED = 0
OPEN = 1
"""A hole: not here, and not yet overdue."""
DAMAGED = 2
"""OPEN, and known to have left damaged: it may have arrived unrecognisable."""
LOST = 8
"""Plus a Cause: declared lost. What lies between RECEIVED and LOST is a hole."""
_CAUSE_BITS = 7
HELD_DAMAGED = 16
HELD = 17
"""Declared lost, but it may still come: counted under LINK until then. From HELD_DAMAGED on."""
AWAITS = LOST | Cause.AWAITING
"""Declared lost; its sender's node has yet to say why."""
_FEW = 8
"""Up to here single bytes are quicker than arrays."""
_TICK_BITS = 24


def tick_of(instant_ns: int) -> int:
    """An instant in ticks of 16.8 ms. A hole keeps its last 16 bits, which wrap in 18 minutes."""
    return instant_ns >> _TICK_BITS


def cause_of(state: int) -> int:
    """The Cause under which a number in a lost state is counted."""
    return int(Cause.LINK) if state >= HELD_DAMAGED else state & _CAUSE_BITS


class Overdue(NamedTuple):
    """Numbers that are due to be declared, by client, oldest first. All columns have one length.

    state: uint8[n], OPEN, DAMAGED, HELD_DAMAGED or HELD.
    """

    slot: I64Column
    number: I64Column
    state: U8Column

    @property
    def was_open(self) -> BoolColumn:
        """Which were holes; the others were HELD and are counted as lost already."""
        return self.state < LOST


class Window:
    """States of each client's numbers from highest - width + 1 to highest. Pool thread only.

    holes, held, exceptions: int32[capacity], how many numbers are holes, HELD, and not RECEIVED. first_due_tick,
    first_arrivals: int64[capacity], while there are holes no one was due earlier, or after fewer arrivals.
    """

    def __init__(self, capacity: int, width: int, max_arrivals: int) -> None:
        if width & (width - 1):
            raise ValueError(f"the window's width is a power of two, not {width}")
        self.width = width
        self.holes = np.zeros(capacity, np.int32)
        self.held = np.zeros(capacity, np.int32)
        self.exceptions = np.zeros(capacity, np.int32)
        self.first_due_tick = np.zeros(capacity, np.int64)
        self.first_arrivals = np.zeros(capacity, np.int64)
        # Arrivals since a hole are a difference modulo the type's range, which must be well above the limit.
        arrivals_type = np.uint8 if max_arrivals < 128 else np.uint16
        self._arrivals_mask = int(np.iinfo(arrivals_type).max)
        self._max_arrivals = max_arrivals
        self._mask = width - 1
        self._state = np.zeros(capacity * width, np.uint8)
        self._due_tick = np.zeros(capacity * width, np.uint16)
        self._arrivals = np.zeros(capacity * width, arrivals_type)
        # Single values are read and written through memoryviews: three times as fast as through the arrays.
        self._state_at = self._state.data
        self._due_tick_at = self._due_tick.data
        self._arrivals_at = self._arrivals.data
        self._holes_at = self.holes.data
        self._held_at = self.held.data
        self._exceptions_at = self.exceptions.data
        self._first_due_tick_at = self.first_due_tick.data
        self._first_arrivals_at = self.first_arrivals.data

    @property
    def nbytes_a_client(self) -> int:
        """Bytes of one client's ring and counts, once it is in use."""
        return self.width * (1 + self._due_tick.itemsize + self._arrivals.itemsize) + 28

    # -- one number

    def state(self, slot: int, number: int) -> int:
        """The state of one number within the window."""
        return self._state_at[slot * self.width + (number & self._mask)]

    def holes_of(self, slot: int) -> int:
        """One client's count of holes."""
        return self._holes_at[slot]

    def put(self, slot: int, number: int, state: int) -> int:
        """Set one number's state. Returns the state that it replaces."""
        at = slot * self.width + (number & self._mask)
        old = self._state_at[at]
        if old != state:
            self._state_at[at] = state
            if old == RECEIVED:
                self._exceptions_at[slot] += 1
            elif old < LOST:
                self._holes_at[slot] -= 1
            elif old >= HELD_DAMAGED:
                self._held_at[slot] -= 1
            if state == RECEIVED:
                self._exceptions_at[slot] -= 1
            elif state < LOST:
                self._holes_at[slot] += 1
            elif state >= HELD_DAMAGED:
                self._held_at[slot] += 1
        return old

    def open_hole(self, slot: int, number: int, due_tick: int, arrivals: int) -> int:
        """A number did not come. Returns the state that was in its place."""
        if not self._holes_at[slot]:
            self._first_due_tick_at[slot] = due_tick
            self._first_arrivals_at[slot] = arrivals
        old = self.put(slot, number, OPEN)
        at = slot * self.width + (number & self._mask)
        self._due_tick_at[at] = due_tick & 0xFFFF
        self._arrivals_at[at] = arrivals & self._arrivals_mask
        return old

    def advance(self, slot: int, highest: int, number: int, due_tick: int, arrivals: int) -> int:
        """Make `number` the highest, received, and holes of what lies between it and the one before.

        due_tick: when the holes are overdue. arrivals: how many datagrams the client had received before this one.
        Returns how many holes the window is too narrow for; they are no longer tracked.
        """
        if number - highest - 1 > _FEW:
            return self._advance_far(slot, highest, number, due_tick, arrivals)
        pushed_out = 0
        for hole in range(highest + 1, number):
            pushed_out += RECEIVED < self.open_hole(slot, hole, due_tick, arrivals) < LOST
        return pushed_out + (RECEIVED < self.put(slot, number, RECEIVED) < LOST)

    def advance_missing(self, slot: int, highest: int, number: int, due_ns: int) -> int:
        """As `advance`, but `number` did not come either, and all of it is due before any other hole."""
        due_tick = tick_of(due_ns)
        pushed_out = self.advance(slot, highest, number, due_tick, 0)
        self.open_hole(slot, number, due_tick, 0)
        self._first_due_tick_at[slot] = due_tick
        return pushed_out

    def _advance_far(self, slot: int, highest: int, number: int, due_tick: int, arrivals: int) -> int:
        first = max(highest + 1, number - self.width + 1)
        at = slot * self.width + (np.arange(first, number + 1) & self._mask)
        pushed_out = first - highest - 1 + _count_holes(self._state[at])
        self._state[at] = OPEN
        self._state[at[-1]] = RECEIVED
        self._due_tick[at] = due_tick & 0xFFFF
        self._arrivals[at] = arrivals & self._arrivals_mask
        if not self._holes_at[slot]:
            self._first_due_tick_at[slot] = due_tick
            self._first_arrivals_at[slot] = arrivals
        row = self._state[slot * self.width : (slot + 1) * self.width]
        self.holes[slot] = _count_holes(row)
        self.held[slot] = np.count_nonzero(row >= HELD_DAMAGED)
        self.exceptions[slot] = np.count_nonzero(row)
        return pushed_out

    def clear(self, slot: int) -> int:
        """Forget one client's numbers. Returns how many of them were holes."""
        holes = self._holes_at[slot]
        if self._exceptions_at[slot]:
            self._state[slot * self.width : (slot + 1) * self.width] = RECEIVED
            self._holes_at[slot] = self._held_at[slot] = self._exceptions_at[slot] = 0
        return holes

    def take(self, slot: int, highest: int) -> dict[int, int]:
        """Forget one client's numbers; returns the states of those that are not RECEIVED."""
        if not self._exceptions_at[slot]:
            return {}
        row = self._state[slot * self.width : (slot + 1) * self.width]
        places = np.flatnonzero(row)
        numbers = highest - ((highest - places) & self._mask)
        states = dict(zip(numbers.tolist(), row[places].tolist(), strict=True))
        self.clear(slot)
        return states

    def received_above(self, slot: int, number: int, highest: int) -> bool:
        """Whether a number higher than this one has been received."""
        return any(self.state(slot, higher) == RECEIVED for higher in range(number + 1, highest + 1))

    # -- many numbers

    def awaiting(self, slot: int, highest: int) -> list[int]:
        """One client's numbers that are AWAITS, ascending."""
        places = np.flatnonzero(self._state[slot * self.width : (slot + 1) * self.width] == AWAITS)
        return sorted((highest - ((highest - places) & self._mask)).tolist())

    def relabel(self, slot: int, old: int, new: int) -> int:
        """Give one client's numbers in a lost state another one, neither of them HELD; returns how many these were."""
        row = self._state[slot * self.width : (slot + 1) * self.width]
        which = row == old
        row[which] = new
        return int(np.count_nonzero(which))

    def states(self, slot: I64Column, number: I64Column) -> U8Column:
        """States in the places of many numbers: uint8[n]."""
        return self._state[slot * self.width + (number & self._mask)]

    def skip(
        self, slot: I64Column, highest: I64Column, ahead: I64Column, due_tick: int, arrivals: I64Column
    ) -> BoolColumn:
        """As `advance`, for many clients at once, each by `ahead` > 0 and each at most once.

        Returns bool[n]: True if this was done, False if a hole would have been pushed out.
        """
        starts = np.cumsum(ahead) - ahead
        owner = np.repeat(np.arange(len(slot)), ahead)
        offset = np.arange(len(owner)) - starts[owner]
        at = (slot * self.width)[owner] + ((highest[owner] + 1 + offset) & self._mask)
        old = self._state[at]
        done: BoolColumn = ~np.logical_or.reduceat((old > RECEIVED) & (old < LOST), starts)
        if not done.all():
            if done.any():
                self.skip(slot[done], highest[done], ahead[done], due_tick, arrivals[done])
            return done
        hole = offset < ahead[owner] - 1
        self.exceptions[slot] += np.add.reduceat(hole.astype(np.int32) - (old != RECEIVED), starts)
        held = slot[owner[old >= HELD_DAMAGED]]
        if len(held):
            np.subtract.at(self.held, held, 1)
        self._state[at] = hole  # True is OPEN
        self._due_tick[at] = due_tick & 0xFFFF
        self._arrivals[at] = arrivals[owner].astype(self._arrivals.dtype)
        first = self.holes[slot] == 0
        self.first_due_tick[slot[first]] = due_tick
        self.first_arrivals[slot[first]] = arrivals[first]
        self.holes[slot] += (ahead - 1).astype(np.int32)
        return done

    def forget_lost(self, slot: I64Column, number: I64Column, state: U8Column) -> None:
        """Overwrite numbers in lost states (as `states` answered; each place at most once) with received ones."""
        self._state[slot * self.width + (number & self._mask)] = RECEIVED
        np.subtract.at(self.exceptions, slot, 1)
        held = state >= HELD_DAMAGED
        if held.any():
            np.subtract.at(self.held, slot[held], 1)

    def overdue(self, slots: I64Column, highest: I64Column, received: I64Column, now_ns: int) -> Overdue:
        """What these clients have to be declared: past its tick, or a hole for too many arrivals.

        highest, received: int64[k], beside slots.
        """
        now_tick = tick_of(now_ns)
        worth = (self.first_due_tick[slots] < now_tick) | (self.first_arrivals[slots] + self._max_arrivals <= received)
        worth = worth & (self.holes[slots] > 0) | (self.held[slots] > 0)
        slots, highest, received = slots[worth], highest[worth], received[worth]
        rows = self._state.reshape(-1, self.width)[slots]
        which, place = np.nonzero((rows - np.uint8(1) < LOST - 1) | (rows >= HELD_DAMAGED))
        state = rows[which, place]
        at = slots[which] * self.width + place
        overtime = (np.uint16(now_tick & 0xFFFF) - self._due_tick[at]).view(np.int16)
        later = received[which].astype(self._arrivals.dtype) - self._arrivals[at]
        due = (overtime > 0) | ((state < LOST) & (later >= self._max_arrivals))
        self.first_due_tick[slots] = now_tick + (1 << 15)
        self.first_arrivals[slots] = received
        rest = ~due
        np.minimum.at(self.first_due_tick, slots[which[rest]], now_tick - overtime[rest].astype(np.int64))
        np.minimum.at(self.first_arrivals, slots[which[rest]], received[which[rest]] - later[rest].astype(np.int64))
        which, place, state = which[due], place[due], state[due]
        number = highest[which] - ((highest[which] - place) & self._mask)
        slot = slots[which]
        order = np.lexsort((number, slot))
        return Overdue(slot[order], number[order], state[order])

    def declare(self, overdue: Overdue, state: U8Column, held_until_ns: int) -> None:
        """Give overdue numbers their lost states: uint8[n], LOST | cause, or HELD until an instant."""
        at = overdue.slot * self.width + (overdue.number & self._mask)
        self._state[at] = state
        held = state >= HELD_DAMAGED
        self._due_tick[at[held]] = tick_of(held_until_ns) & 0xFFFF
        was_open = overdue.was_open
        np.subtract.at(self.holes, overdue.slot[was_open], 1)
        np.subtract.at(self.held, overdue.slot[~was_open], 1)
        np.add.at(self.held, overdue.slot[held], 1)


def _count_holes(states: U8Column) -> int:
    return int(np.count_nonzero((states > RECEIVED) & (states < LOST)))
