"""How long datagrams took: interarrival jitter, and each client's delays in a log-linear histogram.

Arrivals go into a buffer and are processed together, at the latest when they are read: one sort for thousands of
rows instead of one for each batch.

Jitter: RFC 3550 section 6.4.1 over arrivals, duplicates too. Histogram: HdrHistogram's idea, eight buckets to an
octave and linear within one, so a percentile is off by at most an eighth and 1 µs. Delay is reception minus sending
if both ends share a clock; otherwise it is relative to the smallest one of the session.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from udprism.columns.runs import runs_of
from udprism.columns.types import NS_PER_MS, NS_PER_S, BoolColumn, F64Column, I32Column, I64Column, U8Column

_SUB_BITS = 3
_FIRST_BITS = 13
"""Below 8.2 µs the buckets are linear, 1.024 µs wide."""
BUCKETS = 176
"""Up to 34 s; what took longer is in the last bucket, between its edge and the exact maximum."""
_PER_OCTAVE = 1 << _SUB_BITS
_SHIFT = 52 - _SUB_BITS
_FIRST = (1023 + _FIRST_BITS) << _SUB_BITS
_OFFSET = 1 << _FIRST_BITS
_KEPT = 15 / 16
"""What one arrival leaves of the jitter so far: RFC 3550's J + (|D| - J)/16 is 15/16 J + |D|/16."""
_NO_TRANSIT = np.iinfo(np.int64).min
_NO_LEAST = np.iinfo(np.int64).max
_ONE = np.uint32(1)  # of the histogram's own type: adding another one is fifteen times slower
_BUFFER_ROWS = 8192
_REFRESHED_AT_ONCE = 128
"""This many clients' histograms fit into the processor's cache."""
_SHOWN = {"min": 0.0, "p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


def bucket_of(delay_ns: I64Column) -> I64Column:
    """int64[n]: each delay's bucket; one below 0 is in the first.

    A float64's exponent and the first three bits of its fraction, read as a whole number, count log-linear buckets.
    """
    bits = (np.maximum(delay_ns, 0) + float(_OFFSET)).view(np.int64)
    bucket: I64Column = np.minimum((bits >> _SHIFT) - _FIRST, BUCKETS - 1)
    return bucket


def _edges() -> F64Column:
    bucket = np.arange(BUCKETS + 1)
    eighths = ((1 << _SUB_BITS) + (bucket & ((1 << _SUB_BITS) - 1))).astype(np.float64)
    return eighths * 2.0 ** (_FIRST_BITS - _SUB_BITS + (bucket >> _SUB_BITS)) - _OFFSET


EDGES = _edges()
"""float64[BUCKETS + 1], ns: bucket b holds EDGES[b] <= delay < EDGES[b + 1]."""


class Histogram(NamedTuple):
    """How many values were below each edge, in all and added up; the last edge is infinite."""

    edges_s: list[float]
    below: list[int]
    sum_s: float


class Delays:
    """Columns [capacity] of jitter and delays. Pool thread only.

    jitter_ns: float64. least_ns, most_ns: int64, the extremes of reception minus sending, whatever the clocks.
    negative: int64, datagrams stamped with a time after their arrival though the clock is shared; their delay counts
    as 0 in percentiles. All of these are up to date after `settle`. p50_ns: float64, the medians as of the last
    `refresh` that came by, NaN if nothing is known.
    """

    def __init__(self, capacity: int, shared_clock: BoolColumn) -> None:
        self.jitter_ns = np.zeros(capacity)
        self.negative = np.zeros(capacity, np.int64)
        self.least_ns = np.full(capacity, _NO_LEAST)
        self.most_ns = np.full(capacity, _NO_TRANSIT)
        self.p50_ns = np.full(capacity, np.nan)
        self._shared_clock = shared_clock
        self._transit_ns = np.full(capacity, _NO_TRANSIT)
        self.whole_counts = np.zeros(BUCKETS, np.int64)
        """The histogram of all delays ever measured, of all clients together; restarts leave it alone."""
        self.whole_sum_ns = 0.0
        """Of the same delays. One stamped with a time after its arrival counts as 0."""
        self.generation = np.zeros(capacity, np.uint32)
        """How often each client's histogram was restarted."""
        self._counts = np.zeros(capacity * BUCKETS, np.uint32)
        self._stale = np.zeros(capacity, np.bool_)
        self._next_refreshed = 0
        # NumPy sorts 16-bit numbers by radix: ten times faster
        self._sorted_as = np.uint16 if capacity <= 1 << 16 else np.int64
        self._slot_buffer = np.zeros(_BUFFER_ROWS, np.int64)
        self._transit_buffer = np.zeros(_BUFFER_ROWS, np.int64)
        self._once_buffer = np.zeros(_BUFFER_ROWS, np.bool_)
        self._filled = 0

    @property
    def nbytes_a_client(self) -> int:
        """Bytes of one client's histogram and columns, once they are in use."""
        return BUCKETS * self._counts.itemsize + 6 * 8 + 1

    def restart(self, slots: I32Column) -> None:
        """Another sender, and perhaps another clock: jitter and delays restart."""
        self.settle()
        self.jitter_ns[slots] = 0
        self.p50_ns[slots] = np.nan
        self.least_ns[slots] = _NO_LEAST
        self.most_ns[slots] = _NO_TRANSIT
        used = slots[self._transit_ns[slots] != _NO_TRANSIT]  # untouched histograms stay without memory
        self._counts.reshape(-1, BUCKETS)[used] = 0
        self.generation[used] += np.uint32(1)
        self._transit_ns[slots] = _NO_TRANSIT
        self._stale[slots] = False

    def reset(self, slots: I32Column) -> None:
        """New clients."""
        self.restart(slots)
        self.negative[slots] = 0

    def append(self, slot: I64Column, transit_ns: I64Column, once: BoolColumn | U8Column) -> None:
        """Arrivals in their order. transit_ns: reception minus sending. once: true if it is no duplicate."""
        start = 0
        while start < len(slot):
            if self._filled == _BUFFER_ROWS:
                self.settle()
            stop = min(len(slot), start + _BUFFER_ROWS - self._filled)
            into = slice(self._filled, self._filled + stop - start)
            self._slot_buffer[into] = slot[start:stop]
            self._transit_buffer[into] = transit_ns[start:stop]
            self._once_buffer[into] = once[start:stop]
            self._filled = into.stop
            start = stop

    def settle(self) -> None:
        """Process what is in the buffer."""
        filled, self._filled = self._filled, 0
        if not filled:
            return
        slot, transit_ns = self._slot_buffer[:filled], self._transit_buffer[:filled]
        self._settle_jitter(slot, transit_ns)
        once = self._once_buffer[:filled]
        if not once.all():
            slot, transit_ns = slot[once], transit_ns[once]
        np.minimum.at(self.least_ns, slot, transit_ns)
        np.maximum.at(self.most_ns, slot, transit_ns)
        shared = self._shared_clock[slot]
        delay_ns = transit_ns if shared.all() else np.where(shared, transit_ns, transit_ns - self.least_ns[slot])
        early = slot[delay_ns < 0]
        if len(early):
            np.add.at(self.negative, early, 1)
        bucket = bucket_of(delay_ns)
        np.add.at(self._counts, slot * BUCKETS + bucket, _ONE)
        self.whole_counts += np.bincount(bucket, minlength=BUCKETS)
        self.whole_sum_ns += float(np.maximum(delay_ns, 0).sum(dtype=np.float64))
        self._stale[slot] = True

    def _settle_jitter(self, slot: I64Column, transit_ns: I64Column) -> None:
        """J += (|D| - J)/16 for each arrival in turn, for all clients at once.

        Over a client's n arrivals that is J_n = (15/16)**n J_0 + the sum of (15/16)**(n - i) |D_i|/16.
        """
        count = len(slot)
        order = np.argsort(slot.astype(self._sorted_as), kind="stable")
        slot, transit_ns = slot[order], transit_ns[order]
        starts, lengths = runs_of(slot)
        ends = starts + lengths - 1
        clients = slot[starts]
        before_ns = np.empty(count, np.int64)
        before_ns[1:] = transit_ns[:-1]
        before_ns[starts] = self._transit_ns[clients]
        # whole numbers first: a float64 has no nanoseconds left where the clocks are years apart
        change_ns = np.abs((transit_ns - before_ns).astype(np.float64))
        change_ns[starts[before_ns[starts] == _NO_TRANSIT]] = 0.0
        still_to_come = np.repeat(ends, lengths) - np.arange(count)
        sums_ns = np.add.reduceat(_KEPT**still_to_come * (change_ns * (1 - _KEPT)), starts)
        self.jitter_ns[clients] = _KEPT**lengths * self.jitter_ns[clients] + sums_ns
        self._transit_ns[clients] = transit_ns[ends]

    def refresh(self, high: int) -> bool:
        """Bring medians of slots below `high` up to date where they have changed, 128 at most, in turn.

        Returns whether there may be more.
        """
        self.settle()
        stale = np.flatnonzero(self._stale[:high])
        if not len(stale):
            return False
        if len(stale) > _REFRESHED_AT_ONCE:
            first = int(np.searchsorted(stale, self._next_refreshed))
            stale = np.roll(stale, -first)[:_REFRESHED_AT_ONCE]
            self._next_refreshed = int(stale[-1]) + 1
        self.p50_ns[stale] = self.percentiles(stale, (0.5,))[:, 0]
        self._stale[stale] = False
        return len(stale) == _REFRESHED_AT_ONCE

    def percentiles(self, slots: I32Column | I64Column, ratios: Sequence[float]) -> npt.NDArray[np.float64]:
        """float64[k, len(ratios)], ns; NaN if nothing was measured. 0 and 1 are the exact extremes."""
        self.settle()
        counts = self._counts.reshape(-1, BUCKETS)[slots]
        sums = np.cumsum(counts, axis=1, dtype=np.uint32)
        total = sums[:, -1]
        base_ns = np.where(self._shared_clock[slots], 0, self.least_ns[slots])
        low_ns = (self.least_ns[slots] - base_ns).astype(np.float64)
        high_ns = (self.most_ns[slots] - base_ns).astype(np.float64)
        every = np.arange(len(counts))
        answer = np.full((len(counts), len(ratios)), np.nan)
        for column, ratio in enumerate(ratios):
            wanted = np.maximum(1, np.ceil(ratio * total)).astype(np.uint32)
            bucket = np.minimum((sums < wanted[:, None]).sum(axis=1), BUCKETS - 1)
            inside = np.maximum(counts[every, bucket], 1)
            part = (wanted - (sums[every, bucket] - inside).astype(np.float64)) / inside
            top_ns = np.where(bucket == BUCKETS - 1, np.maximum(high_ns, EDGES[-1]), EDGES[bucket + 1])
            value_ns = np.clip(EDGES[bucket] + part * (top_ns - EDGES[bucket]), low_ns, high_ns)
            value_ns = low_ns if ratio == 0 else high_ns if ratio == 1 else value_ns
            answer[:, column] = np.where(total > 0, value_ns, np.nan)
        return answer

    def histogram(self) -> Histogram:
        """Of all delays ever measured, an edge for each octave, as of the last `settle`. From any thread."""
        below = np.cumsum(self.whole_counts)[_PER_OCTAVE - 1 :: _PER_OCTAVE]
        edges_s = (EDGES[_PER_OCTAVE:-1:_PER_OCTAVE] / NS_PER_S).tolist()
        return Histogram([*edges_s, float("inf")], below.tolist(), self.whole_sum_ns / NS_PER_S)

    def counts_of(self, slots: I32Column | I64Column) -> npt.NDArray[np.uint32]:
        """uint32[k, BUCKETS], a copy: the histograms as of the last `settle`."""
        return self._counts.reshape(-1, BUCKETS)[slots]

    def body(self, slot: int) -> dict[str, float | None]:
        """One client's delays in ms, null if nothing was measured."""
        return self.bodies(np.array([slot]))[0]

    def bodies(self, slots: I32Column | I64Column) -> list[dict[str, float | None]]:
        """Each client's delays in ms."""
        values_ms = (self.percentiles(slots, tuple(_SHOWN.values())) / NS_PER_MS).tolist()
        return [
            {name: None if value_ms != value_ms else value_ms for name, value_ms in zip(_SHOWN, row, strict=True)}
            for row in values_ms
        ]


def percentiles_of(counts: npt.NDArray[np.uint32], ratios: Sequence[float]) -> npt.NDArray[np.float64]:
    """float64[k, len(ratios)], ns, of histograms counts[k, BUCKETS] alone; NaN if a histogram is empty.

    Linear within a bucket; what lies beyond the last edge counts as that edge.
    """
    sums = np.cumsum(counts, axis=1, dtype=np.int64)
    total = sums[:, -1]
    every = np.arange(len(counts))
    values = np.full((len(counts), len(ratios)), np.nan)
    for column, ratio in enumerate(ratios):
        wanted = np.maximum(1, np.ceil(ratio * total))
        bucket = np.minimum((sums < wanted[:, None]).sum(axis=1), BUCKETS - 1)
        inside = np.maximum(counts[every, bucket], 1)
        part = (wanted - (sums[every, bucket] - inside)) / inside
        value_ns = EDGES[bucket] + part * (EDGES[bucket + 1] - EDGES[bucket])
        values[:, column] = np.where(total > 0, value_ns, np.nan)
    return values
