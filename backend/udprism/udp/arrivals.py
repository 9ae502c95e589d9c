"""Receivers: the datagrams of thousands of sockets as batches of columns, each with the kernel's own stamp.

`best_receiver` chooses: io_uring if the kernel has it and allows it (half the processor time of the next, as
measured), epoll on other Linuxes, and what `selectors` offers elsewhere.
"""

from __future__ import annotations

import errno
import select
import selectors
import socket
import struct
import sys
import time
from functools import lru_cache
from typing import Any, Protocol, TypeAlias

import numpy as np

from udprism.columns.arrivals import SOCKADDR_BYTES, Arrivals
from udprism.columns.types import NS_PER_S
from udprism.udp.sockets import MSG_TRUNC, SO_TIMESTAMPNS, drain_error_queue, sockaddr_row
from udprism.udp.uring import UringReceiver
from udprism.udp.wake import Wake

_CONTROL_BYTES = 32
_STAMP = struct.Struct("qq")
_KNOWN_SENDERS = 16_384
_NO_NEWS = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR}

_Watched: TypeAlias = tuple[int, socket.socket, str | None]
_Ready: TypeAlias = list[tuple[int, int]]
_READABLE = getattr(select, "EPOLLIN", selectors.EVENT_READ)


class Receiver(Protocol):
    """Used by one thread at a time; any thread may call `wake`. If another thread polls, it takes over.

    description: for people: which one it is, and why not a better one. errors: (slot, errno) of the last poll, such as
    ECONNREFUSED; the socket goes on. behind: the last poll left datagrams in the kernel that had arrived before it.
    """

    description: str
    errors: list[tuple[int, int]]
    behind: bool

    def add(self, sock: socket.socket, slot: int, source_ip: str | None = None) -> None:
        """From now on `sock` is heard, as `slot`; the receiver sets its stamps and whether it blocks, so send on it
        with MSG_DONTWAIT. source_ip: for a socket that is not connected: datagrams from elsewhere are dropped, and the
        error queue is emptied at each error."""

    def remove(self, sock: socket.socket, slot: int) -> None:
        """Call before `sock` is closed. Nothing is reported of it afterwards, and `slot` can be reused at once."""

    def poll(self, timeout_s: float) -> Arrivals:
        """The next datagrams, in each socket's order; valid until the next poll. Waits for one, an error, a `wake` or
        the timeout. With traffic, it lets some more gather (`coalesce_s`)."""

    def wake(self) -> None:
        """The poll that is under way, or else the next, returns within `coalesce_s`."""

    def close(self) -> None:
        """Gives back descriptors and memory; the sockets stay open."""


def best_receiver(capacity: int, width: int, max_batch: int, coalesce_s: float) -> Receiver:
    """The fastest receiver that works here.

    capacity: slots are 0 to capacity-1. width: bytes of payload in a row. max_batch: rows of a batch. coalesce_s: how
    long a poll may let datagrams gather, as a network card coalesces interrupts: a batch of one costs as much as one
    of a hundred, and the kernel's stamps keep it out of every delay and jitter.
    """
    if sys.platform != "linux":
        return PollReceiver(width, max_batch, coalesce_s)
    try:
        return UringReceiver(capacity, width, max_batch, coalesce_s)
    except OSError as error:  # a container's seccomp profile, kernel.io_uring_disabled, an old kernel
        return PollReceiver(width, max_batch, coalesce_s, why=f" (io_uring: {error.strerror})")


