"""The relay's interface to the kernel: datagrams of many sockets arrive as columns, and leave as one batch."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from udprism.columns.types import I32Column, I64Column, Rows
from udprism.relay.messages import Messages

BUFFERS = 1024

MSG_DONTWAIT, MSG_NOSIGNAL = 0x40, 0x4000  # linux/socket.h


class Arrived(NamedTuple):
    """n datagrams in each socket's order. slot: int32[n], as `watch` was told. buffer: int64[n], rows of the pool."""

    slot: I32Column
    buffer: I64Column

    def __len__(self) -> int:
        return len(self.slot)


class Failure(NamedTuple):
    """A message that did not leave."""

    place: int
    error: int


class Port(Protocol):
    """Used by one thread. pool: uint8[·, BUFFER_BYTES], see `layout`. errors: (slot, errno or 0) of the last
    wait: that socket's error queue is to be emptied.

    called: the control channel has something to read, or has ended. description: for people.
    """

    pool: Rows
    errors: list[tuple[int, int]]
    called: bool
    description: str

    def listen_to(self, channel: int) -> None:
        """From now on `called` tells of this descriptor."""

    def watch(self, fd: int, slot: int, *, many: bool = False) -> None:
        """From now on this socket's datagrams come as `slot`. many: nearly all datagrams are expected here."""

    def forget(self, fd: int, slot: int) -> None:
        """Call before the socket is closed. Nothing of it is returned afterwards."""

    def wait(self, timeout_s: float, gather_s: float) -> Arrived:
        """The datagrams that arrived. Waits for the first or for the timeout; once there is one, for at least
        `gather_s`."""

    def give_back(self, buffers: I64Column) -> None:
        """These rows of the pool have been read."""

    def send(self, messages: Messages) -> list[Failure]:
        """Send all. Failures are returned; nothing is retried."""
