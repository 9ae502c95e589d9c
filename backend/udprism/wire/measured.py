"""The measured stream, version 1: headers, colours, reports; bytes ↔ values, one and many.

This is the binary half, in network byte order; the text half is `commands`. A single datagram decodes or raises
WireError; in a batch a row is valid or carries a DropReason, by the same rules in the same order, and the reason of the
one is the label of the other. PROTOCOL.md is the normative text.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from udprism.columns.types import BoolColumn, I32Column, I64Column, Rows, U8Column, U32Column
from udprism.errors import WireError

MAGIC: Final = 0xC7
"""First byte of every binary datagram; no ASCII command and no colour name begins with it."""
MAGIC_BYTE: Final = bytes((MAGIC,))
_CONTINUATIONS: Final = frozenset(bytes((byte,)) for byte in range(0x80, 0xC0))
"""Bytes that go on with a letter of UTF-8: after the magic none of them is a version."""
VERSION: Final = 1
HEADER_BYTES: Final = 20
REPORT_BYTES: Final = HEADER_BYTES + 7 * 4
BYE_BYTES: Final = HEADER_BYTES + 1
MIN_COLOUR_BYTES: Final = HEADER_BYTES + 3
MAX_COLOURS: Final = 480
"""Pixels in one datagram."""
MAX_DATAGRAM_BYTES: Final = HEADER_BYTES + 3 * MAX_COLOURS

HEADER: Final = np.dtype(
    [
        ("magic", "u1"),
        ("version", "u1"),
        ("kind", "u1"),
        ("flags", "u1"),
        ("session_id", ">u4"),
        ("sequence", ">u4"),
        ("sent_at_unix_ns", ">i8"),
    ]
)
FLAGS_AT: Final = 3
_HEADER: Final = struct.Struct(">BBBBIIq")
_REPORT: Final = struct.Struct(">BBBBIIq7I")


class Kind(IntEnum):
    """The header's third byte."""

    COLOUR = 1
    REPORT = 2
    REPORT_ACK = 3
    BYE = 4


class ByeReason(IntEnum):
    """Why the server ends a session."""

    SHUTDOWN = 1
    LEASE_EXPIRED = 2
    OPERATOR = 3


class DropReason(IntEnum):
    """Why a row of a batch is not a colour. CONTROL is not a fault: such a row is for `decode_datagram`."""

    NONE = 0
    NOT_BINARY = 1
    LENGTH = 2
    VERSION = 3
    KIND = 4
    CONTROL = 5
    SESSION_ZERO = 6

    @property
    def label(self) -> str:
        """As in WireError.reason: `not-binary`, `length`, `version`, `kind`, `control`, `session-zero`."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class Colour:
    """One datagram of a measured stream. pixels: 3 bytes (sRGB) each, 1 to 480 of them."""

    session_id: int
    sequence: int
    sent_at_unix_ns: int
    pixels: bytes

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The first pixel."""
        return self.pixels[0], self.pixels[1], self.pixels[2]


@dataclass(frozen=True, slots=True)
class Report:
    """What a client has seen of its session so far. All but the time are uint32; highest is 0 before the first."""

    session_id: int
    sequence: int
    sent_at_unix_ns: int
    highest: int
    received: int
    lost: int
    reordered: int
    duplicates: int
    late: int
    jitter_us: int


@dataclass(frozen=True, slots=True)
class ReportAck:
    """The server's echo of a report: round-trip time = now - report.sent_at_unix_ns, on the client's own clock."""

    report: Report

    @property
    def session_id(self) -> int:
        """The report's."""
        return self.report.session_id


@dataclass(frozen=True, slots=True)
class Bye:
    """The server ends the session."""

    session_id: int
    sequence: int
    sent_at_unix_ns: int
    reason: ByeReason


Datagram: TypeAlias = Colour | Report | ReportAck | Bye


def encode_colour(colour: Colour) -> bytes:
    """One colour; `encode_colours` is for many."""
    return (
        _HEADER.pack(MAGIC, VERSION, Kind.COLOUR, 0, colour.session_id, colour.sequence, colour.sent_at_unix_ns)
        + colour.pixels
    )


