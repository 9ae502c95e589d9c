"""What is written is read again as it was, has right checksums, and has the one shape that every tool reads."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
import pytest

from support import plain_capture, recorded
from support.recorded import COMMENTS, INTERFACES, Datagram, as_pcap, as_pcapng, assorted
from udprism.capture.datagrams import DatagramReader
from udprism.capture.frames import make_frames
from udprism.capture.pcapng_writer import MAX_COMMENT_BYTES, Described, Marks, blocks, file_header
from udprism.capture.weave import Strand


def again(data: bytes) -> list[tuple[int, bytes, bytes, int]]:
    """What our own reader finds; packet ids, drops and comments are not its."""
    reader = DatagramReader(np.frombuffer(data, np.uint8))
    seen = []
    for batch in reader.datagrams():
        for number in range(len(batch)):
            row = batch.addresses[number].tobytes()
            seen.append((int(batch.time_ns[number]), row, batch.payload(number), int(batch.interface[number])))
    assert not reader.skips.count
    return seen


@pytest.mark.parametrize("count", [0, 1, 2, 500])
def test_both_formats_are_read_again_as_they_were(count: int) -> None:
    datagrams = assorted(count)
    expected = [(one.time_ns, recorded.packed(one.source, one.target), one.payload, one.interface) for one in datagrams]
    assert again(as_pcapng(datagrams)) == expected
    assert again(as_pcap(datagrams)) == [(*one[:3], 0) for one in expected]


def ones_sum(data: bytes) -> int:
    """RFC 1071, the slow way."""
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_checksums_are_right_and_never_zero() -> None:
    datagrams = assorted(300)
    zero = _whose_checksum_would_be_zero()
    data = as_pcap([*datagrams, *zero])
    for packet in plain_capture.packets(data):
        frame = data[packet.data_at : packet.data_at + packet.captured]
        if frame[12:14] == b"\x08\x00":
            assert ones_sum(frame[14:34]) == 0xFFFF
            addresses, udp = frame[26:34], frame[34:]
        else:
            addresses, udp = frame[22:54], frame[54:]
        assert udp[6:8] != b"\0\0"
        assert int.from_bytes(udp[4:6]) == len(udp)
        assert ones_sum(addresses + struct.pack("!HH", 17, len(udp)) + udp) == 0xFFFF
    last = data[-2 - 2 : -2]
    assert last == b"\xff\xff"


def _whose_checksum_would_be_zero() -> list[Datagram]:
    source, target = ("2001:db8::1", 1), ("2001:db8::2", 2)
    head = struct.pack("!HHHHHH", 17, 10, 1, 2, 10, 0)
    rest = ones_sum(recorded.packed(source, target)[:32] + head)
    return [Datagram(0, source, target, (0xFFFF - rest).to_bytes(2))]


class Block(NamedTuple):
    kind: int
    body: bytes


def blocks_of(data: bytes) -> list[Block]:
    found, at = [], 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        assert length % 4 == 0
        assert data[at + length - 4 : at + length] == struct.pack("<I", length)
        found.append(Block(kind, data[at + 8 : at + length - 4]))
        at += length
    return found


def options_of(body: bytes) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    at = 0
    while True:
        code, length = struct.unpack_from("<HH", body, at)
        if code == 0:
            assert at + 4 == len(body)
            return found
        found.append((code, body[at + 4 : at + 4 + length]))
        at += 4 + length + -length % 4


def test_a_file_is_one_section_then_all_interfaces_then_packets() -> None:
    datagrams = assorted(50)
    first, *others = blocks_of(as_pcapng(datagrams))
    assert first.kind == 0x0A0D0D0A
    assert [block.kind for block in others] == [1, 1] + [6] * len(datagrams)
    for block, interface in zip(others, INTERFACES, strict=False):
        assert struct.unpack_from("<HHI", block.body) == (1, 0, 262_144)
        assert options_of(block.body[8:]) == [
            (2, interface.name.encode()),
            (3, interface.description.encode()),
            (9, b"\x09"),
        ]
    for block, one in zip(others[2:], datagrams, strict=True):
        number, high, low, kept, length = struct.unpack_from("<IIIII", block.body)
        assert (number, high << 32 | low, kept) == (one.interface, one.time_ns, length)
        options = options_of(block.body[20 + kept + -kept % 4 :])
        expected = [(2, struct.pack("<I", 2 - one.interface))]
        expected += [(5, struct.pack("<Q", one.packet_id)), (4, struct.pack("<Q", one.drops))]
        expected += [(1, COMMENTS[one.comment].encode())] if one.comment else []
        assert options == expected


def test_what_was_not_kept_whole_says_how_long_it_was() -> None:
    kept, length = np.array([4, 0]), np.array([1000, 60])
    addresses = np.frombuffer(recorded.packed(("10.0.0.1", 1), ("10.0.0.2", 2)) * 2, np.uint8).reshape(2, 36).copy()
    frames = make_frames(addresses, Strand(np.frombuffer(b"abcd", np.uint8), np.array([0, 4]), kept), length)
    none = np.zeros(2, np.int32)
    marks = Marks(none, none.astype(np.uint32), none.astype(np.uint64), none.astype(np.uint64), none)
    data = file_header("x", [Described("a", "b")]) + blocks(np.zeros(2, np.int64), frames, marks, [""]).tobytes()
    batches = list(DatagramReader(np.frombuffer(data, np.uint8)).datagrams())
    assert batches[0].length.tolist() == [1000, 60]
    assert [batches[0].payload(0), batches[0].payload(1)] == [b"abcd", b""]


def test_long_comments_are_cut_between_letters() -> None:
    datagram = Datagram(0, ("10.0.0.1", 1), ("10.0.0.2", 2), b"")
    time_ns, frames = recorded.frames_of([datagram])
    one = np.ones(1, np.int32)
    marks = Marks(one * 0, one.astype(np.uint32), one.astype(np.uint64), one.astype(np.uint64), one)
    for text, expected in (("x" * 5000, MAX_COMMENT_BYTES), ("€" * 5000, MAX_COMMENT_BYTES // 3 * 3)):
        (block,) = blocks_of(blocks(time_ns, frames, marks, ["", text]).tobytes())
        assert options_of(block.body[20 + 44 :])[-1] == (1, text.encode()[:expected])
