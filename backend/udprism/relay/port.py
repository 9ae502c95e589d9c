"""The relay's way into and out of the kernel: datagrams of many sockets come as columns, and leave as one batch.

`RingPort` does both with one system call each; `EpollPort` works where io_uring is not to be had.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import select
import time
from typing import NamedTuple, Protocol

import numpy as np

from udprism.columns.types import BoolColumn, I32Column, I64Column, Rows
from udprism.relay import layout
from udprism.relay.messages import Messages
from udprism.udp.ring import Completions, Ring
from udprism.udp.sockets import IOVEC, MMSGHDR

log = logging.getLogger(__name__)

BUFFERS = 1024
_OP_POLL_ADD, _OP_SENDMSG, _OP_RECVMSG, _OP_ASYNC_CANCEL, _OP_SEND = 6, 9, 10, 14, 26
_RECV_MULTISHOT, _POLL_ADD_MULTI = 1 << 1, 1 << 0
_BUFFER_SELECT, _SKIP_SUCCESS = 1 << 5, 1 << 6
_WITH_BUFFER, _MORE_TO_COME = 1 << 0, 1 << 1
_USUAL = _WITH_BUFFER | _MORE_TO_COME
_MSG_DONTWAIT, _MSG_NOSIGNAL, _MSG_TRUNC = 0x40, 0x4000, 0x20
_CONTROL_CHANNEL, _CANCELLED = 0, 1  # slots of completions of generation 0
_SENT = -1  # generation of what was sent
_NO_NEWS = (errno.ENOBUFS, errno.EAGAIN, errno.EINTR, errno.ENOMEM, errno.ECANCELED)


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
    """Used by one thread. pool: uint8[BUFFERS, BUFFER_BYTES], see `layout`. errors: (slot, errno or 0) of the last
    wait: that socket's error queue is to be emptied.

    called: the control channel has something to read, or has ended. description: for people.
    """

    pool: Rows
    errors: list[tuple[int, int]]
    called: bool
    description: str

    def listen_to(self, channel: int) -> None:
        """From now on `called` tells of this descriptor."""

    def watch(self, fd: int, slot: int) -> None:
        """From now on this socket's datagrams come as `slot`."""

    def forget(self, fd: int, slot: int) -> None:
        """Before the socket is closed. Nothing of it comes afterwards."""

    def wait(self, timeout_s: float, gather_s: float) -> Arrived:
        """What has come; waits for the first, or until the time is over, and if something comes `gather_s` at least."""

    def give_back(self, buffers: I64Column) -> None:
        """These rows of the pool have been read."""

    def send(self, messages: Messages) -> list[Failure]:
        """Send all; what fails is told, and nothing is tried twice."""


def best_port(slots: int) -> Port:
    """The fastest that works here."""
    try:
        return RingPort(slots)
    except OSError as error:
        return EpollPort(f"epoll (io_uring: {error.strerror or error})")


