"""One-way delay and interarrival jitter, in columns: a log-linear histogram for each client.

The buckets are those of a float32: the exponent and the upper four bits of the mantissa of a delay in microseconds
(HdrHistogram's idea, with the machine's own arithmetic): 16 a power of two, from 1 µs to 67 s, so that a percentile is
right within 3.2 %.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from udprism.core.types import NS_PER_MS, NS_PER_S, NS_PER_US, BoolColumn, F64Column, I32Column, I64Column

_SUB_BITS = 4
_OCTAVES = 26
BUCKETS = _OCTAVES << _SUB_BITS
_SHIFT = 23 - _SUB_BITS
_FIRST = 127 << _SUB_BITS
_TRANSIT_MOST_NS = 3600 * NS_PER_S
"""A stamp that is further off than an hour is no clock's; it counts as this much."""
_REFRESHED_AT_ONCE = 1280


def _middles_ns() -> F64Column:
    edge = np.arange(BUCKETS + 1)
    lower_us = 2.0 ** (edge >> _SUB_BITS) * (1 + (edge & 15) / 16)
    middle_us = (lower_us[:-1] + lower_us[1:]) / 2
    middle_us[0] = 0.5
    return middle_us * NS_PER_US


MIDDLES_NS = _middles_ns()
"""float64[BUCKETS]: the delay that a bucket stands for. The first one holds all below 1.06 µs."""


