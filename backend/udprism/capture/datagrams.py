"""The UDP datagrams of a capture file, as columns."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from udprism.capture import pcap
from udprism.capture.blocks import Block
from udprism.capture.buffer import Buffer, Joined, number16
from udprism.capture.fragments import Assembler
from udprism.capture.ip import ADDRESSES_BYTES, Carried, read_ipv4, read_ipv6
from udprism.capture.link_layers import IpHeaders, find_ip
from udprism.capture.packets import CaptureFile, Packets
from udprism.capture.pcap import PcapFile
from udprism.capture.pcapng import PcapngFile
from udprism.capture.skips import Skip, Skips
from udprism.columns.types import BoolColumn, I32Column, I64Column, Rows, U8Column
from udprism.errors import CaptureError

UDP_HEADER_BYTES: Final = 8


@dataclass(slots=True)
class Datagrams:
    """n datagrams, in the order of the file; one that came in parts stands where its last part does.

    record_at: int64[n], the offset of its (last) packet's record. interface: int32[n]. time_ns: int64[n], Unix
    nanoseconds or UNKNOWN_NS. addresses: uint8[n, 36]: source and target, 16 bytes each and IPv4 mapped, then both
    ports in network byte order. length: int64[n], bytes of payload. captured: int64[n], how many of them the file has.
    """

    record_at: I64Column
    interface: I32Column
    time_ns: I64Column
    addresses: Rows
    length: I64Column
    captured: I64Column
    payload_at: I64Column
    source: Joined
    """What payload_at counts in."""

    def __len__(self) -> int:
        return len(self.record_at)

    def part(self, which: BoolColumn | I64Column) -> Datagrams:
        """The rows of a mask or of indices."""
        return Datagrams(
            record_at=self.record_at[which],
            interface=self.interface[which],
            time_ns=self.time_ns[which],
            addresses=self.addresses[which],
            length=self.length[which],
            captured=self.captured[which],
            payload_at=self.payload_at[which],
            source=self.source,
        )

    def rows(self, width: int) -> Rows:
        """uint8[n, width]: payloads; behind the bytes captured lies something else."""
        return self.source.rows(self.payload_at, width)

    def payload(self, number: int) -> bytes:
        """The captured bytes of one datagram."""
        return self.source.bytes(int(self.payload_at[number]), int(self.captured[number]))


class DatagramReader:
    """Reads one file from its beginning to its end, once, in bounded memory.

    Raises: CaptureError, if the file begins as neither pcap nor pcapng.
    """

    def __init__(self, data: U8Column) -> None:
        self._buffer = Buffer(data)
        self.file: Final[CaptureFile] = open_capture(self._buffer)
        self.skips: Final = Skips()
        self.packets = 0
        """Read so far: datagrams, fragments among them, and what was skipped."""
        self._assembler = Assembler(self.skips)
        self._link_types = array("i")  # by interface

    def datagrams(self) -> Iterator[Datagrams]:
        """Batches of 1 to SLICE_PACKETS datagrams.

        Raises: CaptureError, after the datagrams before the fault.
        """
        try:
            for packets in self.file.packets():
                self.packets += len(packets)
                batch = self._read(packets)
                if len(batch):
                    yield batch
        finally:
            self._assembler.end()

    def _read(self, packets: Packets) -> Datagrams:
        parts: list[Carried] = []
        then = bytearray()
        for headers in self._ip_headers(packets):
            for version, read in ((4, read_ipv4), (6, read_ipv6)):
                its = _of_version(headers, version)
                if not len(its.row):
                    continue
                whole, fragments = read(self._buffer, its, self.skips)
                parts.append(whole)
                if fragments is not None:
                    parts.append(self._assembler.take(self._buffer, packets, fragments, then))
        return self._udp(packets, _in_order(parts), Joined(self._buffer, bytes(then)))

    def _ip_headers(self, packets: Packets) -> Iterator[IpHeaders]:
        """By link type."""
        self._link_types.extend(one.link_type for one in self.file.interfaces[len(self._link_types) :])
        if len(self._link_types) == 1:
            yield find_ip(self._buffer, packets, self._link_types[0], self.skips)
            return
        link_types = np.frombuffer(self._link_types, np.int32)[packets.interface]
        for kind in np.unique(link_types).tolist():
            its = np.flatnonzero(link_types == kind)
            if len(its) == len(packets):
                yield find_ip(self._buffer, packets, kind, self.skips)
                return
            headers = find_ip(self._buffer, packets.part(its), kind, self.skips)
            yield headers._replace(row=its[headers.row])

    def _udp(self, packets: Packets, carried: Carried, source: Joined) -> Datagrams:
        """The datagrams whose header is there and agrees with IP's length."""
        head = source.rows(carried.at, UDP_HEADER_BYTES)
        carried.addresses.view(np.uint32)[:, 8] = head.view(np.uint32)[:, 0]
        size = number16(head, 4).astype(np.int64)
        cut = carried.kept < UDP_HEADER_BYTES
        bad = (size < UDP_HEADER_BYTES) | (size > carried.bytes)
        wrong = cut | bad
        if wrong.any():
            self.skips.add(Skip.CUT_SHORT, cut)
            self.skips.add(Skip.BAD_UDP, bad & ~cut)
            carried, size = carried.part(~wrong), size[~wrong]
        row: I64Column | slice = carried.row if len(carried.row) < len(packets) else slice(None)
        return Datagrams(
            record_at=packets.record_at[row],
            interface=packets.interface[row],
            time_ns=packets.time_ns[row],
            addresses=carried.addresses,
            length=size - UDP_HEADER_BYTES,
            captured=np.minimum(carried.kept, size) - UDP_HEADER_BYTES,
            payload_at=carried.at + UDP_HEADER_BYTES,
            source=source,
        )


def open_capture(buffer: Buffer) -> CaptureFile:
    """Raises: CaptureError, if this is neither pcap nor pcapng."""
    head = buffer.bytes(0, 4)
    if len(head) == 4:
        order = pcap.byte_order(head)
        if order is not None:
            return PcapFile(buffer, order)
        if int.from_bytes(head) == Block.SECTION:
            return PcapngFile(buffer)
    raise CaptureError(0, "magic", "neither a pcap nor a pcapng file")


def _of_version(headers: IpHeaders, version: int) -> IpHeaders:
    its = headers.version == version
    return headers if its.all() else headers.part(its)


def _in_order(parts: list[Carried]) -> Carried:
    """All of them by row; none: no rows."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        nothing = np.empty(0, np.int64)
        return Carried(nothing, nothing, nothing, nothing, np.empty((0, ADDRESSES_BYTES), np.uint8))
    order = np.argsort(np.concatenate([part.row for part in parts]), kind="stable")
    return Carried(*(np.concatenate(column) for column in zip(*parts, strict=True))).part(order)
