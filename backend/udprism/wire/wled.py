"""WLED's realtime UDP protocols (kno.wled.ge/interfaces/udp-realtime): WARLS, DRGB, DRGBW, DNRGB and DNRGBW.

Two bytes, protocol and timeout (seconds after which the lamp returns to its own effects; 255 never, 0 at once), then
pixels; DNRGB's begin at a 16-bit index, WARLS's each have one of 8 bits. No numbers. WLED's notifications (protocol 0)
come to the same port and are control.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import numpy as np

from udprism.columns.types import BoolColumn, I32Column, I64Column, Rows, U8Column, U32Column
from udprism.wire.dissect import Fields, alone, channels_at, in_order, mark
from udprism.wire.format import NO_PIXELS, REASONS, Decoded, Field, Mark, Numbering, Part, Pixels, Reason, Sending

MAX_DRGB_PIXELS: Final = 490
MAX_DNRGB_PIXELS: Final = 489
TIMEOUT_S: Final = 2
"""What we send."""
_NOTIFICATION_BYTES: Final = 24
"""The oldest notification's."""


class Protocol(IntEnum):
    """The first byte."""

    NOTIFICATION = 0
    WARLS = 1
    DRGB = 2
    DRGBW = 3
    DNRGB = 4
    DNRGBW = 5


_HEADER: Final[I32Column] = np.full(256, 2, np.int32)
_HEADER[[Protocol.DNRGB, Protocol.DNRGBW]] = 4
_PIXEL: Final[I32Column] = np.full(256, 4, np.int32)
"""Bytes of one pixel, with its index if it has one."""
_PIXEL[[Protocol.DRGB, Protocol.DNRGB]] = 3
_RGB_AT: Final[I32Column] = _HEADER.copy()
_RGB_AT[Protocol.WARLS] = 3
_HAS_START: Final[BoolColumn] = np.isin(np.arange(256), (Protocol.DNRGB, Protocol.DNRGBW))
_HAS_WHITE: Final[BoolColumn] = np.isin(np.arange(256), (Protocol.DRGBW, Protocol.DNRGBW))
_IS_REALTIME: Final[BoolColumn] = np.isin(np.arange(256), range(Protocol.WARLS, Protocol.DNRGBW + 1))
_RGB: Final = np.arange(3, dtype=np.int32)


