"""Frames: how many, how far apart, whether they change; against plain loops where there is room for error."""

from __future__ import annotations

import numpy as np
import pytest

from udprism.columns.types import NS_PER_MS, NS_PER_S
from udprism.ledger.frames import Frames, digests

START_NS = 1_700_000_000 * NS_PER_S
SLOTS = np.arange(4, dtype=np.int32)


def feed(
    frames: Frames,
    at_ms: list[float],
    contents: list[int],
    slot: list[int] | None = None,
    part: list[int] | None = None,
    marks: list[int] | None = None,
    levels: list[bool] | None = None,
    once: bool = False,
) -> None:
    count = len(at_ms)
    frames.update(
        np.array(slot or [0] * count, np.int32),
        START_NS + (np.array(at_ms) * NS_PER_MS).astype(np.int64),
        np.full(count, 30, np.int32),
        np.array(contents, np.uint64),
        None if part is None else np.array(part, np.uint32),
        np.array(marks or [0] * count, np.uint16),
        np.array(levels or [True] * count),
        once=once,
    )


@pytest.fixture
def frames() -> Frames:
    made = Frames(4)
    made.reset(SLOTS, 0)
    return made


def test_pauses_are_those_between_frames_of_one_flow_within_a_batch_and_across(frames: Frames) -> None:
    feed(frames, [0, 5, 20, 25], [1, 1, 2, 2], slot=[0, 1, 0, 1])
    feed(frames, [23, 125], [3, 3], slot=[0, 1])
    assert frames.pauses_ns(0) == (3 * NS_PER_MS, 20 * NS_PER_MS)
    assert frames.pauses_ns(1) == (20 * NS_PER_MS, 100 * NS_PER_MS)
    assert frames.pauses_ns(2) is None
    assert frames.frames.tolist() == [3, 3, 0, 0]


def test_a_batch_in_which_no_flow_comes_twice_is_timed_as_any_other() -> None:
    rng = np.random.default_rng(8)
    one, other = Frames(4), Frames(4)
    for each in (one, other):
        each.reset(SLOTS, 0)
    for turn in range(50):
        slots = rng.permutation(4)[: rng.integers(1, 5)].tolist()
        at_ms = [100.0 * turn + float(rng.integers(0, 50)) for _ in slots]
        contents = rng.integers(0, 3, len(slots)).tolist()
        feed(one, at_ms, contents, slot=slots)
        feed(other, at_ms, contents, slot=slots, once=True)
    for slot in range(4):
        assert one.pauses_ns(slot) == other.pauses_ns(slot)
    for name in ("frames", "last_ns", "changed_ns", "repeats"):
        assert (getattr(one, name) == getattr(other, name)).all(), name


def test_one_frame_is_no_pause(frames: Frames) -> None:
    feed(frames, [7], [1])
    assert frames.pauses_ns(0) is None


def test_a_still_picture_tells_how_often_it_is_repeated(frames: Frames) -> None:
    feed(frames, [0], [9])
    for second in (1, 2, 3):
        feed(frames, [1000 * second], [9])
    assert frames.repeats[0] == 3
    assert frames.repeats_after_ns(SLOTS)[0] == NS_PER_S
    feed(frames, [3100], [8])
    assert frames.repeats[0] == 0
    assert frames.changed_ns[0] == START_NS + 3100 * NS_PER_MS
    assert np.isnan(frames.repeats_after_ns(SLOTS)[0])


def test_a_frame_of_several_parts_is_one_frame_and_held_only_if_every_part_is(frames: Frames) -> None:
    feed(frames, [0, 1], [5, 6], part=[0, 1440])
    feed(frames, [20, 21], [5, 6], part=[0, 1440])
    assert (frames.frames[0], frames.repeats[0]) == (2, 1)
    feed(frames, [40, 41], [5, 7], part=[0, 1440])
    assert (frames.frames[0], frames.repeats[0]) == (3, 0)


def test_datagrams_without_levels_are_no_frames_but_their_marks_count(frames: Frames) -> None:
    feed(frames, [0, 5], [1, 2], marks=[4, 16], levels=[True, False])
    assert (frames.frames[0], frames.marks[0], frames.changed_ns[0]) == (1, 20, START_NS)


def test_a_pause_is_forgotten_after_two_windows(frames: Frames) -> None:
    feed(frames, [0, 500, 510], [1, 2, 3])
    for second in (0, 10, 20):
        frames.sample(second * NS_PER_S, 4)
        feed(frames, [520 + second * 1000, 530 + second * 1000], [4, 5])
    assert frames.pauses_ns(0) == (10 * NS_PER_MS, 9990 * NS_PER_MS)
    frames.sample(30 * NS_PER_S, 4)
    frames.sample(40 * NS_PER_S, 4)
    assert frames.pauses_ns(0) is None


def test_digests_tell_contents_apart_and_take_no_notice_of_what_is_around_them() -> None:
    rng = np.random.default_rng(5)
    rows = rng.integers(0, 256, (400, 64), np.uint8)
    length = rng.integers(0, 64, 400).astype(np.int32)
    again = rows.copy()
    for row, size in enumerate(length.tolist()):
        again[row, size:] = rng.integers(0, 256, 64 - size)
        again[row, :3] = rng.integers(0, 256, 3)
    assert (digests(rows, length, 3) == digests(again, length, 3)).all()
    contents = {(row[3:size].tobytes(), size) for row, size in zip(rows, length.tolist(), strict=True)}
    assert len(set(digests(rows, length, 3).tolist())) >= len({one for one, size in contents if size > 3})
    one_at_a_time = np.concatenate([digests(rows[k : k + 1], length[k : k + 1], 3) for k in range(400)])
    assert (one_at_a_time == digests(rows, length, 3)).all()


def test_any_single_byte_matters() -> None:
    rows = np.zeros((1, 40), np.uint8)
    length = np.array([39], np.int32)
    before = digests(rows, length, 2)[0]
    for place in range(2, 39):
        changed = rows.copy()
        changed[0, place] = 1
        assert digests(changed, length, 2)[0] != before
