"""What a recording tells of each datagram: both points, in order of time, with what became of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udprism.capture import sightings
from udprism.capture.sightings import UNNUMBERED, Point, Seen, Told, Window
from udprism.columns.types import U64Column

LATE, LOST, SHARED, UNKNOWN = 1, 2, 4, 128


def key_of(numbers: list[int]) -> U64Column:
    """Each of a session of its own."""
    return np.array([number << 32 for number in numbers], np.uint64)


def seen(*rows: tuple[int, int] | tuple[int, int, int], width: int = 8) -> Seen:
    """Sightings of (key, time) or (key, time, note), each of five bytes that begin with its key."""
    count = len(rows)
    data = np.zeros((count, width), np.uint8)
    data[:, 0] = [row[0] for row in rows]
    return Seen(
        key_of([row[0] for row in rows]),
        np.array([row[1] for row in rows], np.int64),
        np.zeros((count, 36), np.uint8),
        np.full(count, 5, np.int32),
        np.full(count, min(5, width), np.int32),
        data,
        np.array([row[2] if len(row) > 2 else 0 for row in rows], np.uint16),
    )


def rows_of(told: Told | None) -> list[tuple[int, int, int, int]]:
    """(time, point, key, note) of each."""
    if told is None:
        return []
    columns = (told.time_ns, told.point, told.key >> np.uint64(32), told.note)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def noted(window: Window, key: int, note: int, time_ns: int = 0) -> None:
    window.note(time_ns, key_of([key]), np.array([note], np.uint16))


def test_both_points_come_in_the_order_of_time_with_what_became_of_each() -> None:
    window = Window(UNKNOWN, SHARED)
    window.see(Point.SENDER, seen((1, 10), (2, 20), (3, 30)))
    window.see(Point.RECEIVER, seen((3, 35), (1, 40, LATE)))
    noted(window, 2, LOST)
    assert rows_of(window.take(100, forget_ns=0)) == [
        (10, Point.SENDER, 1, LATE),
        (20, Point.SENDER, 2, LOST),
        (30, Point.SENDER, 3, 0),
        (35, Point.RECEIVER, 3, 0),
        (40, Point.RECEIVER, 1, LATE),
    ]
    assert window.take(100, forget_ns=0) is None


def test_a_sighting_waits_until_it_is_due_and_notes_that_come_meanwhile_are_its_own() -> None:
    window = Window(UNKNOWN, SHARED)
    window.see(Point.SENDER, seen((1, 10), (2, 20)))
    assert rows_of(window.take(15, forget_ns=0)) == [(10, Point.SENDER, 1, UNKNOWN)]
    assert len(window) == 1
    noted(window, 2, LOST)
    noted(window, 2, LATE)
    assert rows_of(window.take(25, forget_ns=0)) == [(20, Point.SENDER, 2, LOST | LATE)]


def test_the_receiver_s_point_tells_of_each_copy_what_is_its_own_and_what_is_shared() -> None:
    window = Window(UNKNOWN, SHARED)
    window.see(Point.RECEIVER, seen((1, 10), (1, 20, LATE)))
    noted(window, 1, SHARED | LOST)
    assert [row[3] for row in rows_of(window.take(100, forget_ns=0))] == [SHARED, SHARED | LATE]


def test_a_datagram_without_a_number_is_neither_lost_nor_unknown() -> None:
    window = Window(UNKNOWN, SHARED)
    window.see(Point.SENDER, seen((UNNUMBERED, 10)))
    window.see(Point.RECEIVER, seen((UNNUMBERED, 11)))
    noted(window, UNNUMBERED, LOST)
    assert rows_of(window.take(100, forget_ns=0)) == [(10, Point.SENDER, 0, 0), (11, Point.RECEIVER, 0, 0)]


def test_what_was_on_its_way_when_the_recording_began_is_left_out() -> None:
    window = Window(UNKNOWN, SHARED)
    later, earlier = seen((1, 10)), seen((1, 11), (1, 12))
    later.key[:] += 7
    earlier.key[:] += np.array([6, 7], np.uint64)
    window.see(Point.SENDER, later)
    window.see(Point.RECEIVER, earlier)
    assert [row[:2] for row in rows_of(window.take(100, forget_ns=0))] == [(10, Point.SENDER), (12, Point.RECEIVER)]


def test_notes_are_forgotten_when_they_are_told() -> None:
    window = Window(UNKNOWN, SHARED)
    noted(window, 1, LOST, time_ns=5)
    window.take(10, forget_ns=6)
    window.see(Point.SENDER, seen((1, 20)))
    assert rows_of(window.take(100, forget_ns=6)) == [(20, Point.SENDER, 1, UNKNOWN)]


def test_rows_of_different_widths_keep_their_bytes() -> None:
    window = Window(UNKNOWN, SHARED)
    window.see(Point.RECEIVER, seen((7, 20), width=3))
    window.see(Point.RECEIVER, seen((9, 10), width=16))
    told = window.take(100, forget_ns=0)
    assert told is not None
    assert told.payloads.length.tolist() == [5, 3]  # what was kept of five bytes
    assert told.length.tolist() == [5, 5]
    assert told.payloads.data[told.payloads.at].tolist() == [9, 7]


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 50)), max_size=40, unique_by=lambda row: row[0]),
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 50), st.sampled_from([0, 1, 2])), max_size=40),
    st.lists(st.integers(0, 60), max_size=4),
)
def test_every_sighting_is_told_once(
    sent: list[tuple[int, int]], received: list[tuple[int, int, int]], moments: list[int]
) -> None:
    window = Window(UNKNOWN, SHARED)
    window.see(Point.SENDER, seen(*sent))
    window.see(Point.RECEIVER, seen(*received))
    told = [row for moment in [*moments, 100] for row in rows_of(window.take(moment, forget_ns=0))]
    points = [(key, time_ns, Point.SENDER) for key, time_ns in sent]
    points += [(key, time_ns, Point.RECEIVER) for key, time_ns, _ in received]
    assert sorted((key, time_ns, point) for time_ns, point, key, _ in told) == sorted(points)
    notes = {key: 0 for key, _, _ in received}
    for key, _, note in received:
        notes[key] |= note
    assert all(note == notes.get(key, UNKNOWN) for _, point, key, note in told if point == Point.SENDER)


def test_nothing_is_nothing_and_what_waits_is_counted() -> None:
    window = Window(UNKNOWN, SHARED)
    window.see(Point.SENDER, seen())
    window.note(0, key_of([]), np.zeros(0, np.uint16))
    assert (len(window), window.newest_ns, window.take(100, forget_ns=0)) == (0, 0, None)
    window.see(Point.SENDER, seen((1, 10), (2, 30)))
    window.see(Point.RECEIVER, seen((1, 20)))
    assert (len(window), window.newest_ns) == (3, 30)
    assert window.take(10, forget_ns=0) is None, "all of them wait"
    assert len(window) == 3


def test_what_is_told_can_be_written_in_parts() -> None:
    window = Window(UNKNOWN, SHARED)
    window.see(Point.SENDER, seen((1, 10), (2, 20), (3, 30)))
    told = window.take(100, forget_ns=0)
    assert told is not None
    assert rows_of(told.part(slice(0, 2))) + rows_of(told.part(slice(2, 3))) == rows_of(told)
    assert told.part(slice(2, 3)).payloads.at.tolist() == told.payloads.at.tolist()[2:]


def test_of_too_many_sessions_it_is_forgotten_where_they_began(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sightings, "_MAX_SESSIONS", 1)
    window = Window(UNKNOWN, SHARED)
    begun = 5  # the number at which the session was first seen at its sender
    first = seen((1, 10))
    first.key += np.uint64(begun)
    window.see(Point.SENDER, first)
    window.see(Point.RECEIVER, seen((1, 15)))
    window.take(20, forget_ns=0)
    assert window.left_out == 1
    window.see(Point.SENDER, seen((2, 25)))
    window.see(Point.SENDER, seen((3, 26)))
    window.see(Point.RECEIVER, seen((1, 27)))
    window.take(30, forget_ns=0)
    assert window.left_out == 1


def test_how_much_waits_and_when_the_newest_of_it_was_seen_is_known() -> None:
    window = Window(UNKNOWN, SHARED)
    assert (window.waiting_bytes, window.newest_ns) == (0, 0)
    window.see(Point.SENDER, seen((1, 10), (2, 20)))
    alone = window.waiting_bytes
    assert (alone > 0, window.newest_ns) == (True, 20)
    noted(window, 2, LOST)
    assert window.waiting_bytes > alone
    window.take(100, forget_ns=100)
    assert (window.waiting_bytes, window.newest_ns) == (0, 0)
