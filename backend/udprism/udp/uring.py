"""Datagrams of thousands of sockets with one system call a batch and no Python for each of them (io_uring).

Each socket has one multishot RECVMSG in the ring: the kernel puts every datagram, its stamp and its source into a
buffer of a common pool and a line into the completion queue, and both are read as columns.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import socket
import threading
from ipaddress import ip_address

import numpy as np
import numpy.typing as npt

from udprism.columns.arrivals import SOCKADDR_BYTES, Arrivals
from udprism.columns.types import NS_PER_S, I64Column
from udprism.udp.ring import (
    BUFFER_SELECT,
    MORE_TO_COME,
    OP_ASYNC_CANCEL,
    OP_POLL_ADD,
    OP_RECVMSG,
    POLL_ADD_MULTI,
    RECV_MULTISHOT,
    WITH_BUFFER,
    Completions,
    MessageHeader,
    Ring,
)
from udprism.udp.sockets import MSG_TRUNC, SO_TIMESTAMPNS, drain_error_queue

_USUAL = WITH_BUFFER | MORE_TO_COME

_SUBMISSIONS = 4096
_POOL_BYTES_MAX = 20 << 20

# What the kernel writes into a buffer ahead of the payload: struct io_uring_recvmsg_out (16 bytes), and as much room
# for the source's address and for control messages as the msghdr asks. 32 for the address keeps the stamp aligned to 8.
_NAME_BYTES, _CONTROL_BYTES = 32, 32
_LENGTH_AT, _NAME_AT = 8, 16
_STAMP_AT = _NAME_AT + _NAME_BYTES + 16
_PAYLOAD_AT = _NAME_AT + _NAME_BYTES + _CONTROL_BYTES
_IP_AT = {4: slice(_NAME_AT + 4, _NAME_AT + 8), 16: slice(_NAME_AT + 8, _NAME_AT + 24)}  # by the address's length

# A completion of generation 0 is no socket's; then its slot says what it is.
_WAKE, _CANCELLED = 0, 1
_NO_NEWS = (errno.ENOBUFS, errno.EAGAIN, errno.EINTR, errno.ENOMEM)
_NEVER_AGAIN = {errno.EBADF, errno.ENOTSOCK, errno.EINVAL, errno.EFAULT, errno.EOPNOTSUPP}


class UringReceiver:
    """`arrivals.Receiver` on io_uring. Raises: OSError if the kernel does not have or allow what is needed.

    max_buffers: datagrams that wait in the common pool, a power of two; what finds no buffer waits in its socket.
    """

    description = "io_uring"

    def __init__(
        self, capacity: int, width: int, max_batch: int, coalesce_s: float, *, max_buffers: int = 16_384
    ) -> None:
        self.errors: list[tuple[int, int]] = []
        self.behind = False
        self._max_batch, self._coalesce_s = max_batch, coalesce_s
        self._generation = np.ones(capacity, np.int32)
        self._descriptor = np.full(capacity, -1, np.int32)
        self._unconnected: dict[int, tuple[socket.socket, bytes]] = {}
        self._unarmed = np.zeros(capacity, np.bool_)
        """Sockets for which the kernel has no request."""
        self._some_unarmed = False
        self._header = MessageHeader(name_bytes=_NAME_BYTES, control_bytes=_CONTROL_BYTES)
        self._buffer_bytes = (_PAYLOAD_AT + width + 7) // 8 * 8
        self._buffers = min(max_buffers, 1 << (_POOL_BYTES_MAX // self._buffer_bytes).bit_length() - 1)
        self._batch = np.zeros((max_batch, self._buffer_bytes), np.uint8)
        self._rows = self._batch[:, _PAYLOAD_AT : _PAYLOAD_AT + width]
        self._length = self._batch.view(np.int32)[:, _LENGTH_AT // 4]
        self._stamp_s, self._stamp_ns = self._batch.view(np.int64)[:, _STAMP_AT // 8 : _STAMP_AT // 8 + 2].T
        self._received_unix_ns = np.zeros(max_batch, np.int64)
        self._source = self._batch[:, _NAME_AT : _NAME_AT + SOCKADDR_BYTES]
        self._none = np.zeros(0, np.int32)
        self._ring = self._open_ring()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._watch_wake()

    def _open_ring(self) -> Ring:
        self._thread = threading.get_ident()
        return Ring(min(_SUBMISSIONS, self._buffers), 2 * self._buffers, self._buffers, self._buffer_bytes)

    def _move_here(self) -> None:
        """A ring serves one thread only; for another one than it was opened on a new ring takes over."""
        self._ring.close()
        self._ring = self._open_ring()
        self._watch_wake()
        self._generation += 1
        self._unarmed = self._descriptor >= 0
        self._some_unarmed = True

    def add(self, sock: socket.socket, slot: int, source_ip: str | None = None) -> None:
        """See `arrivals.Receiver`."""
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        # For a socket with O_NONBLOCK the ring answers EAGAIN instead of waiting for its next datagram.
        sock.setblocking(True)
        self._descriptor[slot] = sock.fileno()
        self._unarmed[slot] = self._some_unarmed = True
        if source_ip is not None:
            self._unconnected[slot] = sock, ip_address(source_ip.partition("%")[0]).packed

    def remove(self, sock: socket.socket, slot: int) -> None:
        """See `arrivals.Receiver`. The kernel releases the socket in the next poll at the latest."""
        if self._unarmed[slot]:
            self._unarmed[slot] = False
        else:
            for _, entries in self._ring.submissions_for(1):
                entries["opcode"], entries["fd"], entries["slot"] = OP_ASYNC_CANCEL, -1, _CANCELLED
                # The address is the user_data to look for: two words of 32 bits, in memory's order.
                entries.view(np.int32)[4:6] = slot, self._generation[slot]
        self._generation[slot] += 1
        self._descriptor[slot] = -1
        self._unconnected.pop(slot, None)

    def poll(self, timeout_s: float) -> Arrivals:
        """See `arrivals.Receiver`."""
        self.errors = []
        if self._thread != threading.get_ident():
            self._move_here()
        if not self._ring.ready():
            # Not sooner: what the last call brought must leave its buffers before more is asked of the kernel.
            if self._some_unarmed:
                self._arm()
            self._ring.enter(self._max_batch, timeout_s, min(self._coalesce_s, timeout_s))
        completed = self._ring.completed(self._max_batch)
        if not len(completed):
            self.behind = self._some_unarmed
            return self._collect(completed)
        slot, generation, _, flags = completed.T
        usual = (flags & _USUAL == _USUAL) & (self._generation[slot] == generation)
        arrivals = self._collect(completed if usual.all() else self._sort_out(completed))
        self._ring.pop(len(completed))
        # A request that has ended, for want of a buffer perhaps, leaves its socket unread until it is armed again.
        self.behind = len(completed) == self._max_batch or self._ring.ready() > 0 or self._some_unarmed
        return self._from_right_source(arrivals) if self._unconnected else arrivals

    def wake(self) -> None:
        """See `arrivals.Receiver`."""
        os.eventfd_write(self._wake_fd, 1)

    def close(self) -> None:
        """See `arrivals.Receiver`."""
        self._ring.close()
        os.close(self._wake_fd)

    def _watch_wake(self) -> None:
        for _, entries in self._ring.submissions_for(1):
            entries["opcode"], entries["fd"], entries["len"] = OP_POLL_ADD, self._wake_fd, POLL_ADD_MULTI
            entries["op_flags"], entries["slot"] = select.POLLIN, _WAKE

    def _arm(self) -> None:
        slots = np.flatnonzero(self._unarmed)
        self._unarmed[slots] = self._some_unarmed = False
        for done, entries in self._ring.submissions_for(len(slots)):
            some = slots[done : done + len(entries)]
            entries["opcode"], entries["ioprio"], entries["flags"] = OP_RECVMSG, RECV_MULTISHOT, BUFFER_SELECT
            entries["fd"] = self._descriptor[some]
            entries["address"], entries["len"] = ctypes.addressof(self._header), 1
            entries["op_flags"] = MSG_TRUNC
            entries["slot"], entries["generation"] = some, self._generation[some]

    def _sort_out(self, completed: Completions) -> Completions:
        """What is not a datagram of a socket that is still ours is dealt with; the rest is returned."""
        slot, generation, result, flags = completed.T
        with_buffer = flags & WITH_BUFFER != 0
        ours = self._generation[slot] == generation
        self._ring.give_back(_buffer_ids(flags[with_buffer & ~ours]))
        ended = ours & (flags & MORE_TO_COME == 0)
        code = -result
        failed = ended & (code > 0) & ~np.isin(code, _NO_NEWS)
        for one, its_code in zip(slot[failed].tolist(), code[failed].tolist(), strict=True):
            self.errors.append((one, its_code))
            if one in self._unconnected:
                drain_error_queue(self._unconnected[one][0])
            if its_code in _NEVER_AGAIN:
                self._descriptor[one] = -1
        # Each refused datagram, each datagram without bytes and each shortage of buffers ends a request.
        again = slot[ended & (self._descriptor[slot] >= 0)]
        self._unarmed[again] = True
        self._some_unarmed |= len(again) > 0
        woken = (generation == 0) & (slot == _WAKE)
        if woken.any():
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake_fd)
            if (flags[woken] & MORE_TO_COME == 0).any():
                self._watch_wake()
        datagrams: Completions = completed[with_buffer & ours]
        return datagrams

    def _collect(self, completed: Completions) -> Arrivals:
        """Copies datagrams out of the pool and gives their buffers back."""
        n = len(completed)
        if not n:
            return Arrivals(self._none, self._received_unix_ns[:0], self._length[:0], self._rows[:0], self._source[:0])
        ids = _buffer_ids(completed[:, 3])
        self._ring.pool.take(ids, axis=0, out=self._batch[:n], mode="clip")
        self._ring.give_back(ids)
        received_unix_ns = self._received_unix_ns[:n]
        np.multiply(self._stamp_s[:n], NS_PER_S, out=received_unix_ns)
        received_unix_ns += self._stamp_ns[:n]
        return Arrivals(completed[:, 0].copy(), received_unix_ns, self._length[:n], self._rows[:n], self._source[:n])

    def _from_right_source(self, arrivals: Arrivals) -> Arrivals:
        right = np.ones(len(arrivals), np.bool_)
        for row, slot in enumerate(arrivals.slot.tolist()):
            if slot in self._unconnected:
                ip = self._unconnected[slot][1]
                right[row] = self._batch[row, _IP_AT[len(ip)]].tobytes() == ip
        return arrivals if right.all() else arrivals.part(right)


def _buffer_ids(flags: npt.NDArray[np.int32]) -> I64Column:
    ids: I64Column = (flags >> 16 & 0xFFFF).astype(np.int64)
    return ids
