"""RTP (RFC 3550): the header of any payload, which stays unread; what we send is raw RGB video (RFC 4175).

Twelve bytes: version 2, marker and payload type, a 16-bit number, a time in the media's own clock, SSRC; big-endian.
RTCP on the same port (RFC 5761) is control.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from udprism.columns.types import BoolColumn, I32Column, I64Column, Rows, U8Column, U32Column
from udprism.wire.dissect import Fields, channels_at, in_order, mark, words_of
from udprism.wire.format import NO_PIXELS, REASONS, Decoded, Field, Mark, Numbering, Part, Pixels, Reason, Sending

HEADER_BYTES: Final = 12
MAX_PIXELS: Final = 470
"""Pixels in a datagram that we send."""
VIDEO_HZ: Final = 90_000
FIRST_DYNAMIC_TYPE: Final = 96

_VERSION_2: Final = 0x80
_VERSION: Final = 0xC0
_EXTENSION: Final = 0x10
_CONTRIBUTORS: Final = 0x0F
_RTCP: Final = range(192, 224)
"""Second bytes that mean RTCP (RFC 5761 section 4): no payload type 64 to 95 may be used on a shared port."""
_LINE_BYTES: Final = 8
"""RFC 4175's payload header for one line: extended number, length, line, offset."""

_CLOCK_HZ: Final = {
    **dict.fromkeys((0, 3, 4, 5, 7, 8, 9, 12, 13, 15, 18), 8_000),
    **dict.fromkeys((6,), 16_000),
    **dict.fromkeys((16,), 11_025),
    **dict.fromkeys((17,), 22_050),
    **dict.fromkeys((10, 11), 44_100),
    **dict.fromkeys((14, 25, 26, 28, 31, 32, 33, 34), 90_000),
}
"""Ticks a second of the static payload types (RFC 3551 tables 4 and 5)."""
_HZ: Final[I32Column] = np.array([_CLOCK_HZ.get(code & 0x7F, 0) for code in range(256)], np.int32)
_IS_RTCP: Final[BoolColumn] = np.isin(np.arange(256), _RTCP)


class Rtp:
    """`Format` for RTP. key: SSRC. media_hz: known for RFC 3551's static payload types, and told for all others."""

    name = "rtp"
    label = "RTP"
    port = 5004
    numbering = Numbering(1 << 16, 0)
    reasons: Sequence[str] = REASONS
    row_bytes = 16
    payload_at = HEADER_BYTES

    def __init__(self, other_hz: int = 0) -> None:
        """other_hz: the clock of payload types without a fixed one, in ticks per second; 0 if it is unknown."""
        self._other_hz = other_hz
        self._hz: I32Column = np.where(_HZ > 0, _HZ, np.int32(other_hz)).astype(np.int32)

    def decode(self, rows: Rows, length: I32Column) -> Decoded:
        n = len(rows)
        first, second = words_of(rows, slice(2))
        flags = first & 0xFF
        valid = (flags & _VERSION) == _VERSION_2
        valid &= ~_IS_RTCP.take(rows[:, 1])
        least = (HEADER_BYTES + 4 * (flags & _CONTRIBUTORS) + 4 * ((flags & _EXTENSION) != 0)).astype(np.int32)
        valid &= length >= least
        decoded = Decoded(
            valid=valid,
            control=np.zeros(n, np.bool_),
            reason=np.zeros(n, np.uint8),
            key=second.astype(np.uint32).byteswap().astype(np.uint64),
            number=(first >> 16).astype(np.uint16).byteswap().astype(np.uint32),
            numbered=np.ones(n, np.bool_),
            marks=np.full(n, Mark.TIMED, np.uint16),
            rgb=np.zeros((n, 3), np.uint8),
            coloured=np.zeros(n, np.bool_),
            media_ticks=(first >> 32).astype(np.uint32).byteswap(),
            media_hz=self._hz.take(rows[:, 1]),
            all_valid=bool(valid.all()),
        )
        mark(decoded, (rows[:, 1] & 0x80) != 0, Mark.COMMITS)
        if not decoded.all_valid:
            _say_why_not(decoded, rows, length, least)
        return decoded

    def flow_name(self, data: bytes) -> str:
        return f"SSRC 0x{data[8:12].hex()}, payload type {data[1] & 0x7F}"

    def fields(self, data: bytes) -> list[Field]:
        fields = Fields(data)
        flags, second = fields.peek(0), fields.peek(1)
        contributors = flags & _CONTRIBUTORS
        about = f"version {flags >> 6}; {contributors} contributing sources" + (
            "; extension" if flags & _EXTENSION else ""
        )
        fields.hexadecimal("flags", 0, 1, about)
        if _IS_RTCP[second]:
            fields.number("RTCP packet type", 1)
            fields.rest("report", 2)
            return fields.found
        hz = _CLOCK_HZ.get(second & 0x7F)
        clock = f"{hz} ticks per second (RFC 3551)" if hz else "the datagram does not tell its clock"
        if not hz and self._other_hz:
            clock = f"{self._other_hz} ticks per second, as this receiver was told"
        fields.hexadecimal(
            "marker and payload type", 1, 1, f"type {second & 0x7F}, {clock}" + ("; marker" if second & 0x80 else "")
        )
        fields.number("number", 2, 2)
        fields.number("time", 4, 4, "of the media's clock")
        fields.hexadecimal("SSRC", 8, 4)
        for place in range(contributors):
            fields.hexadecimal("CSRC", HEADER_BYTES + 4 * place, 4)
        at = HEADER_BYTES + 4 * contributors
        if flags & _EXTENSION:
            fields.hexadecimal("extension profile", at, 2)
            words = fields.number("extension length", at + 2, 2, "words of four bytes")
            fields.rest("extension", at + 4, length=4 * words)
            at += 4 + 4 * words
        fields.rest("payload", at)
        return fields.found

    def pixels(self, data: bytes) -> Pixels:
        return NO_PIXELS

    def encoder(self, sending: Sending) -> RtpEncoder:
        return RtpEncoder(sending)


