"""Figures over time: rate, loss by cause, delay percentiles and jitter, in steps that get coarser with age.

A step holds differences of the ledger's totals and percentiles of the delays that were measured within it: each level
keeps its own copy of the histogram, because percentiles of long steps do not follow from those of short ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from udprism.columns.runs import is_among, median
from udprism.columns.types import NS_PER_MS, NS_PER_S, F64Column, I32Column, I64Column, U32Column
from udprism.ledger.delays import BUCKETS, percentiles_of
from udprism.ledger.fates import Cause
from udprism.ledger.ledger import Ledger

CAUSES = tuple(cause for cause in Cause if cause != Cause.NONE)
RATIOS = (0.5, 0.95, 0.99)
STEP = np.dtype(
    [
        ("ended_ms", np.uint32),  # since the timeline's start, monotonic, modulo 2**32: no step is 49 days old
        ("length_s", np.float32),
        ("received", np.uint32),
        ("lost", np.int32, (len(CAUSES),)),
        ("delay_ms", np.float16, (len(RATIOS),)),
        ("jitter_ms", np.float16),
    ]
)
"""One step of one row. lost: by CAUSES; negative if datagrams declared lost in an earlier step arrived late. delay_ms,
jitter_ms: NaN if nothing was measured."""

KEPT = np.dtype([("ended_unix_ms", np.int64), ("step", STEP)])
"""A step as it is kept for the next run."""
_WRAP_MS = 1 << 32

WHOLE_LEVELS = ((NS_PER_S, 600), (10 * NS_PER_S, 1080), (60 * NS_PER_S, 2880))
"""(step in ns, steps kept): 1 s for 10 minutes, 10 s for 3 hours, 60 s for 2 days."""
FLOW_LEVELS = ((10 * NS_PER_S, 56), (180 * NS_PER_S, 56))
"""10 s for 9 minutes, 3 minutes for 2.8 hours."""
WATCHED_LEVEL = (NS_PER_S, 600)
WATCHED_FOR_NS = 60 * NS_PER_S
"""A flow keeps its 1 s steps for this long after it was last read."""
_MOST_JITTER_MS = float(np.finfo(np.float16).max)
"""A link that damages send times makes jitters of years."""
_GROUP = 256
"""Flows sampled together; groups take turns, so that no sweep pays for all of them."""


class Steps(NamedTuple):
    """A stretch of one row, oldest first. step_s: the level's. ended_unix_ns: int64[n]. steps: STEP[n]."""

    step_s: float
    ended_unix_ns: I64Column
    steps: npt.NDArray[np.void]


class Totals(NamedTuple):
    """Totals so far, row by row; only differences are used.

    received: int64[k]. lost: int64[len(CAUSES), k]. counts: uint32[k, BUCKETS], the delay histograms. generation:
    uint32[k], how often each histogram was restarted. jitter_ms: float64[k], NaN unknown.
    """

    received: I64Column
    lost: npt.NDArray[np.int64]
    counts: npt.NDArray[np.uint32]
    generation: U32Column
    jitter_ms: F64Column


TotalsOf: TypeAlias = Callable[[I32Column | I64Column], Totals]
"""The totals of these slots so far."""


