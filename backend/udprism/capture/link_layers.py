"""From a packet's first byte to its IP header, by the interface's link type.

Sources: IEEE 802.3 and 802.1Q (Ethernet and tags), draft-ietf-opsawg-pcaplinktype (cooked, raw, null, loop).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from udprism.capture.buffer import Buffer, number16
from udprism.capture.packets import LinkType, Packets
from udprism.capture.skips import Skip, Skips
from udprism.columns.types import BoolColumn, I64Column, U8Column

ETHERTYPE_IPV4: Final = 0x0800
ETHERTYPE_IPV6: Final = 0x86DD
_TAGS: Final = (0x8100, 0x88A8, 0x9100)
"""802.1Q, 802.1ad (QinQ), and what QinQ was before it had a number of its own."""
_TAG_BYTES: Final = 4
_MAX_TAGS: Final = 4
_NO_ROWS: Final = np.empty(0, np.int64)
_IPV4_FAMILY: Final = 2
_IPV6_FAMILIES: Final = (10, 24, 28, 30)
"""AF_INET6 of Linux, of NetBSD and OpenBSD, of FreeBSD, of macOS; AF_INET is 2 everywhere."""


class IpHeaders(NamedTuple):
    """IP headers among a batch's packets, which are named by their row.

    row, at, kept, on_wire: int64[n]. at: the header's offset in the file; kept, on_wire: bytes from there on that were
    captured, and that there were. version: uint8[n], 4 or 6.
    """

    row: I64Column
    at: I64Column
    kept: I64Column
    on_wire: I64Column
    version: U8Column

    def part(self, which: BoolColumn | I64Column) -> IpHeaders:
        """The rows of a mask or of indices."""
        return IpHeaders(*(column[which] for column in self))  # type: ignore[arg-type]  # each has its own type


def find_ip(buffer: Buffer, packets: Packets, link_type: int, skips: Skips) -> IpHeaders:
    """Where the IP headers of packets of one link type are; packets without one are counted."""
    head: int | I64Column
    match link_type:
        case LinkType.ETHERNET:
            head, version = _by_ethertype(buffer, packets, head_bytes=14, type_at=12)
        case LinkType.LINUX_SLL:
            head, version = _by_ethertype(buffer, packets, head_bytes=16, type_at=14)
        case LinkType.LINUX_SLL2:
            head, version = _by_ethertype(buffer, packets, head_bytes=20, type_at=0)
        case LinkType.NULL | LinkType.LOOP:
            head, version = 4, _by_family(buffer, packets)
        case LinkType.RAW | LinkType.RAW_BSD | LinkType.RAW_OPENBSD | LinkType.IPV4 | LinkType.IPV6:
            head, version = 0, buffer.rows(packets.data_at, 1)[:, 0] >> np.uint8(4)
        case _:
            skips.count[Skip.LINK_TYPE] += len(packets)
            return IpHeaders(_NO_ROWS, _NO_ROWS, _NO_ROWS, _NO_ROWS, np.empty(0, np.uint8))
    kept = packets.captured - head
    headers = IpHeaders(np.arange(len(packets)), packets.data_at + head, kept, packets.original - head, version)
    is_ip = (version == 4) | (version == 6)
    whole = kept > 0
    good = is_ip & whole
    if good.all():
        return headers
    skips.add(Skip.CUT_SHORT, ~whole)
    skips.add(Skip.NOT_IP, whole & ~is_ip)
    return headers.part(good)


def _by_ethertype(buffer: Buffer, packets: Packets, head_bytes: int, type_at: int) -> tuple[int | I64Column, U8Column]:
    """How many bytes the link's header and its tags take, and the version of IP that follows; 0: not IP."""
    kind = number16(buffer.rows(packets.data_at, head_bytes), type_at)
    four = kind == ETHERTYPE_IPV4
    if four.all():
        return head_bytes, np.full(len(kind), 4, np.uint8)
    head = np.full(len(kind), head_bytes)
    tagged = np.flatnonzero(np.isin(kind, _TAGS))
    for _ in range(_MAX_TAGS):
        if not len(tagged):
            break
        at = np.minimum(packets.data_at[tagged] + head[tagged], buffer.size)
        kind[tagged] = number16(buffer.rows(at, _TAG_BYTES), 2)
        head[tagged] += _TAG_BYTES
        tagged = tagged[np.isin(kind[tagged], _TAGS)]
    version = np.zeros(len(kind), np.uint8)
    version[kind == ETHERTYPE_IPV4] = 4
    version[kind == ETHERTYPE_IPV6] = 6
    return head, version


def _by_family(buffer: Buffer, packets: Packets) -> U8Column:
    """The version of IP behind an address family, which is in the byte order of the machine that captured."""
    little = buffer.rows(packets.data_at, 4).view("<u4")[:, 0]
    family = np.where(little & 0xFFFF, little, little.byteswap())
    version = np.zeros(len(family), np.uint8)
    version[family == _IPV4_FAMILY] = 4
    version[np.isin(family, _IPV6_FAMILIES)] = 6
    return version
