"""Art-Net 4 (Artistic Licence, document revision 1.4): ArtDmx both ways, ArtSync, ArtPoll and its reply.

Every datagram begins with `Art-Net`, NUL and an operation code, which is little-endian as the port in an ArtPollReply
and a universe are; the version and ArtDmx's length are big-endian. A number is 1 to 255; 0 means that the sender does
not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np

from udprism.columns.types import I32Column, I64Column, Rows, U8Column, U32Column
from udprism.wire.dissect import Fields, alone, channels_at, in_order, mark, word_of, words_of
from udprism.wire.format import NO_PIXELS, REASONS, Decoded, Field, Mark, Numbering, Part, Pixels, Reason, Sending

ID: Final = b"Art-Net\0"
VERSION: Final = 14
PORT: Final = 6454
HEADER_BYTES: Final = 18
MAX_SLOTS: Final = 512
MAX_UNIVERSE: Final = 0x7FFF
PIXELS_A_UNIVERSE: Final = 170
POLL_BYTES: Final = 14
POLL_REPLY_BYTES: Final = 239
PORTS_A_REPLY: Final = 4


class Op(IntEnum):
    """Operation codes that we read or send."""

    POLL = 0x2000
    POLL_REPLY = 0x2100
    DMX = 0x5000
    SYNC = 0x5200


_OP_NAMES: Final[dict[int, str]] = {
    Op.POLL: "ArtPoll",
    Op.POLL_REPLY: "ArtPollReply",
    Op.DMX: "ArtDmx",
    Op.SYNC: "ArtSync",
    0x2300: "ArtDiagData",
    0x2400: "ArtCommand",
    0x2700: "ArtDataRequest",
    0x2800: "ArtDataReply",
    0x5100: "ArtNzs",
    0x6000: "ArtAddress",
    0x7000: "ArtInput",
    0x8000: "ArtTodRequest",
    0x8100: "ArtTodData",
    0x8200: "ArtTodControl",
    0x8300: "ArtRdm",
    0x8400: "ArtRdmSub",
    0x9700: "ArtTimeCode",
    0x9800: "ArtTimeSync",
    0x9900: "ArtTrigger",
    0x9A00: "ArtDirectory",
    0x9B00: "ArtDirectoryReply",
    0xF200: "ArtFirmwareMaster",
    0xF300: "ArtFirmwareReply",
    0xF800: "ArtIpProg",
    0xF900: "ArtIpProgReply",
}
"""Art-Net 4 table 1; all but ArtDmx are control."""
_KNOWN: Final = np.array(list(_OP_NAMES), np.uint16)
_ID_WORD: Final = word_of(ID)
_DMX_WORD: Final = np.uint64(Op.DMX | VERSION << 24)
_OP_AND_VERSION: Final = np.uint64(0xFFFF_FFFF)


def key_of(universe: int, physical: int = 0) -> int:
    """A flow's key. Two inputs of one sender may differ in Physical alone (Art-Net 4, "Physical")."""
    return universe << 8 | physical


class Artnet:
    """`Format` for Art-Net. key: the universe and Physical. control: everything else, such as ArtPoll and ArtSync."""

    name = "artnet"
    label = "Art-Net"
    port = PORT
    numbering = Numbering(255, 1)
    reasons: Sequence[str] = REASONS
    row_bytes = 24
    payload_at = HEADER_BYTES

    def decode(self, rows: Rows, length: I32Column) -> Decoded:
        first, second, third = words_of(rows, slice(3))
        there = length - HEADER_BYTES
        said = third.astype(np.uint16).byteswap()
        valid = first == _ID_WORD
        valid &= (second & _OP_AND_VERSION) == _DMX_WORD
        valid &= there >= 0
        valid &= said <= MAX_SLOTS
        number = rows[:, 12].astype(np.uint32)
        decoded = Decoded(
            valid=valid,
            control=np.zeros(len(rows), np.bool_),
            reason=np.zeros(len(rows), np.uint8),
            key=second >> 40,  # key_of: Physical, then the universe
            number=number,
            numbered=number != 0,
            marks=np.zeros(len(rows), np.uint16),
            rgb=rows[:, HEADER_BYTES : HEADER_BYTES + 3],
            coloured=np.minimum(said, there) >= 3,
            all_valid=bool(valid.all()),
        )
        mark(decoded, said != there, Mark.LENGTH_DISAGREES)
        if not decoded.all_valid:
            _say_why_not(decoded, rows, length)
        return decoded

    def flow_name(self, data: bytes) -> str:
        universe = f"universe {int.from_bytes(data[14:16], 'little')}"
        return f"{universe}, physical {data[13]}" if data[13] else universe

    def fields(self, data: bytes) -> list[Field]:
        fields = Fields(data)
        fields.text("id", 0, 8)
        op = fields.peek(8, 2, little=True)
        fields.hexadecimal("operation", 8, 2, _OP_NAMES.get(op, ""))
        if op == Op.POLL_REPLY:
            _poll_reply_fields(fields)
            return fields.found
        fields.number("version", 10, 2)
        if op == Op.DMX:
            _dmx_fields(fields)
        elif op == Op.POLL:
            fields.hexadecimal("flags", 12, 1, "2: send a reply whenever something changes")
            fields.number("priority of diagnostics", 13)
        elif op == Op.SYNC:
            fields.rest("auxiliary", 12)
        else:
            fields.rest("data", 12)
        return fields.found

    def pixels(self, data: bytes) -> Pixels:
        if not alone(self, data).valid[0]:
            return NO_PIXELS
        value = np.frombuffer(data[HEADER_BYTES : HEADER_BYTES + int.from_bytes(data[16:18], "big")], np.uint8)
        return Pixels(np.arange(len(value)), value, 3)

    def encoder(self, sending: Sending) -> ArtnetEncoder:
        return ArtnetEncoder(sending)


