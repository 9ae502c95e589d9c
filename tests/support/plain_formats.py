"""Every format decoded datagram by datagram, in the plainest Python: what the columns are compared with."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from udprism.wire.artnet import key_of as artnet_key
from udprism.wire.colours import INDEX_OF, RGB, parse_hex
from udprism.wire.e131 import key_of as e131_key
from udprism.wire.format import Mark


class One(NamedTuple):
    """A row of its flow. rgb: None where it has no colour; part 0 where the format has none."""

    key: int
    number: int = 0
    numbered: bool = False
    part: int = 0
    marks: int = 0
    rgb: tuple[int, int, int] | None = None
    media: tuple[int, int] | None = None


Verdict = One | str
"""A row, `control`, or why it is neither."""


def _rgb(data: bytes, at: int, channels: int = 3) -> tuple[int, int, int] | None:
    pixel = data[at : at + channels]
    if len(pixel) < channels:
        return None
    return (pixel[0], pixel[0], pixel[0]) if channels == 1 else (pixel[0], pixel[1], pixel[2])


def ddp(data: bytes) -> Verdict:
    if len(data) < 10:
        return "short"
    flags, number, kind, destination, offset, said = struct.unpack_from(">BBBBIH", data)
    if flags >> 6 != 1:
        return "version"
    timed = bool(flags & 0x10)
    header = 14 if timed else 10
    if len(data) < header:
        return "short"
    if flags & 0x0E or destination in (246, 250, 251):
        return "control"
    there = len(data) - header
    colour, size = kind >> 3 & 7, kind & 7
    channels = {0: 3, 1: 3, 3: 4, 4: 1}.get(colour, 0)
    if kind & 0x80 or (size not in (0, 3, 5, 6) and kind != 1):
        channels = 0
    marks = (Mark.COMMITS if flags & 1 else 0) | (Mark.LENGTH_DISAGREES if said != there else 0)
    marks |= (Mark.TIMED if timed else 0) | (Mark.WHITE if channels == 4 else 0)
    rgb = _rgb(data[: header + said], header, channels) if channels and offset == 0 else None
    media = (struct.unpack_from(">I", data, 10)[0], 65536) if timed else None
    return One(destination, number & 15, number & 15 != 0, offset, marks, rgb, media)


def wled(data: bytes) -> Verdict:
    if len(data) < 2:
        return "short"
    protocol, timeout = data[0], data[1]
    if protocol == 0:
        return "control" if len(data) >= 24 else "short"
    if protocol > 5:
        return "kind"
    marks = (Mark.ENDS if timeout == 0 else 0) | (Mark.WHITE if protocol in (3, 5) else 0)
    if protocol in (4, 5):
        if len(data) < 4:
            return "short"
        start = int.from_bytes(data[2:4], "big")
        rgb = _rgb(data, 4, protocol - 1) and _rgb(data, 4)
        return One(0, part=start, marks=marks, rgb=rgb if start == 0 else None)
    if protocol == 1:
        return One(0, marks=marks, rgb=_rgb(data, 3) if data[2:3] == b"\0" else None)
    return One(0, marks=marks, rgb=_rgb(data, 2, protocol + 1) and _rgb(data, 2))


ARTNET_OPERATIONS = (
    0x2000, 0x2100, 0x2300, 0x2400, 0x2700, 0x2800, 0x5000, 0x5100, 0x5200, 0x6000, 0x7000, 0x8000, 0x8100, 0x8200,
    0x8300, 0x8400, 0x9700, 0x9800, 0x9900, 0x9A00, 0x9B00, 0xF200, 0xF300, 0xF800, 0xF900,
)  # fmt: skip


def artnet(data: bytes) -> Verdict:
    if data[:8] != b"Art-Net\0":
        return "foreign"
    if len(data) < 12:
        return "short"
    op, version = int.from_bytes(data[8:10], "little"), int.from_bytes(data[10:12], "big")
    if op not in ARTNET_OPERATIONS:
        return "kind"
    if version != 14 and op != 0x2100:
        return "version"
    if len(data) < (18 if op == 0x5000 else 14):
        return "short"
    if op != 0x5000:
        return "control"
    number, physical, universe = struct.unpack_from("<BBH", data, 12)
    said = int.from_bytes(data[16:18], "big")
    if said > 512:
        return "length"
    marks = Mark.LENGTH_DISAGREES if said != len(data) - 18 else 0
    return One(artnet_key(universe, physical), number, number != 0, marks=marks, rgb=_rgb(data[: 18 + said], 18))


def e131(data: bytes) -> Verdict:
    if data[:16] != b"\0\x10\0\0ASC-E1.17\0\0\0":
        return "foreign"
    if len(data) < 44:
        return "short"
    root, framing = int.from_bytes(data[18:22], "big"), int.from_bytes(data[40:44], "big")
    if (root, framing) in ((8, 1), (8, 2)):
        return "control" if len(data) >= (49 if framing == 1 else 120) else "short"
    if (root, framing) != (4, 2):
        return "kind"
    if len(data) < 126:
        return "short"
    if data[117:123] != b"\x02\xa1\0\0\0\x01":
        return "kind"
    slots = int.from_bytes(data[123:125], "big") - 1
    if not 0 <= slots <= 512:
        return "length"
    marks = Mark.LENGTH_DISAGREES if slots != len(data) - 126 else 0
    marks |= (Mark.PREVIEW if data[112] & 0x80 else 0) | (Mark.ENDS if data[112] & 0x40 else 0)
    marks |= (Mark.SYNCHRONISED if data[109:111] != b"\0\0" else 0) | (Mark.NO_LEVELS if data[125] else 0)
    rgb = None if data[125] or data[112] & 0x40 else _rgb(data[: 126 + slots], 126)
    return One(e131_key(data[22:38], int.from_bytes(data[113:115], "big")), data[111], True, marks=marks, rgb=rgb)


def rtp(data: bytes) -> Verdict:
    if not data:
        return "short"
    if data[0] >> 6 != 2:
        return "version"
    if len(data) > 1 and 192 <= data[1] <= 223:
        return "control" if len(data) >= 8 else "short"
    if len(data) < 12:
        return "short"
    if len(data) < 12 + 4 * (data[0] & 15) + (4 if data[0] & 0x10 else 0):
        return "length"
    kind, number, ticks, ssrc = struct.unpack_from(">BHII", data, 1)
    hz = {0: 8000, 8: 8000, 10: 44100, 11: 44100, 26: 90000, 33: 90000}.get(kind & 0x7F, -1)
    marks = Mark.TIMED | (Mark.COMMITS if kind & 0x80 else 0)
    return One(ssrc, number, True, marks=marks, media=(ticks, hz))


def _colour(text: bytes) -> tuple[int, int, int] | None:
    text = text.strip(b"\n\r \0").lower()
    if len(text) > 24:
        return None
    index = INDEX_OF.get(text.decode("latin-1"))
    if index is None:
        return parse_hex(text)
    red, green, blue = RGB[index].tolist()
    return red, green, blue


def text(data: bytes) -> Verdict:
    if len(data) > 64:
        return "length"
    content = data.rstrip(b"\n\r \0")
    if not content:
        return "empty"
    if any(byte < 0x20 or byte == 0x7F for byte in content):
        return "foreign"
    name, _, value = content.rpartition(b":")
    rgb = _colour(value)
    if rgb is None and not (name and value.strip(b" ")):
        return "kind"
    return One(hash_of(name), rgb=rgb)


def hash_of(name: bytes) -> int:
    """As `text` mixes a name, one word at a time."""
    from udprism.wire.text import _MIX

    words = struct.unpack("<8Q", name.ljust(64, b"\0"))
    return sum(word * int(factor) for word, factor in zip(words, _MIX, strict=True)) & 0xFFFF_FFFF_FFFF_FFFF


def opaque(data: bytes) -> Verdict:
    return One(0)


DECODERS: dict[str, Callable[[bytes], Verdict]] = {
    "ddp": ddp,
    "wled": wled,
    "artnet": artnet,
    "e131": e131,
    "rtp": rtp,
    "text": text,
    "opaque": opaque,
}
