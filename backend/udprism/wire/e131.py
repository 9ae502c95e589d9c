"""E1.31, streaming ACN (ANSI E1.31-2018): DMX512 data both ways, its end, synchronisation and priorities.

Three layers lie behind each other, all big-endian: root (CID), framing (name, priority, number, options, universe) and
DMP (a start code and up to 512 slots). A number is 0 to 255, one count a universe, over all start codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from udprism.columns.types import I32Column, I64Column, Rows, U8Column, U16Column, U32Column, U64Column
from udprism.wire.dissect import Fields, alone, channels_at, in_order, mark, text_of, word_of, words_of
from udprism.wire.format import NO_PIXELS, REASONS, Decoded, Field, Mark, Numbering, Part, Pixels, Reason, Sending

PREAMBLE: Final = bytes.fromhex("0010 0000") + b"ASC-E1.17\0\0\0"
HEADER_BYTES: Final = 126
"""Up to and with the start code."""
MAX_SLOTS: Final = 512
MAX_UNIVERSE: Final = 63_999
PIXELS_A_UNIVERSE: Final = 170
PRIORITY_START_CODE: Final = 0xDD
DEFAULT_PRIORITY: Final = 100
GOODBYES: Final = 3
"""E1.31-2018 section 6.2.6: three packets with Stream_Terminated."""

_ROOT_DATA: Final = 4
_ROOT_EXTENDED: Final = 8
_FRAMING_DATA: Final = 2
_SYNC: Final = 1
_DISCOVERY: Final = 2
_PREVIEW: Final = 0x80
_TERMINATED: Final = 0x40
_FORCE_SYNC: Final = 0x20
_EXTENDED_BYTES: Final = 44
_SYNC_BYTES: Final = 49
_DISCOVERY_BYTES: Final = 120

_DMP: Final = bytes.fromhex("02 a1 0000 0001")
"""Vector, types, first address and increment, from byte 117 on."""

_PLACES: Final = [0, 1, 2, 5, 14, 15, 3, 4, 13]
"""The words that are read: first those in which something must stand."""
_W16, _W112, _W120, _W24, _W32, _W104 = 2, 4, 5, 6, 7, 8
"""Where among them is the word that begins at this byte."""
_EXTENDED_WORD: Final = word_of(bytes(2) + _ROOT_EXTENDED.to_bytes(4, "big"))
_ROOT_WORD: Final = word_of(bytes(2) + _ROOT_DATA.to_bytes(4, "big"))
_ROOT_MASK: Final = np.uint64(0x0000_FFFF_FFFF_0000)
_FIXED: Final[U64Column] = np.array(
    [
        [word_of(PREAMBLE[:8])],
        [word_of(PREAMBLE[8:])],
        [_ROOT_WORD],
        [word_of(_FRAMING_DATA.to_bytes(4, "big"))],
        [word_of(bytes(5) + _DMP[:3])],
        [word_of(_DMP[3:])],
    ],
    np.uint64,
)
_FIXED_MASK: Final[U64Column] = np.array(
    [[2**64 - 1], [2**64 - 1], [_ROOT_MASK], [0xFFFF_FFFF], [0xFFFF_FF00_0000_0000], [0xFF_FFFF]], np.uint64
)
_START_CODE: Final = np.uint64(0xFF << 40)
_SYNC_ADDRESS: Final = np.uint64(0x00FF_FF00_0000_0000)
_MARKS_OF: Final = np.array(
    [(options & _PREVIEW and Mark.PREVIEW) | (options & _TERMINATED and Mark.ENDS) for options in range(256)], np.uint16
)
_MIX: Final = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9))


def key_of(cid: bytes, universe: int) -> int:
    """A flow's key: 64 bits mixed from CID and universe, as `E131.decode` does it in columns."""
    mixed = int.from_bytes(cid[2:10], "little") * int(_MIX[0])
    mixed += (int.from_bytes(cid[:2], "little") | int.from_bytes(cid[10:], "little") << 16) * int(_MIX[1])
    return (mixed + universe * int(_MIX[2])) & 0xFFFF_FFFF_FFFF_FFFF


def group_of(universe: int) -> str:
    """The multicast group of a universe (E1.31 section 9.3.1)."""
    return f"239.255.{universe >> 8}.{universe & 0xFF}"


