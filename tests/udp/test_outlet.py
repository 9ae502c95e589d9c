"""When datagrams of one tick enter the link, and when they leave it; a clock that stands still, and a real socket."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from support.clock import FakeClock
from support.way_out import EVERYBODY, SESSIONS, WayOut
from udprism.columns.types import NS_PER_MS
from udprism.link.link import Link
from udprism.udp.pace import PACE_NS


@pytest.fixture
def rig() -> Iterator[WayOut[FakeClock]]:
    made = WayOut(FakeClock())
    yield made
    made.close()


def test_datagrams_of_one_tick_enter_a_link_one_after_the_other_and_say_so(rig: WayOut[FakeClock]) -> None:
    rig.impair(Link(delay_ms=50))
    begun_ns, begun_unix_ns = rig.clock.now_ns(), rig.clock.unix_ns()
    rig.send()
    held = rig.outlet.line.take_due(begun_ns + 60 * NS_PER_MS)
    entered_ns = held.release_ns - 50 * NS_PER_MS - begun_ns
    assert entered_ns.tolist() == [PACE_NS * place for place in range(SESSIONS)]
    stamps = held.rows[:, 12:20].copy().view(">i8")[:, 0]
    assert (stamps - begun_unix_ns).tolist() == entered_ns.tolist()


def test_datagrams_enter_a_link_as_far_apart_as_they_were_due(rig: WayOut[FakeClock]) -> None:
    rig.impair(Link(delay_ms=50))
    rig.send(apart_ns=20_000)
    entered_ns = rig.outlet.line.take_due(rig.clock.now_ns() + 60 * NS_PER_MS).release_ns - 50 * NS_PER_MS
    assert (entered_ns - rig.clock.now_ns()).tolist() == [20_000 * place for place in range(SESSIONS)]


def test_what_was_due_long_ago_enters_a_link_soon(rig: WayOut[FakeClock]) -> None:
    rig.impair(Link(delay_ms=50))
    rig.send(apart_ns=NS_PER_MS)
    held = rig.outlet.line.take_due(rig.clock.now_ns() + 110 * NS_PER_MS)
    assert held.slot.tolist() == EVERYBODY.tolist()


def test_a_link_lets_go_what_is_due_and_nothing_before_its_time(rig: WayOut[FakeClock]) -> None:
    rig.impair(Link(delay_ms=50))
    rig.send()
    half_ns = 50 * NS_PER_MS + PACE_NS * (SESSIONS // 2)
    rig.outlet.release(rig.clock.advance_ns(half_ns - 1))
    first = rig.heard(SESSIONS // 2)
    rig.outlet.release(rig.clock.advance_ns(50 * NS_PER_MS))
    second = rig.heard(SESSIONS // 2)
    assert [colour.session_id for colour in first + second] == list(range(1, 1 + SESSIONS))


def test_whatever_is_added_meanwhile_each_leaves_in_its_time(rig: WayOut[FakeClock]) -> None:
    rig.impair(Link(delay_ms=6, jitter_ms=6, seed=3))
    dice, pieces = np.random.default_rng(7), []
    for _ in range(60):
        if dice.random() < 0.2:
            rig.send(apart_ns=10_000)
        sent, next_ns = rig.outlet.sent, rig.outlet.next_release_ns
        rig.outlet.release(rig.clock.advance(dice.choice([0.0001, 0.0005, 0.003])))
        pieces.append(rig.outlet.sent - sent)
        assert (pieces[-1] > 0) == (next_ns <= rig.clock.now_ns()), "at its time, and not before"
        assert rig.outlet.next_release_ns > rig.clock.now_ns()
    rig.outlet.release(rig.clock.advance(1))
    assert rig.outlet.sent == int(rig.table.next_sequence.sum())
    assert len(rig.outlet.line) == 0
    assert sum(piece > 0 for piece in pieces) > 20, "they left in many pieces"


def test_what_waits_for_a_session_that_ends_never_leaves_though_it_was_ready(rig: WayOut[FakeClock]) -> None:
    rig.impair(Link(delay_ms=5))
    rig.send(apart_ns=20_000)
    rig.outlet.release(rig.clock.advance_ns(5 * NS_PER_MS))  # the first leaves, and the others are ready
    assert len(rig.heard(1)) == 1
    rig.outlet.forget(100)
    rig.table.end(100)
    rig.outlet.release(rig.clock.advance(1))
    heard = [colour.session_id for colour in rig.heard(SESSIONS - 2)]
    assert heard == [one for one in range(2, SESSIONS + 1) if one != 101]


def test_whatever_the_ticks_nobody_overtakes_himself_and_a_shift_grows_short_again(rig: WayOut[FakeClock]) -> None:
    """Streams of 1,000 Hz, whose every tick is late by something else."""
    rig.impair(Link(delay_ms=2000))
    dice, began_ns = np.random.default_rng(5), rig.clock.now_ns()
    due_ns = began_ns + 5_000 * EVERYBODY.astype(np.int64)
    for turn in range(150):
        late_ns = int(dice.integers(0, 8 * NS_PER_MS)) if turn < 20 else 0
        now_ns = max(rig.clock.now_ns(), int(due_ns.max()) + late_ns)
        rig.clock.advance_ns(now_ns - rig.clock.now_ns())
        due_ns += (now_ns - due_ns) // NS_PER_MS * NS_PER_MS
        rig.send_due(due_ns, now_ns)
        due_ns += NS_PER_MS
    held = rig.outlet.line.take_due(now_ns + 2100 * NS_PER_MS)
    for slot in range(SESSIONS):
        assert held.sequence[held.slot == slot].tolist() == list(range(150)), slot
    last_ns = held.release_ns[-SESSIONS:] - 2000 * NS_PER_MS
    assert int(last_ns.max()) <= now_ns + 2 * NS_PER_MS


def test_without_a_delay_a_link_holds_nobody_up(rig: WayOut[FakeClock]) -> None:
    rig.impair(Link(corrupt_ratio=1.0))
    rig.send()
    assert len(rig.heard(SESSIONS)) == SESSIONS
    assert len(rig.outlet.line) == 0
