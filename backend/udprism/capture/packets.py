"""A capture file's packets as columns, and the interfaces that they were seen on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Protocol, Self

import numpy as np

from udprism.columns.types import BoolColumn, I32Column, I64Column

UNKNOWN_NS: Final = -(1 << 63)
"""The time of a packet of which the file does not say when it was."""
SLICE_PACKETS: Final = 1 << 14
"""Packets in one batch, at most: their columns fit a processor's cache."""
PIECE_BYTES: Final = 16 << 20
"""How far a reader walks before it yields: what bounds its memory."""
MAX_PACKET_BYTES: Final = 262_144
"""Bytes kept of one packet, at most: MAXIMUM_SNAPLEN of libpcap 1.10."""


class LinkType(IntEnum):
    """The first header of a packet, by its number in files (draft-ietf-opsawg-pcaplinktype)."""

    NULL = 0
    ETHERNET = 1
    RAW_BSD = 12
    RAW_OPENBSD = 14
    RAW = 101
    LOOP = 108
    LINUX_SLL = 113
    IPV4 = 228
    IPV6 = 229
    LINUX_SLL2 = 276


@dataclass(frozen=True, slots=True)
class Interface:
    """Where packets were seen. `link_type` may be a number that LinkType does not have; texts are None if not given."""

    link_type: int
    snap_bytes: int
    """0: no limit."""
    name: str | None = None
    description: str | None = None


@dataclass(slots=True)
class Packets:
    """n packets in the order of the file.

    record_at: int64[n], the file's offset of the record or block. interface: int32[n], an index of `interfaces`.
    time_ns: int64[n], Unix nanoseconds or UNKNOWN_NS. data_at: int64[n], the file's offset of the first byte kept.
    captured, original: int64[n], bytes kept, and bytes that the packet had.
    """

    record_at: I64Column
    interface: I32Column
    time_ns: I64Column
    data_at: I64Column
    captured: I64Column
    original: I64Column

    def __len__(self) -> int:
        return len(self.record_at)

    def part(self, which: BoolColumn | I64Column) -> Self:
        """The rows of a mask or of indices."""
        return type(self)(
            self.record_at[which],
            self.interface[which],
            self.time_ns[which],
            self.data_at[which],
            self.captured[which],
            self.original[which],
        )


class CaptureFile(Protocol):
    """A file of one format, read from its beginning to its end, once."""

    interfaces: list[Interface]
    """All that were found so far."""
    cut_at: int | None
    """Where the last record begins if it is incomplete: the file was cut, or still grows. Known at the end."""

    def packets(self) -> Iterator[Packets]:
        """Batches of 1 to SLICE_PACKETS packets.

        Raises: CaptureError, after the packets before the fault.
        """


def slices(count: int) -> Iterator[slice]:
    """Cuts 0 … count - 1 into pieces of SLICE_PACKETS."""
    return (slice(begin, begin + SLICE_PACKETS) for begin in range(0, count, SLICE_PACKETS))


def first_true(mask: BoolColumn) -> int:
    """The index of the first True; len(mask) if there is none."""
    at = int(np.argmax(mask)) if len(mask) else 0
    return at if len(mask) and mask[at] else len(mask)
