"""What happened over time, in steps that get coarser with age."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from support.ledgers import no_drops
from udprism.columns.types import NS_PER_MS, NS_PER_S, U32Column
from udprism.ledger import timeline
from udprism.ledger.delays import BUCKETS
from udprism.ledger.fates import Cause
from udprism.ledger.ledger import Ledger
from udprism.ledger.timeline import (
    CAUSES,
    FLOW_LEVELS,
    WHOLE_LEVELS,
    Steps,
    Timeline,
    Totals,
    ledger_totals,
    whole_totals,
)

START_NS = 1_000 * NS_PER_S
OFFSET_NS = 1_700_000_000 * NS_PER_S
"""Wall clock minus monotonic clock."""
LINK = CAUSES.index(Cause.LINK)
FOREVER_NS = 1 << 62


class Play:
    """Three flows in simulated time; the timeline is sampled four times per second."""

    def __init__(self, max_watched: int = 32) -> None:
        self.now_ns = START_NS
        self.ledger = Ledger(3, window=256, loss_after_ns=NS_PER_S, loss_after_arrivals=64)
        slots = np.arange(3, dtype=np.int32)
        self.ledger.reset(slots)
        self.ledger.begin_session(slots, np.ones(3, np.bool_), np.ones(3, np.bool_))
        self.timeline = Timeline(3, self.now_ns, partial(ledger_totals, self.ledger), max_watched=max_watched)
        self.timeline.reset(slots, self.now_ns)
        self.next = 0

    def quarter(self, received: int = 0, lost: int = 0, delay_ns: int = NS_PER_MS) -> None:
        if lost:
            numbers = np.arange(self.next, self.next + lost)
            self.ledger.report_unsent(np.zeros(lost, np.int32), numbers, np.full(lost, Cause.LINK, np.uint8))
            self.next += lost
        if received:
            stamps = np.full(received, self.now_ns + OFFSET_NS)
            arrived: U32Column = np.arange(self.next, self.next + received).astype(np.uint32)
            self.ledger.update(np.zeros(received, np.int32), arrived, stamps - delay_ns, stamps, self.now_ns)
            self.next += received
        self.now_ns += NS_PER_S // 4
        self.ledger.expire(self.now_ns, no_drops, 0)
        while self.ledger.delays.refresh(3):
            pass
        self.timeline.sample(self.now_ns, 3, self.totals)

    def totals(self) -> Totals:
        lost = self.ledger.lost_by_cause[1:].sum(axis=1)
        return whole_totals(self.ledger, 3, int(self.ledger.received.sum()), lost)

    def seconds(self, count: int, received: int = 0, lost: int = 0, delay_ns: int = NS_PER_MS) -> None:
        for quarter in range(4 * count):
            self.quarter(received // 4, lost if quarter % 4 == 0 else 0, delay_ns)

    def whole(self, back_s: float = 1e6, step_s: float | None = None) -> Steps:
        return self.timeline.whole(self.now_ns + OFFSET_NS - int(back_s * NS_PER_S), FOREVER_NS, step_s, OFFSET_NS)

    def flow(self, slot: int = 0, back_s: float = 1e6, step_s: float | None = None) -> Steps:
        begin = self.now_ns + OFFSET_NS - int(back_s * NS_PER_S)
        return self.timeline.flow(slot, begin, FOREVER_NS, step_s, OFFSET_NS)


def test_each_second_of_the_whole_has_its_own_counts_and_percentiles() -> None:
    play = Play()
    play.seconds(2, received=20)
    play.seconds(2, received=40, lost=3, delay_ns=20 * NS_PER_MS)
    told = play.whole()
    assert told.step_s == 1.0
    assert told.steps["received"].tolist() == [20, 20, 40, 40]
    assert told.steps["lost"][:, LINK].tolist() == [0, 0, 3, 3]
    assert told.steps["delay_ms"][:, 0] == pytest.approx([1, 1, 20, 20], rel=0.13)
    assert np.diff(told.ended_unix_ns).tolist() == [NS_PER_S] * 3
    assert told.ended_unix_ns[-1] == play.now_ns + OFFSET_NS


def test_the_sums_of_all_levels_agree() -> None:
    play = Play()
    play.seconds(180, received=8, lost=1)
    sums = {step_s: play.whole(step_s=step_s).steps["received"].sum() for step_s in (1, 10, 60)}
    assert sums == {1: 8 * 180, 10: 8 * 180, 60: 8 * 180}
    assert play.flow(step_s=10).steps["received"].sum() == play.flow(step_s=180).steps["received"].sum() == 8 * 180


def test_a_coarser_level_answers_for_what_the_finer_one_forgot() -> None:
    play = Play()
    play.seconds(WHOLE_LEVELS[0][1] + 30, received=4)
    assert play.whole(back_s=500).step_s == 1.0
    assert play.whole(back_s=625).step_s == 10.0
    assert play.whole(back_s=625).steps["received"].sum() == 4 * 630


def test_a_step_without_arrivals_has_no_delay() -> None:
    play = Play()
    play.seconds(1, received=8)
    play.seconds(1)
    assert np.isnan(play.whole().steps["delay_ms"]).tolist() == [[False] * 3, [True] * 3]


def test_a_jitter_of_years_is_shown_as_the_longest_that_there_is() -> None:
    play = Play()
    play.quarter(received=1)
    play.seconds(1, received=8, delay_ns=-(10**9) * NS_PER_S)
    assert play.timeline.whole(0, 2**62, None, OFFSET_NS).steps["jitter_ms"].max() == np.finfo(np.float16).max


def test_delays_that_began_anew_within_a_step_are_told_from_the_new_beginning() -> None:
    play = Play()
    play.seconds(5, received=400, delay_ns=80 * NS_PER_MS)
    play.ledger.delays.restart(np.array([0], np.int32))
    play.seconds(5, received=8, delay_ns=NS_PER_MS)
    step = play.flow(step_s=10).steps[0]
    assert step["received"] == 5 * 408
    assert step["delay_ms"][2] == pytest.approx(1, rel=0.13)


def test_a_loss_that_arrives_late_is_taken_back_in_the_step_of_its_arrival() -> None:
    play = Play()
    play.quarter(4)
    play.next += 1  # number 4 is missing
    play.seconds(3, received=4)
    before = play.flow(step_s=10).steps
    assert not len(before)
    assert play.whole().steps["lost"].sum() == 1
    stamp = np.array([play.now_ns + OFFSET_NS])
    play.ledger.update(np.zeros(1, np.int32), np.array([4], np.uint32), stamp, stamp, play.now_ns)
    play.seconds(1)
    assert play.whole().steps["lost"].sum() == 0
    assert play.whole().steps["lost"].sum(axis=1)[-1] == -1


def test_a_watched_flow_keeps_each_second_for_a_while() -> None:
    play = Play()
    play.seconds(20, received=4)
    assert play.flow(back_s=15).step_s == 10.0
    play.timeline.watch(0, play.now_ns)
    play.seconds(20, received=8)
    told = play.flow(back_s=15)
    assert told.step_s == 1.0
    assert told.steps["received"].tolist() == [8] * len(told.steps)
    play.seconds(timeline.WATCHED_FOR_NS // NS_PER_S)
    assert play.flow(back_s=15).step_s == 10.0


def test_the_flow_looked_at_longest_ago_gives_way() -> None:
    play = Play(max_watched=2)
    for slot in (0, 1, 0, 2):
        play.now_ns += NS_PER_MS
        play.timeline.watch(slot, play.now_ns)
    play.seconds(5, received=4)
    assert [play.flow(slot, back_s=4).step_s for slot in (0, 1, 2)] == [1.0, 10.0, 1.0]


def test_a_new_flow_in_a_slot_has_nothing_of_the_old_one() -> None:
    play = Play()
    play.seconds(25, received=4, lost=2)
    slots = np.array([0], np.int32)
    play.timeline.watch(0, play.now_ns)
    play.ledger.reset(slots)
    play.timeline.reset(slots, play.now_ns)
    assert len(play.flow().steps) == 0
    play.next = 0
    play.ledger.begin_session(slots, np.ones(1, np.bool_), np.ones(1, np.bool_))
    play.seconds(20, received=4)
    assert play.flow().steps["received"].sum() == 4 * 15  # the last step ended 5 s ago
    assert play.flow().steps["lost"].sum() == 0


def test_a_flow_s_history_is_bounded_and_reaches_back_for_hours() -> None:
    play = Play()
    columns = [column for level in play.timeline._flows for column in vars(level).values()]
    whole_bytes = sum(column.nbytes for column in columns if isinstance(column, np.ndarray))
    assert 1024 < whole_bytes / 3 <= 7 * 1024
    assert sum(step_ns * depth for step_ns, depth in FLOW_LEVELS[-1:]) >= 2 * 3600 * NS_PER_S


def test_missed_samples_make_one_longer_step_not_several() -> None:
    play = Play()
    play.seconds(2, received=4)
    play.now_ns += 5 * NS_PER_S
    play.quarter(4)
    assert play.whole().steps["length_s"].tolist() == pytest.approx([1, 1, 5.25])


def test_without_histories_of_flows_only_the_whole_is_kept() -> None:
    alone = Timeline(3, START_NS, partial(ledger_totals, Play().ledger), keep_flows=False)
    assert alone.flow(0, 0, FOREVER_NS, None, OFFSET_NS).step_s in (0.0, 1.0)


def test_of_rows_that_are_measured_together_a_fresh_one_begins_and_the_others_end_a_step() -> None:
    level = timeline.Level(2, NS_PER_S, 4)
    both = np.arange(2, dtype=np.int32)

    def totals(*received: int) -> timeline.Totals:
        count = len(received)
        return timeline.Totals(
            np.array(received),
            np.zeros((len(CAUSES), count), np.int64),
            np.zeros((count, BUCKETS), np.uint32),
            np.zeros(count, np.uint32),
            np.zeros(count),
        )

    level.begin(both[:1], totals(5), 0)
    level.take(both, totals(8, 100), NS_PER_S)
    assert (level.taken.tolist(), level.read(0)["received"].tolist()) == ([1, 0], [3])
    level.take(both, totals(9, 103), 2 * NS_PER_S)
    assert (level.read(0)["received"].tolist(), level.read(1)["received"].tolist()) == ([3, 1], [3])
    fresh = timeline.Level(1, NS_PER_S, 4)
    fresh.take(both[:1], totals(7), 0)
    assert fresh.taken.tolist() == [0]


def test_a_run_of_months_has_the_same_history_as_a_new_one() -> None:
    play = Play()
    play.now_ns += 60 * 86_400 * NS_PER_S  # beyond 2**32 ms
    for _ in range(12):
        play.quarter(received=10)
    told = play.timeline.whole(0, FOREVER_NS, 1, OFFSET_NS)
    assert len(told.steps) >= 2
    assert (np.diff(told.ended_unix_ns[-2:]) == NS_PER_S).all()
    assert abs(told.ended_unix_ns[-1] - play.now_ns - OFFSET_NS) <= NS_PER_S


@pytest.mark.parametrize("slot", [None, 0])
def test_a_new_run_goes_on_with_what_an_earlier_one_kept(slot: int | None) -> None:
    before = Play()
    for _ in range(4 * 40):
        before.quarter(received=10)
    kept = before.timeline.kept(slot, OFFSET_NS)
    assert all(len(steps) for steps in kept[: 2 if slot is None else 1])
    after = Play()
    after.now_ns = START_NS - 500 * NS_PER_S  # another boot of the machine: its clock began anew
    offset_ns = before.now_ns + OFFSET_NS + 100 * NS_PER_S - after.now_ns
    after.timeline = Timeline(3, after.now_ns, partial(ledger_totals, after.ledger))
    after.timeline.reset(np.arange(3, dtype=np.int32), after.now_ns)
    after.timeline.restore(slot, kept, after.now_ns, offset_ns)

    def told(timeline: Timeline, clock_offset_ns: int) -> Steps:
        bounds = (0, FOREVER_NS, 10.0, clock_offset_ns)
        return timeline.whole(*bounds) if slot is None else timeline.flow(slot, *bounds)

    earlier, later = told(before.timeline, OFFSET_NS), told(after.timeline, offset_ns)
    assert later.ended_unix_ns.tolist() == earlier.ended_unix_ns.tolist()
    assert later.steps["received"].tolist() == earlier.steps["received"].tolist()
    for _ in range(4 * 15):
        after.quarter(received=10)
    assert len(told(after.timeline, offset_ns).steps) > len(earlier.steps)


def test_steps_of_a_time_that_has_not_come_are_left_out() -> None:
    before = Play()
    for _ in range(4 * 12):
        before.quarter(received=10)
    kept = before.timeline.kept(None, OFFSET_NS)
    after = Play()
    after.timeline.restore(None, kept, START_NS, OFFSET_NS - 86_400 * NS_PER_S)
    assert len(after.timeline.whole(0, FOREVER_NS, 1, OFFSET_NS).steps) == 0
