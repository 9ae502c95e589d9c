"""Sockets that hear one multicast group on one named interface, and nothing else."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Final

from udprism.errors import BindError

_IP_MULTICAST_ALL: Final = 49  # linux/in.h
_IP_ADD_MEMBERSHIP: Final = 35  # linux/in.h; with a struct ip_mreqn, which names an interface by its index


def bind_group(group: str, port: int, interface: str, receive_buffer_bytes: int) -> socket.socket:
    """A socket that hears an IPv4 group on an interface. Linux only. Raises: BindError.

    It is bound to the group's own address, so that unicast never comes here, and other programs may hear the group
    too: a group's datagrams come to everyone who joined.
    """
    what = f"cannot hear {group}:{port} on {interface}"
    if sys.platform != "linux":
        raise BindError(f"{what}: only Linux can")
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)  # not what other programs joined elsewhere
        sock.bind((group, port))
        member = struct.pack("=4s4si", socket.inet_aton(group), bytes(4), socket.if_nametoindex(interface))
        sock.setsockopt(socket.IPPROTO_IP, _IP_ADD_MEMBERSHIP, member)
    except OSError as error:
        sock.close()
        raise BindError(f"{what}: {error.strerror or error}") from error
    return sock
