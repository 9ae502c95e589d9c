"""The words that every room shares: columns, units and addresses.

Instants are integers in nanoseconds: `now_ns` and `deadline_ns` are monotonic, a name with `unix` is the wall clock.
A *slot* is a row in a table of columns (int32); a slot is reused, an id (text) never is.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

BoolColumn: TypeAlias = npt.NDArray[np.bool_]
U8Column: TypeAlias = npt.NDArray[np.uint8]
U16Column: TypeAlias = npt.NDArray[np.uint16]
U32Column: TypeAlias = npt.NDArray[np.uint32]
U64Column: TypeAlias = npt.NDArray[np.uint64]
I32Column: TypeAlias = npt.NDArray[np.int32]
I64Column: TypeAlias = npt.NDArray[np.int64]
F64Column: TypeAlias = npt.NDArray[np.float64]
Rows: TypeAlias = npt.NDArray[np.uint8]
"""uint8[n, width]: the bytes of one datagram per row; bytes beyond its length are undefined."""

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_US = 1_000


class Clock(Protocol):
    """Where a shell reads the time. The pure rooms only get the values."""

    def now_ns(self) -> int:
        """Monotonic, nanoseconds."""

    def unix_ns(self) -> int:
        """Wall clock, Unix nanoseconds; may step."""


Address: TypeAlias = tuple[str, int]
"""(IP address as text, port)."""
NEVER_NS = 1 << 62
"""An instant that never comes."""


def is_loopback(host: str) -> bool:
    """Whether what is bound to this host, or sent to it, stays on this machine: 127.0.0.0/8, ::1, `localhost`.

    No other name is: it is not looked up here, and it may have another address next time (RFC 6761 section 6.3).
    """
    if host == "localhost":
        return True
    try:
        ip = ip_address(host)
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return (mapped or ip).is_loopback


def format_address(address: Address) -> str:
    """`127.0.0.1:12345` or `[::1]:12345`."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
