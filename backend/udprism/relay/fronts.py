"""The sockets that clients send to: bound by the program, read by the relay's process."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

from udprism.columns.types import U8Column
from udprism.relay import layout

RECEIVE_BUFFER_BYTES = 4 << 20
_WILDCARDS = ("0.0.0.0", "::")


class Front(NamedTuple):
    """One of them. six: IPv6. wildcard: receives on all addresses and answers from the one addressed."""

    sock: socket.socket
    six: bool
    wildcard: bool
    offsets: layout.Offsets


def open_fronts(sockets: Sequence[socket.socket], keep_ttl: bool) -> list[Front]:
    """Set what a relay needs of the sockets that it was given."""
    fronts = []
    for sock in sockets:
        wildcard = sock.getsockname()[0] in _WILDCARDS
        offsets = layout.prepare(sock, asked=wildcard, ttl=keep_ttl, buffer_bytes=RECEIVE_BUFFER_BYTES)
        fronts.append(Front(sock, sock.family == socket.AF_INET6, wildcard, offsets))
    return fronts


def answer_control(front: Front, asked: U8Column) -> bytes:
    """The control message that makes an answer leave from the address that was asked; empty if there is but one.

    asked: uint8[≥ 28], the kernel's in_pktinfo or in6_pktinfo of the datagram that came.
    """
    if not front.wildcard:
        return b""
    data = asked.tobytes()
    if front.six:  # struct in6_pktinfo: address, interface
        kept = data[:16] + (data[16:20] if ipaddress.ip_address(data[:16]).is_link_local else bytes(4))
        return struct.pack("=Qii", 36, socket.IPPROTO_IPV6, layout.IPV6_PKTINFO) + kept + bytes(4)
    # struct in_pktinfo: interface, our address, the header's destination. To send, the middle one is ours to set.
    return struct.pack("=Qiii", 28, socket.IPPROTO_IP, layout.IP_PKTINFO, 0) + data[8:12] + bytes(4) + bytes(4)


def network_of(sockaddr: U8Column) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IP address of a struct sockaddr; a v4-mapped one as IPv4."""
    data = sockaddr.tobytes()
    if struct.unpack_from("=H", data)[0] == socket.AF_INET:
        return ipaddress.IPv4Address(data[4:8])
    six = ipaddress.IPv6Address(data[8:24])
    return six.ipv4_mapped or six
