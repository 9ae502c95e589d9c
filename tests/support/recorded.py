"""Datagrams to be written, and the files that the product makes of them."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

import numpy as np

from udprism.capture import pcap_writer, pcapng_writer
from udprism.capture.frames import Frames, make_frames
from udprism.capture.pcapng_writer import INBOUND, OUTBOUND, Described, Marks
from udprism.capture.weave import Strand
from udprism.columns.types import Address, I64Column, Rows

INTERFACES = (
    Described("lamp/sender", "lamp, 10.0.0.2:12345 → 10.0.0.1:40000, as it left"),
    Described("lamp/receiver", "lamp, 10.0.0.2:12345 → 10.0.0.1:40000, as it came"),
)
COMMENTS = ("", "lost by the link: burst", "late, duplicate — für später")
BASE_NS = 1_700_000_000_123_456_789


class Datagram(NamedTuple):
    """One datagram as it should be read again."""

    time_ns: int
    source: Address
    target: Address
    payload: bytes
    interface: int = 0
    packet_id: int = 0
    drops: int = 0
    comment: int = 0


def packed(source: Address, target: Address) -> bytes:
    """Both addresses as 36 bytes."""
    hosts = [ipaddress.ip_address(host) for host, _ in (source, target)]
    wide = [host.packed if host.version == 6 else bytes(10) + b"\xff\xff" + host.packed for host in hosts]
    return b"".join(wide) + source[1].to_bytes(2) + target[1].to_bytes(2)


def frames_of(datagrams: list[Datagram]) -> tuple[I64Column, Frames]:
    """Their times and frames."""
    addresses: Rows = np.frombuffer(b"".join(packed(one.source, one.target) for one in datagrams), np.uint8)
    length = np.array([len(one.payload) for one in datagrams], np.int64)
    data = np.frombuffer(b"".join(one.payload for one in datagrams) or b"\0", np.uint8)
    payloads = Strand(data, np.cumsum(length) - length, length)
    time_ns = np.array([one.time_ns for one in datagrams], np.int64)
    return time_ns, make_frames(addresses.reshape(-1, 36).copy(), payloads, length)


def as_pcap(datagrams: list[Datagram]) -> bytes:
    """A classic file."""
    return pcap_writer.FILE_HEADER + pcap_writer.records(*frames_of(datagrams)).tobytes()


def as_pcapng(datagrams: list[Datagram]) -> bytes:
    """A file with two interfaces."""
    interface = np.array([one.interface for one in datagrams], np.int32)
    marks = Marks(
        interface,
        np.where(interface, INBOUND, OUTBOUND).astype(np.uint32),
        np.array([one.packet_id for one in datagrams], np.uint64),
        np.array([one.drops for one in datagrams], np.uint64),
        np.array([one.comment for one in datagrams], np.int32),
    )
    blocks = pcapng_writer.blocks(*frames_of(datagrams), marks, COMMENTS)
    return pcapng_writer.file_header("udprism 0", INTERFACES) + blocks.tobytes()


def assorted(count: int, seed: int = 1) -> list[Datagram]:
    """Of all lengths, both versions of IP, all comments; each left and most arrived."""
    rng = np.random.default_rng(seed)
    sizes = [0, 1, 2, 3, 5, 6, 19, 23, 48, 512, 1472, 9000]
    made = []
    for number in range(count):
        payload = rng.bytes(sizes[int(rng.integers(len(sizes)))])
        six = bool(rng.integers(2))
        source = ("2001:db8::1" if six else "10.0.0.1", int(rng.integers(1, 65536)))
        target = ("2001:db8:0:1::ffff" if six else "255.254.253.1", int(rng.integers(1, 65536)))
        lost = number % 5 == 4
        comment = 1 if lost else 2 * (number % 7 == 6)
        at_ns = BASE_NS + number * 1_000_001
        made.append(Datagram(at_ns, source, target, payload, 0, number << 33 | 5, number % 3, comment))
        if not lost:
            made.append(Datagram(at_ns + 77, source, target, payload, 1, number << 33 | 5, 0, comment))
    return made
