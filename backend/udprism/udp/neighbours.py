"""Who else on this machine is bound to a UDP port."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Sequence
from typing import Final, NamedTuple

import psutil

from udprism.columns.types import Address, format_address

_WILDCARDS: Final = ("0.0.0.0", "::")


class Neighbour(NamedTuple):
    """A socket of another process. program: its name and process id, or None if it may not be known."""

    address: Address
    program: str | None

    def __str__(self) -> str:
        return f"{self.program or 'another program'} at {format_address(self.address)}"


def neighbours(addresses: Sequence[Address]) -> list[list[Neighbour]]:
    """For each address, other processes' sockets that share its port: bound to it, or to all addresses.

    Of several sockets on one port the one that was bound last gets what is sent to it alone (Linux, SO_REUSEADDR), so a
    program may silently take another one's datagrams. Takes some milliseconds: every process is looked at.
    """
    found: list[list[Neighbour]] = [[] for _ in addresses]
    try:
        every = psutil.net_connections(kind="udp")
    except (psutil.Error, OSError):  # a system that does not tell
        return found
    for one in every:
        if not one.laddr or one.pid == os.getpid():
            continue
        there = (str(one.laddr.ip), int(one.laddr.port))
        for place, address in enumerate(addresses):
            if there[1] == address[1] and _meet(there[0], address[0], one.family):
                found[place].append(Neighbour(there, _program(one.pid)))
    return found


def _meet(one: str, other: str, family: int) -> bool:
    """Whether sockets bound to these hosts can get each other's datagrams."""
    if one == other:
        return True
    same_family = (family == socket.AF_INET6) == (ipaddress.ip_address(other.partition("%")[0]).version == 6)
    return same_family and (one in _WILDCARDS or other in _WILDCARDS)


def _program(pid: int | None) -> str | None:
    if pid is None:
        return None
    try:
        return f"{psutil.Process(pid).name()} ({pid})"
    except psutil.Error:
        return None
