"""pcap and pcapng read one block after the other, as their texts say: what the reader in columns must agree with."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple


class Packet(NamedTuple):
    """One packet: offsets are the file's."""

    record_at: int
    interface: int
    data_at: int
    captured: int


class Fault(Exception):
    """The file is broken at an offset."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(reason)
        self.offset = offset
        self.reason = reason


def packets(data: bytes) -> Iterator[Packet]:
    """All packets up to where the file was cut. Raises: Fault."""
    for order in ("<", ">"):
        if len(data) >= 4 and struct.unpack_from(f"{order}I", data)[0] in (0xA1B2C3D4, 0xA1B23C4D):
            return _classic(data, order)
    if data[:4] == b"\n\r\r\n":
        return _modern(data)
    raise Fault(0, "magic")


def _classic(data: bytes, order: str) -> Iterator[Packet]:
    if len(data) < 24:
        raise Fault(0, "header")
    at = 24
    while at + 12 < len(data):  # the length is there, if not all of the record's header
        (captured,) = struct.unpack_from(f"{order}I", data, at + 8)
        if captured > 262_144:
            raise Fault(at, "packet-length")
        if at + 16 + captured > len(data):
            return
        yield Packet(at, 0, at + 16, captured)
        at += 16 + captured


def _modern(data: bytes) -> Iterator[Packet]:
    at, order, first, snaps = 0, "<", 0, list[int]()
    while at + 12 <= len(data):
        if data[at : at + 4] == b"\n\r\r\n":
            order = _order(data, at)
            first, snaps = first + len(snaps), []
        kind, length = struct.unpack_from(f"{order}II", data, at)
        if length < 12 or length > 16 << 20 or length % 4:
            raise Fault(at, "block-length")
        if at + length > len(data):
            return
        if struct.unpack_from(f"{order}I", data, at + length - 4)[0] != length:
            raise Fault(at, "block-trailer")
        if kind == 1:
            if length < 20:
                raise Fault(at, "block-length")
            _check_options(data[at + 16 : at + length - 4], order, at + 16)
            snaps.append(struct.unpack_from(f"{order}I", data, at + 12)[0])
        elif kind in (2, 3, 6):
            yield _packet(data, at, kind, length, order, first, snaps)
        at += length
    if at + 8 < len(data):  # too short to be a block, and its length may already be wrong
        (length,) = struct.unpack_from(f"{order}I", data, at + 4)
        if data[at : at + 4] != b"\n\r\r\n" and (length < 12 or length > 16 << 20 or length % 4):
            raise Fault(at, "block-length")


def _order(data: bytes, at: int) -> str:
    for order in ("<", ">"):
        if struct.unpack_from(f"{order}I", data, at + 8)[0] == 0x1A2B3C4D:
            return order
    raise Fault(at, "byte-order")


def _check_options(options: bytes, order: str, file_at: int) -> None:
    at = 0
    while at + 4 <= len(options):
        code, length = struct.unpack_from(f"{order}HH", options, at)
        if code == 0:
            return
        if at + 4 + length > len(options):
            raise Fault(file_at + at, "option-length")
        at += 4 + length + -length % 4


def _packet(data: bytes, at: int, kind: int, length: int, order: str, first: int, snaps: list[int]) -> Packet:
    if kind == 3:
        if not snaps:
            raise Fault(at, "interface")
        if length < 16:
            raise Fault(at, "packet-length")
        (original,) = struct.unpack_from(f"{order}I", data, at + 8)
        return Packet(at, first, at + 12, min(original, length - 16, snaps[0] or original))
    padded = data[at : at + 28].ljust(28, b"\0")  # the last block of a file may be shorter
    number = struct.unpack_from(f"{order}H" if kind == 2 else f"{order}I", padded, 8)[0]
    captured = struct.unpack_from(f"{order}I", padded, 20)[0]
    if number >= len(snaps):
        raise Fault(at, "interface")
    if captured > length - 32:
        raise Fault(at, "packet-length")
    return Packet(at, first + number, at + 28, captured)
