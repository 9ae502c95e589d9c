"""Bursts of loss: Gilbert and Elliott's two-state chain, one step a sequence number.

The step at a number is drawn from that number alone (`draw`), so two chains that began at different numbers take the
same steps and merge. That is used the other way round: where the state before a number is not known, because the link
has just been set, it is found by looking back until a step that leads to one state whichever it came from. So the
state is a function of the seed, the client and the number, and not of when the link was set.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from udprism.columns.turns import Turns
from udprism.columns.types import BoolColumn, I32Column, I64Column, U64Column
from udprism.link.philox import WORD_RANGE

MAX_LOOK_BACK = 256
"""If the chain has not merged within this many numbers (1 in 170 at bursts of 50, never at 10), its state is good."""
_STEP = 16

Draw = Callable[[I32Column, I64Column], U64Column]
"""(slots int32[n], sequence int64[n]) to the words uint64[n] that decide those steps."""


class Bursts:
    """The state of each slot's chain. enter, leave: uint64[capacity], probabilities in units of 1 / WORD_RANGE."""

    def __init__(self, capacity: int) -> None:
        self.enter = np.zeros(capacity, dtype=np.uint64)
        self.leave = np.zeros(capacity, dtype=np.uint64)
        self._bad = np.zeros(capacity, dtype=np.bool_)
        self._sequence = np.full(capacity, -2, dtype=np.int64)

    def restart(self, slots: I32Column) -> None:
        """Forget these slots' states."""
        self._bad[slots] = False
        self._sequence[slots] = -2

    def state(self, slot: int) -> tuple[bool, int]:
        """A slot's chain, for `restore`."""
        return bool(self._bad[slot]), int(self._sequence[slot])

    def restore(self, slot: int, state: tuple[bool, int]) -> None:
        """The chain is where it was when `state` was taken."""
        self._bad[slot], self._sequence[slot] = state

    def advance(self, turns: Turns, sequence: I64Column, words: U64Column, draw: Draw) -> BoolColumn:
        """bool[n]: whether the chain is bad at `sequence`. Columns in the order of `turns`; words: what `draw` gives.

        A step either leads to one state whichever it came from, or keeps the state, or turns it over. So a row's state
        is that of the last step of the first kind, turned over as often as the steps since then say.
        """
        slots = np.repeat(turns.slots, turns.lengths)
        stays, enter = WORD_RANGE - self.leave[slots], self.enter[slots]
        to_bad, to_good = words < np.minimum(enter, stays), words >= np.maximum(enter, stays)
        known = turns.before(sequence, self._sequence[turns.slots]) == sequence - 1
        known[turns.starts] = False  # the state before a slot's first row is at hand, or looked for
        first = np.flatnonzero(~known)
        before = self._bad[slots[first]]
        strange = np.flatnonzero(self._sequence[slots[first]] != sequence[first] - 1)
        if len(strange):
            at = first[strange]
            before[strange] = self._look_back(slots[at], sequence[at], draw)
        settled = to_bad | to_good | ~known
        state = to_bad.copy()
        state[first] = words[first] < np.where(before, stays[first], enter[first])
        since = np.maximum.accumulate(np.where(settled, np.arange(len(words)), 0))
        turned = np.cumsum(~settled & (enter > stays))
        bad: BoolColumn = state[since] ^ ((turned - turned[since]) & 1).astype(np.bool_)
        last = turns.last()
        self._bad[turns.slots] = bad[last]
        self._sequence[turns.slots] = sequence[last]
        return bad

    def _look_back(self, slots: I32Column, sequence: I64Column, draw: Draw) -> BoolColumn:
        """bool[n]: whether the chain is bad just before `sequence`; good before number 0."""
        bad = np.zeros(len(slots), dtype=np.bool_)
        left = np.arange(len(slots))
        for passed in range(0, MAX_LOOK_BACK, _STEP):
            if not len(left):
                break
            enter = self.enter[slots[left], None]
            stays = WORD_RANGE - self.leave[slots[left], None]
            number = sequence[left, None] - (passed + 1 + np.arange(_STEP))
            words = draw(np.repeat(slots[left], _STEP), np.maximum(number, 0).ravel()).reshape(number.shape)
            to_bad = (words < np.minimum(enter, stays)) & (number >= 0)
            to_good = (words >= np.maximum(enter, stays)) | (number < 0)
            merges = to_bad | to_good
            found = merges.any(axis=1)
            at = merges.argmax(axis=1)
            state = to_bad[np.arange(len(left)), at]
            # Every step since then kept the state; or, where entering is likelier than staying, turned it over.
            turned = (enter > stays)[:, 0] & ((passed + at) % 2 == 1)
            bad[left[found]] = (state ^ turned)[found]
            left = left[~found]
        return bad
