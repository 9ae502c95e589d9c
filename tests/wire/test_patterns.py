from __future__ import annotations

import numpy as np
import pytest

from udprism.wire.colours import BASIC_COUNT, RGB
from udprism.wire.patterns import NAMES, RAINBOW_FRAMES, is_still, pattern_of

FRAMES = np.arange(600)


@pytest.mark.parametrize("name", [*NAMES, "teal", "#010203"])
def test_a_pattern_is_the_same_for_the_same_frame_and_seed(name: str) -> None:
    pattern = pattern_of(name, 7)
    picture = pattern(FRAMES, 9)
    assert picture.shape == (600, 9, 3)
    assert picture.dtype == np.uint8
    assert (pattern(FRAMES[500:501], 9) == picture[500]).all()
    assert is_still(name) == bool((picture == picture[0]).all())


@pytest.mark.parametrize("name", ["random", "solid"])
def test_colours_by_chance_are_the_basic_ones_about_as_often_and_differ_by_seed(name: str) -> None:
    picture = pattern_of(name, 1)(np.arange(6_000), 1)[:, 0]
    counts = [int((picture == colour).all(axis=1).sum()) for colour in RGB[:BASIC_COUNT]]
    assert sum(counts) == 6_000
    assert all(abs(count - 1_000) < 150 for count in counts)  # five standard deviations
    assert (pattern_of(name, 2)(FRAMES, 9) != pattern_of(name, 1)(FRAMES, 9)).any()


def test_solid_is_one_colour_and_random_is_many() -> None:
    solid, random = pattern_of("solid", 1)(FRAMES, 50), pattern_of("random", 1)(FRAMES, 50)
    assert (solid == solid[:, :1]).all()
    assert all(len(np.unique(frame, axis=0)) > 1 for frame in random)


def test_a_chase_lights_one_pixel_and_goes_round() -> None:
    picture = pattern_of("chase", 0)(np.array([0, 1, 4, 5]), 5)
    assert picture[:, :, 0].argmax(axis=1).tolist() == [0, 1, 4, 0]
    assert (picture.sum(axis=(1, 2)) == 3 * 255).all()


def test_a_rainbow_begins_red_has_every_hue_and_returns() -> None:
    rainbow = pattern_of("rainbow", 0)
    first = rainbow(np.array([0]), 6)[0]
    assert first.tolist() == [[255, 0, 0], [255, 255, 0], [0, 255, 0], [0, 255, 255], [0, 0, 255], [255, 0, 255]]
    assert (rainbow(np.array([RAINBOW_FRAMES]), 6)[0] == first).all()
    assert (rainbow(np.array([1]), 6)[0] != first).any()


def test_a_colour_is_a_pattern_in_any_case() -> None:
    assert pattern_of("Teal", 0)(np.array([3]), 2).tolist() == [[[0, 128, 128]] * 2]
    assert pattern_of("#0A0b0C", 0)(np.array([3]), 1).tolist() == [[[10, 11, 12]]]


@pytest.mark.parametrize("name", ["", "sparkle", "#12", "ff0000"])
def test_another_word_is_refused_with_what_would_be_right(name: str) -> None:
    with pytest.raises(ValueError, match="random, solid, chase, rainbow"):
        pattern_of(name, 0)