class Wled:
    """`Format` for WLED realtime. part: DNRGB's first pixel. A timeout of 0 ends the flow."""

    name = "wled"
    label = "WLED realtime"
    port = 21324
    numbering = Numbering(0, 0)
    reasons: Sequence[str] = REASONS
    row_bytes = 8
    payload_at = 2

    def decode(self, rows: Rows, length: I32Column) -> Decoded:
        n = len(rows)
        protocol = rows[:, 0]
        there = length - _HEADER.take(protocol)
        valid = _IS_REALTIME.take(protocol) & (there >= 0)
        part = np.zeros(n, np.uint32)
        has_start = _HAS_START.take(protocol)
        if has_start.any():
            part = rows[:, 2:4].view(">u2")[:, 0] * has_start.astype(np.uint32)
        coloured = (there >= _PIXEL.take(protocol)) & (part == 0)
        coloured &= (protocol != Protocol.WARLS) | (rows[:, 2] == 0)
        decoded = Decoded(
            valid=valid,
            control=np.zeros(n, np.bool_),
            reason=np.zeros(n, np.uint8),
            key=np.zeros(n, np.uint64),
            number=np.zeros(n, np.uint32),
            numbered=np.zeros(n, np.bool_),
            part=part,
            marks=np.zeros(n, np.uint16),
            rgb=_first_pixel(rows, protocol),
            coloured=coloured,
            all_valid=bool(valid.all()),
        )
        mark(decoded, rows[:, 1] == 0, Mark.ENDS)
        mark(decoded, _HAS_WHITE.take(protocol), Mark.WHITE)
        if not decoded.all_valid:
            _say_why_not(decoded, protocol, length)
        return decoded

    def flow_name(self, data: bytes) -> str:
        return ""

    def fields(self, data: bytes) -> list[Field]:
        fields = Fields(data)
        protocol = fields.peek(0)
        is_known = protocol in set(Protocol)
        fields.number("protocol", 0, about=Protocol(protocol).name if is_known else "")
        if not is_known or protocol == Protocol.NOTIFICATION:
            fields.rest("data", 1)
            return fields.found
        timeout = fields.peek(1)
        meaning = {0: "back to own effects at once", 255: "never back to own effects"}
        fields.number("timeout", 1, about=meaning.get(timeout, "seconds"))
        if _HAS_START[protocol]:
            fields.number("first pixel", 2, 2)
        layout = "index, red, green, blue" if protocol == Protocol.WARLS else "red, green, blue"
        fields.rest("pixels", int(_HEADER[protocol]), layout + (", white" if _HAS_WHITE[protocol] else ""))
        return fields.found

    def pixels(self, data: bytes) -> Pixels:
        if not alone(self, data).valid[0]:
            return NO_PIXELS
        protocol, channels = data[0], 4 if _HAS_WHITE[data[0]] else 3
        value = np.frombuffer(data, np.uint8)[_HEADER[protocol] :]
        if protocol == Protocol.WARLS:
            whole = value[: len(value) // 4 * 4].reshape(-1, 4)
            place = 3 * whole[:, :1].astype(np.int64) + _RGB
            return Pixels(place.reshape(-1), whole[:, 1:].reshape(-1), 3)
        start = channels * int.from_bytes(data[2:4], "big") if _HAS_START[protocol] else 0
        return Pixels(start + np.arange(len(value)), value, channels)

    def encoder(self, sending: Sending) -> WledEncoder:
        return WledEncoder(sending)


def _first_pixel(rows: Rows, protocol: U8Column) -> U8Column:
    """uint8[n, 3]: the first pixel that each row bears; a view if all rows are of one protocol."""
    at = _RGB_AT.take(protocol)
    if len(at) and (at == at[0]).all():
        return rows[:, at[0] : at[0] + 3]
    return np.take_along_axis(rows, at[:, None] + _RGB, axis=1)


def _say_why_not(decoded: Decoded, protocol: U8Column, length: I32Column) -> None:
    is_notification = protocol == Protocol.NOTIFICATION
    in_order(
        decoded.reason,
        (length < 2, Reason.SHORT),
        (~_IS_REALTIME.take(protocol) & ~is_notification, Reason.KIND),
        (~decoded.valid & ~is_notification, Reason.SHORT),
        (is_notification & (length < _NOTIFICATION_BYTES), Reason.SHORT),
    )
    decoded.control = ~decoded.valid & (decoded.reason == 0)


class WledEncoder:
    """`Encoder` for WLED: DRGB for up to 490 pixels, otherwise DNRGB; its goodbye is a timeout of 0."""

    refresh_s = TIMEOUT_S / 2
    goodbyes = 1

    def __init__(self, sending: Sending) -> None:
        self._protocol = Protocol.DRGB if sending.pixels <= MAX_DRGB_PIXELS else Protocol.DNRGB
        pixels = MAX_DRGB_PIXELS if self._protocol is Protocol.DRGB else MAX_DNRGB_PIXELS
        if sending.pixels > 0x10000:
            raise ValueError(f"{sending.pixels} pixels: DNRGB's index ends at 65,535")
        self.parts: Sequence[Part] = [
            Part(0, first, min(pixels, sending.pixels - first)) for first in range(0, sending.pixels, pixels)
        ]
        self._header = int(_HEADER[self._protocol])
        self.width = self._header + 3 * self.parts[0].pixels
        self._first = np.array([part.first_pixel for part in self.parts], np.int32)
        self._bytes = np.array([3 * part.pixels for part in self.parts], np.int32)

    def encode(
        self, out: Rows, part: I32Column, number: U32Column, sent_unix_ns: I64Column, rgb: U8Column
    ) -> I32Column:
        first = self._first[part]
        channels_at(out, self._header, 3 * first, self.width - self._header, rgb)
        self._head(out, first, TIMEOUT_S)
        return self._header + self._bytes[part]

    def goodbye(self, out: Rows, part: I32Column, number: U32Column) -> I32Column:
        self._head(out, self._first[part], 0)
        return np.full(len(part), self._header, np.int32)

    def _head(self, out: Rows, first: I32Column, timeout_s: int) -> None:
        out[:, 0] = self._protocol
        out[:, 1] = timeout_s
        if self._protocol is Protocol.DNRGB:
            out[:, 2:4] = first.astype(">u2")[:, None].view(np.uint8)
