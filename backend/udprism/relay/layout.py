"""The layout of a received datagram in its buffer: the kernel's header, the sender, control messages, the payload.

The layout is io_uring's for a multishot RECVMSG (struct io_uring_recvmsg_out); the receiver that does without io_uring
fills its buffers in the same way, so that all that follows reads one layout.
"""

from __future__ import annotations

import socket
from typing import NamedTuple

from udprism.udp.sockets import LINUX, SO_TIMESTAMPNS

NAME_AT, NAME_BYTES = 16, 32
CONTROL_AT = NAME_AT + NAME_BYTES
CONTROL_BYTES = 120
PAYLOAD_AT = CONTROL_AT + CONTROL_BYTES
LENGTH_WORD = 2
"""Of 32-bit words: the payload's length."""
MAX_PAYLOAD_BYTES = 65_507
BUFFER_BYTES = 64 * 1027
"""An odd number of cache lines: a power of two would put all buffers' heads into the same few sets of the cache."""
STAMP_AT = CONTROL_AT + 16
_STAMP_SPACE = 32  # CMSG_SPACE(sizeof(struct timespec))

SO_RCVBUFFORCE, SO_SNDBUFFORCE = 33, 32
IP_TOS, IP_TTL, IP_PKTINFO, IP_MTU_DISCOVER, IP_RECVERR, IP_RECVTTL, IP_RECVTOS = 1, 2, 8, 10, 11, 12, 13
IPV6_MTU_DISCOVER, IPV6_RECVERR, IPV6_RECVPKTINFO, IPV6_PKTINFO = 23, 25, 49, 50
IPV6_RECVHOPLIMIT, IPV6_HOPLIMIT, IPV6_RECVTCLASS, IPV6_TCLASS = 51, 52, 66, 67
PMTUDISC_PROBE = 3
SOL_UDP, UDP_SEGMENT = 17, 103


class Offsets(NamedTuple):
    """Where in a buffer of one socket's datagrams these bytes lie; 0 for what was not asked for."""

    tos: int
    ttl: int
    asked: int


def prepare(
    sock: socket.socket, *, asked: bool = False, ttl: bool = False, dont_fragment: bool = False, buffer_bytes: int
) -> Offsets:
    """Set what a relay needs of a UDP socket, and return where the kernel will put it.

    asked: which of our addresses a datagram was sent to. Raises: OSError.
    """
    sock.setblocking(True)  # for a socket with O_NONBLOCK the ring answers EAGAIN instead of waiting
    for forced, usual in ((SO_RCVBUFFORCE, socket.SO_RCVBUF), (SO_SNDBUFFORCE, socket.SO_SNDBUF)):
        try:
            sock.setsockopt(socket.SOL_SOCKET, forced, buffer_bytes)
        except OSError:  # needs CAP_NET_ADMIN
            sock.setsockopt(socket.SOL_SOCKET, usual, buffer_bytes)
    if not LINUX:
        raise OSError("a relay needs Linux")
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    at = CONTROL_AT + _STAMP_SPACE
    six = sock.family == socket.AF_INET6
    level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
    sock.setsockopt(level, IPV6_RECVERR if six else IP_RECVERR, 1)
    sock.setsockopt(level, IPV6_RECVTCLASS if six else IP_RECVTOS, 1)
    if dont_fragment:
        sock.setsockopt(level, IPV6_MTU_DISCOVER if six else IP_MTU_DISCOVER, PMTUDISC_PROBE)
    asked_at = ttl_at = 0
    if asked:
        sock.setsockopt(level, IPV6_RECVPKTINFO if six else IP_PKTINFO, 1)
        asked_at, at = at + 16, at + (40 if six else 32)
    if ttl:
        sock.setsockopt(level, IPV6_RECVHOPLIMIT if six else IP_RECVTTL, 1)
        ttl_at, at = at + 16, at + 24
    return Offsets(at + 16, ttl_at, asked_at)
