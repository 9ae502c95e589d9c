"""An answer leaves from the address that was asked.

A socket that is bound to one address has no choice. One that is bound to all of them (0.0.0.0, ::) sends from the one
that the routing table prefers, and a peer that asked another one drops the answer: netcat, a connected socket, a NAT.
So the kernel is asked for the destination of each datagram (IP_PKTINFO, IPV6_RECVPKTINFO), and is given it back as the
source (ip(7), ipv6(7); RFC 3542 section 6.2). Linux only; elsewhere bind to one address.

A *source* is the control message that says so, ready to be sent: bytes, or a row of uint8[SOURCE_BYTES]. It is empty
for a socket that is bound to one address.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Sequence
from typing import Final, TypeAlias

from udprism.serving.sessions import SOURCE_BYTES

Ancillary: TypeAlias = Sequence[tuple[int, int, bytes]]
"""Level, type and data of each control message, as `recvmsg` returns them and `sendmsg` takes them."""

_IP_PKTINFO = 8  # linux/in.h
_IPV6_RECVPKTINFO, _IPV6_PKTINFO = 49, 50  # linux/in6.h
_HEADER = struct.Struct("=Qii")
"""struct cmsghdr of 64-bit systems: its length with the data, level, type."""
_INFO_4 = struct.Struct("=i4s4s")
"""struct in_pktinfo: interface, local address, destination in the header (a broadcast, perhaps)."""
_INFO_6 = struct.Struct("=16sI")
"""struct in6_pktinfo: destination, interface."""
_KIND: Final[dict[int, tuple[int, int]]] = {
    socket.AF_INET: (socket.IPPROTO_IP, _IP_PKTINFO),
    socket.AF_INET6: (socket.IPPROTO_IPV6, _IPV6_PKTINFO),
}
"""Level and type of the control message, by address family."""
SENT_BYTES: Final[dict[int, int]] = {socket.AF_INET: 32, socket.AF_INET6: SOURCE_BYTES}
"""Of a control message as it is sent, by address family: CMSG_SPACE of its data."""
RECEIVED_BYTES = socket.CMSG_SPACE(_INFO_6.size) if hasattr(socket, "CMSG_SPACE") else 0
"""Room for one that is received."""


def is_wildcard(host: str) -> bool:
    """Whether a socket bound to this address receives on all of this machine's addresses."""
    return host in ("0.0.0.0", "::")


def tells_source(sock: socket.socket) -> bool:
    """Whether datagrams of this socket come with the address that was asked, and leave with a source."""
    if sys.platform != "linux":
        return False
    if sock.family == socket.AF_INET6:
        return bool(sock.getsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO))
    return bool(sock.getsockopt(socket.IPPROTO_IP, _IP_PKTINFO))


def ask_for_source(sock: socket.socket) -> None:
    """Have the kernel tell which address each datagram was sent to."""
    if sys.platform == "linux":
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)


def source_of(family: int, received: Ancillary) -> bytes:
    """The source for answers to a datagram that came with these control messages to a socket that tells."""
    wanted = _KIND[family]
    for level, kind, data in received:
        if (level, kind) == wanted:
            if family == socket.AF_INET:
                return _message(family, _INFO_4.pack(0, _INFO_4.unpack_from(data)[1], bytes(4)))
            asked, interface = _INFO_6.unpack_from(data)
            if asked[0] != 0xFF:  # no one can send from a multicast address
                link_local = asked[0] == 0xFE and asked[1] & 0xC0 == 0x80  # which is one with its interface only
                return _message(family, _INFO_6.pack(asked, interface if link_local else 0))
    return _message(family, bytes(_INFO_4.size if family == socket.AF_INET else _INFO_6.size))  # the kernel's choice


def ancillary_of(source: bytes) -> Ancillary:
    """For `sendmsg`."""
    if not source:
        return ()
    length, level, kind = _HEADER.unpack_from(source)
    return ((level, kind, source[_HEADER.size : length]),)


def address_of(source: bytes) -> tuple[str, int] | tuple[str, int, int, int] | None:
    """What to bind another socket to, so that it sends from there; None if the source is empty."""
    for _, kind, data in ancillary_of(source):
        if kind == _IP_PKTINFO:
            return socket.inet_ntop(socket.AF_INET, _INFO_4.unpack(data)[1]), 0
        asked, interface = _INFO_6.unpack(data)
        return socket.inet_ntop(socket.AF_INET6, asked), 0, 0, interface
    return None


def _message(family: int, data: bytes) -> bytes:
    level, kind = _KIND[family]
    return (_HEADER.pack(_HEADER.size + len(data), level, kind) + data).ljust(SENT_BYTES[family], b"\0")
