"""UDP datagrams as Ethernet frames with generated link headers, complete IP and UDP headers and correct checksums.

Sources: RFC 791 and 8200 (headers), RFC 768 and RFC 8200 section 8.1 (checksums), RFC 1071 (their arithmetic).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from udprism.capture.ip import UDP
from udprism.capture.weave import Strand, weave
from udprism.columns.types import BoolColumn, I64Column, Rows, U64Column

ETHERNET_BYTES: Final = 14
_V4_HEAD: Final = ETHERNET_BYTES + 20
_V6_HEAD: Final = ETHERNET_BYTES + 40
_UDP_BYTES: Final = 8
_WORD: Final = 8
"""Payloads are summed up in words of so many bytes."""
MACS: Final = bytes.fromhex("020000000002 020000000001")
"""Target and source: locally administered, so that no real device has them."""
_V4_TEMPLATE: Final = MACS + bytes.fromhex("0800 4500 0000 0000 4000 4011 0000")
"""No fragments, time to live 64, UDP; lengths, checksum and addresses follow."""
_V6_TEMPLATE: Final = MACS + bytes.fromhex("86dd 6000 0000 0000 11 40")


class Frames(NamedTuple):
    """n frames in two strands: headers, and payloads. cut: of payloads that were not kept whole."""

    headers: Strand
    payloads: Strand
    length: I64Column
    """Bytes of each frame that are here."""
    original: I64Column
    """Bytes that it had."""


def make_frames(addresses: Rows, payloads: Strand, length: I64Column) -> Frames:
    """addresses: uint8[n, 36], see `ip`. payloads: what was kept of each. length: int64[n], what each had.

    The checksum of a datagram that was not kept whole covers what was: nothing can be known of the rest.
    """
    count = len(addresses)
    four = _is_mapped(addresses)
    head_bytes = np.where(four, _V4_HEAD, _V6_HEAD) + _UDP_BYTES
    rows = np.zeros((count, _V6_HEAD + _UDP_BYTES), np.uint8)
    udp_bytes = length + _UDP_BYTES
    udp = np.empty((count, 4), ">u2")
    udp[:, :2] = addresses[:, 32:36].view(">u2")
    udp[:, 2] = udp_bytes
    udp[:, 3] = _checksums(addresses, payloads, udp_bytes)
    for which, write in ((np.flatnonzero(four), _write_v4), (np.flatnonzero(~four), _write_v6)):
        if len(which):
            rows[which] = write(addresses[which], udp_bytes[which], udp[which].view(np.uint8).reshape(len(which), 8))
    headers = Strand(rows.reshape(-1), np.arange(count) * rows.shape[1], head_bytes)
    return Frames(headers, payloads, head_bytes + payloads.length, head_bytes + length)


def _is_mapped(addresses: Rows) -> BoolColumn:
    """Whose source is an IPv4 address: ten zeros and ff ff."""
    words = addresses.view(np.uint32)
    mapped = np.frombuffer(b"\0\0\xff\xff", np.uint32)[0]
    is_mapped: BoolColumn = (words[:, 0] == 0) & (words[:, 1] == 0) & (words[:, 2] == mapped)
    return is_mapped


def _write_v4(addresses: Rows, udp_bytes: I64Column, udp: Rows) -> Rows:
    rows = np.zeros((len(addresses), _V6_HEAD + _UDP_BYTES), np.uint8)
    rows[:, : len(_V4_TEMPLATE)] = np.frombuffer(_V4_TEMPLATE, np.uint8)
    rows[:, 26:30], rows[:, 30:34] = addresses[:, 12:16], addresses[:, 28:32]
    rows[:, 16:18].view(">u2")[:, 0] = udp_bytes + 20
    head = rows[:, ETHERNET_BYTES:_V4_HEAD].copy().view(">u2")
    rows[:, 24:26].view(">u2")[:, 0] = _folded(head.sum(axis=1, dtype=np.uint64))
    rows[:, _V4_HEAD : _V4_HEAD + _UDP_BYTES] = udp
    return rows


def _write_v6(addresses: Rows, udp_bytes: I64Column, udp: Rows) -> Rows:
    rows = np.zeros((len(addresses), _V6_HEAD + _UDP_BYTES), np.uint8)
    rows[:, : len(_V6_TEMPLATE)] = np.frombuffer(_V6_TEMPLATE, np.uint8)
    rows[:, 18:20].view(">u2")[:, 0] = udp_bytes
    rows[:, 22:54] = addresses[:, :32]
    rows[:, _V6_HEAD:] = udp
    return rows


def _checksums(addresses: Rows, payloads: Strand, udp_bytes: I64Column) -> I64Column:
    """int64[n]: UDP's, over the pseudo-header, which has the same sum for both versions of IP but for the addresses."""
    # The ten zeros and ff ff before a mapped address add 0xffff, which is zero in this arithmetic.
    total = addresses.copy().view(">u2").sum(axis=1, dtype=np.uint64)
    total += UDP + 2 * udp_bytes.astype(np.uint64)
    total += _payload_sums(payloads)
    checksum = _folded(total)
    checksum[checksum == 0] = 0xFFFF  # 0 says that there is none
    return checksum


def _payload_sums(payloads: Strand) -> U64Column:
    """uint64[n]: the sum of each one's words of 16 bits, the last one filled up with a zero."""
    if not len(payloads.length):
        return np.zeros(0, np.uint64)
    # A word each in front, so that none is empty: `reduceat` gives an empty piece the word that follows it.
    zeros = Strand(np.zeros(_WORD, np.uint8), np.zeros_like(payloads.at), np.full_like(payloads.at, _WORD))
    data, begin = weave([zeros, payloads], _WORD)
    sums: U64Column = np.add.reduceat(data.view(">u2"), begin // 2, dtype=np.uint64)
    return sums


def _folded(total: U64Column) -> I64Column:
    """The complement of a sum of 16-bit words, its carries added again."""
    for _ in range(3):
        total = (total & np.uint64(0xFFFF)) + (total >> np.uint64(16))
    return 0xFFFF - total.astype(np.int64)
