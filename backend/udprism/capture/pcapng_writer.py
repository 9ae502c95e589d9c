"""pcapng written from columns, in the shape that every tool reads.

One section; its header, all interfaces, then packets only; Ethernet, 262,144 bytes, nanoseconds, different names; at
most one comment a packet. Other shapes are read differently, or not at all, by tools that people use: see DECISIONS.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from udprism.capture.blocks import BYTE_ORDER_MAGIC, Block, Option
from udprism.capture.frames import Frames
from udprism.capture.packets import MAX_PACKET_BYTES, LinkType
from udprism.capture.weave import Strand, strand_of, weave
from udprism.columns.types import I32Column, I64Column, U8Column, U32Column, U64Column

INBOUND: Final = 1
OUTBOUND: Final = 2
"""epb_flags, bits 0 and 1."""
MAX_COMMENT_BYTES: Final = 1024
_RESOLUTION: Final = 9
_HEAD_BYTES: Final = 28
_OPTIONS_BYTES: Final = 8 + 12 + 12
_END_BYTES: Final = 4 + 4
_OPTIONS: Final = np.dtype(
    [
        ("flags_head", "<u4"),
        ("flags", "<u4"),
        ("id_head", "<u4"),
        ("id", "<u8"),
        ("drops_head", "<u4"),
        ("drops", "<u8"),
    ]
)


class Described(NamedTuple):
    """An interface: names differ in one file."""

    name: str
    description: str


class Marks(NamedTuple):
    """What the file records about n packets, besides their bytes.

    interface: int32[n]. direction: uint32[n], INBOUND or OUTBOUND. packet_id: uint64[n], the same at both points of a
    datagram. drops: uint64[n], how many were not recorded since the interface's last packet. comment: int32[n], an
    index of the batch's comments; 0 is none.
    """

    interface: I32Column
    direction: U32Column
    packet_id: U64Column
    drops: U64Column
    comment: I32Column


def file_header(application: str, interfaces: Sequence[Described]) -> bytes:
    """The bytes before the packets."""
    magic = struct.pack("<IHHq", BYTE_ORDER_MAGIC, 1, 0, -1)
    section = _block(Block.SECTION, magic + _option(4, application.encode()) + bytes(4))
    return section + b"".join(map(_interface, interfaces))


def _interface(interface: Described) -> bytes:
    options = _option(Option.INTERFACE_NAME, interface.name.encode())
    options += _option(Option.INTERFACE_DESCRIPTION, interface.description.encode())
    options += _option(Option.INTERFACE_RESOLUTION, bytes((_RESOLUTION,))) + bytes(4)
    return _block(Block.INTERFACE, struct.pack("<HHI", LinkType.ETHERNET, 0, MAX_PACKET_BYTES) + options)


def blocks(time_ns: I64Column, frames: Frames, marks: Marks, comments: Sequence[str]) -> U8Column:
    """The frames as Enhanced Packet Blocks, in the order given. comments[0] is not written."""
    words = _comments(tuple(comments))
    comment = Strand(words.data, words.at[marks.comment], words.length[marks.comment])
    padding = -frames.length % 4
    length = _HEAD_BYTES + frames.length + padding + _OPTIONS_BYTES + comment.length + 4
    head = np.empty((len(time_ns), 7), "<u4")
    head[:, 0] = Block.ENHANCED_PACKET
    head[:, 1], head[:, 2] = length, marks.interface
    head[:, 3], head[:, 4] = time_ns >> 32, time_ns & 0xFFFFFFFF
    head[:, 5], head[:, 6] = frames.length, frames.original
    pad = Strand(np.zeros(4, np.uint8), np.zeros_like(padding), padding)
    options, end = strand_of(_options(marks)), strand_of(length.astype("<u4").view(np.uint8).reshape(-1, 4))
    return weave([strand_of(head.view(np.uint8)), frames.headers, frames.payloads, pad, options, comment, end])[0]


@lru_cache(4)  # most batches have the same ones
def _comments(texts: tuple[str, ...]) -> Strand:
    """Each text as an option, and the options' end; the first one is no text."""
    words = [_option(Option.COMMENT, _cut(text)) if number else b"" for number, text in enumerate(texts)]
    ends = [word + bytes(4) for word in words]
    length = np.array([len(end) for end in ends])
    return Strand(np.frombuffer(b"".join(ends), np.uint8), np.cumsum(length) - length, length)


def _options(marks: Marks) -> U8Column:
    """uint8[n, 32]: flags, packet id and drop count."""
    options = np.empty(len(marks.interface), _OPTIONS)
    options["flags_head"] = Option.PACKET_FLAGS | 4 << 16
    options["flags"] = marks.direction
    options["id_head"] = Option.PACKET_ID | 8 << 16
    options["id"] = marks.packet_id
    options["drops_head"] = Option.PACKET_DROP_COUNT | 8 << 16
    options["drops"] = marks.drops
    return options.view(np.uint8).reshape(-1, _OPTIONS_BYTES)


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + length + body + length


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def _cut(text: str) -> bytes:
    """UTF-8, of MAX_COMMENT_BYTES at most, and whole letters."""
    return text.encode()[:MAX_COMMENT_BYTES].decode(errors="ignore").encode()
