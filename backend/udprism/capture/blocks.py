"""pcapng's block types, option codes, and the options of one block (draft-ietf-opsawg-pcapng)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final, NamedTuple

from udprism.capture.buffer import ByteOrder
from udprism.errors import CaptureError

BYTE_ORDER_MAGIC: Final = 0x1A2B3C4D
MAX_BLOCK_BYTES: Final = 16 << 20
"""As in Wireshark (MAX_BLOCK_SIZE)."""


class Block(IntEnum):
    """Types of blocks that are read."""

    INTERFACE = 1
    PACKET = 2  # obsolete, and still in files
    SIMPLE_PACKET = 3
    STATISTICS = 5
    ENHANCED_PACKET = 6
    SECTION = 0x0A0D0D0A  # the same in both byte orders


class Option(IntEnum):
    """Codes of options; from 2 on they mean something else in each type of block."""

    END = 0
    COMMENT = 1
    INTERFACE_NAME = 2
    INTERFACE_DESCRIPTION = 3
    INTERFACE_RESOLUTION = 9
    INTERFACE_OFFSET = 14
    PACKET_FLAGS = 2
    PACKET_DROP_COUNT = 4
    PACKET_ID = 5


class OptionValue(NamedTuple):
    """One option of a block."""

    code: int
    value: bytes


def options(order: ByteOrder, data: bytes, file_at: int) -> Iterator[OptionValue]:
    """The options in the rest of a block, which begins at `file_at`.

    Raises: CaptureError, if one is longer than what is left of the block.
    """
    head = struct.Struct(f"{order}HH")
    at = 0
    while len(data) - at >= head.size:
        code, length = head.unpack_from(data, at)
        if code == Option.END:
            return
        begin = at + head.size
        if begin + length > len(data):
            detail = f"an option of {length} bytes, {len(data) - begin} are left in its block"
            raise CaptureError(file_at + at, "option-length", detail)
        yield OptionValue(code, data[begin : begin + length])
        at = begin + length + -length % 4
