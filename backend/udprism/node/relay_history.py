"""Figures over time of each flow of a relay."""

from __future__ import annotations

import threading
from typing import Final

import numpy as np

from udprism.columns.types import Clock, I32Column, I64Column
from udprism.ledger.delays import BUCKETS
from udprism.ledger.fates import Cause
from udprism.ledger.timeline import CAUSES, Steps, Timeline, Totals
from udprism.relay.memory import Snapshot, State, Sum

_NOBODY: Final = -1
_ROWS_OF_CAUSE: Final = {Cause.LINK: (Sum.LINK, Sum.QUEUE), Cause.SENDER_KERNEL: (Sum.KERNEL,)}


class RelayHistory:
    """Of one relay: what left towards the destination, and what was lost here. Any thread.

    There are no delays: a relay adds those of its link, and knows no others. Each direction of each conversation has a
    row: 2 × the flow's row in the relay's memory + the direction.
    """

    def __init__(self, max_flows: int, clock: Clock, *, keeps_flows: bool = True) -> None:
        """keeps_flows: otherwise only flows that somebody looks at have figures, from then on."""
        self._clock = clock
        self._lock = threading.Lock()
        self._begun_ns = np.full(max_flows + 1, _NOBODY, np.int64)
        self._ledger = np.zeros((len(Sum), 2 * (max_flows + 1)), np.int64)
        self._timeline = Timeline(self._ledger.shape[1], clock.now_ns(), self._totals_of, keep_flows=keeps_flows)

    def sample(self, snapshot: Snapshot) -> None:
        """End all steps that are over. Call it a few times per second."""
        with self._lock:
            high, now_ns = len(snapshot.flows), self._clock.now_ns()
            begun_ns = np.where(snapshot.flows["state"] == State.FREE, _NOBODY, snapshot.flows["born_ns"])
            fresh = np.flatnonzero(begun_ns != self._begun_ns[:high])
            self._begun_ns[:high] = begun_ns
            self._ledger[:, : 2 * high] = snapshot.ledger
            if len(fresh):
                self._timeline.reset(np.concatenate((2 * fresh, 2 * fresh + 1)).astype(np.int32), now_ns)
            self._timeline.sample(now_ns, 2 * high)

    def steps(self, row: int, direction: int, from_unix_ns: int, to_unix_ns: int, step_s: float | None) -> Steps:
        """One direction of one flow; it is kept in finer steps from now on. See `Timeline.flow`."""
        with self._lock:
            slot, now_ns = 2 * row + direction, self._clock.now_ns()
            self._timeline.watch(slot, now_ns)
            return self._timeline.flow(slot, from_unix_ns, to_unix_ns, step_s, self._clock.unix_ns() - now_ns)

    def _totals_of(self, slots: I32Column | I64Column) -> Totals:
        count, ledger = len(slots), self._ledger
        lost = np.zeros((len(CAUSES), count), np.int64)
        for cause, rows in _ROWS_OF_CAUSE.items():
            lost[CAUSES.index(cause)] = sum(ledger[row, slots] for row in rows)
        return Totals(
            ledger[Sum.LEFT, slots],
            lost,
            np.zeros((count, BUCKETS), np.uint32),
            np.zeros(count, np.uint32),
            np.full(count, np.nan),
        )
