from __future__ import annotations

import numpy as np

from udprism.wire.format import MAX_CHANNELS, NO_PIXELS, REASONS, Numbering, Pixels, Reason


def pixels(places: list[int], values: list[int]) -> Pixels:
    return Pixels(np.array(places, np.int64), np.array(values, np.uint8), 3)


def test_numbers_go_round_their_cycle_and_never_bear_what_means_not_numbered() -> None:
    assert [Numbering(256, 0).at(count) for count in (0, 1, 255, 256)] == [0, 1, 255, 0]
    assert [Numbering(255, 1).at(count) for count in (0, 254, 255)] == [1, 255, 1]
    assert {Numbering(15, 1).at(count) for count in range(100)} == set(range(1, 16))


def test_a_datagram_changes_only_the_channels_that_it_bears() -> None:
    before = np.array([1, 2, 3, 4, 5, 6], np.uint8)
    after = pixels([1, 2], [20, 30]).over(before)
    assert after.tolist() == [1, 20, 30, 4, 5, 6]
    assert before.tolist() == [1, 2, 3, 4, 5, 6]


def test_a_picture_grows_with_darkness_between() -> None:
    assert pixels([3], [9]).over(np.array([1], np.uint8)).tolist() == [1, 0, 0, 9]
    assert NO_PIXELS.over(np.zeros(0, np.uint8)).tolist() == []


def test_a_picture_has_a_greatest_size() -> None:
    after = pixels([MAX_CHANNELS - 1, MAX_CHANNELS, 2**31 - 1], [1, 2, 3]).over(np.zeros(0, np.uint8))
    assert len(after) == MAX_CHANNELS
    assert after[-1] == 1


def test_reasons_are_labels_by_their_code() -> None:
    assert REASONS[Reason.NONE] == "none"
    assert REASONS[Reason.LENGTH] == "length"