def _say_why_not(decoded: Decoded, rows: Rows, length: I32Column) -> None:
    """Not valid: why, or that it is another of Art-Net's datagrams, whatever its later bytes are."""
    op = rows[:, 8:10].view("<u2")[:, 0]
    is_dmx, has_version = op == Op.DMX, op != Op.POLL_REPLY
    in_order(
        decoded.reason,
        ((rows[:, :8] != np.frombuffer(ID, np.uint8)).any(axis=1) | (length < len(ID)), Reason.FOREIGN),
        (length < POLL_BYTES - 2, Reason.SHORT),
        (~np.isin(op, _KNOWN), Reason.KIND),
        (has_version & (rows[:, 10:12].view(">u2")[:, 0] != VERSION), Reason.VERSION),
        (length < np.where(is_dmx, HEADER_BYTES, POLL_BYTES), Reason.SHORT),
        (is_dmx & (rows[:, 16:18].view(">u2")[:, 0] > MAX_SLOTS), Reason.LENGTH),
    )
    decoded.control = (decoded.reason == 0) & ~is_dmx


def _dmx_fields(fields: Fields) -> None:
    fields.number("number", 12, about="" if fields.peek(12) else "0: the sender does not count")
    fields.number("physical", 13, about="which of the sender's inputs")
    universe = fields.peek(14, 2, little=True)
    net = f"net {universe >> 8 & 0x7F}, subnet {universe >> 4 & 15}, universe {universe & 15}"
    fields.number("universe", 14, 2, net, little=True)
    there = max(len(fields.data) - HEADER_BYTES, 0)
    fields.number("length", 16, 2, "" if fields.peek(16, 2) == there else f"{there} bytes are there")
    fields.rest("slots", HEADER_BYTES, "slot 1 is the first byte")


def operation_of(data: bytes) -> int:
    """What a control datagram of this format is: an operation code; one of `Op` if we handle it."""
    return int.from_bytes(data[8:10], "little")


class PollReply(NamedTuple):
    """What our reply says. The names must not change: some senders send another copy for each name (aioartnet
    0.2.1)."""

    ip: bytes
    """Four bytes."""
    port: int
    universes: Sequence[int]
    """Up to PORTS_A_REPLY, all of one net and subnet: the same but for their last four bits."""
    short_name: str = "udprism"
    long_name: str = "udprism: shows what becomes of every datagram"
    bind_index: int = 1
    mac: bytes = bytes(6)
    sent: int = 0
    """How many replies were sent before; shown modulo 10,000."""


