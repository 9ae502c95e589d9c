"""Lanes find what one step after the other finds, whatever is in the file."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from support import captures
from udprism.capture import walk as lanes
from udprism.capture.buffer import Buffer
from udprism.capture.datagrams import open_capture
from udprism.capture.walk import Framing, walk
from udprism.columns.types import I64Column

FRAMING = Framing("<", length_at=8, overhead=16, smallest=16)
SPAN = 40 * lanes.LANE_BYTES


def one_by_one(data: bytes, start: int, stop: int) -> list[int]:
    places = []
    while start < stop and start + 16 <= len(data):
        places.append(start)
        start += 16 + struct.unpack_from("<I", data, start + 8)[0]
    return places


def records(rng: np.random.Generator, sizes: list[int]) -> bytes:
    data = bytearray()
    while len(data) < SPAN:
        size = int(rng.choice(sizes))
        data += struct.pack("<IIII", 0, 0, size, size) + rng.bytes(size)
    return bytes(data)


def nowhere(bounds: I64Column, window: int) -> I64Column:
    return bounds[:0]


def anywhere(bounds: I64Column, window: int) -> I64Column:
    """Wrong at nearly every lane."""
    return bounds + 1


@pytest.mark.parametrize("sizes", [[23], [0, 1, 2, 3], [40, 1400], [9000], [60_000, 0]], ids=str)
@pytest.mark.parametrize("likely", [nowhere, anywhere])
def test_wrong_beginnings_of_lanes_change_nothing(sizes: list[int], likely: lanes.Likely) -> None:
    data = records(np.random.default_rng(1), sizes)
    buffer = Buffer(np.frombuffer(data, np.uint8))
    assert walk(buffer, FRAMING, 0, SPAN, likely).tolist() == one_by_one(data, 0, SPAN)


def test_some_right_and_some_wrong_beginnings_change_nothing() -> None:
    rng = np.random.default_rng(2)
    data = records(rng, [10, 100, 1000])
    true = np.array(one_by_one(data, 0, SPAN))
    buffer = Buffer(np.frombuffer(data, np.uint8))

    def likely(bounds: I64Column, window: int) -> I64Column:
        right = true[np.searchsorted(true, bounds)]
        return np.where(rng.random(len(bounds)) < 0.5, right, bounds + 5)[rng.random(len(bounds)) < 0.9]

    for _ in range(20):
        assert walk(buffer, FRAMING, 0, SPAN, likely).tolist() == true.tolist()


def test_the_walk_begins_and_ends_where_it_is_told_to() -> None:
    data = records(np.random.default_rng(3), [50, 70])
    buffer = Buffer(np.frombuffer(data, np.uint8))
    true = one_by_one(data, 0, len(data))
    for stop in (1, 86, 87, SPAN // 2, SPAN):
        found = walk(buffer, FRAMING, true[7], true[7] + stop, nowhere)
        assert found.tolist() == one_by_one(data, true[7], true[7] + stop)


@pytest.mark.parametrize("last", [15, 17, 12, 8, 4, 1])
def test_a_last_record_is_found_as_soon_as_it_says_its_length(last: int) -> None:
    whole = struct.pack("<IIII", 0, 0, 2, 2) + b"ab"
    data = whole * 3 + whole[:last]
    found = walk(Buffer(np.frombuffer(data, np.uint8)), FRAMING, 0, len(data), nowhere)
    assert found.tolist() == [0, 18, 36, 54][: 4 if last > 12 else 3]


def test_lengths_that_no_record_can_have_end_nothing_and_leave_the_buffer_never() -> None:
    rng = np.random.default_rng(4)
    for _ in range(10):
        data = rng.bytes(SPAN)
        found = walk(Buffer(np.frombuffer(data, np.uint8)), FRAMING, 0, SPAN, anywhere)
        assert (np.diff(found) >= FRAMING.smallest).all()
        assert found[0] == 0
        assert found[-1] < SPAN


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("sizes", [[23], [20, 21, 22, 51], [1472], [8, 1472, 3900]], ids=str)
def test_real_files_are_walked_by_their_lanes_alone(
    order: captures.Order, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop is for what was guessed wrong: in honest files hardly ever."""
    rng = np.random.default_rng(5)
    by_loop = 0

    def counted(*arguments: object) -> tuple[list[int], int]:
        nonlocal by_loop
        places, here = in_turn(*arguments)  # type: ignore[arg-type]
        by_loop += len(places)
        return places, here

    in_turn = lanes._in_turn
    monkeypatch.setattr(lanes, "_in_turn", counted)
    frames = [captures.frame(rng.bytes(size)) for size in sizes]
    order_of = rng.integers(0, len(sizes), SPAN // (60 + int(np.mean(sizes))))
    classic = captures.pcap_head(order) + b"".join(
        captures.record(frames[kind], part=at, order=order) for at, kind in enumerate(order_of)
    )
    modern = captures.section(order) + captures.interface(order=order)
    modern += b"".join(captures.enhanced(frames[kind], at, order=order) for at, kind in enumerate(order_of))
    for data, first in ((classic, 0), (modern, 64 << 10)):  # a section begins with small pieces
        by_loop = 0
        file = open_capture(Buffer(np.frombuffer(data, np.uint8)))
        assert sum(map(len, file.packets())) == len(order_of)
        assert by_loop <= len(order_of) * (3 * first / len(data) + 0.05)


def test_a_capture_of_captures_is_read_as_what_it_is() -> None:
    """Payloads that are records themselves: all that makes a beginning likely, and none."""
    inner = captures.record(captures.frame(b"inner"), part=3)
    frames = [captures.frame(inner * count) for count in (1, 5, 12)]
    outer = [captures.record(frames[at % 3], part=at) for at in range(4000)]
    data = captures.pcap_head() + b"".join(outer)
    file = open_capture(Buffer(np.frombuffer(data, np.uint8)))
    seen = [part for packets in file.packets() for part in (packets.time_ns % 10**9).tolist()]
    assert seen == list(range(4000))
    blocks = [captures.enhanced(captures.frame(captures.enhanced(b"inner", 1) * (at % 9)), at) for at in range(4000)]
    data = captures.section() + captures.interface() + b"".join(blocks)
    file = open_capture(Buffer(np.frombuffer(data, np.uint8)))
    assert [time for packets in file.packets() for time in packets.time_ns.tolist()] == [
        1000 * at for at in range(4000)
    ]
