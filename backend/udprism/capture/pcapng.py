"""pcapng, read: sections, their interfaces, and packets (draft-ietf-opsawg-pcapng)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from udprism.capture.blocks import BYTE_ORDER_MAGIC, MAX_BLOCK_BYTES, Block, Option, options
from udprism.capture.buffer import Buffer, ByteOrder
from udprism.capture.packets import PIECE_BYTES, UNKNOWN_NS, Interface, Packets, first_true, slices
from udprism.capture.ticks import DEFAULT_RESOLUTION, to_ns
from udprism.capture.walk import Framing, first_of_each, walk
from udprism.columns.types import BoolColumn, I64Column, U32Column, U64Column
from udprism.errors import CaptureError

MAX_INTERFACES: Final = 65_536
"""In a file; each is an object here."""
_FIRST_PIECE_BYTES: Final = 64 << 10
"""How far to walk at first in a section, which may end soon; then twice as far, to PIECE_BYTES."""
_HEAD_WORDS: Final = 7
_SECTION_HEAD_BYTES: Final = 12
_SMALLEST_BYTES: Final = 12
_INTERFACE_BYTES: Final = 20
"""Bytes of a block without its packet or options."""
_SIMPLE_BYTES: Final = 16
_PACKET_BYTES: Final = 32
_SIMPLE_DATA: Final = 12
_PACKET_DATA: Final = 28


Heads: TypeAlias = npt.NDArray[np.uint32]
"""uint32[n, _HEAD_WORDS]: the first words of blocks; behind a shorter block lies the next one's beginning."""


class _Clock(NamedTuple):
    """How an interface counts time."""

    resolution: int
    offset_s: int


class PcapngFile:
    """One pcapng file, which begins with a section's type."""

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        self.interfaces: list[Interface] = []
        self.cut_at: int | None = None

    def packets(self) -> Iterator[Packets]:
        """See CaptureFile."""
        at: int | None = 0
        while at is not None:
            order = self._byte_order(at)
            if order is None:
                self.cut_at = at
                return
            section = _Section(self, self._buffer, order, at)
            yield from section.packets()
            self.cut_at, at = section.cut_at, section.next_at

    def _byte_order(self, at: int) -> ByteOrder | None:
        """The order of the section at an offset; None if the file ends within its head."""
        head = self._buffer.bytes(at, _SECTION_HEAD_BYTES)
        if len(head) < _SECTION_HEAD_BYTES:
            return None
        for order in ("<", ">"):
            if struct.unpack_from(f"{order}I", head, 8)[0] == BYTE_ORDER_MAGIC:
                return order
        raise CaptureError(at, "byte-order", "a section without a byte-order magic")


def _interface(order: ByteOrder, block: bytes, at: int) -> tuple[Interface, _Clock]:
    """The contents of a whole Interface Description Block. Raises: CaptureError."""
    if len(block) < _INTERFACE_BYTES:
        raise CaptureError(at, "block-length", f"an interface's block of {len(block)} bytes")
    link_type, _, snap_bytes = struct.unpack_from(f"{order}HHI", block, 8)
    name = description = None
    resolution, offset_s = DEFAULT_RESOLUTION, 0
    for code, value in options(order, block[16:-4], at + 16):
        if code == Option.INTERFACE_NAME:
            name = value.decode(errors="replace")
        elif code == Option.INTERFACE_DESCRIPTION:
            description = value.decode(errors="replace")
        elif code == Option.INTERFACE_RESOLUTION and len(value) == 1:
            resolution = value[0]
        elif code == Option.INTERFACE_OFFSET and len(value) == 8:
            (offset_s,) = struct.unpack(f"{order}q", value)
    return Interface(link_type, snap_bytes, name, description), _Clock(resolution, offset_s)


def _to_ns(clocks: list[_Clock], interface: I64Column, ticks: U64Column) -> I64Column:
    """int64[n]: when, each by its own interface's clock."""
    numbers: dict[_Clock, int] = {}
    which_of = np.array([numbers.setdefault(clock, len(numbers)) for clock in clocks], np.int32)
    if len(numbers) == 1:
        return to_ns(ticks, *clocks[0])
    time_ns = np.empty(len(ticks), np.int64)
    distinct, which = list(numbers), which_of[interface]
    for number in np.unique(which).tolist():
        its = np.flatnonzero(which == number)
        time_ns[its] = to_ns(ticks[its], *distinct[number])
    return time_ns


