"""Test patterns, frame by frame. Each is a pure function of the frame's number and a seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from udprism.columns.types import I64Column, U8Column, U64Column
from udprism.wire.colours import BASIC_COUNT, INDEX_OF, RGB, parse_hex

RAINBOW_FRAMES: Final = 128
"""A rainbow repeats after this many frames."""

Pattern = Callable[[I64Column, int], U8Column]
"""(frame numbers int64[n], pixels) → uint8[n, pixels, 3]."""


def _mixed(values: U64Column, seed: int) -> U64Column:
    """splitmix64 (Steele, Lea and Flood 2014) of each value."""
    mixed = (values + np.uint64(seed & 0xFFFF_FFFF_FFFF_FFFF)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _palette_colour(values: U64Column, seed: int) -> U8Column:
    colours: U8Column = RGB[(_mixed(values, seed) % np.uint64(BASIC_COUNT)).astype(np.intp)]
    return colours


def _random(frame: I64Column, pixels: int, seed: int) -> U8Column:
    """Each pixel of each frame one of the six basic colours."""
    place = frame.astype(np.uint64)[:, None] << np.uint64(24) | np.arange(pixels, dtype=np.uint64)
    return _palette_colour(place, seed)


def _solid(frame: I64Column, pixels: int, seed: int) -> U8Column:
    """All pixels of a frame alike, one of the six basic colours."""
    colour = _palette_colour(frame.astype(np.uint64), seed)
    return np.repeat(colour[:, None, :], pixels, axis=1)


def _chase(frame: I64Column, pixels: int, seed: int) -> U8Column:
    """One white pixel on black, one place further with each frame."""
    is_lit = (frame % pixels)[:, None, None] == np.arange(pixels)[:, None]
    return np.where(is_lit, np.full(3, 255, np.uint8), np.uint8(0))


def _rainbow(frame: I64Column, pixels: int, seed: int) -> U8Column:
    """All hues, once around over the pixels, moving on with each frame."""
    hue = (frame[:, None] / RAINBOW_FRAMES + np.arange(pixels) / pixels) % 1.0
    channel = np.array([0.0, 2.0, 4.0])  # red, green and blue peak a third of the circle apart
    level = np.abs((hue[..., None] * 6 + channel[[0, 2, 1]]) % 6 - 3) - 1
    colours: U8Column = (255 * np.clip(level, 0.0, 1.0) + 0.5).astype(np.uint8)
    return colours


_MOVING: Final = {"random": _random, "solid": _solid, "chase": _chase, "rainbow": _rainbow}
NAMES: Final = tuple(_MOVING)
"""The patterns that move; the name of a colour, or `#rrggbb`, is a pattern that does not."""


def pattern_of(name: str, seed: int) -> Pattern:
    """The pattern of this name; upper case is taken as lower case.

    Raises: ValueError: neither a pattern nor a colour.
    """
    name = name.lower()
    if name in _MOVING:
        moving = _MOVING[name]
        return lambda frame, pixels: moving(frame, pixels, seed)
    colour = RGB[INDEX_OF[name]] if name in INDEX_OF else parse_hex(name.encode())
    if colour is None:
        raise ValueError(f"{name!r} is neither a pattern ({', '.join(NAMES)}) nor a colour's name nor #rrggbb")
    still = np.array(colour, np.uint8)
    return lambda frame, pixels: np.broadcast_to(still, (len(frame), pixels, 3))


def is_still(name: str) -> bool:
    """Whether every frame of this pattern is the same."""
    return name.lower() not in _MOVING