class PollReceiver:
    """`Receiver` on epoll or `selectors` and one call a datagram: works everywhere (Windows: up to 512 sockets).

    linux: epoll, and stamps by the kernel; otherwise what `selectors` offers, and the instant of the read.
    """

    def __init__(
        self, width: int, max_batch: int, coalesce_s: float, *, linux: bool = sys.platform == "linux", why: str = ""
    ) -> None:
        self._poller = select.epoll() if linux else _Selector()
        self.description = type(self._poller).__name__.removeprefix("_").lower() + why
        self._watched: dict[int, _Watched] = {}
        self.errors: list[tuple[int, int]] = []
        self.behind = False
        self._width, self._max_batch, self._coalesce_s, self._busy = width, max_batch, coalesce_s, False
        self.stamps, self._receive = linux, self._receive_stamped if linux else self._receive_plain
        # One byte more than a row shows, so that a datagram that was cut off can be told by its length.
        self._buffer = np.zeros((max_batch, width + 1), np.uint8)
        self._sources: list[bytes] = []
        self._cells = [memoryview(row.data) for row in self._buffer]
        self._wake = Wake()
        self._poller.register(self._wake.reader.fileno(), _READABLE)

    def add(self, sock: socket.socket, slot: int, source_ip: str | None = None) -> None:
        """See `Receiver`."""
        if self.stamps:
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.setblocking(False)
        self._watched[sock.fileno()] = (slot, sock, source_ip and source_ip.partition("%")[0])
        self._poller.register(sock.fileno(), _READABLE)

    def remove(self, sock: socket.socket, slot: int) -> None:
        """See `Receiver`."""
        self._poller.unregister(sock.fileno())
        del self._watched[sock.fileno()]

    def poll(self, timeout_s: float) -> Arrivals:
        """See `Receiver`."""
        self.errors = []
        slots: list[int] = []
        lengths: list[int] = []
        stamps: list[bytes] = []
        self._sources.clear()
        if self._busy:
            time.sleep(min(self._coalesce_s, timeout_s))
        ready, tried = self._poller.poll(timeout_s, self._max_batch), 0
        # Each round reads one datagram of each socket. A flood that is dropped must not hold the poll for ever.
        while ready and tried < 2 * self._max_batch:
            self._receive(ready, slots, lengths, stamps)
            tried += len(ready)
            room = self._max_batch - len(slots)
            if not room:
                break
            ready = self._poller.poll(0, room)
        self._busy, self.behind = bool(slots), bool(ready)
        stamp = np.frombuffer(b"".join(stamps), np.int64).reshape(-1, 2)
        return Arrivals(
            np.array(slots, np.int32),
            stamp[:, 0] * NS_PER_S + stamp[:, 1],
            np.array(lengths, np.int32),
            self._buffer[: len(slots), : self._width],
            np.frombuffer(b"".join(self._sources), np.uint8).reshape(-1, SOCKADDR_BYTES),
        )

    def wake(self) -> None:
        """See `Receiver`."""
        self._wake.set()

    def close(self) -> None:
        """See `Receiver`."""
        self._poller.close()
        self._wake.close()

    def _receive_stamped(self, ready: _Ready, slots: list[int], lengths: list[int], stamps: list[bytes]) -> None:
        for fd, _ in ready:
            if fd not in self._watched:
                self._wake.clear()
                continue
            slot, sock, source_ip = self._watched[fd]
            try:
                length, control, _, source = sock.recvmsg_into([self._cells[len(slots)]], _CONTROL_BYTES, MSG_TRUNC)
            except OSError as error:
                self._failed(self._watched[fd], error)
                continue
            if source_ip is None or source[0].partition("%")[0] == source_ip:
                slots.append(slot)
                lengths.append(length)
                stamps.append(control[0][2])
                self._sources.append(_packed(source))

    def _receive_plain(self, ready: _Ready, slots: list[int], lengths: list[int], stamps: list[bytes]) -> None:
        for fd, _ in ready:
            if fd not in self._watched:
                self._wake.clear()
                continue
            slot, sock, source_ip = self._watched[fd]
            try:
                length, source = sock.recvfrom_into(self._cells[len(slots)])
            except OSError as error:
                if error.errno != errno.EMSGSIZE:  # Windows' way to say that it cut a datagram off
                    self._failed(self._watched[fd], error)
                    continue
                length, source = self._width + 1, (source_ip,)
            if source_ip is None or source[0].partition("%")[0] == source_ip:
                slots.append(slot)
                lengths.append(length)
                stamps.append(_STAMP.pack(0, time.time_ns()))
                self._sources.append(_packed(source))

    def _failed(self, watched: _Watched, error: OSError) -> None:
        slot, sock, source_ip = watched
        if error.errno is not None and error.errno not in _NO_NEWS:
            self.errors.append((slot, error.errno))
        if source_ip is not None:
            drain_error_queue(sock)  # as long as it is not empty, the selector says that there is something to read


@lru_cache(_KNOWN_SENDERS)
def _packed(source: tuple[Any, ...]) -> bytes:
    """A sender as `recvfrom` gives it, as a row of `Arrivals.source`."""
    if len(source) < 2:  # Windows does not tell it of a datagram that it cut off
        return bytes(SOCKADDR_BYTES)
    family = socket.AF_INET6 if ":" in source[0] else socket.AF_INET
    return sockaddr_row(source[:2], family).tobytes()


class _Selector:
    """What other systems have, with the methods of `select.epoll`, which takes no more of what is ready than asked."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def register(self, fd: int, events: int) -> None:
        self._selector.register(fd, events)

    def unregister(self, fd: int) -> None:
        self._selector.unregister(fd)

    def poll(self, timeout_s: float, at_most: int) -> _Ready:
        return [(key.fd, events) for key, events in self._selector.select(timeout_s)][:at_most]

    def close(self) -> None:
        self._selector.close()
