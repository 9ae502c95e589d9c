"""IP headers in columns: from where they are to the UDP header behind them (RFC 791, RFC 8200)."""

from __future__ import annotations

import sys
from typing import Final, NamedTuple

import numpy as np

from udprism.capture.buffer import Buffer, number16
from udprism.capture.link_layers import IpHeaders
from udprism.capture.skips import Skip, Skips
from udprism.columns.types import BoolColumn, I64Column, Rows

UDP: Final = 17
ADDRESSES_BYTES: Final = 36
"""Source and target, 16 bytes each, IPv4 as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2); then the two ports."""
_V4_BYTES: Final = 20
_V4_USUAL: Final = 0x45
"""The first byte of a header without options."""
_V6_BYTES: Final = 40
_V4_MORE: Final = 0x2000
_V4_OFFSET: Final = 0x1FFF
_OFFSET_UNIT: Final = 8
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION = 0, 43, 44, 51, 60
_EXTENSIONS: Final = (_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION)
_MAX_EXTENSIONS: Final = 8
_MAPPED: Final = int.from_bytes(b"\0\0\xff\xff", sys.byteorder)
"""The third word of an IPv4 address in 16 bytes; the first two are 0."""


class Carried(NamedTuple):
    """UDP in IP, by the row of its packet in the batch.

    row: int64[n], ascending. at: int64[n], the offset of UDP's header in the file. bytes, kept: int64[n], how many
    bytes of UDP's header and payload there are as IP says, and how many of them were captured at most. addresses:
    uint8[n, 36], with room for the ports.
    """

    row: I64Column
    at: I64Column
    bytes: I64Column
    kept: I64Column
    addresses: Rows

    def part(self, which: BoolColumn | I64Column) -> Carried:
        """The rows of a mask or of indices."""
        return Carried(*(column[which] for column in self))  # type: ignore[arg-type]  # each has its own type


class Fragments(NamedTuple):
    """Parts of such UDP datagrams: what they carry, and int64[n] each: identification, offset in bytes, more follow."""

    carried: Carried
    identification: I64Column
    offset: I64Column
    more: I64Column


def read_ipv4(buffer: Buffer, headers: IpHeaders, skips: Skips) -> tuple[Carried, Fragments | None]:
    """What packets with an IPv4 header carry. What carries no UDP is counted."""
    rows = buffer.rows(headers.at, _V4_BYTES)
    first = rows[:, 0]
    usual = first == _V4_USUAL
    header: int | I64Column = _V4_BYTES if usual.all() else (first & 15).astype(np.int64) * 4
    total = number16(rows, 2).astype(np.int64)
    if not total.all():
        total = np.where(total, total, headers.on_wire)  # captured before the network card cut it into segments
    cut = headers.kept < np.maximum(header, _V4_BYTES)
    bad = (total < header) | (total > headers.on_wire)
    if not isinstance(header, int):
        bad |= (header < _V4_BYTES) | (first >> 4 != 4)
    udp = rows[:, 9] == UDP
    good = ~(cut | bad) & udp
    addresses = np.zeros((len(rows), ADDRESSES_BYTES), np.uint8)
    words, from_words = addresses.view(np.uint32), rows.view(np.uint32)
    words[:, 2] = words[:, 6] = _MAPPED
    words[:, 3], words[:, 7] = from_words[:, 3], from_words[:, 4]
    place = number16(rows, 6) & np.uint16(_V4_MORE | _V4_OFFSET)
    carried = Carried(headers.row, headers.at + header, total - header, headers.kept - header, addresses)
    if not good.all():
        skips.add(Skip.CUT_SHORT, cut)
        skips.add(Skip.BAD_IP, bad & ~cut)
        skips.add(Skip.NOT_UDP, ~(cut | bad | udp))
        carried, place, rows = carried.part(good), place[good], rows[good]
    if not place.any():
        return carried, None
    where = place.astype(np.int64)
    more, offset = where & _V4_MORE, (where & _V4_OFFSET) * _OFFSET_UNIT
    return _split(carried, number16(rows, 4).astype(np.int64), offset, more)


def read_ipv6(buffer: Buffer, headers: IpHeaders, skips: Skips) -> tuple[Carried, Fragments | None]:
    """What packets with an IPv6 header carry, behind extension headers. What carries no UDP is counted."""
    at, kept, on_wire = headers.at, headers.kept, headers.on_wire
    rows = buffer.rows(at, _V6_BYTES)
    length = number16(rows, 4).astype(np.int64)
    total = np.where(length, _V6_BYTES + length, on_wire)  # 0: a jumbogram, or before segmentation
    chain = _Chain(rows[:, 6].astype(np.int64), at + _V6_BYTES)
    chain.follow(buffer, at + kept)
    header = chain.at - at
    cut = (kept < _V6_BYTES) | ((header > kept) & (header <= total))
    bad = (header > total) | (total > on_wire) | np.isin(chain.kind, _EXTENSIONS)
    udp = chain.kind == UDP
    good = ~(cut | bad) & udp
    skips.add(Skip.CUT_SHORT, cut)
    skips.add(Skip.BAD_IP, bad & ~cut)
    skips.add(Skip.NOT_UDP, ~(cut | bad | udp))
    addresses = np.zeros((len(rows), ADDRESSES_BYTES), np.uint8)
    addresses[:, :32] = rows[:, 8:40]
    carried = Carried(headers.row, chain.at, total - header, kept - header, addresses).part(good)
    return _split(carried, chain.identification[good], chain.offset[good], chain.more[good])


class _Chain:
    """IPv6 extension headers: kind: int64[n], what follows; at: int64[n], the offset in the file where it does."""

    def __init__(self, kind: I64Column, at: I64Column) -> None:
        self.kind = kind
        self.at = at
        self.identification = np.zeros(len(kind), np.int64)
        self.offset = np.zeros(len(kind), np.int64)
        self.more = np.zeros(len(kind), np.int64)

    def follow(self, buffer: Buffer, end: I64Column) -> None:
        """Go to the end of each chain, to a fragment, or to what was not kept; _MAX_EXTENSIONS headers at most."""
        which = np.flatnonzero(np.isin(self.kind, _EXTENSIONS))
        for _ in range(_MAX_EXTENSIONS):
            which = which[self.at[which] < end[which]]
            if not len(which):
                return
            header = buffer.rows(self.at[which], 8)
            kind, units = self.kind[which], header[:, 1].astype(np.int64)
            length = np.where(kind == _AUTHENTICATION, 4 * (units + 2), 8 * (units + 1))
            part = kind == _FRAGMENT
            length[part] = 8
            place = np.where(part, number16(header, 2), 0).astype(np.int64)
            self.identification[which] = np.where(part, header[:, 4:8].view(">u4")[:, 0], 0)
            self.offset[which], self.more[which] = place & ~7, place & 1
            self.kind[which] = header[:, 0]
            self.at[which] += length
            which = which[np.isin(header[:, 0], _EXTENSIONS) & (place & ~6 == 0)]


def _split(
    carried: Carried, identification: I64Column, offset: I64Column, more: I64Column
) -> tuple[Carried, Fragments | None]:
    """What is whole, and what is a part."""
    part = (offset | more) != 0
    if not part.any():
        return carried, None
    return carried.part(~part), Fragments(carried.part(part), identification[part], offset[part], more[part])
