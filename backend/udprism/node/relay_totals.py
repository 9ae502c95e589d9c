"""What all relays together have carried, lost and turned away since the program's start: counters that never fall."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import numpy as np

from udprism.columns.types import I64Column
from udprism.errors import RelayError
from udprism.node.bodies.relays import TURNED_AWAY
from udprism.relay.memory import DIRECTIONS, DOWN, UP, Count, Snapshot
from udprism.relay.relay import Relay, rows_in_use
from udprism.relay.sums import total_of

_CAUSES = ("link", "queue", "kernel")
_WORDS = 2 * (1 + len(_CAUSES))
_READ_WITHIN_S = 0.02


class RelayTotals:
    """Any thread. What a relay counted is added here after it is gone, or after it began to count anew."""

    def __init__(self) -> None:
        self._gone = np.zeros(_WORDS + len(Count) + 1, np.int64)
        """By direction: what came in, and what was lost by each cause; then `Count`; then restarts."""
        self._told = self._gone.copy()
        self._lock = threading.Lock()

    def add_ended(self, relay: Relay) -> None:
        """A relay that was closed and is not among those that are told any more."""
        self._add(_sums(relay.read(), relay.restarts))

    def add_reset(self, before: Snapshot) -> None:
        """What a relay had counted when it began anew."""
        self._add(_sums(before, 0))

    def counters(self, relays: Iterable[Relay]) -> dict[str, Any]:
        """For /metrics. relays: those that run. One that cannot be read just now counts as it did."""
        sums, flows = self._gone.copy(), 0
        for relay in relays:
            try:
                snapshot = relay.read(_READ_WITHIN_S)
            except RelayError:
                continue
            sums += _sums(snapshot, relay.restarts)
            flows += len(rows_in_use(snapshot))
        with self._lock:  # between a relay's end and its sum here they would fall for a moment
            self._told = told = np.maximum(self._told, sums)
        ways = told[:_WORDS].reshape(2, -1)
        counts = told[_WORDS:-1]
        return {
            "relay_flows": flows,
            "relay_datagrams_total": {name: int(ways[place, 0]) for place, name in enumerate(DIRECTIONS)},
            "relay_datagrams_lost_total": {cause: int(ways[:, 1 + place].sum()) for place, cause in enumerate(_CAUSES)},
            "relay_drops_total": {one.name.lower(): int(counts[one]) for one in TURNED_AWAY},
            "relay_process_restarts_total": int(told[-1]),
        }

    def _add(self, sums: I64Column) -> None:
        with self._lock:
            self._gone = self._gone + sums  # a new one: a reader keeps the one that it has


def _sums(snapshot: Snapshot, restarts: int) -> I64Column:
    words: list[int] = []
    for direction in (UP, DOWN):
        total = total_of(snapshot, direction)
        words += [total.in_, *(total.lost_by_cause.get(cause, 0) for cause in _CAUSES)]
    return np.array([*words, *snapshot.counts.tolist(), restarts], np.int64)
