"""DDP, the Distributed Display Protocol (3waylabs.com/ddp): pixels at an offset, in datagrams of a frame.

The header has 10 bytes, 14 with a time: flags, number, data type, destination, offset (bytes), length; big-endian.
A number is 1 to 15; 0 means that the sender does not count. Whether one number is a datagram's or a frame's, senders
disagree: see `Decoded.part`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from udprism.columns.types import BoolColumn, I32Column, I64Column, Rows, U8Column, U32Column
from udprism.wire.dissect import Fields, alone, channels_at, in_order, mark, words_of
from udprism.wire.format import NO_PIXELS, REASONS, Decoded, Field, Mark, Numbering, Part, Pixels, Reason, Sending

HEADER_BYTES: Final = 10
TIMED_HEADER_BYTES: Final = 14
MAX_PIXELS: Final = 480
"""Pixels in a datagram that we send: 1,440 bytes, as the specification recommends."""
TIMECODE_HZ: Final = 1 << 16
"""A time is the 32 middle bits of an NTP time."""

_VERSION_1: Final = 0x40
_VERSION: Final = 0xC0
_TIMED: Final = 0x10
_STORAGE: Final = 0x08
_REPLY: Final = 0x04
_QUERY: Final = 0x02
_PUSH: Final = 0x01
_RGB_8_BIT: Final = 0x0B
_DEFAULT_DESTINATION: Final = 1
_JSON: Final = {246: "control", 250: "configuration", 251: "status"}
"""Destinations that take JSON and no pixels."""
_KINDS: Final = ("undefined", "RGB", "HSL", "RGBW", "grey", "?", "?", "?")
_SIZES: Final = ("undefined size", "1 bit", "4 bits", "8 bits", "16 bits", "24 bits", "32 bits", "? bits")


def _channels(data_type: int) -> int:
    """A pixel's channels; 0 if its bytes are not 8 bits of a colour each, and so are not shown.

    Senders disagree whether the size is a channel's or a pixel's: 8 and 24 bits are the same RGB. A bare 1 is what the
    first devices took for RGB.
    """
    custom, kind, size = data_type & 0x80, data_type >> 3 & 7, data_type & 7
    if custom or not (size in (0, 3, 5, 6) or data_type == 1):
        return 0
    return {0: 3, 1: 3, 3: 4, 4: 1}.get(kind, 0)


_CHANNELS: Final = tuple(_channels(data_type) for data_type in range(256))
_NO_COLOUR: Final = 1 << 30
_NEEDED: Final[I32Column] = np.array([channels or _NO_COLOUR for channels in _CHANNELS], np.int32)
"""By data type: the bytes of a pixel, more than there can be where they are no colour."""
_IS_JSON: Final[BoolColumn] = np.isin(np.arange(256), list(_JSON))


class Ddp:
    """`Format` for DDP. key: the destination id. part: the offset in bytes. control: queries, replies, JSON."""

    name = "ddp"
    label = "DDP"
    port = 4048
    numbering = Numbering(15, 1)
    reasons: Sequence[str] = REASONS
    row_bytes = 24
    payload_at = HEADER_BYTES

    def decode(self, rows: Rows, length: I32Column) -> Decoded:
        first, second = words_of(rows, slice(2))
        timed = (first & _TIMED) != 0 if (first & _TIMED).any() else None
        header = (
            HEADER_BYTES if timed is None else np.where(timed, np.int32(TIMED_HEADER_BYTES), np.int32(HEADER_BYTES))
        )
        there = length - header
        valid = (first & (_VERSION | _STORAGE | _REPLY | _QUERY)) == _VERSION_1
        valid &= there >= 0
        valid &= ~_IS_JSON.take(rows[:, 3])
        part = (first >> 32).astype(np.uint32).byteswap()
        said = second.astype(np.uint16).byteswap()
        number = (first >> 8).astype(np.uint32) & 0x0F
        needed = _NEEDED.take(rows[:, 2])
        decoded = Decoded(
            valid=valid,
            control=np.zeros(len(rows), np.bool_),
            reason=np.zeros(len(rows), np.uint8),
            key=(first >> 24) & 0xFF,
            number=number,
            numbered=number != 0,
            part=part,
            marks=(first & _PUSH).astype(np.uint16),  # Mark.COMMITS
            rgb=rows[:, HEADER_BYTES : HEADER_BYTES + 3],
            coloured=(needed <= np.minimum(said, there)) & (part == 0),
            all_valid=bool(valid.all()),
        )
        mark(decoded, said != there, Mark.LENGTH_DISAGREES)
        if timed is not None:
            _add_times(decoded, rows, timed)
        if (needed != 3).any():
            _other_pixels(decoded, needed)
        if not decoded.all_valid:
            _say_why_not(decoded, rows, length, there)
        return decoded

    def flow_name(self, data: bytes) -> str:
        return "" if data[3] == _DEFAULT_DESTINATION else f"destination {data[3]}"

    def fields(self, data: bytes) -> list[Field]:
        fields = Fields(data)
        flags = fields.peek(0)
        words = {_TIMED: "time", _STORAGE: "storage", _REPLY: "reply", _QUERY: "query", _PUSH: "push"}
        said = ", ".join(word for bit, word in words.items() if flags & bit) or "none"
        fields.hexadecimal("flags", 0, 1, f"version {flags >> 6}; {said}")
        number = fields.peek(1) & 0x0F
        fields.number("number", 1, about="" if number else "0: the sender does not count")
        data_type = fields.peek(2)
        layout = f"{_KINDS[data_type >> 3 & 7]}, {_SIZES[data_type & 7]}"
        fields.hexadecimal("data type", 2, 1, layout + (", customer's own" if data_type & 0x80 else ""))
        destination = fields.peek(3)
        fields.number("destination", 3, about={1: "default", 254: "DMX", 255: "all", **_JSON}.get(destination, ""))
        fields.number("offset", 4, 4, "bytes into the frame")
        header = TIMED_HEADER_BYTES if flags & _TIMED else HEADER_BYTES
        there = max(len(data) - header, 0)
        length = fields.peek(8, 2)
        fields.number("length", 8, 2, "" if length == there else f"{there} bytes are there")
        if flags & _TIMED:
            fields.number("time", 10, 4, "seconds and 1/65536 of it, of NTP's clock")
        fields.rest("data", header)
        return fields.found

    def pixels(self, data: bytes) -> Pixels:
        if not alone(self, data).valid[0] or not _CHANNELS[data[2]]:
            return NO_PIXELS
        header = TIMED_HEADER_BYTES if data[0] & _TIMED else HEADER_BYTES
        offset, length = int.from_bytes(data[4:8], "big"), int.from_bytes(data[8:10], "big")
        value = np.frombuffer(data[header : header + length], np.uint8)
        return Pixels(offset + np.arange(len(value)), value, _CHANNELS[data[2]])

    def encoder(self, sending: Sending) -> DdpEncoder:
        return DdpEncoder(sending)


def _add_times(decoded: Decoded, rows: Rows, timed: BoolColumn) -> None:
    """The columns of datagrams with a time, whose pixels begin four bytes later."""
    mark(decoded, timed, Mark.TIMED)
    ticks = rows[:, HEADER_BYTES:TIMED_HEADER_BYTES].copy().view(">u4")[:, 0].astype(np.uint32)
    decoded.media_ticks = timed * ticks
    decoded.media_hz = timed * np.int32(TIMECODE_HZ)
    decoded.rgb = np.where(timed[:, None], rows[:, TIMED_HEADER_BYTES : TIMED_HEADER_BYTES + 3], decoded.rgb)


def _other_pixels(decoded: Decoded, needed: I32Column) -> None:
    """Marks four channels, and shows a single one as grey."""
    mark(decoded, needed == 4, Mark.WHITE)
    decoded.rgb = np.where((needed == 1)[:, None], decoded.rgb[:, :1], decoded.rgb)


def _say_why_not(decoded: Decoded, rows: Rows, length: I32Column, there: I32Column) -> None:
    in_order(
        decoded.reason,
        (length < HEADER_BYTES, Reason.SHORT),
        ((rows[:, 0] & _VERSION) != _VERSION_1, Reason.VERSION),
        (there < 0, Reason.SHORT),
    )
    decoded.control = ~decoded.valid & (decoded.reason == 0)


class DdpEncoder:
    """`Encoder` for DDP: RGB of 8 bits, a number a datagram, PUSH with the last one of each frame; no goodbye."""

    refresh_s = 1.0
    """WLED takes 2.5 s of silence for the end."""
    goodbyes = 0

    def __init__(self, sending: Sending) -> None:
        firsts = range(0, sending.pixels, MAX_PIXELS)
        self.parts: Sequence[Part] = [
            Part(_DEFAULT_DESTINATION, first, min(MAX_PIXELS, sending.pixels - first)) for first in firsts
        ]
        self.width = HEADER_BYTES + 3 * self.parts[0].pixels
        self._head = np.zeros((len(self.parts), HEADER_BYTES), np.uint8)
        self._first = np.array([3 * part.first_pixel for part in self.parts], np.int32)
        self._bytes = np.array([3 * part.pixels for part in self.parts], np.int32)
        self._head[:, 0] = _VERSION_1
        self._head[-1, 0] |= _PUSH
        self._head[:, 2] = _RGB_8_BIT
        self._head[:, 3] = _DEFAULT_DESTINATION
        self._head[:, 4:8] = self._first.astype(">u4")[:, None].view(np.uint8)
        self._head[:, 8:10] = self._bytes.astype(">u2")[:, None].view(np.uint8)

    def encode(
        self, out: Rows, part: I32Column, number: U32Column, sent_unix_ns: I64Column, rgb: U8Column
    ) -> I32Column:
        out[:, :HEADER_BYTES] = self._head[part]
        out[:, 1] = number
        channels_at(out, HEADER_BYTES, self._first[part], self.width - HEADER_BYTES, rgb)
        return HEADER_BYTES + self._bytes[part]

    def goodbye(self, out: Rows, part: I32Column, number: U32Column) -> I32Column:
        return np.zeros(len(part), np.int32)