def _say_why_not(decoded: Decoded, rows: Rows, length: I32Column, least: I32Column) -> None:
    is_rtcp = _IS_RTCP.take(rows[:, 1])
    in_order(
        decoded.reason,
        (length < 1, Reason.SHORT),
        ((rows[:, 0] & _VERSION) != _VERSION_2, Reason.VERSION),
        (length < np.where(is_rtcp, 8, HEADER_BYTES), Reason.SHORT),
        (~is_rtcp & (length < least), Reason.LENGTH),
    )
    decoded.control = ~decoded.valid & (decoded.reason == 0)


class RtpEncoder:
    """`Encoder` for uncompressed RGB video of one line (RFC 4175), payload type 96, 90 kHz; no goodbye (RTCP's).

    SDP: `a=rtpmap:96 raw/90000`, `a=fmtp:96 sampling=RGB; width=PIXELS; height=1; depth=8`.
    """

    refresh_s = 1.0
    goodbyes = 0

    def __init__(self, sending: Sending) -> None:
        if sending.pixels > 0x7FFF:
            raise ValueError(f"{sending.pixels} pixels: a line of RFC 4175 has at most 32,767")
        ssrc = int.from_bytes(sending.identity[:4], "big")
        firsts = range(0, sending.pixels, MAX_PIXELS)
        self.parts: Sequence[Part] = [Part(ssrc, first, min(MAX_PIXELS, sending.pixels - first)) for first in firsts]
        self._header = HEADER_BYTES + _LINE_BYTES
        self.width = self._header + 3 * self.parts[0].pixels
        self._first = np.array([part.first_pixel for part in self.parts], np.int32)
        self._bytes = np.array([3 * part.pixels for part in self.parts], np.int32)
        self._head = np.zeros((len(self.parts), self._header), np.uint8)
        self._head[:, 0] = _VERSION_2
        self._head[:, 1] = FIRST_DYNAMIC_TYPE
        self._head[-1, 1] |= 0x80  # the frame's last
        self._head[:, 8:12] = np.frombuffer(sending.identity[:4], np.uint8)
        self._head[:, 14:16] = self._bytes.astype(">u2")[:, None].view(np.uint8)
        self._head[:, 18:20] = self._first.astype(">u2")[:, None].view(np.uint8)

    def encode(
        self, out: Rows, part: I32Column, number: U32Column, sent_unix_ns: I64Column, rgb: U8Column
    ) -> I32Column:
        channels_at(out, self._header, 3 * self._first[part], self.width - self._header, rgb)
        out[:, : self._header] = self._head[part]
        out[:, 2:4] = number.astype(">u2")[:, None].view(np.uint8)
        ticks = sent_unix_ns // 100_000 * (VIDEO_HZ // 10_000)  # in tenths of a millisecond: no product overflows
        out[:, 4:8] = ticks.astype(np.uint32).astype(">u4")[:, None].view(np.uint8)
        return self._header + self._bytes[part]

    def goodbye(self, out: Rows, part: I32Column, number: U32Column) -> I32Column:
        return np.zeros(len(part), np.int32)
