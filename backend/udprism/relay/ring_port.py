"""`Port` on io_uring: one system call takes what has come, another one sends a batch to any number of sockets."""

from __future__ import annotations

import ctypes
import errno
import select

import numpy as np

from udprism.columns.types import BoolColumn, I64Column
from udprism.relay import layout
from udprism.relay.messages import Messages
from udprism.relay.port import BUFFERS, MSG_DONTWAIT, MSG_NOSIGNAL, Arrived, Failure
from udprism.relay.reader import Reader
from udprism.udp.ring import (
    BUFFER_SELECT,
    MORE_TO_COME,
    OP_ASYNC_CANCEL,
    OP_POLL_ADD,
    OP_RECVMSG,
    OP_SEND,
    OP_SENDMSG,
    POLL_ADD_MULTI,
    RECV_MULTISHOT,
    SKIP_SUCCESS,
    WITH_BUFFER,
    Completions,
    MessageHeader,
    Ring,
)
from udprism.udp.sockets import MMSGHDR, MSG_TRUNC

_USUAL = WITH_BUFFER | MORE_TO_COME
_ENOUGH = 512
_CANCELLED, _SENT, _CONTROL, _READABLE = 0, -1, -2, -3  # generations of what is no datagram
_NO_NEWS = (errno.ENOBUFS, errno.EAGAIN, errno.EINTR, errno.ENOMEM, errno.ECANCELED)


