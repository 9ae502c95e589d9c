"""What the kernel reports about other programs' UDP sockets here: how full their buffers are, and their drops."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from udprism.columns.types import Address

TABLES = {4: Path("/proc/net/udp"), 6: Path("/proc/net/udp6")}


class FarEnd(NamedTuple):
    """All sockets that receive on an address, together. queue_bytes: waiting bytes. drops: since they were opened."""

    queue_bytes: int
    drops: int


class FarEnds:
    """All UDP sockets of this machine, as they were when this was made.

    Source: proc_pid_net(5) and net/ipv4/udp.c, `udp4_format_sock`: rx_queue is the second half of the fifth field, the
    drops are the last one. Any user may read it.
    """

    def __init__(self, tables: Mapping[int, Path] = TABLES) -> None:
        self._lines: dict[tuple[int, str], list[str]] = {}
        for version, table in tables.items():
            try:
                lines = table.read_text().splitlines()[1:]
            except OSError:  # another system, or a machine without IPv6
                continue
            for line in lines:  # of tens of thousands, a handful is asked for
                self._lines.setdefault((version, line.split(None, 2)[1]), []).append(line)

    def at(self, address: Address) -> FarEnd | None:
        """Those bound to this address, or to its port on all addresses; None if there is none."""
        ip = ipaddress.ip_address(address[0].split("%")[0])
        names = {_kernel_text(ip, address[1]), _kernel_text(type(ip)(0), address[1])}
        found = [_socket(line) for name in names for line in self._lines.get((ip.version, name), ())]
        return FarEnd(sum(one.queue_bytes for one in found), sum(one.drops for one in found)) if found else None


def _socket(line: str) -> FarEnd:
    fields = line.split()
    return FarEnd(int(fields[4].split(":")[1], 16), int(fields[12]))


def _kernel_text(ip: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> str:
    """As the kernel prints it: each word of 32 bits in this machine's byte order."""
    words = (int.from_bytes(ip.packed[at : at + 4], "little") for at in range(0, len(ip.packed), 4))
    return f"{''.join(f'{word:08X}' for word in words)}:{port:04X}"
