"""This machine's own networks, and where hosted clients may send."""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from udprism.columns.types import Address
from udprism.errors import RequestError
from udprism.settings import split_host_port

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_SIOCGIFADDR = 0x8915  # linux/sockios.h
_SIOCGIFNETMASK = 0x891B
_METADATA = ipaddress.ip_network("169.254.0.0/16")
FIRST_ALLOWED_PORT = 1024


def own_networks() -> list[Network]:
    """The networks of this machine's interfaces: the first IPv4 address of each, and every IPv6 one.

    Loopback alone where the system does not tell (only Linux does): `--udp-trust` and `--allow-target` name others.
    """
    networks: list[Network] = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")]
    if sys.platform == "linux":
        networks += _linux_ipv4()
        networks += _linux_ipv6(Path("/proc/net/if_inet6"))
    return networks


def _linux_ipv4() -> list[Network]:
    import fcntl

    networks: list[Network] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                address = fcntl.ioctl(sock, _SIOCGIFADDR, request)[20:24]
                mask = fcntl.ioctl(sock, _SIOCGIFNETMASK, request)[20:24]
            except OSError:
                continue  # an interface without an IPv4 address
            text = f"{socket.inet_ntoa(address)}/{socket.inet_ntoa(mask)}"
            networks.append(ipaddress.ip_network(text, strict=False))
    return networks


def _linux_ipv6(table: Path) -> list[Network]:
    if not table.exists():
        return []
    networks: list[Network] = []
    for line in table.read_text().splitlines():
        digits, _, prefix, *_ = line.split()
        networks.append(ipaddress.IPv6Network((int(digits, 16), int(prefix, 16)), strict=False))
    return networks


class Targets:
    """Decides where hosted clients may send. A target is a request to send datagrams at somebody."""

    def __init__(self, own: Sequence[Network], allowed: Sequence[str], forbidden_ports: Sequence[int]) -> None:
        self._permitted = [*own, *(ipaddress.ip_network(text) for text in allowed)]
        self._forbidden_ports = set(forbidden_ports)

    def resolve(self, target: str) -> Address:
        """The address that was checked is the one that is used: a name is looked up once, here. May block.

        Raises: RequestError, with the field `target`.
        """
        try:
            host, port = split_host_port(target)
            found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except ValueError as error:
            raise RequestError(str(error), field="target") from None
        except (OSError, UnicodeError):
            raise RequestError(f"cannot resolve {target!r} to an IP address", field="target") from None
        if port < FIRST_ALLOWED_PORT:
            raise RequestError(f"port {port} is not allowed: choose {FIRST_ALLOWED_PORT} to 65535", field="target")
        if port in self._forbidden_ports:
            raise RequestError(f"port {port} is this program's own web port", field="target")
        for entry in found:
            address = (str(entry[4][0]), port)
            if self._permits(ipaddress.ip_address(address[0].split("%")[0])):
                return address
        raise RequestError(
            f"{target} is neither on this machine nor in a network of its own; --allow-target CIDR permits more",
            field="target",
            status=403,
            kind="target-not-allowed",
        )

    def _permits(self, ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
        ip = mapped or ip
        if ip.is_multicast or ip.is_unspecified or ip in _METADATA:
            return False
        for network in self._permitted:
            if ip in network:
                return not (ip.version == 4 and network.prefixlen < 31 and ip == network.broadcast_address)
        return False
