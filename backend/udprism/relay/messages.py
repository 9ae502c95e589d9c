"""Datagrams to send, in the kernel's structures: a struct mmsghdr for each one, or for a run that GSO splits."""

from __future__ import annotations

import socket
import struct
import sys

import numpy as np

from udprism.columns.arrivals import SOCKADDR_BYTES
from udprism.columns.types import Address, BoolColumn, I32Column, I64Column, U8Column, U64Column
from udprism.relay import layout
from udprism.udp.sockets import IOVEC, MMSGHDR, address_of_row

MAX_ROWS = 4096
MAX_SEGMENTS, MAX_SEGMENTED_BYTES = 64, 65_000
_CONTROL_ROW = 128
_INT = struct.Struct("=QiiiI")  # struct cmsghdr, an int, and the padding behind it
_HEADER = struct.Struct("=Qii")
_SEGMENT = struct.Struct("=QiiHHI")


class Routes:
    """How each direction of a flow leaves: columns by direction, which the flow table fills.

    fd: int32. name: uint8[·, 28], a struct sockaddr; name_bytes: uint32, 0 for a connected socket. control: uint8[·,
    128], a control message that every datagram takes along, control_bytes: int64. six: bool, the socket is of IPv6.
    """

    def __init__(self, directions: int) -> None:
        self.fd = np.full(directions, -1, np.int32)
        self.name = np.zeros((directions, 28), np.uint8)
        self.name_bytes = np.zeros(directions, np.uint32)
        self.control = np.zeros((directions, _CONTROL_ROW), np.uint8)
        self.control_bytes = np.zeros(directions, np.int64)
        self.six = np.zeros(directions, np.bool_)

    def ancillary(self, direction: int, tos: int) -> list[tuple[int, int, bytes]]:
        """A single datagram's control messages, as `socket.sendmsg` takes them."""
        six, found = bool(self.six[direction]), []
        used = int(self.control_bytes[direction])
        if used:  # one message, with its padding
            length, level, kind = _HEADER.unpack_from(self.control[direction].data)
            found.append((level, kind, self.control[direction, 16:length].tobytes()))
        if tos:
            level, kind = (socket.IPPROTO_IPV6, layout.IPV6_TCLASS) if six else (socket.IPPROTO_IP, layout.IP_TOS)
            found.append((level, kind, tos.to_bytes(4, sys.byteorder)))
        return found

    def address(self, direction: int) -> list[Address]:
        """Where a single datagram goes; nothing for a connected socket."""
        if not self.name_bytes[direction]:
            return []
        family = socket.AF_INET6 if self.name_bytes[direction] == SOCKADDR_BYTES else socket.AF_INET
        return [address_of_row(self.name[direction], family)]