class _MessageHeader(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_bytes", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_bytes", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class RingPort:
    """`Port` on io_uring. Raises: OSError if the kernel lacks or forbids it."""

    description = "io_uring"

    def __init__(self, slots: int) -> None:
        self.errors: list[tuple[int, int]] = []
        self.called = False
        self._ring = Ring(4096, 16_384, BUFFERS, layout.BUFFER_BYTES)
        self.pool = self._ring.pool
        self._generation = np.ones(slots, np.int32)
        self._fd = np.full(slots, -1, np.int32)
        self._unarmed: set[int] = set()
        self._header = _MessageHeader(name_bytes=layout.NAME_BYTES, control_bytes=layout.CONTROL_BYTES)
        self._waiting: list[Completions] = []
        self._failures: list[Failure] = []
        self._channel = -1

    def listen_to(self, channel: int) -> None:
        """See `Port`."""
        self._channel = channel
        for _, entries in self._ring.submissions_for(1):
            entries["opcode"], entries["fd"], entries["len"] = _OP_POLL_ADD, channel, _POLL_ADD_MULTI
            entries["op_flags"], entries["slot"] = select.POLLIN | select.POLLHUP, _CONTROL_CHANNEL

    def watch(self, fd: int, slot: int) -> None:
        """See `Port`."""
        self._fd[slot] = fd
        self._unarmed.add(slot)

    def forget(self, fd: int, slot: int) -> None:
        """See `Port`."""
        if slot in self._unarmed:
            self._unarmed.discard(slot)
        else:
            for _, entries in self._ring.submissions_for(1):
                entries["opcode"], entries["fd"], entries["slot"] = _OP_ASYNC_CANCEL, -1, _CANCELLED
                entries.view(np.int32)[4:6] = slot, self._generation[slot]
            self._ring.enter(0, 0.0)  # before the descriptor is another socket's
        self._generation[slot] += 1
        self._fd[slot] = -1

    def wait(self, timeout_s: float, gather_s: float) -> Arrived:
        """See `Port`."""
        self.errors, self.called = [], False
        if self._unarmed:
            self._arm()
        if not self._waiting and not self._ring.ready():
            # With nothing to gather for, one is enough.
            self._ring.enter(BUFFERS if gather_s else 1, timeout_s, gather_s)
        self._collect()
        if not self._waiting:
            return Arrived(np.zeros(0, np.int32), np.zeros(0, np.int64))
        completed = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
        self._waiting = []
        usual = (completed[:, 3] & _USUAL == _USUAL) & (self._generation[completed[:, 0]] == completed[:, 1])
        if not usual.all():
            completed = self._sort_out(completed)
        return Arrived(completed[:, 0], (completed[:, 3] >> 16 & 0xFFFF).astype(np.int64))

    def _collect(self) -> None:
        """Take what is completed out of the queue: failures of sends apart from what has come."""
        while self._ring.ready():
            completed = self._ring.completed(self._ring.completions).copy()
            self._ring.pop(len(completed))
            sent = completed[:, 1] == _SENT
            if sent.any():
                self._failures += [Failure(place, -result) for place, _, result, _ in completed[sent].tolist()]
                completed = completed[~sent]
            if len(completed):
                self._waiting.append(completed)

    def _arm(self) -> None:
        slots = np.array(sorted(self._unarmed), np.int64)
        self._unarmed.clear()
        for done, entries in self._ring.submissions_for(len(slots)):
            some = slots[done : done + len(entries)]
            entries["opcode"], entries["ioprio"], entries["flags"] = _OP_RECVMSG, _RECV_MULTISHOT, _BUFFER_SELECT
            entries["fd"] = self._fd[some]
            entries["address"], entries["len"] = ctypes.addressof(self._header), 1
            entries["op_flags"] = _MSG_TRUNC
            entries["slot"], entries["generation"] = some, self._generation[some]

    def _sort_out(self, completed: Completions) -> Completions:
        """Deal with what is not a datagram of a socket that is still ours; return the rest."""
        slot, generation, result, flags = completed.T
        with_buffer, ours = flags & _WITH_BUFFER != 0, (generation > 0) & (self._generation[slot] == generation)
        self.give_back((flags[with_buffer & ~ours] >> 16 & 0xFFFF).astype(np.int64))
        ended = ours & (flags & _MORE_TO_COME == 0)
        for its_slot, its_result in zip(slot[ended].tolist(), result[ended].tolist(), strict=True):
            if its_result < 0 and -its_result not in _NO_NEWS:
                self.errors.append((its_slot, -its_result))
            if self._fd[its_slot] >= 0:
                self._unarmed.add(its_slot)
        channel = (generation == 0) & (slot == _CONTROL_CHANNEL)
        if channel.any():
            self.called = True
            if (flags[channel] & _MORE_TO_COME == 0).any():
                self.listen_to(self._channel)
        datagrams: Completions = completed[with_buffer & ours & (result >= layout.PAYLOAD_AT)]
        short = with_buffer & ours & (result < layout.PAYLOAD_AT)
        self.give_back((flags[short] >> 16 & 0xFFFF).astype(np.int64))
        return datagrams

    def give_back(self, buffers: I64Column) -> None:
        """See `Port`."""
        self._ring.give_back(buffers)

    def send(self, messages: Messages) -> list[Failure]:
        """See `Port`. The kernel has taken or refused all of them when this returns."""
        header_at = messages.at + MMSGHDR.itemsize * np.arange(len(messages), dtype=np.uint64)
        base, length = messages.payloads()
        for done, entries in self._ring.submissions_for(len(messages)):
            part = slice(done, done + len(entries))
            plain: BoolColumn = messages.plain[part]
            entries["fd"], entries["flags"] = messages.fd[part], _SKIP_SUCCESS
            entries["op_flags"] = _MSG_DONTWAIT | _MSG_NOSIGNAL
            entries["slot"], entries["generation"] = np.arange(done, done + len(entries)), _SENT
            if plain.all():
                entries["opcode"], entries["address"], entries["len"] = _OP_SEND, base[part], length[part]
            else:
                entries["opcode"] = np.where(plain, _OP_SEND, _OP_SENDMSG)
                entries["address"] = np.where(plain, base[part], header_at[part])
                entries["len"] = np.where(plain, length[part], 1)
        self._ring.enter(0, 0.0)
        self._collect()
        failures, self._failures = self._failures, []
        return failures


class EpollPort:
    """`Port` on epoll, recvmmsg and sendmmsg."""

    _AT_A_TIME = 64

    def __init__(self, description: str = "epoll") -> None:
        self.description = description
        self.errors: list[tuple[int, int]] = []
        self.called = False
        self.pool: Rows = np.zeros((BUFFERS, layout.BUFFER_BYTES), np.uint8)
        self._words = self.pool.view(np.uint32)
        self._addresses = self.pool.ctypes.data + layout.BUFFER_BYTES * np.arange(BUFFERS, dtype=np.uint64)
        self._free = list(range(BUFFERS - 1, -1, -1))
        self._epoll = select.epoll()
        self._slot: dict[int, int] = {}
        self._channel = -1
        self._busy = False
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.recvmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]
        self._libc.sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
        self._headers = np.zeros(self._AT_A_TIME, MMSGHDR)
        self._iov = np.zeros(self._AT_A_TIME, IOVEC)
        self._headers["iov"] = self._iov.ctypes.data + 16 * np.arange(self._AT_A_TIME, dtype=np.uint64)
        self._headers["iov_length"] = 1

    def listen_to(self, channel: int) -> None:
        """See `Port`."""
        self._channel = channel
        self._epoll.register(channel, select.EPOLLIN)

    def watch(self, fd: int, slot: int) -> None:
        """See `Port`."""
        self._slot[fd] = slot
        self._epoll.register(fd, select.EPOLLIN)

    def forget(self, fd: int, slot: int) -> None:
        """See `Port`."""
        del self._slot[fd]
        self._epoll.unregister(fd)

    def wait(self, timeout_s: float, gather_s: float) -> Arrived:
        """See `Port`."""
        self.errors, self.called = [], False
        if gather_s and self._busy:
            time.sleep(min(gather_s, timeout_s))
        slots: list[int] = []
        buffers: list[int] = []
        for fd, events in self._epoll.poll(timeout_s):
            if fd == self._channel:
                self.called = True
                continue
            if events & select.EPOLLERR:  # it stays so until the error queue is empty
                self.errors.append((self._slot[fd], 0))
            self._receive(fd, self._slot[fd], slots, buffers)
        self._busy = bool(slots)
        return Arrived(np.array(slots, np.int32), np.array(buffers, np.int64))

    def _receive(self, fd: int, slot: int, slots: list[int], buffers: list[int]) -> None:
        most = min(self._AT_A_TIME, len(self._free))
        if not most:
            return
        some = np.array(self._free[-most:], np.int64)
        at, headers = self._addresses[some], self._headers[:most]
        headers["name"], headers["name_length"] = at + np.uint64(layout.NAME_AT), layout.NAME_BYTES
        headers["control"], headers["control_length"] = at + np.uint64(layout.CONTROL_AT), layout.CONTROL_BYTES
        self._iov["base"][:most] = at + np.uint64(layout.PAYLOAD_AT)
        self._iov["length"][:most] = layout.BUFFER_BYTES - layout.PAYLOAD_AT
        self.pool[some, layout.CONTROL_AT : layout.PAYLOAD_AT] = 0
        count = self._libc.recvmmsg(fd, self._headers.ctypes.data, most, _MSG_DONTWAIT, None)
        if count < 0:
            if ctypes.get_errno() not in _NO_NEWS:
                self.errors.append((slot, ctypes.get_errno()))
            return
        taken = some[:count]
        self._words[taken, layout.LENGTH_WORD] = self._headers["sent"][:count]
        del self._free[-most:]
        self._free += some[count:].tolist()
        slots += [slot] * count
        buffers += taken.tolist()

    def give_back(self, buffers: I64Column) -> None:
        """See `Port`."""
        self._free += buffers.tolist()

    def send(self, messages: Messages) -> list[Failure]:
        """See `Port`."""
        failures: list[Failure] = []
        fds, n, start = messages.fd, len(messages), 0
        ends = [*(np.flatnonzero(fds[1:] != fds[:-1]) + 1).tolist(), n] if n else []
        for end in ends:
            while start < end:
                at = messages.at + start * MMSGHDR.itemsize
                sent = self._libc.sendmmsg(int(fds[start]), at, end - start, _MSG_DONTWAIT | _MSG_NOSIGNAL)
                if sent > 0:
                    start += sent
                else:
                    failures.append(Failure(start, ctypes.get_errno()))
                    start += 1
        return failures
