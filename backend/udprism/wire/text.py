"""Text for people and shells: a colour's name, `#rrggbb`, or `name:value`, so that `echo red | nc -u` makes a flow.

The value may be a colour or anything else; the name, up to the last colon, is the flow's. Trailing LF, CR, space and
NUL are ignored. No numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from udprism.columns.types import BoolColumn, I32Column, I64Column, Rows, U8Column, U32Column, U64Column
from udprism.wire.colours import decode_plain
from udprism.wire.dissect import Fields, alone, in_order
from udprism.wire.format import NO_PIXELS, REASONS, Decoded, Field, Numbering, Part, Pixels, Reason, Sending

MAX_BYTES: Final = 64
_VALUE_BYTES: Final = 24
"""As many as the longest colour has, and more."""
_PLACE: Final = np.arange(MAX_BYTES, dtype=np.int32)
_MIX: Final[U64Column] = np.array(
    [
        0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5,
        0x85EBCA77C2B2AE63, 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53, 0x9FB21C651E98DF25,
    ],
    np.uint64,
)  # fmt: skip
_DIGITS: Final = np.frombuffer(b"0123456789abcdef", np.uint8)


class Text:
    """`Format` for text. key: the name's bytes, mixed; 0 without a name. coloured: the value is a colour."""

    name = "text"
    label = "text: a colour’s name or #rrggbb"
    port = 0
    numbering = Numbering(0, 0)
    reasons: Sequence[str] = REASONS
    row_bytes = MAX_BYTES
    payload_at = 0

    def decode(self, rows: Rows, length: I32Column) -> Decoded:
        n = len(rows)
        text = rows[:, :MAX_BYTES] * (length[:, None] > _PLACE)
        is_control: BoolColumn = (text < 0x20) | (text == 0x7F)
        content = (text != 0x20) & (text != 0x0A) & (text != 0x0D) & (text != 0x00)
        end = _last(content) + 1
        colon = np.minimum(_last(text == ord(":")), end)
        start = _first_after(content, colon)
        index, rgb = decode_plain(_shifted(text, start), (end - start).astype(np.int32))
        coloured: BoolColumn = index >= 0
        is_garbled: BoolColumn = np.any(is_control & (end[:, None] > _PLACE), axis=1)
        is_named: BoolColumn = (colon > 0) & (start < end)
        is_other: BoolColumn = ~(coloured | is_named)
        reason = np.zeros(n, np.uint8)
        in_order(
            reason,
            (length > MAX_BYTES, Reason.LENGTH),
            (end == 0, Reason.EMPTY),
            (is_garbled, Reason.FOREIGN),
            (is_other, Reason.KIND),
        )
        valid = reason == 0
        return Decoded(
            valid=valid,
            control=np.zeros(n, np.bool_),
            reason=reason,
            key=((text * (colon[:, None] > _PLACE)).view(np.uint64) * _MIX).sum(axis=1, dtype=np.uint64),
            number=np.zeros(n, np.uint32),
            numbered=np.zeros(n, np.bool_),
            marks=np.zeros(n, np.uint16),
            rgb=rgb,
            coloured=coloured,
            all_valid=bool(valid.all()),
        )

    def flow_name(self, data: bytes) -> str:
        name, colon, _ = data.rpartition(b":")
        return name.decode("utf-8", "replace") if colon else ""

    def fields(self, data: bytes) -> list[Field]:
        fields = Fields(data)
        colon = data.rfind(b":")
        if colon > 0:
            fields.text("name", 0, colon)
        fields.text("value", colon + 1, len(data) - colon - 1)
        return fields.found

    def pixels(self, data: bytes) -> Pixels:
        decoded = alone(self, data)
        if not decoded.valid[0] or not decoded.coloured[0]:
            return NO_PIXELS
        return Pixels(np.arange(3), decoded.rgb[0], 3)

    def encoder(self, sending: Sending) -> TextEncoder:
        return TextEncoder()


def _last(where: BoolColumn) -> I32Column:
    """int32[n]: the last place of each row that is True; -1 if none is."""
    last = MAX_BYTES - 1 - where[:, ::-1].argmax(axis=1)
    return np.where(where.any(axis=1), last, -1).astype(np.int32)


def _first_after(where: BoolColumn, place: I32Column) -> I32Column:
    """int32[n]: the first place behind `place` that is True; MAX_BYTES where none is."""
    behind = where & (place[:, None] < _PLACE)
    return np.where(behind.any(axis=1), behind.argmax(axis=1), MAX_BYTES).astype(np.int32)


def _shifted(text: Rows, start: I32Column) -> Rows:
    """uint8[n, _VALUE_BYTES]: each row from `start` on, then NULs."""
    place = start[:, None] + _PLACE[:_VALUE_BYTES]
    there: Rows = np.take_along_axis(text, np.minimum(place, MAX_BYTES - 1), axis=1) * (place < MAX_BYTES)
    return there


class TextEncoder:
    """`Encoder` for `#rrggbb`: the first pixel."""

    refresh_s = 1.0
    goodbyes = 0
    width = 7
    parts: Sequence[Part] = (Part(0, 0, 1),)

    def encode(
        self, out: Rows, part: I32Column, number: U32Column, sent_unix_ns: I64Column, rgb: U8Column
    ) -> I32Column:
        out[:, 0] = ord("#")
        out[:, 1:7:2] = _DIGITS[rgb[:, 0] >> 4]
        out[:, 2:7:2] = _DIGITS[rgb[:, 0] & 15]
        return np.full(len(part), self.width, np.int32)

    def goodbye(self, out: Rows, part: I32Column, number: U32Column) -> I32Column:
        return np.zeros(len(part), np.int32)
