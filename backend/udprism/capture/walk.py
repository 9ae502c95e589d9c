"""Where the records of a file begin. A record gives its length only, so finding one needs the one before it.

That chain is serial, and a step of it costs a Python loop more than all that is done with a record afterwards. So the
span is cut into lanes, each begins where a record probably begins, and one NumPy step moves all of them one record
further. A lane is believed only if the lane before it arrives exactly where it began; otherwise the loop takes over
until it meets another lane's beginning. The result is the serial chain, whatever was guessed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from udprism.capture.buffer import Buffer, ByteOrder, Words
from udprism.columns.types import I64Column

LANE_BYTES: Final = (16 << 10) + 832
"""Enough records that finding a lane's beginning is cheap, and enough lanes that a step is (measured: 8 to 32 KiB). Not
a power of two, or all lanes would share a few sets of the processor's caches."""
_LEAST_LANES: Final = 8
_STEPS_AT_ONCE: Final = 16
"""Steps between two looks at whether all lanes have arrived."""
SEARCH_BYTES: Final = 128
"""How far to search for a lane's beginning at first; if there is none, 32 times as far."""

Likely: TypeAlias = Callable[[I64Column, int], I64Column]
"""(offsets, window) → where a record probably begins, for those that have one within `window` bytes, ascending."""


class Framing(NamedTuple):
    """How a format's records follow each other: record bytes = number at `length_at` + `overhead`."""

    order: ByteOrder
    length_at: int
    overhead: int
    smallest: int
    """The fewest bytes of a record; more than length_at + 4."""


def walk(buffer: Buffer, framing: Framing, start: int, stop: int, likely: Likely) -> I64Column:
    """int64[n]: where each record begins, the first at `start`, all before `stop`.

    Left out is what begins so near to the buffer's end that it cannot say its length. Lengths are not judged here:
    after a record whose length its format does not allow, offsets are meaningless, though ascending and in the buffer.
    """
    stop = min(stop, buffer.size - framing.length_at - 4)
    if start >= stop:
        return np.empty(0, np.int64)
    words = buffer.words(framing.order)[framing.length_at :]
    lanes = (stop - start) // LANE_BYTES
    if lanes < _LEAST_LANES:
        return np.array(_in_turn(buffer, framing, start, stop, {})[0], np.int64)
    begin = np.concatenate(([start], _beginnings(likely, start, (stop - start) // lanes, lanes)))
    steps = _in_step(words, framing, begin, stop)
    until = np.append(begin[1:], stop)[:, np.newaxis]
    inside = steps < until
    count = np.count_nonzero(inside, axis=1)
    arrived = steps[np.arange(len(begin)), count]
    if np.array_equal(arrived[:-1], begin[1:]):
        return steps[inside]
    return _joined(buffer, framing, stop, begin, [row[:end] for row, end in zip(steps, count, strict=True)], arrived)


def first_of_each(bounds: I64Column, places: I64Column) -> I64Column:
    """The first of the ascending `places` behind each bound that has one before the next bound."""
    _, first = np.unique(np.searchsorted(bounds, places, "right"), return_index=True)
    found: I64Column = places[first]
    return found


def _beginnings(likely: Likely, start: int, lane_bytes: int, lanes: int) -> I64Column:
    """Where lanes probably begin: at most one per `lane_bytes`."""
    bounds = start + np.arange(1, lanes, dtype=np.int64) * lane_bytes
    found = likely(bounds, SEARCH_BYTES)
    if len(found) == len(bounds):
        return found
    without = np.setdiff1d(bounds, bounds[(found - start) // lane_bytes - 1], assume_unique=True)
    return np.sort(np.concatenate((found, likely(without, 32 * SEARCH_BYTES))))


def _in_step(words: Words, framing: Framing, begin: I64Column, stop: int) -> I64Column:
    """int64[lanes, steps]: all lanes move at once, until each has arrived at the next one's beginning or beyond."""
    last = len(words) - 1
    until = np.append(begin[1:], stop)
    place = begin
    steps = [place]
    while True:
        for _ in range(_STEPS_AT_ONCE):
            further = place + framing.smallest
            np.maximum(further, place + framing.overhead + words[place], out=further)
            place = np.minimum(further, last, out=further)
            steps.append(place)
        if (place >= until).all():
            return np.array(steps).T


def _joined(
    buffer: Buffer, framing: Framing, stop: int, begin: I64Column, lanes: list[I64Column], arrived: I64Column
) -> I64Column:
    """The lanes that are true, and in between them what the loop finds."""
    lane_at = {int(place): lane for lane, place in enumerate(begin)}
    pieces: list[I64Column] = []
    lane: int | None = 0
    while lane is not None:
        pieces.append(lanes[lane])
        here = int(arrived[lane])
        if here >= stop:
            break
        lane = lane_at.get(here)
        if lane is None:
            places, here = _in_turn(buffer, framing, here, stop, lane_at)
            pieces.append(np.array(places, np.int64))
            lane = lane_at.get(here)
    return np.concatenate(pieces)


def _in_turn(buffer: Buffer, framing: Framing, here: int, stop: int, until: dict[int, int]) -> tuple[list[int], int]:
    """One record after the other, up to a place that is in `until`: (where they begin, where the next one does)."""
    read = struct.Struct(f"{framing.order}I").unpack_from
    data = buffer.data.data
    length_at, overhead, smallest = framing.length_at, framing.overhead, framing.smallest
    last = buffer.size - length_at - 4
    places = []
    while here < stop and here not in until:
        places.append(here)
        here = min(max(here + smallest, here + overhead + read(data, here + length_at)[0]), last)
    return places, here
