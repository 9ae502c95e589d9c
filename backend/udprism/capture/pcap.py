"""Classic pcap, read: 24 bytes of header, then records of a time, two lengths and a packet (draft-ietf-opsawg-pcap)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import numpy as np

from udprism.capture.buffer import Buffer, ByteOrder
from udprism.capture.packets import MAX_PACKET_BYTES, PIECE_BYTES, Interface, Packets, first_true, slices
from udprism.capture.walk import Framing, Likely, first_of_each, walk
from udprism.columns.types import NS_PER_S, NS_PER_US, I64Column
from udprism.errors import CaptureError

MAGIC_US: Final = 0xA1B2C3D4
MAGIC_NS: Final = 0xA1B23C4D
FILE_HEADER_BYTES: Final = 24
RECORD_HEADER_BYTES: Final = 16
_DAY_S: Final = 86_400


def byte_order(head: bytes) -> ByteOrder | None:
    """The order of a classic pcap's first four bytes; None if it is something else."""
    for order in ("<", ">"):
        if struct.unpack(f"{order}I", head)[0] in (MAGIC_US, MAGIC_NS):
            return order
    return None


class PcapFile:
    """One classic pcap file. Raises: CaptureError, if its header is not whole."""

    def __init__(self, buffer: Buffer, order: ByteOrder) -> None:
        if buffer.size < FILE_HEADER_BYTES:
            raise CaptureError(0, "header", f"the file's header has {FILE_HEADER_BYTES} bytes, here are {buffer.size}")
        words = struct.unpack(f"{order}6I", buffer.bytes(0, FILE_HEADER_BYTES))
        self._buffer = buffer
        self._order: ByteOrder = order
        self._tick_ns = 1 if words[0] == MAGIC_NS else NS_PER_US
        # The upper half of the last word has flags about frame check sequences, which lie behind the IP packet.
        self.interfaces = [Interface(link_type=words[5] & 0xFFFF, snap_bytes=words[4])]
        self.cut_at: int | None = None

    def packets(self) -> Iterator[Packets]:
        """See CaptureFile."""
        buffer = self._buffer
        framing = Framing(self._order, length_at=8, overhead=RECORD_HEADER_BYTES, smallest=RECORD_HEADER_BYTES)
        at = FILE_HEADER_BYTES
        while at < buffer.size:
            places = walk(buffer, framing, at, at + PIECE_BYTES, self._likely(at))
            for which in slices(len(places)):
                packets, fault = self._read(places[which])
                if len(packets):
                    yield packets
                    at = int(packets.data_at[-1] + packets.captured[-1])
                if fault is not None:
                    raise fault
                if self.cut_at is not None:
                    return
            if not len(places):  # no room for a header
                self.cut_at = at
                return

    def _read(self, at: I64Column) -> tuple[Packets, CaptureError | None]:
        """The records at these offsets, up to the first that is cut or broken."""
        head = self._buffer.rows(at, RECORD_HEADER_BYTES).view(f"{self._order}u4")
        captured = head[:, 2].astype(np.int64)
        end = at + RECORD_HEADER_BYTES + captured
        too_long = captured > MAX_PACKET_BYTES
        good = first_true(too_long | (end > self._buffer.size))
        fault = None
        if good < len(at) and too_long[good]:
            detail = f"a packet of {captured[good]} bytes, at most {MAX_PACKET_BYTES} are possible"
            fault = CaptureError(int(at[good]), "packet-length", detail)
        elif good < len(at):
            self.cut_at = int(at[good])
        head, at, captured = head[:good], at[:good], captured[:good]
        seconds_ns = head[:, 0].astype(np.int64) * NS_PER_S
        packets = Packets(
            record_at=at,
            interface=np.zeros(good, np.int32),
            time_ns=seconds_ns + head[:, 1].astype(np.int64) * self._tick_ns,
            data_at=at + RECORD_HEADER_BYTES,
            captured=captured,
            original=np.maximum(head[:, 3].astype(np.int64), captured),
        )
        return packets, fault

    def _likely(self, first_at: int) -> Likely:
        """See walk: a record's time is within a day of the one at `first_at`, its lengths are possible, and so is the
        next one's time."""
        words = self._buffer.words(self._order)
        last = len(words) - RECORD_HEADER_BYTES
        earliest_s = words[first_at : first_at + 1] - np.uint32(_DAY_S)  # wraps, and so does the comparison

        def likely(bounds: I64Column, window: int) -> I64Column:
            near = self._buffer.windows(bounds, window, self._order) - earliest_s < 2 * _DAY_S
            row, column = np.nonzero(near)
            found = np.minimum(bounds[row] + column, last)
            captured, original = words[found + 8], words[found + 12]
            possible = (captured <= original) & (captured <= MAX_PACKET_BYTES)
            found, captured = found[possible], captured[possible]
            following = np.minimum(found + RECORD_HEADER_BYTES + captured, last)
            found = found[words[following] - earliest_s < 2 * _DAY_S]
            return first_of_each(bounds, found)

        return likely
