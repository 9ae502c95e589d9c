"""One batch of datagrams, as a receiver hands it over."""

from __future__ import annotations

from dataclasses import dataclass

from udprism.columns.types import BoolColumn, I32Column, I64Column, Rows

SOCKADDR_BYTES = 28
"""struct sockaddr_in6, the larger of the two."""


@dataclass(slots=True)
class Arrivals:
    """In the order in which the kernel handed them over; valid until the receiver's next poll.

    slot: int32[n], the socket's. received_unix_ns: int64[n], the kernel's stamp. length: int32[n], bytes on the wire
    (may exceed the row's width: the rest was cut off). rows: uint8[n, width]; bytes beyond a datagram's length are
    undefined. source: uint8[n, SOCKADDR_BYTES], the sender's struct sockaddr_in or sockaddr_in6 of Linux; bytes beyond
    a sockaddr_in's 16 are undefined; all zero if the sender is unknown.
    """

    slot: I32Column
    received_unix_ns: I64Column
    length: I32Column
    rows: Rows
    source: Rows

    def __len__(self) -> int:
        return len(self.slot)

    def part(self, which: I64Column | BoolColumn) -> Arrivals:
        """A copy of these rows."""
        return Arrivals(
            self.slot[which], self.received_unix_ns[which], self.length[which], self.rows[which], self.source[which]
        )
