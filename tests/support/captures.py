"""Capture files and what is in them, written byte by byte from the formats' texts: shares no code with the program."""

from __future__ import annotations

import ipaddress
import struct
from typing import Literal

Order = Literal["<", ">"]
MAGIC_US, MAGIC_NS = 0xA1B2C3D4, 0xA1B23C4D
NULL, ETHERNET, RAW, LOOP, SLL, IPV4, IPV6, SLL2 = 0, 1, 101, 108, 113, 228, 229, 276
SOURCE, TARGET = ("10.0.0.1", 40_000), ("10.0.0.2", 12_345)
SOURCE6, TARGET6 = ("2001:db8::1", 40_000), ("2001:db8::2", 12_345)


def udp(payload: bytes, source: tuple[str, int] = SOURCE, target: tuple[str, int] = TARGET) -> bytes:
    """A UDP header and its payload; without a checksum."""
    return struct.pack("!HHHH", source[1], target[1], 8 + len(payload), 0) + payload


def ip4(
    body: bytes,
    source: tuple[str, int] = SOURCE,
    target: tuple[str, int] = TARGET,
    *,
    options: bytes = b"",
    protocol: int = 17,
    identification: int = 0,
    offset: int = 0,
    more: bool = False,
) -> bytes:
    """An IPv4 packet. offset: of a fragment, in bytes."""
    head = 20 + len(options)
    place = more << 13 | offset >> 3
    words = (0x40 | head >> 2, 0, head + len(body), identification, place, 64, protocol, 0)
    return struct.pack("!BBHHHBBH", *words) + _ip(source) + _ip(target) + options + body


def ip6(
    body: bytes,
    source: tuple[str, int] = SOURCE6,
    target: tuple[str, int] = TARGET6,
    *,
    extensions: bytes = b"",
    following: int = 17,
) -> bytes:
    """An IPv6 packet. following: the first next-header number."""
    head = struct.pack("!IHBB", 0x60000000, len(extensions) + len(body), following, 64)
    return head + _ip(source) + _ip(target) + extensions + body


def _ip(address: tuple[str, int]) -> bytes:
    return ipaddress.ip_address(address[0]).packed


def ethernet(packet: bytes, *tags: int) -> bytes:
    """An Ethernet frame; tags: types of VLAN tags, outermost first."""
    kind = b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd"
    return bytes(12) + b"".join(struct.pack("!HH", tag, 7) for tag in tags) + kind + packet


def linked(packet: bytes, link_type: int, order: Order = "<") -> bytes:
    """An IP packet as an interface of that link type shows it."""
    version = packet[0] >> 4
    kind = b"\x08\x00" if version == 4 else b"\x86\xdd"
    match link_type:
        case 1:
            return ethernet(packet)
        case 113:
            return struct.pack("!HHH8s", 0, 1, 6, bytes(8)) + kind + packet
        case 276:
            return kind + struct.pack("!HIHBB8s", 0, 1, 1, 0, 6, bytes(8)) + packet
        case 0:
            return struct.pack(f"{order}I", 2 if version == 4 else 10) + packet
        case 108:
            return struct.pack("!I", 2 if version == 4 else 30) + packet
    return packet


def frame(payload: bytes) -> bytes:
    """An Ethernet frame with a UDP datagram from SOURCE to TARGET."""
    return ethernet(ip4(udp(payload)))


def pcap_head(order: Order = "<", magic: int = MAGIC_NS, link_type: int = ETHERNET, snap_bytes: int = 262_144) -> bytes:
    """The header of a classic pcap file."""
    return struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, snap_bytes, link_type)


def record(
    data: bytes, seconds: int = 1_700_000_000, part: int = 0, order: Order = "<", original: int | None = None
) -> bytes:
    """A record of a classic pcap. part: micro- or nanoseconds."""
    length = len(data) if original is None else original
    return struct.pack(f"{order}IIII", seconds, part, len(data), length) + data


def block(kind: int, body: bytes, order: Order = "<") -> bytes:
    """A pcapng block, padded."""
    body += bytes(-len(body) % 4)
    length = struct.pack(f"{order}I", 12 + len(body))
    return struct.pack(f"{order}I", kind) + length + body + length


def option(code: int, value: bytes, order: Order = "<") -> bytes:
    """A pcapng option, padded."""
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: Order = "<") -> bytes:
    """A Section Header Block."""
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link_type: int = ETHERNET, options: bytes = b"", order: Order = "<", snap_bytes: int = 0) -> bytes:
    """An Interface Description Block."""
    return block(1, struct.pack(f"{order}HHI", link_type, 0, snap_bytes) + options, order)


def enhanced(
    data: bytes,
    ticks: int = 0,
    number: int = 0,
    order: Order = "<",
    original: int | None = None,
    options: bytes = b"",
) -> bytes:
    """An Enhanced Packet Block. number: of its interface."""
    length = len(data) if original is None else original
    head = struct.pack(f"{order}IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), length)
    return block(6, head + data + bytes(-len(data) % 4) + options, order)


def obsolete(data: bytes, ticks: int = 0, number: int = 0, order: Order = "<") -> bytes:
    """A Packet Block, of which nobody writes new ones."""
    head = struct.pack(f"{order}HHIIII", number, 9, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    return block(2, head + data, order)


def simple(data: bytes, order: Order = "<", original: int | None = None) -> bytes:
    """A Simple Packet Block."""
    return block(3, struct.pack(f"{order}I", len(data) if original is None else original) + data, order)
