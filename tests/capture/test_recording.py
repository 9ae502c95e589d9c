"""Blocks of a recording say where a datagram was seen and what became of it."""

from __future__ import annotations

import struct

import numpy as np

from support import plain_capture
from udprism.capture.pcapng_writer import INBOUND, OUTBOUND, file_header
from udprism.capture.recording import Point, RecordedFlow, Seen, interfaces, packed_addresses, packet_blocks

FLOWS = [
    RecordedFlow("lamp", ("127.0.0.1", 12345), ("127.0.0.1", 40000)),
    RecordedFlow("lamp", ("fe80::1%eth0", 12345), ("::1", 40001)),
]


def recorded(point: Point) -> bytes:
    """One datagram of each flow, cut to 4 of its 6 bytes; the second one was lost and is the first after a gap of 3."""
    flow = np.arange(2, dtype=np.int32)
    rows = np.frombuffer(b"abcdefgh", np.uint8).reshape(2, 4)
    number = np.array([7, (5 << 32) | 9])
    seen = Seen(point, flow, np.array([1, 2]), number, np.full(2, 6), rows, flow)
    drops = np.array([0, 3], np.uint64)
    data = packet_blocks(seen, packed_addresses(FLOWS), drops, ("", "lost by the link"))
    return file_header("udprism 0", interfaces(FLOWS)) + data.tobytes()


def options(data: bytes, packet: plain_capture.Packet) -> dict[int, bytes]:
    """A packet's options by their code."""
    found: dict[int, bytes] = {}
    at = packet.data_at + packet.captured + -packet.captured % 4
    while True:
        code, length = struct.unpack_from("<HH", data, at)
        if not code:
            return found
        assert code not in found, "an option comes once"
        found[code] = data[at + 4 : at + 4 + length]
        at += 4 + length + -length % 4


def test_interfaces_of_flows_of_one_name_differ() -> None:
    described = interfaces(FLOWS)
    assert [one.name for one in described] == ["0/sender", "0/receiver", "1/sender", "1/receiver"]
    assert described[0].description == "lamp, 127.0.0.1:12345 → 127.0.0.1:40000, as it left"


def test_a_datagram_has_its_fate_and_one_id_at_both_points() -> None:
    ids = []
    for point, direction in ((Point.SENDER, OUTBOUND), (Point.RECEIVER, INBOUND)):
        data = recorded(point)
        first, second = plain_capture.packets(data)
        assert (first.interface, second.interface) == (point, 2 + point)
        read = [options(data, one) for one in (first, second)]
        assert [struct.unpack("<I", one[2])[0] for one in read] == [direction, direction]
        assert [struct.unpack("<Q", one[4])[0] for one in read] == [0, 3]
        assert [one.get(1) for one in read] == [None, b"lost by the link"]
        ids.append([struct.unpack("<Q", one[5])[0] for one in read])
    assert ids[0] == ids[1] == [7, 1 << 40 | 5 << 32 | 9]


def test_a_row_that_was_cut_says_how_long_it_was() -> None:
    data = recorded(Point.SENDER)
    for packet, head_bytes, text in zip(plain_capture.packets(data), (42, 62), (b"abcd", b"efgh"), strict=True):
        assert packet.captured == head_bytes + 4
        assert struct.unpack_from("<I", data, packet.record_at + 24)[0] == head_bytes + 6
        assert data[packet.data_at + head_bytes : packet.data_at + packet.captured] == text
