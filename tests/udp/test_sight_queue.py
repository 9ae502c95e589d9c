"""The ring between the program's threads and the process that writes a recording."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udprism.capture.sightings import Point, Seen
from udprism.udp.sight_queue import Notes, SightQueue

RING_BYTES = 1 << 16


def sightings(count: int, width: int, first: int = 0) -> Seen:
    key = np.arange(first, first + count).astype(np.uint64)
    small = (key % np.uint64(251)).astype(np.uint8)
    rows = np.repeat(small[:, None], width, axis=1)
    length = np.full(count, width, np.int32)
    return Seen(
        key, key.astype(np.int64), np.repeat(small[:, None], 36, axis=1), length, length, rows, small.astype(np.uint16)
    )


def split(queue: SightQueue) -> tuple[list[tuple[Point, Seen]], list[Notes]]:
    """All that it holds: the sightings, and the notes."""
    messages = list(queue.take(queue.written))
    return [one for one in messages if not isinstance(one, Notes)], [one for one in messages if isinstance(one, Notes)]


def keys(queue: SightQueue) -> list[int]:
    """Of the sightings that it holds."""
    return [key for _, seen in split(queue)[0] for key in seen.key.tolist()]


@pytest.fixture
def queue() -> Iterator[SightQueue]:
    file, made = SightQueue.create(RING_BYTES)
    yield made
    os.close(file)


def test_the_other_side_gets_what_was_shown_in_the_order_in_which_it_was() -> None:
    file, near = SightQueue.create(RING_BYTES)
    far = SightQueue(file)
    os.close(file)
    for width in (0, 1, 64):
        near.see(Point.RECEIVER, sightings(7, width))
        near.note(np.array([3, 4], np.uint64), np.array([1, 2], np.uint16))
        ((point, seen),), (notes,) = split(far)
        assert point == Point.RECEIVER
        for name in ("key", "time_ns", "addresses", "length", "kept", "rows", "note"):
            assert getattr(seen, name).tolist() == getattr(sightings(7, width), name).tolist()
        assert (notes.key.tolist(), notes.note.tolist()) == ([3, 4], [1, 2])


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 70), st.booleans()), max_size=60))
def test_what_was_offered_comes_once_and_the_rest_was_turned_away(shown: list[tuple[int, int, bool]]) -> None:
    file, queue = SightQueue.create(RING_BYTES)
    os.close(file)
    taken: list[int] = []
    first = 0
    for count, width, take in shown:
        queue.see(Point.SENDER, sightings(count, width, first))
        first += count
        if take:
            taken += keys(queue)
    taken += keys(queue)
    assert taken == sorted(set(taken))
    assert len(taken) == queue.offered[Point.SENDER] == first - queue.turned_away[Point.SENDER]


def test_a_full_ring_turns_away_and_takes_again_when_it_was_read(queue: SightQueue) -> None:
    while not queue.turned_away[Point.SENDER]:
        queue.see(Point.SENDER, sightings(50, 64))
    kept = len(keys(queue))
    assert kept == queue.offered[Point.SENDER]
    queue.see(Point.SENDER, sightings(50, 64))
    assert queue.offered[Point.SENDER] == kept + 50
    assert queue.turned_away == {Point.SENDER: 50, Point.RECEIVER: 0}


def test_a_batch_larger_than_the_ring_is_taken_as_far_as_it_goes(queue: SightQueue) -> None:
    queue.see(Point.SENDER, sightings(2000, 64))
    taken = queue.offered[Point.SENDER]
    assert 0 < taken < 2000
    assert taken + queue.turned_away[Point.SENDER] == 2000


def test_a_closed_one_takes_and_counts_nothing(queue: SightQueue) -> None:
    queue.close()
    queue.see(Point.SENDER, sightings(5, 8))
    queue.note(np.array([1], np.uint64), np.array([1], np.uint16))
    assert list(queue.take(queue.written)) == []
    assert queue.offered == queue.turned_away == dict.fromkeys(Point, 0)
