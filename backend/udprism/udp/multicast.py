"""Sockets that receive one multicast group on one named interface, and nothing else."""

from __future__ import annotations

import errno
import socket
import struct
import sys
from typing import Final

from udprism.errors import BindError

_IP_MULTICAST_ALL: Final = 49  # linux/in.h
_IP_ADD_MEMBERSHIP: Final = 35  # linux/in.h; with a struct ip_mreqn, which names an interface by its index


class GroupSocket(socket.socket):
    """A socket that is bound to a group's address, and hears the group on `interface`."""

    interface: str

    def join(self) -> None:
        """Join the group, unless this was done already and still holds. Raises: OSError.

        The kernel forgets the membership when the interface goes away, and does not bring it back with an interface
        of the same name.
        """
        group = socket.inet_aton(self.getsockname()[0])
        member = struct.pack("=4s4si", group, bytes(4), socket.if_nametoindex(self.interface))
        try:
            self.setsockopt(socket.IPPROTO_IP, _IP_ADD_MEMBERSHIP, member)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:  # it is a member
                raise


def bind_group(group: str, port: int, interface: str, receive_buffer_bytes: int) -> GroupSocket:
    """A socket that hears an IPv4 group on an interface. Linux only. Raises: BindError.

    It is bound to the group's own address, so that unicast never comes here, and other programs may hear the group
    too: a group's datagrams come to everyone who joined.
    """
    what = f"cannot hear {group}:{port} on {interface}"
    if sys.platform != "linux":
        raise BindError(f"{what}: only Linux can")
    sock = GroupSocket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.interface = interface
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)  # not what other programs joined elsewhere
        sock.bind((group, port))
        sock.join()
    except OSError as error:
        sock.close()
        raise BindError(f"{what}: {error.strerror or error}") from error
    return sock