def encode_report(report: Report) -> bytes:
    """48 bytes. Raises: struct.error if a figure is not a uint32: saturate or wrap first."""
    return _pack_report(Kind.REPORT, report)


def encode_report_ack(ack: ReportAck) -> bytes:
    """48 bytes, for tests and fakes; a server echoes bytes with `acknowledge`."""
    return _pack_report(Kind.REPORT_ACK, ack.report)


def _pack_report(kind: Kind, r: Report) -> bytes:
    header = (MAGIC, VERSION, kind, 0, r.session_id, r.sequence, r.sent_at_unix_ns)
    return _REPORT.pack(*header, r.highest, r.received, r.lost, r.reordered, r.duplicates, r.late, r.jitter_us)


def acknowledge(report_data: bytes) -> bytes:
    """The REPORT_ACK to a REPORT that `decode_report` took: the same bytes, the type 3. Never larger than it."""
    return report_data[:2] + bytes((Kind.REPORT_ACK,)) + report_data[3:]


def encode_bye(bye: Bye) -> bytes:
    """21 bytes."""
    header = _HEADER.pack(MAGIC, VERSION, Kind.BYE, 0, bye.session_id, bye.sequence, bye.sent_at_unix_ns)
    return header + bytes((bye.reason,))


def is_binary(data: bytes) -> bool:
    """Whether the first two bytes say that this is no text: the magic and a version that continues no letter of UTF-8.

    U+01C0 to U+01FF begin with the magic.
    """
    return data[:1] == MAGIC_BYTE and data[1:2] not in _CONTINUATIONS


def decode_datagram(data: bytes) -> Datagram:
    """Any binary datagram, in either direction. Flags are ignored.

    Raises: WireError: `not-binary`, `length`, `version`, `kind`, `session-zero`, `bye-reason`.
    """
    if not is_binary(data):
        raise WireError("not-binary")
    if len(data) < HEADER_BYTES:
        raise WireError("length")
    _, version, kind, _, session_id, sequence, sent_at_unix_ns = _HEADER.unpack_from(data)
    if version != VERSION:
        raise WireError("version")
    if kind == Kind.COLOUR:
        good = MIN_COLOUR_BYTES <= len(data) <= MAX_DATAGRAM_BYTES and (len(data) - HEADER_BYTES) % 3 == 0
    elif kind in (Kind.REPORT, Kind.REPORT_ACK):
        good = len(data) == REPORT_BYTES
    elif kind == Kind.BYE:
        good = len(data) == BYE_BYTES
    else:
        raise WireError("kind")
    if not good:
        raise WireError("length")
    if session_id == 0:
        raise WireError("session-zero")
    if kind == Kind.COLOUR:
        return Colour(session_id, sequence, sent_at_unix_ns, data[HEADER_BYTES:])
    if kind == Kind.BYE:
        return Bye(session_id, sequence, sent_at_unix_ns, _bye_reason(data[HEADER_BYTES]))
    report = Report(session_id, sequence, sent_at_unix_ns, *_REPORT.unpack(data)[7:])
    return report if kind == Kind.REPORT else ReportAck(report)


def sent_at_of(data: bytes) -> int:
    """The send time in any binary datagram's header."""
    sent_at_unix_ns: int = _HEADER.unpack_from(data)[-1]
    return sent_at_unix_ns


def _bye_reason(code: int) -> ByeReason:
    try:
        return ByeReason(code)
    except ValueError:
        raise WireError("bye-reason") from None


def decode_report(data: bytes) -> Report:
    """The one binary datagram that a client may send.

    Raises: WireError: as `decode_datagram`, and `server-binary` for what only a server sends.
    """
    datagram = decode_datagram(data)
    if not isinstance(datagram, Report):
        raise WireError("server-binary")
    return datagram


# Batches. Rows may be a view of wider rows; only the last axis must be contiguous. A NumPy call costs as much for one
# row as for a hundred, so there are few.

_COLOUR_PREFIX: Final = np.uint32(MAGIC << 24 | VERSION << 16 | Kind.COLOUR << 8)
_PREFIX_MASK: Final = np.uint32(0xFFFFFF00)  # all of the first word but the flags