class RingPort:
    """`Port` on io_uring. Raises: OSError if the kernel does not have or allow it."""

    description = "io_uring"

    def __init__(self, slots: int) -> None:
        self.errors: list[tuple[int, int]] = []
        self.called = False
        self._ring = Ring(4096, 16_384, BUFFERS, layout.BUFFER_BYTES, spare=_ENOUGH)
        self.pool = self._ring.pool
        self._generation = np.ones(slots, np.int32)
        self._fd = np.full(slots, -1, np.int32)
        self._unarmed: set[int] = set()
        self._header = MessageHeader(name_bytes=layout.NAME_BYTES, control_bytes=layout.CONTROL_BYTES)
        self._waiting: list[Completions] = []
        self._failures: list[Failure] = []
        self._channel = -1
        # recvmmsg takes half of what a multishot request takes a datagram, and brings more than 32 of them at a time.
        self._reader = Reader(self.pool, _ENOUGH)
        self._read_rows = BUFFERS + np.arange(_ENOUGH)
        self._many: dict[int, int] = {}
        self._readable: list[int] = []

    def listen_to(self, channel: int) -> None:
        """See `Port`."""
        self._channel = channel
        self._poll(channel, _CONTROL, 0)

    def watch(self, fd: int, slot: int, *, many: bool = False) -> None:
        """See `Port`."""
        self._fd[slot] = fd
        if many:
            self._many[slot] = fd
            self._poll(fd, _READABLE, slot)
        else:
            self._unarmed.add(slot)

    def _poll(self, fd: int, kind: int, slot: int) -> None:
        for _, entries in self._ring.submissions_for(1):
            entries["opcode"], entries["fd"], entries["len"] = OP_POLL_ADD, fd, POLL_ADD_MULTI
            entries["op_flags"], entries["slot"], entries["generation"] = select.POLLIN | select.POLLHUP, slot, kind

    def forget(self, fd: int, slot: int) -> None:
        """See `Port`."""
        if slot in self._unarmed:
            self._unarmed.discard(slot)
        else:
            for _, entries in self._ring.submissions_for(1):
                entries["opcode"], entries["fd"], entries["generation"] = OP_ASYNC_CANCEL, -1, _CANCELLED
                entries.view(np.int32)[4:6] = slot, self._generation[slot]
            self._ring.enter(0, 0.0)  # before the descriptor is another socket's
        self._generation[slot] += 1
        self._fd[slot] = -1

    def wait(self, timeout_s: float, gather_s: float) -> Arrived:
        """See `Port`."""
        self.errors, self.called = [], False
        if self._unarmed:
            self._arm()
        if not (self._waiting or self._readable or self._ring.ready()):
            # With nothing to gather for, one is enough.
            self._ring.enter(BUFFERS if gather_s else 1, timeout_s, gather_s)
        self._collect()
        slots, buffers = [], []
        if self._waiting:
            completed = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
            self._waiting = []
            usual = (completed[:, 3] & _USUAL == _USUAL) & (self._generation[completed[:, 0]] == completed[:, 1])
            if not usual.all():
                completed = self._sort_out(completed)
            slots.append(completed[:, 0])
            buffers.append((completed[:, 3] >> 16 & 0xFFFF).astype(np.int64))
        if self._readable:
            slot = self._readable.pop()
            count, error = self._reader.read(self._fd[slot], self._read_rows)
            if not count:  # woken by an error, which may be in the queue alone
                self.errors.append((slot, error))
            if error or count == _ENOUGH:
                self._readable.insert(0, slot)  # there may be more
            slots.append(np.full(count, slot, np.int32))
            buffers.append(self._read_rows[:count])
        if not slots:
            return Arrived(np.zeros(0, np.int32), np.zeros(0, np.int64))
        return Arrived(*(slots[0], buffers[0]) if len(slots) == 1 else (np.concatenate(slots), np.concatenate(buffers)))

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
            entries["opcode"], entries["ioprio"], entries["flags"] = OP_RECVMSG, RECV_MULTISHOT, BUFFER_SELECT
            entries["fd"] = self._fd[some]
            entries["address"], entries["len"] = ctypes.addressof(self._header), 1
            entries["op_flags"] = MSG_TRUNC
            entries["slot"], entries["generation"] = some, self._generation[some]

    def _sort_out(self, completed: Completions) -> Completions:
        """Deal with what is not a datagram of a socket that is still ours; return the rest."""
        slot, generation, result, flags = completed.T
        with_buffer, ours = flags & WITH_BUFFER != 0, (generation > 0) & (self._generation[slot] == generation)
        self.give_back((flags[with_buffer & ~ours] >> 16 & 0xFFFF).astype(np.int64))
        ended = ours & (flags & MORE_TO_COME == 0)
        for its_slot, its_result in zip(slot[ended].tolist(), result[ended].tolist(), strict=True):
            if its_result < 0 and -its_result not in _NO_NEWS:
                self.errors.append((its_slot, -its_result))
            if self._fd[its_slot] >= 0:
                self._unarmed.add(its_slot)
        polled = generation <= _CONTROL
        for its_slot, kind, its_flags in zip(
            slot[polled].tolist(), generation[polled].tolist(), flags[polled].tolist(), strict=True
        ):
            ended_ = its_flags & MORE_TO_COME == 0
            if kind == _CONTROL:
                self.called = True
                if ended_:
                    self._poll(self._channel, _CONTROL, 0)
            elif kind == _READABLE:
                if its_slot not in self._readable:
                    self._readable.append(its_slot)
                if ended_:
                    self._poll(self._many[its_slot], _READABLE, its_slot)
        datagrams: Completions = completed[with_buffer & ours & (result >= layout.PAYLOAD_AT)]
        short = with_buffer & ours & (result < layout.PAYLOAD_AT)
        self.give_back((flags[short] >> 16 & 0xFFFF).astype(np.int64))
        return datagrams

    def give_back(self, buffers: I64Column) -> None:
        """See `Port`."""
        if len(buffers) and int(buffers.max()) >= BUFFERS:  # what was read is free again when it has been looked at
            buffers = buffers[buffers < BUFFERS]
        self._ring.give_back(buffers)

    def send(self, messages: Messages) -> list[Failure]:
        """See `Port`. The kernel has taken or refused all of them when this returns."""
        header_at = messages.at + MMSGHDR.itemsize * np.arange(len(messages), dtype=np.uint64)
        base, length = messages.payloads()
        for done, entries in self._ring.submissions_for(len(messages)):
            part = slice(done, done + len(entries))
            plain: BoolColumn = messages.plain[part]
            entries["fd"], entries["flags"] = messages.fd[part], SKIP_SUCCESS
            entries["op_flags"] = MSG_DONTWAIT | MSG_NOSIGNAL
            entries["slot"], entries["generation"] = np.arange(done, done + len(entries)), _SENT
            if plain.all():
                entries["opcode"], entries["address"], entries["len"] = OP_SEND, base[part], length[part]
            else:
                entries["opcode"] = np.where(plain, OP_SEND, OP_SENDMSG)
                entries["address"] = np.where(plain, base[part], header_at[part])
                entries["len"] = np.where(plain, length[part], 1)
        self._ring.enter(0, 0.0)
        self._collect()
        failures, self._failures = self._failures, []
        return failures