class Delays:
    """Transit times of NEW datagrams. All columns are [capacity]. Pool thread only.

    jitter_ns: float64, RFC 3550 section 6.4.1 (and appendix A.8), over arrivals in their order, duplicates left out.
    least_ns, most_ns: int64. p50_ns: float64, refreshed by `refresh`. negative: int64, delays below zero, which only a
    clock that stepped can make; they count as zero.
    """

    def __init__(self, capacity: int) -> None:
        self.jitter_ns = np.zeros(capacity, np.float64)
        self.least_ns = np.zeros(capacity, np.int64)
        self.most_ns = np.zeros(capacity, np.int64)
        self.p50_ns = np.zeros(capacity, np.float64)
        self.negative = np.zeros(capacity, np.int64)
        self.count = np.zeros(capacity, np.int64)
        self.absolute = np.zeros(capacity, np.bool_)
        """Both ends share a clock; elsewhere delays are relative to the least transit time."""
        self._transit_ns = np.zeros(capacity, np.int64)
        self._in_session = np.zeros(capacity, np.bool_)
        self._buckets = np.zeros((capacity, BUCKETS), np.uint32)
        self._flat = self._buckets.reshape(-1)
        self._next_refreshed = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the histograms of one client."""
        return self._buckets[0].nbytes

    def reset(self, slot: I32Column) -> None:
        """A new client: nothing measured yet."""
        for column in (
            self.jitter_ns,
            self.least_ns,
            self.most_ns,
            self.p50_ns,
            self.negative,
            self.count,
            self.absolute,
            self._in_session,
            self._buckets,
        ):
            column[slot] = 0

    def begin_session(self, slot: I32Column, absolute: BoolColumn) -> None:
        """The next transit time has no predecessor; a change of clocks starts the histogram afresh."""
        changed = slot[self.absolute[slot] != absolute]
        if len(changed):
            self.reset(changed)
        self.absolute[slot] = absolute
        self._in_session[slot] = False

    def update(self, slot: I32Column, sent_at_unix_ns: I64Column, received_unix_ns: I64Column) -> None:
        """One arrival of each slot, each slot at most once."""
        transit_ns = np.clip(received_unix_ns - sent_at_unix_ns, -_TRANSIT_MOST_NS, _TRANSIT_MOST_NS)
        change_ns = np.abs(transit_ns - self._transit_ns[slot]).astype(np.float64)
        jitter_ns = self.jitter_ns[slot]
        grown_ns = jitter_ns + (change_ns - jitter_ns) / 16
        known = self._in_session[slot]
        if not known.all():
            grown_ns = np.where(known, grown_ns, jitter_ns)
            self._in_session[slot] = True
        self.jitter_ns[slot] = grown_ns
        self._transit_ns[slot] = transit_ns
        self._measure(slot, transit_ns)

    def _measure(self, slot: I32Column, transit_ns: I64Column) -> None:
        count = self.count[slot]
        first = count == 0
        least_ns = np.where(first, transit_ns, np.minimum(self.least_ns[slot], transit_ns))
        self.least_ns[slot] = least_ns
        self.most_ns[slot] = np.where(first, transit_ns, np.maximum(self.most_ns[slot], transit_ns))
        self.count[slot] = count + 1
        absolute = self.absolute[slot]
        delay_ns = transit_ns if absolute.all() else np.where(absolute, transit_ns, transit_ns - least_ns)
        if delay_ns.min() < 0:
            self.negative[slot] += delay_ns < 0
        bits = (delay_ns.astype(np.float32) * np.float32(1e-3)).clip(1, None).view(np.uint32)
        bucket = np.minimum((bits >> _SHIFT) - _FIRST, BUCKETS - 1)
        self._flat[slot.astype(np.int64) * BUCKETS + bucket] += 1

    def refresh(self, high: int) -> None:
        """Bring `p50_ns` up to date, for at most 1,280 slots a call and in turn: 10,000 clients take eight calls."""
        if high == 0:
            return
        start = self._next_refreshed if self._next_refreshed < high else 0
        stop = min(high, start + _REFRESHED_AT_ONCE)
        slot = np.arange(start, stop, dtype=np.int32)
        cumulated = np.cumsum(self._buckets[start:stop], axis=1, dtype=np.uint32)
        half = (cumulated[:, -1:] + 1) // 2
        place = (cumulated < half).sum(axis=1, dtype=np.uint16)
        self.p50_ns[start:stop] = np.clip(MIDDLES_NS[place.clip(0, BUCKETS - 1)], *self._bounds(slot))
        self._next_refreshed = stop

    def percentiles(self, slot: I32Column, ratios: tuple[float, ...]) -> npt.NDArray[np.float64]:
        """float64[len(slot), len(ratios)] in ns; NaN where nothing was measured."""
        cumulated = np.cumsum(self._buckets[slot], axis=1)
        total = cumulated[:, -1:]
        wanted = np.ceil(total * np.array(ratios)).astype(np.int64)
        place = (cumulated[:, :, None] < wanted[:, None, :]).sum(axis=1)
        values = MIDDLES_NS[np.minimum(place, BUCKETS - 1)]
        least_ns, most_ns = self._bounds(slot)
        values = np.clip(values, least_ns[:, None], most_ns[:, None])
        return np.where(total > 0, values, np.nan)

    def _bounds(self, slot: I32Column) -> tuple[I64Column, I64Column]:
        """Least and largest delay: relative ones begin at zero, negative ones count as zero."""
        base_ns = np.where(self.absolute[slot], 0, self.least_ns[slot])
        return np.maximum(self.least_ns[slot] - base_ns, 0), np.maximum(self.most_ns[slot] - base_ns, 0)

    def body(self, slot: int) -> dict[str, float | None]:
        """min, p50, p95, p99, max in ms; None where nothing was measured."""
        if not self.count[slot]:
            return dict.fromkeys(("min", "p50", "p95", "p99", "max"))
        column = np.array([slot], np.int32)
        p50, p95, p99 = (self.percentiles(column, (0.5, 0.95, 0.99))[0] / NS_PER_MS).tolist()
        least_ns, most_ns = self._bounds(column)
        return {
            "min": int(least_ns[0]) / NS_PER_MS,
            "p50": p50,
            "p95": p95,
            "p99": p99,
            "max": int(most_ns[0]) / NS_PER_MS,
        }