_IS_COLOUR_BYTES: Final[BoolColumn] = np.zeros(MAX_DATAGRAM_BYTES + 2, dtype=np.bool_)
_IS_COLOUR_BYTES[MIN_COLOUR_BYTES : MAX_DATAGRAM_BYTES + 1 : 3] = True
"""Whether a COLOUR may have this length; longer ones are clipped to the last place, which is False."""


def encode_colours(
    out: Rows,
    session_id: U32Column,
    sequence: npt.NDArray[np.int64] | npt.NDArray[np.uint32],
    sent_at_unix_ns: int | I64Column,
    rgb: U8Column,
) -> None:
    """Writes n colours of one size into `out`, uint8[n, >= 20 + 3·colours], in place.

    session_id: uint32[n]. sequence: taken mod 2**32. rgb: uint8[n, colours, 3].
    """
    words = out[:, :12].view(">u4")
    words[:, 0] = _COLOUR_PREFIX
    words[:, 1] = session_id
    words[:, 2] = sequence
    out[:, 12:20].view(">i8")[:, 0] = sent_at_unix_ns
    payload_bytes = 3 * rgb.shape[1]
    out[:, HEADER_BYTES : HEADER_BYTES + payload_bytes] = rgb.reshape(len(rgb), payload_bytes)


def stamp(out: Rows, sent_at_unix_ns: int | I64Column) -> None:
    """Rewrites the send time only, in place: the last thing before the rows leave."""
    out[:, 12:20].view(">i8")[:, 0] = sent_at_unix_ns


@dataclass(slots=True)
class ColourBatch:
    """n rows decoded. If `valid` is False, the other columns except `reason` are undefined.

    valid: bool[n]. kind: uint8[n]. session_id, sequence: uint32[n]. sent_at_unix_ns: int64[n]. rgb: uint8[n, 3], the
    first pixel. reason: uint8[n], a DropReason. kind and rgb are views of the rows and live no longer than these.
    """

    valid: BoolColumn
    kind: U8Column
    session_id: U32Column
    sequence: U32Column
    sent_at_unix_ns: I64Column
    rgb: U8Column
    reason: U8Column
    all_valid: bool


def decode_colours(rows: Rows, length: I32Column) -> ColourBatch:
    """Reads n datagrams, uint8[n, >= 23] with int32[n] true lengths (which may exceed the rows' width)."""
    words = rows[:, :12].view(">u4").astype(np.uint32)
    session_id = words[:, 1]
    valid = (words[:, 0] & _PREFIX_MASK) == _COLOUR_PREFIX
    valid &= _IS_COLOUR_BYTES.take(length, mode="clip")
    valid &= session_id != 0
    all_valid = np.count_nonzero(valid) == len(rows)
    return ColourBatch(
        valid=valid,
        kind=rows[:, 2],
        session_id=session_id,
        sequence=words[:, 2],
        sent_at_unix_ns=rows[:, 12:20].view(">i8")[:, 0].astype(np.int64),
        rgb=rows[:, 20:23],
        reason=np.zeros(len(rows), dtype=np.uint8) if all_valid else _reasons(rows, length, valid),
        all_valid=all_valid,
    )


def _reasons(rows: Rows, length: I32Column, valid: BoolColumn) -> U8Column:
    """Why each row is not valid. The last assignment wins: the reverse of `decode_datagram`'s order."""
    kind = rows[:, 2]
    reason = np.full(len(rows), DropReason.SESSION_ZERO, dtype=np.uint8)
    reason[~_IS_COLOUR_BYTES.take(length, mode="clip")] = DropReason.LENGTH
    reason[kind != Kind.COLOUR] = DropReason.CONTROL
    reason[(kind - np.uint8(1)) >= Kind.BYE] = DropReason.KIND  # unsigned: 0 wraps to 255
    reason[rows[:, 1] != VERSION] = DropReason.VERSION
    reason[length < HEADER_BYTES] = DropReason.LENGTH
    reason[(length > 1) & (rows[:, 1] & 0xC0 == 0x80)] = DropReason.NOT_BINARY
    reason[(length < 1) | (rows[:, 0] != MAGIC)] = DropReason.NOT_BINARY
    reason[valid] = DropReason.NONE
    return reason
