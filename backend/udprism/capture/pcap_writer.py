"""Classic pcap with times in nanoseconds, written from columns (draft-ietf-opsawg-pcap)."""

from __future__ import annotations

import struct
from typing import Final

import numpy as np

from udprism.capture.frames import Frames
from udprism.capture.packets import MAX_PACKET_BYTES, LinkType
from udprism.capture.pcap import MAGIC_NS
from udprism.capture.weave import strand_of, weave
from udprism.columns.types import NS_PER_S, I64Column, U8Column

FILE_HEADER: Final = struct.pack("<IHHiIII", MAGIC_NS, 2, 4, 0, 0, MAX_PACKET_BYTES, LinkType.ETHERNET)


def records(time_ns: I64Column, frames: Frames) -> U8Column:
    """The frames as records, in the order given."""
    head = np.empty((len(time_ns), 4), "<u4")
    head[:, 0], head[:, 1] = np.divmod(time_ns, NS_PER_S)
    head[:, 2], head[:, 3] = frames.length, frames.original
    return weave([strand_of(head.view(np.uint8)), frames.headers, frames.payloads])[0]
