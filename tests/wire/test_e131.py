"""E1.31's datagrams beside data: synchronisation and universe discovery, written from ANSI E1.31-2018's tables."""

from __future__ import annotations

import struct

from udprism.wire.e131 import E131, group_of

CID = bytes(range(16))


def extended(framing_vector: int, rest: bytes) -> bytes:
    """Root layer of an extended packet (vector 8), then the framing layer."""
    framing = struct.pack("!HI", 0x7000 | (6 + len(rest)), framing_vector) + rest
    return (
        struct.pack("!HH", 16, 0)
        + b"ASC-E1.17\0\0\0"
        + struct.pack("!HI", 0x7000 | (22 + len(framing)), 8)
        + CID
        + framing
    )


SYNC = extended(1, struct.pack("!BHH", 9, 7962, 0))
DISCOVERY = extended(
    2, b"desk".ljust(64, b"\0") + bytes(4) + struct.pack("!HIBB", 0x7000 | 12, 1, 2, 3) + struct.pack("!HH", 1, 42)
)


def fields_of(data: bytes) -> dict[str, str]:
    return {field.name: field.value for field in E131().fields(data)}


def test_a_synchronisation_is_explained() -> None:
    found = fields_of(SYNC)
    assert (found["number"], found["synchronisation address"]) == ("9", "7962")


def test_a_discovery_is_explained_with_its_pages_and_universes() -> None:
    found = fields_of(DISCOVERY)
    assert (found["source name"], found["page"], found["last page"]) == ("desk", "2", "3")
    assert "universes" in found


def test_a_universe_s_group_has_its_number_in_its_last_two_bytes() -> None:
    assert [group_of(universe) for universe in (1, 256, 63999)] == ["239.255.0.1", "239.255.1.0", "239.255.249.255"]
