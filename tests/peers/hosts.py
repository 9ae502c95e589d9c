"""Two hosts on one cable: network namespaces of our own, so that peers may use their usual ports and broadcast."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from support.namespaces import Namespace, two_machines

SENDER, RECEIVER, BROADCAST = "10.9.0.1", "10.9.0.2", "10.9.0.255"
DEADLINE_S = 120


class Hosts(NamedTuple):
    """Their addresses are SENDER and RECEIVER; broadcast and multicast go over the cable."""

    sender: Namespace
    receiver: Namespace


@contextmanager
def two_hosts() -> Iterator[Hosts]:
    """Skips the test if there can be none here."""
    with two_machines() as hosts:
        for host, address in zip(hosts, (SENDER, RECEIVER), strict=True):
            host.ip(f"address add {address}/24 broadcast {BROADCAST} dev wire")
            host.ip("route add default dev wire")
        yield Hosts(*hosts)
