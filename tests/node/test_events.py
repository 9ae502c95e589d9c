"""What happened and when."""

from __future__ import annotations

import numpy as np

from udprism.columns.types import NS_PER_S
from udprism.node.events import MAX_EVENTS, MAX_NAMED_AT_ONCE, Events
from udprism.serving.clients import State

CONNECTING, LIVE, SILENT, FREE = State.CONNECTING, State.LIVE, State.SILENT, State.FREE


def states(*values: State) -> np.ndarray:
    return np.array(values, np.uint8)


def who(slot: int) -> tuple[str, str]:
    return f"c-{slot}", f"client-{slot}"


def told(events: Events) -> list[tuple[str, str | None]]:
    return [(event.text, event.flow) for event in events.between(0, 1 << 62)]


def test_falling_silent_and_coming_back_are_events_of_that_flow() -> None:
    events = Events()
    for at, after in enumerate((states(LIVE, LIVE), states(SILENT, LIVE), states(LIVE, LIVE))):
        events.watch_states(at, after, who)
    assert told(events) == [("client-0: silent", "c-0"), ("client-0: live", "c-0")]


def test_a_first_connection_and_a_removal_are_none() -> None:
    events = Events()
    for at, after in enumerate((states(FREE), states(CONNECTING), states(LIVE), states(FREE), states(SILENT))):
        events.watch_states(at, after, who)
    assert told(events) == []


def test_many_at_once_are_one_event() -> None:
    events = Events()
    count = MAX_NAMED_AT_ONCE + 1
    events.watch_states(0, states(*[LIVE] * count), who)
    events.watch_states(1, states(*[SILENT] * count), who)
    assert told(events) == [(f"{count} flows: silent", None)]


def test_a_flow_has_its_own_events_and_those_of_everybody() -> None:
    events = Events()
    events.note(1, "link", "link set: loss 2 %")
    events.note(2, "link", "own link", "c-1")
    events.note(3, "link", "own link", "c-2")
    assert [event.unix_ns for event in events.between(0, 10, "c-1")] == [1, 2]
    assert [event.unix_ns for event in events.between(2, 3)] == [2]


def test_only_the_newest_are_kept_and_all_are_counted() -> None:
    events = Events()
    for at in range(MAX_EVENTS + 5):
        events.note(at, "link", "changed")
    assert len(told(events)) == MAX_EVENTS
    assert events.noted == MAX_EVENTS + 5
    assert events.between(0, 1 << 62)[0].unix_ns == 5


def test_a_stretch_of_skipped_ticks_is_one_event_at_its_beginning() -> None:
    events = Events()
    quarter = NS_PER_S // 4
    skipped = [0, 0, 3, 3, 7, *[7] * 12]
    for step, total in enumerate(skipped):
        events.watch_schedule(step * quarter, total)
    (event,) = events.between(0, 1 << 62)
    assert (event.kind, event.unix_ns) == ("schedule", 2 * quarter)
    assert event.text == "the sender skipped 7 ticks of its schedule within 0.5 s"
