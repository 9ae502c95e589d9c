"""Datagrams that a capture shows on two interfaces: how long they took from one to the other."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from udprism.columns.types import NS_PER_MS, I64Column

MAX_WAITING: Final = 1 << 17
"""Sightings that wait for another one of the same datagram, in all; the oldest make room."""
_MAX_ROUTES: Final = 1024
_BINS: Final = 512
_BINS_PER_OCTAVE: Final = 8


class Meetings:
    """By route: a pair of flows that differ in their interface alone."""

    def __init__(self) -> None:
        self._waiting: tuple[I64Column, ...] = tuple(np.empty(0, np.int64) for _ in range(4))
        self._routes: dict[tuple[int, int, int], int] = {}
        self._bins = np.zeros((_MAX_ROUTES, _BINS), np.int64)
        self._least = np.full(_MAX_ROUTES, np.iinfo(np.int64).max)
        self._most = np.zeros(_MAX_ROUTES, np.int64)
        self.forgotten = 0
        """Sightings that made room before another one came; most of them are of datagrams that were lost."""

    def take(self, pair: I64Column, number: I64Column, interface: I64Column, time_ns: I64Column) -> None:
        """n sightings. pair: the flow without its interface. number: extended."""
        columns = (pair, number, interface, time_ns)
        pair, number, interface, time_ns = (
            np.concatenate((old, new)) for old, new in zip(self._waiting, columns, strict=True)
        )
        order = np.lexsort((time_ns, number, pair))
        pair, number, interface, time_ns = pair[order], number[order], interface[order], time_ns[order]
        met = (pair[1:] == pair[:-1]) & (number[1:] == number[:-1]) & (interface[1:] != interface[:-1])
        met[1:] &= ~met[:-1]  # one that has met is not met again
        second = np.flatnonzero(met) + 1
        for row in np.unique(np.stack((pair[second], interface[second - 1], interface[second])), axis=1).T.tolist():
            its = second[(pair[second] == row[0]) & (interface[second - 1] == row[1]) & (interface[second] == row[2])]
            self._add(tuple(row), time_ns[its] - time_ns[its - 1])
        stay = np.ones(len(pair), np.bool_)
        stay[second] = stay[second - 1] = False
        kept = np.flatnonzero(stay)
        if len(kept) > MAX_WAITING:
            self.forgotten += len(kept) - MAX_WAITING
            kept = kept[np.argpartition(time_ns[kept], len(kept) - MAX_WAITING)[len(kept) - MAX_WAITING :]]
        self._waiting = (pair[kept], number[kept], interface[kept], time_ns[kept])

    def _add(self, route: tuple[int, ...], delay_ns: I64Column) -> None:
        if route not in self._routes and len(self._routes) == _MAX_ROUTES:
            self.forgotten += len(delay_ns)
            return
        row = self._routes.setdefault(route, len(self._routes))  # type: ignore[arg-type]  # three numbers
        octaves = np.log2(np.maximum(delay_ns, 1))
        self._bins[row] += np.bincount((octaves * _BINS_PER_OCTAVE).astype(np.int64), minlength=_BINS)[:_BINS]
        self._least[row] = min(int(self._least[row]), int(delay_ns.min()))
        self._most[row] = max(int(self._most[row]), int(delay_ns.max()))

    def bodies(self) -> list[tuple[tuple[int, int, int], dict[str, Any]]]:
        """((pair, first interface, second interface), its delays); percentiles are right to a twelfth."""
        return [(route, self._body(row)) for route, row in self._routes.items()]

    def _body(self, row: int) -> dict[str, Any]:
        total = np.cumsum(self._bins[row])
        delays: dict[str, float] = {"min": self._least[row] / NS_PER_MS}
        for name, ratio in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            at = int(np.searchsorted(total, ratio * total[-1]))
            middle_ns = 2 ** ((at + 0.5) / _BINS_PER_OCTAVE)
            delays[name] = min(max(middle_ns, self._least[row]), self._most[row]) / NS_PER_MS
        delays["max"] = self._most[row] / NS_PER_MS
        return {"datagrams": int(total[-1]), "delay_ms": delays}