class Messages:
    """Up to MAX_ROWS datagrams as messages. Valid until the next `build`; the payloads must stay where they are."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self.headers = np.zeros(MAX_ROWS, MMSGHDR)
        self.at = self.headers.ctypes.data
        self._iov = np.zeros(MAX_ROWS, IOVEC)
        self._iov_at = self._iov.ctypes.data + 16 * np.arange(MAX_ROWS, dtype=np.uint64)
        self._control = np.zeros((MAX_ROWS, _CONTROL_ROW), np.uint8)
        self._control_at = self._control.ctypes.data + _CONTROL_ROW * np.arange(MAX_ROWS, dtype=np.uint64)
        self.fd: I32Column = np.zeros(0, np.int32)
        self.starts: I64Column = np.zeros(0, np.int64)
        """int64[messages]: each one's first row."""
        self.counts: I64Column = self.starts
        self.plain: BoolColumn = np.zeros(0, np.bool_)
        """bool[messages]: one datagram on a connected socket, with nothing beside its bytes."""

    def __len__(self) -> int:
        return len(self.fd)

    def build(
        self,
        direction: I64Column,
        address: U64Column,
        length: I64Column,
        tos: U8Column,
        ttl: U8Column | None,
        mergeable: BoolColumn | None,
    ) -> None:
        """n ≤ MAX_ROWS datagrams, in the order in which they leave.

        address: uint64[n], where the payloads lie. tos: uint8[n]. ttl: uint8[n], or None for the system's own.
        mergeable: bool[n], rows that may leave together with equal neighbours of their direction; None for none.
        """
        n = len(direction)
        self._iov["base"][:n], self._iov["length"][:n] = address, length
        if mergeable is None:
            self.starts, self.counts = np.arange(n), np.ones(n, np.int64)
            lead = direction
        else:
            self.starts = _merge(direction, length, tos, mergeable)
            self.counts = np.diff(self.starts, append=n)
            lead, tos = direction[self.starts], tos[self.starts]
            ttl = None if ttl is None else ttl[self.starts]
        routes, headers, m = self._routes, self.headers, len(self.starts)
        self.fd = routes.fd[lead]
        name_bytes = routes.name_bytes[lead]
        headers["name"][:m] = routes.name.ctypes.data + 28 * lead
        headers["name_length"][:m] = name_bytes
        headers["iov"][:m] = self._iov_at[self.starts]
        headers["iov_length"][:m] = self.counts
        control_bytes = routes.control_bytes[lead]
        merged = self.counts > 1
        special = np.flatnonzero((tos != 0) | merged | (control_bytes > 0)) if ttl is None else np.arange(m)
        headers["control_length"][:m] = 0
        headers["control"][:m] = 0
        if len(special):
            self._add_control(special, lead, tos, ttl, length)
        self.plain = (name_bytes == 0) & (headers["control_length"][:m] == 0) & ~merged

    def _add_control(
        self, special: I64Column, lead: I64Column, tos: U8Column, ttl: U8Column | None, length: I64Column
    ) -> None:
        routes, headers = self._routes, self.headers
        for place in special.tolist():
            direction = int(lead[place])
            six = bool(routes.six[direction])
            level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
            used, row = int(routes.control_bytes[direction]), self._control[place]
            if used:
                row[:used] = routes.control[direction, :used]
            if tos[place]:
                kind = layout.IPV6_TCLASS if six else layout.IP_TOS
                _INT.pack_into(row.data, used, 20, level, kind, int(tos[place]), 0)
                used += 24
            if ttl is not None and ttl[place]:
                kind = layout.IPV6_HOPLIMIT if six else layout.IP_TTL
                _INT.pack_into(row.data, used, 20, level, kind, int(ttl[place]), 0)
                used += 24
            if self.counts[place] > 1:
                size = int(length[self.starts[place]])
                _SEGMENT.pack_into(row.data, used, 18, layout.SOL_UDP, layout.UDP_SEGMENT, size, 0, 0)
                used += 24
            headers["control"][place], headers["control_length"][place] = self._control_at[place], used

    def payloads(self) -> tuple[U64Column, U64Column]:
        """uint64[messages] each: address and length of every message's first datagram."""
        rows = self._iov[self.starts]
        return rows["base"], rows["length"]

    def split(self, place: int) -> list[tuple[int, int]]:
        """(address, length) of each datagram of one message."""
        first = int(self.starts[place])
        rows = self._iov[first : first + int(self.counts[place])]
        return [(int(row["base"]), int(row["length"])) for row in rows]


def _merge(direction: I64Column, length: I64Column, tos: U8Column, mergeable: BoolColumn) -> I64Column:
    """int64[messages]: where each message begins."""
    n = len(direction)
    begins = np.ones(n, np.bool_)
    same = (direction[1:] == direction[:-1]) & (length[1:] == length[:-1]) & (tos[1:] == tos[:-1])
    begins[1:] = ~(same & mergeable[1:] & mergeable[:-1] & (length[1:] > 0))
    starts = np.flatnonzero(begins)
    if len(starts) == n:
        return starts
    rank = np.arange(n) - np.repeat(starts, np.diff(starts, append=n))
    most = np.clip(MAX_SEGMENTED_BYTES // np.maximum(length, 1), 1, MAX_SEGMENTS)
    return np.flatnonzero(rank % most == 0)
