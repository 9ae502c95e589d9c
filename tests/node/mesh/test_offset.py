"""The offset of a clock whose offset is known here."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from udprism.node.mesh.offset import DRIFT_RATIO, ClockOffset

ways = st.floats(0, 0.5)


@settings(deadline=None)
@given(st.floats(-1e4, 1e4), st.lists(st.tuples(ways, ways), min_size=1, max_size=80))
def test_the_true_offset_is_never_outside_the_bound(true_s: float, paths: list[tuple[float, float]]) -> None:
    clock, now_s = ClockOffset(), 0.0
    for there_s, back_s in paths:
        asked_s = now_s
        received_s, sent_s = asked_s + there_s + true_s, asked_s + there_s + 0.01 + true_s
        now_s = asked_s + there_s + 0.01 + back_s
        clock.add(asked_s, received_s, sent_s, now_s, now_s)
        best = clock.best(now_s)
        assert best is not None
        assert abs(best.ahead_s - true_s) <= best.bound_s + 1e-9


def test_the_bound_grows_with_age_and_a_step_of_our_clock_starts_anew() -> None:
    clock = ClockOffset()
    assert clock.best(0.0) is None
    clock.add(1000.0, 1000.01, 1000.01, 1000.02, 0.0)
    first = clock.best(0.0)
    later = clock.best(100.0)
    assert first is not None
    assert later is not None
    assert abs(later.bound_s - first.bound_s - 100 * DRIFT_RATIO) < 1e-12
    clock.add(2000.0, 1001.05, 1001.05, 2000.1, 1.0)  # ours was set ahead by a thousand seconds
    after = clock.best(1.0)
    assert after is not None
    assert after.ahead_s < -900