def encode_poll_reply(reply: PollReply) -> bytes:
    """An ArtPollReply of 239 bytes: outputs that take Art-Net, no RDM, 15-bit addresses, unicast.

    Raises: ValueError: universes that do not fit in one reply.
    """
    low = [universe & 0x0F for universe in reply.universes]
    high = {universe >> 4 for universe in reply.universes} or {0}
    if len(low) > PORTS_A_REPLY or len(high) != 1 or max(high) > MAX_UNIVERSE >> 4:
        raise ValueError(f"universes {list(reply.universes)} are not of one subnet, or more than {PORTS_A_REPLY}")
    ports = len(low)
    address = high.pop()
    data = bytearray(POLL_REPLY_BYTES)
    data[0:8] = ID
    data[8:10] = Op.POLL_REPLY.to_bytes(2, "little")
    data[10:14] = reply.ip
    data[14:16] = reply.port.to_bytes(2, "little")
    data[16:18] = (1).to_bytes(2, "big")
    data[18], data[19] = address >> 4, address & 0x0F
    data[20:22] = b"\x00\xff"  # OEM: unknown
    data[23] = 0xC0  # indicators are in their normal mode
    data[26:44] = _padded(reply.short_name, 18)
    data[44:108] = _padded(reply.long_name, 64)
    data[108:172] = _padded(f"#0001 [{reply.sent % 10_000:04d}] listening", 64)
    data[173] = ports
    data[174 : 174 + ports] = b"\x80" * ports  # each puts out DMX512 that came by Art-Net
    data[182 : 182 + ports] = b"\x80" * ports  # data is being put out
    data[190 : 190 + ports] = bytes(low)
    data[200] = 0x00  # StNode
    data[201:207] = reply.mac
    data[207:211] = reply.ip
    data[211] = reply.bind_index
    data[212] = 0x08  # 15-bit addresses
    return bytes(data)


def _padded(text: str, size: int) -> bytes:
    """Padded with at least one NUL."""
    return text.encode()[: size - 1].decode("utf-8", "ignore").encode().ljust(size, b"\0")


def _poll_reply_fields(fields: Fields) -> None:
    fields.text("address", 10, 4)
    fields.found[-1:] = [field._replace(value=".".join(map(str, fields.data[10:14]))) for field in fields.found[-1:]]
    fields.number("port", 14, 2, "little-endian; some senders swap it", little=True)
    fields.number("firmware", 16, 2)
    fields.number("net", 18)
    fields.number("subnet", 19)
    fields.hexadecimal("OEM code", 20, 2)
    fields.hexadecimal("status 1", 23, 1)
    fields.text("short name", 26, 18)
    fields.text("long name", 44, 64)
    fields.text("report", 108, 64)
    fields.number("ports", 172, 2)
    fields.hexadecimal("port types", 174, 4, "0x80: an output, 0x40: an input")
    fields.hexadecimal("input universes", 186, 4, "last four bits of each")
    fields.hexadecimal("output universes", 190, 4, "last four bits of each")
    fields.number("style", 200)
    fields.hexadecimal("MAC", 201, 6)
    fields.number("bind index", 211)
    fields.hexadecimal("status 2", 212, 1)


class ArtnetEncoder:
    """`Encoder` for ArtDmx: 170 pixels a universe, from `Sending.universe` on; no goodbye.

    The last universe has an even number of slots, as Art-Net wants.
    """

    refresh_s = 0.9
    """Art-Net 4, "Refresh rate": a still universe every 800 to 1,000 ms."""
    goodbyes = 0
    width = HEADER_BYTES + 3 * PIXELS_A_UNIVERSE

    def __init__(self, sending: Sending) -> None:
        firsts = range(0, sending.pixels, PIXELS_A_UNIVERSE)
        last = sending.universe + len(firsts) - 1
        if not 0 <= sending.universe <= last <= MAX_UNIVERSE:
            raise ValueError(f"{sending.pixels} pixels need universes {sending.universe} to {last} of {MAX_UNIVERSE}")
        self.parts: Sequence[Part] = [
            Part(key_of(sending.universe + at), first, min(PIXELS_A_UNIVERSE, sending.pixels - first))
            for at, first in enumerate(firsts)
        ]
        slots = np.array([3 * part.pixels + part.pixels % 2 for part in self.parts], np.int32)
        universe = np.arange(sending.universe, last + 1)
        self._first = np.array([3 * part.first_pixel for part in self.parts], np.int32)
        self._slots: I32Column = slots
        self._head = np.zeros((len(self.parts), HEADER_BYTES), np.uint8)
        self._head[:, :12] = np.frombuffer(ID + Op.DMX.to_bytes(2, "little") + VERSION.to_bytes(2, "big"), np.uint8)
        self._head[:, 14:16] = universe.astype("<u2")[:, None].view(np.uint8)
        self._head[:, 16:18] = slots.astype(">u2")[:, None].view(np.uint8)

    def encode(
        self, out: Rows, part: I32Column, number: U32Column, sent_unix_ns: I64Column, rgb: U8Column
    ) -> I32Column:
        channels_at(out, HEADER_BYTES, self._first[part], 3 * PIXELS_A_UNIVERSE, rgb)
        out[:, :HEADER_BYTES] = self._head[part]
        out[:, 12] = number
        return HEADER_BYTES + self._slots[part]

    def goodbye(self, out: Rows, part: I32Column, number: U32Column) -> I32Column:
        return np.zeros(len(part), np.int32)