class Level:
    """A ring of `depth` steps for each of `rows` rows. Pool thread only."""

    def __init__(self, rows: int, step_ns: int, depth: int) -> None:
        self.step_ns = step_ns
        self.depth = depth
        self.taken = np.zeros(rows, np.int64)
        """How many steps each row has had."""
        self.restored = np.zeros(rows, np.bool_)
        """Which rows go on with an earlier run's steps: where these do not reach back, a coarser level's may."""
        self._steps = np.zeros((rows, depth), STEP)
        self._since_ns = np.full(rows, -1, np.int64)
        self._received = np.zeros(rows, np.int64)
        self._lost = np.zeros((len(CAUSES), rows), np.int64)
        self._counts = np.zeros((rows, BUCKETS), np.uint32)
        self._generation = np.zeros(rows, np.uint32)

    def reset(self, rows: I32Column | I64Column) -> None:
        """Forget these rows; their next totals begin at zero."""
        self.taken[rows] = 0
        self.restored[rows] = False
        self._since_ns[rows] = -1
        self._received[rows] = 0
        self._lost[:, rows] = 0
        used = rows[self._counts[rows].any(axis=1)]  # untouched histograms stay without memory
        self._counts[used] = 0
        self._generation[rows] = 0

    def begin(self, rows: I32Column | I64Column, totals: Totals, at_ns: int) -> None:
        """Measure these rows from here on."""
        self._since_ns[rows] = at_ns
        self._remember(rows, totals)

    def take(self, rows: I32Column | I64Column, totals: Totals, at_ns: int) -> None:
        """End a step of each of these rows; a row that has not begun begins instead. at_ns: since the start."""
        fresh = self._since_ns[rows] < 0
        going = rows[~fresh]
        if len(going):
            part = totals if not fresh.any() else _part(totals, ~fresh)
            step = np.zeros(len(going), STEP)
            step["ended_ms"] = at_ns // NS_PER_MS % _WRAP_MS
            step["length_s"] = (at_ns - self._since_ns[going]) / NS_PER_S
            step["received"] = np.maximum(part.received - self._received[going], 0)
            step["lost"] = (part.lost - self._lost[:, going]).T
            anew = part.generation != self._generation[going]
            counts = part.counts - np.where(anew[:, None], np.uint32(0), self._counts[going])
            step["delay_ms"] = percentiles_of(counts, RATIOS) / NS_PER_MS
            step["jitter_ms"] = np.minimum(part.jitter_ms, _MOST_JITTER_MS)
            self._steps[going, self.taken[going] % self.depth] = step
            self.taken[going] += 1
        self._since_ns[rows] = at_ns
        self._remember(rows, totals)

    def _remember(self, rows: I32Column | I64Column, totals: Totals) -> None:
        self._received[rows] = totals.received
        self._lost[:, rows] = totals.lost
        self._counts[rows] = totals.counts
        self._generation[rows] = totals.generation

    def read(self, row: int) -> npt.NDArray[np.void]:
        """STEP[n], a copy, oldest first."""
        taken = int(self.taken[row])
        places = np.arange(max(0, taken - self.depth), taken) % self.depth
        steps: npt.NDArray[np.void] = self._steps[row, places]
        return steps

    def restore(self, row: int, steps: npt.NDArray[np.void]) -> None:
        """Begin a row that has taken none with these steps, STEP[n], oldest first; the newest `depth` are kept."""
        steps = steps[-self.depth :]
        self._steps[row, : len(steps)] = steps
        self.taken[row] = len(steps)
        self.restored[row] = len(steps) > 0


