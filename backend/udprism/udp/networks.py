"""This machine's own networks, and where hosted clients may send."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import TypeAlias

import psutil

from udprism.columns.types import Address, is_loopback
from udprism.errors import RequestError
from udprism.settings import split_host_port
from udprism.udp.sockets import address_of_name, source_address

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_METADATA = ipaddress.ip_network("169.254.0.0/16")
FIRST_ALLOWED_PORT = 1024


def own_networks() -> list[Network]:
    """The networks of all addresses of all interfaces of this machine, as they are now. Takes some 0.1 ms.

    An address without a netmask is a network of its own.
    """
    networks: list[Network] = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")]
    for addresses in psutil.net_if_addrs().values():
        for one in addresses:
            if one.family in (socket.AF_INET, socket.AF_INET6):
                ip = ipaddress.ip_address(one.address.partition("%")[0])
                mask = ip.max_prefixlen if one.netmask is None else _prefix_length(one.netmask)
                networks.append(ipaddress.ip_network(f"{ip}/{mask}", strict=False))
    return list(dict.fromkeys(networks))


def _prefix_length(netmask: str) -> int:
    """psutil writes an IPv6 netmask as an address."""
    return int(ipaddress.ip_address(netmask)).bit_count()


def has_name(target: str) -> bool:
    """Whether the host of this target is a name, which has to be looked up and may change."""
    try:
        ipaddress.ip_address(target.rpartition(":")[0].removeprefix("[").removesuffix("]"))
    except ValueError:
        return True
    return False


def is_here(address: Address) -> bool:
    """Whether this is an address of this machine: datagrams to it leave from it as well, except on loopback."""
    try:
        return is_loopback(address[0]) or source_address(address) == address[0]
    except OSError:
        return False


class Targets:
    """Decides where hosted clients may send. A target is a request to send datagrams to another machine."""

    def __init__(
        self,
        allowed: Sequence[str],
        forbidden_ports: Sequence[int],
        own: Callable[[], Sequence[Network]] = own_networks,
    ) -> None:
        """own: reads this machine's networks; called again whenever a target would be refused without them."""
        self._read_own = own
        self._own = own()
        self._allowed = [ipaddress.ip_network(text) for text in allowed]
        self._forbidden_ports = set(forbidden_ports)

    def resolve(self, target: str) -> tuple[Address, ...]:
        """The addresses of this target that are allowed, in the system's order. May block for as long as DNS does.

        What was checked is what is used: the name is not looked up again.

        Raises: RequestError, with the field `target`.
        """
        try:
            host, port = split_host_port(target)
            found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except ValueError as error:
            raise RequestError(str(error), field="target") from None
        except OSError as error:
            reason = error.strerror or error
            raise RequestError(f"cannot resolve {target!r} to an IP address: {reason}", field="target") from None
        if port < FIRST_ALLOWED_PORT:
            raise RequestError(f"port {port} is not allowed: choose {FIRST_ALLOWED_PORT} to 65535", field="target")
        if port in self._forbidden_ports:
            raise RequestError(f"port {port} is this program's own web port", field="target")
        addresses = [address_of_name(entry[4]) for entry in found]
        permitted = self._permitted(addresses)
        if not permitted:
            self._own = self._read_own()  # an address may have come since
            permitted = self._permitted(addresses)
        if permitted:
            return permitted
        raise RequestError(
            f"{target} is neither on this machine nor in a network of its own; --allow-target CIDR permits more",
            field="target",
            kind="target-not-allowed",
        )

    def _permitted(self, addresses: Sequence[Address]) -> tuple[Address, ...]:
        permitted = (one for one in addresses if self._permits(ipaddress.ip_address(one[0].split("%")[0])))
        return tuple(dict.fromkeys(permitted))

    def _permits(self, ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
        ip = mapped or ip
        if ip.is_multicast or ip.is_unspecified or ip in _METADATA:
            return False
        for network in (*self._own, *self._allowed):
            if ip in network:
                return not (ip.version == 4 and network.prefixlen < 31 and ip == network.broadcast_address)
        return False
