"""What the formats share: reading one datagram field by field, one datagram as a batch of one, and filling payloads."""

from __future__ import annotations

from typing import Final

import numpy as np

from udprism.columns.types import BoolColumn, I32Column, Rows, U8Column, U64Column
from udprism.wire.format import Decoded, Field, Format, Mark, Reason

HEX_BYTES: Final = 16
"""This many bytes of a field are shown; a longer one ends in an ellipsis."""


class Fields:
    """The fields of one datagram, in order. One that the datagram does not wholly contain is left out."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.found: list[Field] = []

    def number(self, name: str, offset: int, length: int = 1, about: str = "", little: bool = False) -> int:
        """An unsigned number; returns it, 0 if the datagram ends before."""
        value = self.peek(offset, length, little)
        self._add(name, offset, length, str(value), about)
        return value

    def hexadecimal(self, name: str, offset: int, length: int, about: str = "") -> bytes:
        """Bytes as they are; returns them."""
        data = self.data[offset : offset + length]
        shown = data[:HEX_BYTES].hex(" ") + (" …" if len(data) > HEX_BYTES else "")
        self._add(name, offset, length, shown, about)
        return data

    def text(self, name: str, offset: int, length: int, about: str = "") -> str:
        """Text up to its first NUL; returns it."""
        value = text_of(self.data[offset : offset + length])
        self._add(name, offset, length, value, about)
        return value

    def rest(self, name: str, offset: int, about: str = "", length: int | None = None) -> None:
        """What follows from `offset` on, or its first `length` bytes; nothing if there is none."""
        there = len(self.data) - offset
        length = there if length is None else min(length, there)
        if length > 0:
            self.hexadecimal(name, offset, length, about)

    def peek(self, offset: int, length: int = 1, little: bool = False) -> int:
        """As `number`, without a field."""
        data = self.data[offset : offset + length]
        return int.from_bytes(data, "little" if little else "big") if len(data) == length else 0

    def _add(self, name: str, offset: int, length: int, value: str, about: str) -> None:
        if offset + length <= len(self.data):
            self.found.append(Field(name, offset, length, value, about))


def text_of(data: bytes) -> str:
    """A padded text field for people: up to the first NUL, with what cannot be shown replaced."""
    text = data.split(b"\0", 1)[0].decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def words_of(rows: Rows, places: slice | list[int]) -> U64Column:
    """The rows' 8-byte words at these places, uint64[words, n], each word's lowest byte the first on the wire.

    One copy of what a decoder needs and no more: columns that jump from row to row share few cache lines, and each pass
    over them costs as much as this one.
    """
    columns: U64Column = rows[:, : rows.shape[1] & ~7].view("<u8").T[places]
    return np.ascontiguousarray(columns)


def word_of(data: bytes) -> np.uint64:
    """Up to 8 bytes as such a word, to compare with."""
    return np.uint64(int.from_bytes(data, "little"))


def alone(form: Format, data: bytes) -> Decoded:
    """One datagram as a batch of one row."""
    rows = np.zeros((1, form.row_bytes), np.uint8)
    head = data[: form.row_bytes]
    rows[0, : len(head)] = np.frombuffer(head, np.uint8)
    return form.decode(rows, np.array([len(data)], np.int32))


def in_order(reason: U8Column, *tests: tuple[BoolColumn, Reason]) -> None:
    """Fills in the reason of the first test that is True of a row."""
    for failed, why in reversed(tests):
        reason[failed] = why


def mark(decoded: Decoded, rows: BoolColumn, bit: Mark) -> None:
    """Adds a mark to these rows."""
    if rows.any():
        decoded.marks |= rows * np.uint16(bit)


def channels_at(out: Rows, at: int, first: I32Column, count: int, rgb: U8Column) -> None:
    """Fills out[:, at : at + count] with each row's channels from `first` on; values beyond the frame's end are
    undefined.

    first: int32[n], channels. rgb: uint8[n, pixels, 3].
    """
    frames = rgb.reshape(len(rgb), -1)
    place: I32Column = np.add(first[:, None], np.arange(count, dtype=np.int32))
    np.minimum(place, frames.shape[1] - 1, out=place)
    out[:, at : at + count] = np.take_along_axis(frames, place, axis=1)