class Timeline:
    """The history of all flows together and of each flow. One thread only.

    capacity: flows. totals_of: what is measured, such as `ledger_totals` of a ledger. keep_flows: whether each flow has
    a history of its own (about 6 KiB). max_watched: flows that keep 1 s steps at a time.
    """

    def __init__(
        self, capacity: int, now_ns: int, totals_of: TotalsOf, *, keep_flows: bool = True, max_watched: int = 32
    ) -> None:
        self._origin_ns = now_ns
        self._sampled_ms = 0
        self._totals_of = totals_of
        self._whole = [Level(1, step_ns, depth) for step_ns, depth in WHOLE_LEVELS]
        self._flows = [Level(capacity, step_ns, depth) for step_ns, depth in FLOW_LEVELS] if keep_flows else []
        for level in self._whole:
            level.begin(np.zeros(1, np.int64), _nothing(), 0)
        self._watched = Level(max_watched, *WATCHED_LEVEL)
        self._watched_slot = np.full(max_watched, -1, np.int64)
        self._watched_until_ns = np.zeros(max_watched, np.int64)
        self._due_ns = {level: now_ns + level.step_ns for level in (*self._whole, self._watched)}
        groups = -(-capacity // _GROUP)
        turn = np.arange(groups, dtype=np.float64) / groups
        self._group_due_ns = {level: now_ns + ((1 - turn) * level.step_ns).astype(np.int64) for level in self._flows}

    def reset(self, slots: I32Column, now_ns: int) -> None:
        """New flows in these slots; their history begins now."""
        totals = self._totals_of(slots)
        for level in self._flows:
            level.reset(slots)
            level.begin(slots, totals, now_ns - self._origin_ns)
        gone = is_among(self._watched_slot, slots)
        self._watched_slot[gone] = -1

    # -- writing

    def sample(self, now_ns: int, high: int, whole: Callable[[], Totals] | None = None) -> None:
        """End all steps that are over. Call it a few times per second, after what is measured was settled.

        high: slots in use lie below it. whole: the totals of all flows ever, one row, if these have a history too.
        """
        at_ns = now_ns - self._origin_ns
        self._sampled_ms = at_ns // NS_PER_MS
        due = [level for level in self._whole if now_ns >= self._due_ns[level]]
        if due and whole is not None:
            totals = whole()
            for level in due:
                level.take(np.zeros(1, np.int64), totals, at_ns)
                self._due_ns[level] = _next(self._due_ns[level], now_ns, level.step_ns)
        if now_ns >= self._due_ns[self._watched]:
            self._sample_watched(now_ns)
            self._due_ns[self._watched] = _next(self._due_ns[self._watched], now_ns, self._watched.step_ns)
        for level, group_due_ns in self._group_due_ns.items():
            for group in np.flatnonzero(now_ns >= group_due_ns[: -(-high // _GROUP)]).tolist():
                slots = np.arange(group * _GROUP, min(high, (group + 1) * _GROUP), dtype=np.int64)
                level.take(slots, self._totals_of(slots), at_ns)
                group_due_ns[group] = _next(int(group_due_ns[group]), now_ns, level.step_ns)

    def _sample_watched(self, now_ns: int) -> None:
        self._watched_slot[self._watched_until_ns < now_ns] = -1
        rows = np.flatnonzero(self._watched_slot >= 0)
        if len(rows):
            self._watched.take(rows, self._totals_of(self._watched_slot[rows]), now_ns - self._origin_ns)

    def watch(self, slot: int, now_ns: int) -> None:
        """Keep this flow's 1 s steps for a while. If no place is free, the flow looked at longest ago gives way."""
        found = np.flatnonzero(self._watched_slot == slot)
        row = (
            int(found[0])
            if len(found)
            else int(np.argmin(np.where(self._watched_slot < 0, -1, self._watched_until_ns)))
        )
        if not len(found):
            self._watched.reset(np.array([row]))
            self._watched_slot[row] = slot
            self._watched.begin(np.array([row]), self._totals_of(np.array([slot])), now_ns - self._origin_ns)
        self._watched_until_ns[row] = now_ns + WATCHED_FOR_NS

    # -- keeping for the next run

    def kept(self, slot: int | None, clock_offset_ns: int) -> list[npt.NDArray[np.void]]:
        """The steps of one flow, or of all together (None), level by level: KEPT[n], oldest first."""
        levels, row = (self._whole, 0) if slot is None else (self._flows, slot)
        kept = []
        for steps in (level.read(row) for level in levels):
            one = np.zeros(len(steps), KEPT)
            one["step"] = steps
            one["ended_unix_ms"] = self._ended_ms(steps) + (self._origin_ns + clock_offset_ns) // NS_PER_MS
            kept.append(one)
        return kept

    def restore(self, slot: int | None, kept: list[npt.NDArray[np.void]], now_ns: int, clock_offset_ns: int) -> None:
        """Go on with what `kept` returned in an earlier run. Call it before anything of the flow was sampled.

        Left out are steps too old to be told from new ones, and those that end after now: the clock was set back.
        """
        levels, row = (self._whole, 0) if slot is None else (self._flows, slot)
        for level, all_steps in zip(levels, kept, strict=True):
            age_ms = (now_ns + clock_offset_ns) // NS_PER_MS - all_steps["ended_unix_ms"]
            told = (age_ms >= 0) & (age_ms < _WRAP_MS // 2)
            steps = all_steps["step"][told]
            steps["ended_ms"] = ((now_ns - self._origin_ns) // NS_PER_MS - age_ms[told]) % _WRAP_MS
            level.restore(row, steps)

    def _ended_ms(self, steps: npt.NDArray[np.void]) -> I64Column:
        """When steps ended, since the start: none did after the last sample. Below zero: in an earlier run."""
        ended_ms: I64Column = self._sampled_ms - (self._sampled_ms - steps["ended_ms"].astype(np.int64)) % _WRAP_MS
        return ended_ms

    # -- reading

    def whole(self, from_unix_ns: int, to_unix_ns: int, step_s: float | None, clock_offset_ns: int) -> Steps:
        """All flows together, between two instants. clock_offset_ns: wall clock minus monotonic clock, now.

        step_s: the longest step wanted; None: the finest level that reaches back to `from_unix_ns`.
        """
        return self._chosen([(level, 0) for level in self._whole], from_unix_ns, to_unix_ns, step_s, clock_offset_ns)

    def flow(self, slot: int, from_unix_ns: int, to_unix_ns: int, step_s: float | None, clock_offset_ns: int) -> Steps:
        """One flow; as `whole`."""
        watched = [(self._watched, int(row)) for row in np.flatnonzero(self._watched_slot == slot)]
        levels = watched + [(level, slot) for level in self._flows]
        return self._chosen(levels, from_unix_ns, to_unix_ns, step_s, clock_offset_ns)

    def _chosen(
        self,
        levels: list[tuple[Level, int]],
        from_unix_ns: int,
        to_unix_ns: int,
        step_s: float | None,
        clock_offset_ns: int,
    ) -> Steps:
        """Levels are given finest first."""
        chosen = Steps(0.0, np.zeros(0, np.int64), np.zeros(0, STEP))
        for level, row in levels:
            level_step_s = level.step_ns / NS_PER_S
            if chosen.step_s and step_s is not None and level_step_s > step_s:
                break
            steps = level.read(row)
            ended = self._origin_ns + clock_offset_ns + self._ended_ms(steps) * NS_PER_MS
            began = ended - (steps["length_s"].astype(np.float64) * NS_PER_S).astype(np.int64)
            inside = (ended > from_unix_ns) & (began < to_unix_ns)
            whole_story = (
                level is not self._watched and int(level.taken[row]) <= level.depth and not level.restored[row]
            )
            chosen = Steps(level_step_s, ended[inside], steps[inside])
            if step_s is None and (whole_story or (len(began) and began[0] <= from_unix_ns)):
                break
        return chosen


def _next(due_ns: int, now_ns: int, step_ns: int) -> int:
    """The first instant after now on the same grid: steps that were missed are not made up."""
    return due_ns + ((now_ns - due_ns) // step_ns + 1) * step_ns


def ledger_totals(ledger: Ledger, slots: I32Column | I64Column) -> Totals:
    """Of these slots of a ledger of measured datagrams."""
    delays = ledger.delays
    timed = ledger.measured[slots] & ~np.isnan(delays.p50_ns[slots])
    return Totals(
        ledger.received_of(slots),
        ledger.lost_by_cause[1:, slots],
        delays.counts_of(slots),
        delays.generation[slots],
        np.where(timed, delays.jitter_ns[slots] / NS_PER_MS, np.nan),
    )


def whole_totals(ledger: Ledger, high: int, received: int, lost: I64Column) -> Totals:
    """Of all flows of a ledger. high: slots in use lie below it. received, lost: of all ever; int64[len(CAUSES)]."""
    jitter_ms = ledger.jitter_ns[:high] / NS_PER_MS
    timed = ledger.measured[:high] & ~np.isnan(ledger.delays.p50_ns[:high])
    return Totals(
        np.array([received]),
        lost.reshape(-1, 1),
        ledger.delays.whole_counts.astype(np.uint32).reshape(1, -1),
        np.zeros(1, np.uint32),
        np.array([median(jitter_ms[timed]) if timed.any() else np.nan]),
    )


def _nothing() -> Totals:
    counts = np.zeros((1, BUCKETS), np.uint32)
    return Totals(
        np.zeros(1, np.int64), np.zeros((len(CAUSES), 1), np.int64), counts, np.zeros(1, np.uint32), np.zeros(1)
    )


def _part(totals: Totals, which: npt.NDArray[np.bool_]) -> Totals:
    return Totals(
        totals.received[which],
        totals.lost[:, which],
        totals.counts[which],
        totals.generation[which],
        totals.jitter_ms[which],
    )