class _Section:
    """One section of the file: one byte order, interfaces that count from 0.

    `cut_at` and `next_at` are known at the end: where a block is not whole, and where another section begins.
    """

    def __init__(self, file: PcapngFile, buffer: Buffer, order: ByteOrder, begin: int) -> None:
        self._file = file
        self._buffer = buffer
        self._order: ByteOrder = order
        self._words = buffer.words(order)
        self._begin = begin
        self._end = begin
        self._first_interface = len(file.interfaces)
        self._clocks: list[_Clock] = []  # by interface of this section
        self._fault: CaptureError | None = None
        self.cut_at: int | None = None
        self.next_at: int | None = None

    def packets(self) -> Iterator[Packets]:
        """Raises: CaptureError."""
        framing = Framing(self._order, length_at=4, overhead=0, smallest=_SMALLEST_BYTES)
        piece_bytes = _FIRST_PIECE_BYTES
        self._read_header()
        while self.cut_at is None and self._end < self._buffer.size:
            places = walk(self._buffer, framing, self._end, self._end + piece_bytes, self._likely)
            piece_bytes = min(2 * piece_bytes, PIECE_BYTES)
            if not len(places):  # no room for a length
                self.cut_at = self._end
            for which in slices(len(places)):
                packets = self._read(places[which])
                if len(packets):
                    yield packets
                if self._fault is not None:
                    raise self._fault
                if self.next_at is not None or self.cut_at is not None:
                    return

    def _read_header(self) -> None:
        """Step over the Section Header Block. Raises: CaptureError."""
        at = np.array([self._begin])
        length = self._words[at + 4].astype(np.int64)
        if not self._whole(at, np.zeros(1, np.uint32), length, np.empty(0, np.uint32)):
            if self._fault is not None:
                raise self._fault
            return
        self._end = int(self._begin + length[0])

    def _read(self, at: I64Column) -> Packets:
        """The packets of the blocks at these offsets, up to the first that is cut, broken, or a section's.

        The word before a block is the last one of the block before it, and comes with the first of its own.
        """
        words = self._buffer.rows(at - 4, 4 + 4 * _HEAD_WORDS).view(f"{self._order}u4")
        trailer, head = words[1:, 0], words[:, 1:]
        length = head[:, 1].astype(np.int64)
        good = self._whole(at, head[:, 0], length, trailer)
        good, known = self._take_in_interfaces(head[:good, 0], at, length)
        if good:
            self._end = int(at[good - 1] + length[good - 1])
        return self._packets(head[:good], at[:good], length[:good], known)

    def _whole(self, at: I64Column, kind: U32Column, length: I64Column, trailer: U32Column) -> int:
        """How many of the blocks belong to this section, and are whole and sound.

        trailer: the last word of each block except the last.
        """
        wrong = (length < _SMALLEST_BYTES) | (length > MAX_BLOCK_BYTES) | (length & 3 != 0)
        section = kind == Block.SECTION
        good = first_true(section | wrong | (at + length > self._buffer.size))
        before = min(good, len(trailer))
        sound = first_true(trailer[:before] != length[:before])
        if sound == before < good:
            sound += int(self._words[at[before:good] + length[before:good] - 4][0] == length[before])
        if sound < good:
            self._stop(at, sound, "block-trailer", f"a block of {length[sound]} bytes has another length at its end")
        elif good < len(at):
            if section[good]:
                self.next_at = int(at[good])
            elif wrong[good]:
                detail = f"a block of {length[good]} bytes: 12 to {MAX_BLOCK_BYTES}, in steps of 4, are possible"
                self._stop(at, good, "block-length", detail)
            else:
                self.cut_at = int(at[good])
        return sound

    def _stop(self, at: I64Column, number: int, reason: str, detail: str) -> None:
        """A block is broken: blocks found after it do not count."""
        self._fault = CaptureError(int(at[number]), reason, detail)
        self.next_at = self.cut_at = None

    def _take_in_interfaces(self, kind: U32Column, at: I64Column, length: I64Column) -> tuple[int, I64Column]:
        """(how many of the blocks are good, how many interfaces the section has at each of them)."""
        described = kind == Block.INTERFACE
        known = np.cumsum(described) + len(self._clocks)
        for number in np.flatnonzero(described).tolist():
            block = self._buffer.bytes(int(at[number]), int(length[number]))
            try:
                self._add_interface(block, int(at[number]))
            except CaptureError as error:
                self._fault = error
                self.next_at = self.cut_at = None
                return number, known[:number]
        return len(kind), known

    def _add_interface(self, block: bytes, at: int) -> None:
        """Raises: CaptureError."""
        interface, clock = _interface(self._order, block, at)
        if len(self._file.interfaces) == MAX_INTERFACES:
            raise CaptureError(at, "interfaces", f"more than {MAX_INTERFACES} interfaces")
        self._file.interfaces.append(interface)
        self._clocks.append(clock)

    def _packets(self, head: Heads, at: I64Column, length: I64Column, known: I64Column) -> Packets:
        """The packets among these whole blocks, up to the first that is broken."""
        kind = head[:, 0]
        interface, captured, original = (head[:, word].astype(np.int64) for word in (2, 5, 6))
        data_at = at + _PACKET_DATA
        room = length - _PACKET_BYTES
        timed = is_packet = kind == Block.ENHANCED_PACKET
        only_packets = bool(is_packet.all())
        if not only_packets:
            old, simple = kind == Block.PACKET, kind == Block.SIMPLE_PACKET
            interface[old] = interface[old] & 0xFFFF if self._order == "<" else interface[old] >> 16
            original[simple], interface[simple] = interface[simple], 0
            data_at[simple] = at[simple] + _SIMPLE_DATA
            room[simple] = length[simple] - _SIMPLE_BYTES
            captured[simple] = np.minimum(np.minimum(original[simple], np.maximum(0, room[simple])), self._snap_bytes())
            timed = is_packet | old
            is_packet = timed | simple
        wrong = (interface >= known) | (captured > room)
        good = first_true(wrong if only_packets else wrong & is_packet)
        if good < len(at):
            if interface[good] >= known[good]:
                detail = f"a packet of interface {interface[good]}, the section has {known[good]}"
                self._stop(at, good, "interface", detail)
            else:
                detail = f"a packet of {captured[good]} bytes in a block with room for {max(0, int(room[good]))}"
                self._stop(at, good, "packet-length", detail)
        columns = (at, data_at, interface, captured, original, head[:, 3], head[:, 4], timed)
        if good < len(at) or not only_packets:
            which = np.flatnonzero(is_packet[:good])
            columns = tuple(column[which] for column in columns)  # type: ignore[assignment]  # as many as before
        return self._columns(*columns)

    def _columns(
        self,
        at: I64Column,
        data_at: I64Column,
        interface: I64Column,
        captured: I64Column,
        original: I64Column,
        high: U32Column,
        low: U32Column,
        timed: BoolColumn,
    ) -> Packets:
        ticks = high.astype(np.uint64) << np.uint64(32) | low
        if timed.all():
            time_ns = _to_ns(self._clocks, interface, ticks)
        else:
            time_ns = np.full(len(at), UNKNOWN_NS)
            time_ns[timed] = _to_ns(self._clocks, interface[timed], ticks[timed])
        return Packets(
            record_at=at,
            interface=(interface + self._first_interface).astype(np.int32),
            time_ns=time_ns,
            data_at=data_at,
            captured=captured,
            original=np.maximum(original, captured),
        )

    def _snap_bytes(self) -> int:
        """What the section's first interface keeps of a packet; a Simple Packet Block does not say it again."""
        if not self._clocks:
            return 0
        return self._file.interfaces[self._first_interface].snap_bytes or MAX_BLOCK_BYTES

    def _likely(self, bounds: I64Column, window: int) -> I64Column:
        """See walk: a packet's type, and a length that stands at the block's end too. Blocks are at multiples of 4."""
        words, last = self._words, len(self._words) - 1
        aligned = bounds + -bounds % 4
        kind = self._buffer.rows(aligned, window).view(f"{self._order}u4")
        row, column = np.nonzero(
            (kind == Block.ENHANCED_PACKET) | (kind == Block.SIMPLE_PACKET) | (kind == Block.PACKET)
        )
        found = np.minimum(aligned[row] + 4 * column, last - 4)
        length = words[found + 4].astype(np.int64)
        possible = (length >= _SMALLEST_BYTES) & (length <= MAX_BLOCK_BYTES)
        found, length = found[possible], length[possible]
        found = found[words[np.minimum(found + length - 4, last)] == length]
        return first_of_each(bounds, found)