class E131:
    """`Format` for E1.31. key: CID and universe, mixed. control: synchronisation and universe discovery.

    Data with another start code than 0 is valid, numbered and marked NO_LEVELS.
    """

    name = "e131"
    label = "sACN (E1.31)"
    port = 5568
    numbering = Numbering(256, 0)
    reasons: Sequence[str] = REASONS
    row_bytes = 136
    payload_at = HEADER_BYTES

    def decode(self, rows: Rows, length: I32Column) -> Decoded:
        word = words_of(rows, _PLACES)
        there = length - HEADER_BYTES
        wrong = word[: len(_FIXED_MASK)] & _FIXED_MASK
        wrong ^= _FIXED
        valid = np.bitwise_or.reduce(wrong, axis=0) == 0
        valid &= there >= 0
        slots = (word[_W120] >> 24).astype(np.uint16).byteswap()
        slots -= 1  # the start code; unsigned: without one it wraps to 65,535
        valid &= slots <= MAX_SLOTS
        has_levels = (word[_W120] & _START_CODE) == 0
        marks = _MARKS_OF.take(word[_W112].astype(np.uint8))
        counts = has_levels & ((marks & np.uint16(Mark.ENDS)) == 0)  # E1.31 6.2.6: what ends a flow has no levels
        decoded = Decoded(
            valid=valid,
            control=np.zeros(len(rows), np.bool_),
            reason=np.zeros(len(rows), np.uint8),
            key=_keys(word),
            number=(word[_W104] >> 56).astype(np.uint32),
            numbered=np.ones(len(rows), np.bool_),
            marks=marks,
            rgb=rows[:, HEADER_BYTES : HEADER_BYTES + 3],
            coloured=(np.minimum(slots, there) >= 3) & counts,
            all_valid=bool(valid.all()),
        )
        mark(decoded, slots != there, Mark.LENGTH_DISAGREES)
        mark(decoded, ~has_levels, Mark.NO_LEVELS)
        mark(decoded, (word[_W104] & _SYNC_ADDRESS) != 0, Mark.SYNCHRONISED)
        if not decoded.all_valid:
            _say_why_not(decoded, rows, length, slots)
        return decoded

    def flow_name(self, data: bytes) -> str:
        return f"universe {int.from_bytes(data[113:115], 'big')} of {text_of(data[44:108]) or data[22:38].hex()}"

    def fields(self, data: bytes) -> list[Field]:
        fields = Fields(data)
        fields.number("preamble", 0, 2)
        fields.number("postamble", 2, 2)
        fields.text("id", 4, 12)
        _pdu(fields, "root", 16)
        root = fields.number("root vector", 18, 4, "4: data, 8: extended")
        fields.hexadecimal("CID", 22, 16, "who sends: one a component")
        _pdu(fields, "framing", 38)
        framing = fields.number("framing vector", 40, 4)
        if root == _ROOT_DATA:
            _data_fields(fields)
        elif root == _ROOT_EXTENDED and framing == _SYNC:
            fields.number("number", 44)
            fields.number("synchronisation address", 45, 2, "universe")
        elif root == _ROOT_EXTENDED and framing == _DISCOVERY:
            fields.text("source name", 44, 64)
            _pdu(fields, "discovery", 112)
            fields.number("page", 118)
            fields.number("last page", 119)
            fields.rest("universes", 120, "two bytes each")
        return fields.found

    def pixels(self, data: bytes) -> Pixels:
        decoded = alone(self, data)
        if not decoded.valid[0] or decoded.marks[0] & (Mark.NO_LEVELS | Mark.ENDS):
            return NO_PIXELS
        slots = int.from_bytes(data[123:125], "big") - 1
        value = np.frombuffer(data[HEADER_BYTES : HEADER_BYTES + slots], np.uint8)
        return Pixels(np.arange(len(value)), value, 3)

    def encoder(self, sending: Sending) -> E131Encoder:
        return E131Encoder(sending)


def _keys(word: U64Column) -> U64Column:
    """As `key_of`."""
    key: U64Column = word[_W24] * _MIX[0]
    key += (word[_W16] >> 48 | word[_W32] << 16) * _MIX[1]
    key += (word[_W112] >> 8).astype(np.uint16).byteswap() * _MIX[2]
    return key


def _say_why_not(decoded: Decoded, rows: Rows, length: I32Column, slots: U16Column) -> None:
    """Not valid: why, or that it is a synchronisation or a list of universes."""
    root = rows[:, 16:24].view("<u8")[:, 0] & _ROOT_MASK
    framing = rows[:, 40:44].view(">u4")[:, 0]
    is_data = root == _ROOT_WORD
    is_extended = root == _EXTENDED_WORD
    is_sync = is_extended & (framing == _SYNC)
    is_list = is_extended & (framing == _DISCOVERY)
    dmp = rows[:, 117:123]
    in_order(
        decoded.reason,
        ((rows[:, :16] != np.frombuffer(PREAMBLE, np.uint8)).any(axis=1) | (length < len(PREAMBLE)), Reason.FOREIGN),
        (length < _EXTENDED_BYTES, Reason.SHORT),
        (~(is_data & (framing == _FRAMING_DATA)) & ~is_sync & ~is_list, Reason.KIND),
        (length < np.where(is_data, HEADER_BYTES, np.where(is_sync, _SYNC_BYTES, _DISCOVERY_BYTES)), Reason.SHORT),
        (is_data & (dmp != np.frombuffer(_DMP, np.uint8)).any(axis=1), Reason.KIND),
        (is_data & (slots > MAX_SLOTS), Reason.LENGTH),
    )
    decoded.control = (decoded.reason == 0) & ~is_data


