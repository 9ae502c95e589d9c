"""Sends delayed datagrams on time. Runs as a separate process, so that it never waits for the interpreter lock.

`releaser` starts it by its path and shares memory with it. It knows Python's standard library alone, so that it is
small and there at once. It ends when the control channel does.

Memory, in this order, each part on pages of its own (see `Layout`); a *block* is what was handed over together:

    progress  int64[BLOCKS]                  how many of the block's datagrams are done; written here
    release   int64[BLOCKS, BLOCK_DATAGRAMS] when each is to leave, monotonic ns, ascending
    messages  struct mmsghdr, as many        points at the three below, with the addresses they have in this process
    iov       struct iovec, as many
    names     uint8[as many, NAME_BYTES]     a struct sockaddr each
    sources   uint8[as many, SOURCE_BYTES]   a control message each, where the socket is bound to all addresses
    rows      the delay line's rows

Control channel (SOCK_SEQPACKET): first the memory's descriptor and the sockets'; the answer is where the memory lies
here. Then one `HANDED` for each block, and back, when all of it is done, its number and the places in it of those that
the kernel refused.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import select
import signal
import socket
import struct
import time
from bisect import bisect_right
from typing import NamedTuple, Protocol

BLOCKS = 64
BLOCK_DATAGRAMS = 1024
NAME_BYTES = 32
SOURCE_BYTES = 40
MESSAGE_BYTES, IOVEC_BYTES = 64, 16  # of struct mmsghdr and struct iovec, 64-bit Linux
MAX_SOCKETS = 8
HANDED = struct.Struct("=3H")
"""Number of the block, how many datagrams, index of their socket."""
ADDRESS = struct.Struct("=Q")
DONE_BYTES = 2 * (1 + BLOCK_DATAGRAMS)
"""At most, of a message that says that a block is done: uint16, its number and what was refused."""

_ROUND_NS = 200_000
"""Between two looks at what is due: each costs some 0.02 ms."""
_NEVER_NS = 2**63 - 1
_TRIES = 3
_PR_SET_NAME, _PR_SET_TIMERSLACK = 15, 29  # linux/prctl.h


class Layout(NamedTuple):
    """Where each part of the memory begins."""

    progress: int
    release: int
    messages: int
    iov: int
    names: int
    sources: int
    rows: int


def layout() -> Layout:
    """The one that both sides have."""
    places = [0]
    count = BLOCKS * BLOCK_DATAGRAMS
    each = (8, MESSAGE_BYTES, IOVEC_BYTES, NAME_BYTES, SOURCE_BYTES)
    for size in (8 * BLOCKS, *(one * count for one in each)):
        places.append(places[-1] + -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)
    return Layout(*places)


class SendMany(Protocol):
    """sendmmsg(2)."""

    def __call__(self, fd: int, messages: int, count: int, flags: int, /) -> int: ...


class _Block:
    """What is left of a block: entries [next, end), of all that there are."""

    def __init__(self, number: int, count: int, fd: int) -> None:
        self.number = number
        self.fd = fd
        self.first = self.next = number * BLOCK_DATAGRAMS
        self.end = self.first + count
        self.refused: list[int] = []

    def send(self, stop: int, send_many: SendMany, messages: int) -> None:
        """Send up to entry `stop`. What the kernel refuses is noted, never queued."""
        tries = 0
        while self.next < stop:
            left = send_many(self.fd, messages + MESSAGE_BYTES * self.next, stop - self.next, 0)
            if left > 0:
                self.next += left
                tries = 0
                continue
            tries += 1
            # A pending error belongs to another peer, not to this datagram; the server's thread reads whose.
            if ctypes.get_errno() in (errno.EAGAIN, errno.ENOBUFS) or tries == _TRIES:
                self.refused.append(self.next - self.first)
                self.next += 1
                tries = 0


def run(control: socket.socket) -> None:
    """Serve until the other side has gone."""
    _, descriptors, _, _ = socket.recv_fds(control, 1, 1 + MAX_SOCKETS)
    memory, *sockets = descriptors
    at, view = layout(), memoryview(mmap.mmap(memory, 0))
    address = ctypes.addressof(ctypes.c_char.from_buffer(view))
    progress, release = view[: 8 * BLOCKS].cast("q"), view[at.release : at.messages].cast("q")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NAME, b"udprism-link", 0, 0, 0)
    libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    libc.sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
    control.send(ADDRESS.pack(address))
    blocks: list[_Block] = []
    while True:
        now_ns, next_ns = time.monotonic_ns(), _NEVER_NS
        for block in blocks:
            stop = bisect_right(release, now_ns, block.next, block.end)
            if stop > block.next:
                block.send(stop, libc.sendmmsg, address + at.messages)
                progress[block.number] = stop - block.first
            if stop < block.end:
                next_ns = min(next_ns, release[stop])
            else:
                control.send(struct.pack(f"={1 + len(block.refused)}H", block.number, *block.refused))
        blocks = [block for block in blocks if block.next < block.end]
        wait_s = None
        if blocks:
            wait_s = max(0, max(next_ns, now_ns + _ROUND_NS) - time.monotonic_ns()) / 1e9
        if select.select([control], (), (), wait_s)[0]:
            with contextlib.suppress(BlockingIOError):
                while record := control.recv(HANDED.size, socket.MSG_DONTWAIT):
                    number, count, index = HANDED.unpack(record)
                    blocks.append(_Block(number, count, sockets[index]))
                return


if __name__ == "__main__":
    # As `child.begin`, which this file cannot import: it knows the standard library alone.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(ConnectionError):
        run(socket.socket(fileno=0))