def _pdu(fields: Fields, layer: str, offset: int) -> None:
    """A layer's flags and length, which counts from itself to the datagram's end."""
    there = len(fields.data) - offset
    said = fields.peek(offset, 2) & 0x0FFF
    fields.hexadecimal(f"{layer} length", offset, 2, f"{said}" if said == there else f"{said}; {there} bytes are there")


def _data_fields(fields: Fields) -> None:
    fields.text("source name", 44, 64)
    fields.number("priority", 108, about="0 to 200; more is not allowed" if fields.peek(108) > 200 else "0 to 200")
    sync = fields.peek(109, 2)
    fields.number(
        "synchronisation address", 109, 2, "shown when this universe's synchronisation comes" if sync else "none"
    )
    fields.number("number", 111)
    options = fields.peek(112)
    words = {_PREVIEW: "preview", _TERMINATED: "terminated", _FORCE_SYNC: "goes on without synchronisation"}
    fields.hexadecimal("options", 112, 1, ", ".join(word for bit, word in words.items() if options & bit) or "none")
    universe = fields.peek(113, 2)
    fields.number("universe", 113, 2, "" if 1 <= universe <= MAX_UNIVERSE else "outside 1 to 63,999")
    _pdu(fields, "DMP", 115)
    fields.number("DMP vector", 117)
    fields.hexadecimal("address and data type", 118, 1)
    fields.number("first address", 119, 2)
    fields.number("address increment", 121, 2)
    there = max(len(fields.data) - HEADER_BYTES + 1, 0)
    count = fields.peek(123, 2)
    fields.number("count", 123, 2, "start code and slots" if count == there else f"{there} are there")
    start = {0: "levels", PRIORITY_START_CODE: "per-address priority"}
    fields.hexadecimal("start code", 125, 1, start.get(fields.peek(125), "not levels"))
    fields.rest("slots", HEADER_BYTES, "slot 1 is the first byte")


class E131Encoder:
    """`Encoder` for E1.31: 170 pixels a universe, from `Sending.universe` on, all with one CID and name.

    The goodbye has the Stream_Terminated bit and dark slots, whose levels a receiver ignores.
    """

    refresh_s = 0.9
    """E1.31-2018 section 6.6.2: a still universe every 800 to 1,000 ms."""
    goodbyes = GOODBYES
    width = HEADER_BYTES + 3 * PIXELS_A_UNIVERSE

    def __init__(self, sending: Sending) -> None:
        firsts = range(0, sending.pixels, PIXELS_A_UNIVERSE)
        last = sending.universe + len(firsts) - 1
        if not 1 <= sending.universe <= last <= MAX_UNIVERSE:
            raise ValueError(
                f"{sending.pixels} pixels need universes {sending.universe} to {last}, of 1 to {MAX_UNIVERSE}"
            )
        self.parts: Sequence[Part] = [
            Part(key_of(sending.identity, sending.universe + at), first, min(PIXELS_A_UNIVERSE, sending.pixels - first))
            for at, first in enumerate(firsts)
        ]
        self._first = np.array([3 * part.first_pixel for part in self.parts], np.int32)
        self._slots = np.array([3 * part.pixels for part in self.parts], np.int32)
        head = np.zeros((len(self.parts), HEADER_BYTES), np.uint8)
        fixed = PREAMBLE + bytes(2) + _ROOT_DATA.to_bytes(4, "big") + sending.identity
        fixed += (
            bytes(2)
            + _FRAMING_DATA.to_bytes(4, "big")
            + sending.name.encode()[:63].decode(errors="ignore").encode().ljust(64, b"\0")
        )
        fixed += bytes((DEFAULT_PRIORITY, 0, 0, 0, 0, 0, 0, 0, 0)) + _DMP + bytes(3)
        head[:] = np.frombuffer(fixed, np.uint8)
        head[:, 113:115] = _big(np.arange(sending.universe, last + 1))
        for layer in (16, 38, 115):
            head[:, layer : layer + 2] = _big(0x7000 | (HEADER_BYTES + self._slots - layer))
        head[:, 123:125] = _big(1 + self._slots)
        self._head = head

    def encode(
        self, out: Rows, part: I32Column, number: U32Column, sent_unix_ns: I64Column, rgb: U8Column
    ) -> I32Column:
        channels_at(out, HEADER_BYTES, self._first[part], 3 * PIXELS_A_UNIVERSE, rgb)
        out[:, :HEADER_BYTES] = self._head[part]
        out[:, 111] = number
        return HEADER_BYTES + self._slots[part]

    def goodbye(self, out: Rows, part: I32Column, number: U32Column) -> I32Column:
        out[:, HEADER_BYTES : self.width] = 0
        out[:, :HEADER_BYTES] = self._head[part]
        out[:, 111] = number
        out[:, 112] |= _TERMINATED
        return HEADER_BYTES + self._slots[part]


def _big(values: npt.NDArray[np.integer]) -> U8Column:
    """uint8[n, 2], big-endian."""
    return values.astype(">u2")[:, None].view(np.uint8)
