"""`Port` on epoll, recvmmsg and sendmmsg, where io_uring is not available: old kernels, containers."""

from __future__ import annotations

import ctypes
import select
import time

import numpy as np

from udprism.columns.types import I64Column, Rows
from udprism.relay import layout
from udprism.relay.messages import Messages
from udprism.relay.port import BUFFERS, MSG_DONTWAIT, MSG_NOSIGNAL, Arrived, Failure
from udprism.relay.reader import Reader
from udprism.udp.sockets import MMSGHDR

_AT_A_TIME = 64


class EpollPort:
    """`Port` on epoll, recvmmsg and sendmmsg."""

    def __init__(self, description: str = "epoll") -> None:
        self.description = description
        self.errors: list[tuple[int, int]] = []
        self.called = False
        self.pool: Rows = np.zeros((BUFFERS, layout.BUFFER_BYTES), np.uint8)
        self._free = list(range(BUFFERS - 1, -1, -1))
        self._epoll = select.epoll()
        self._slot: dict[int, int] = {}
        self._channel = -1
        self._busy = False
        self._reader = Reader(self.pool, _AT_A_TIME)
        self._send = ctypes.CDLL(None, use_errno=True).sendmmsg
        self._send.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]

    def listen_to(self, channel: int) -> None:
        """See `Port`."""
        self._channel = channel
        self._epoll.register(channel, select.EPOLLIN)

    def watch(self, fd: int, slot: int, *, many: bool = False) -> None:
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
        rows = np.array(self._free[: -_AT_A_TIME - 1 : -1], np.int64)
        if not len(rows):
            return
        count, error = self._reader.read(fd, rows)
        if error:
            self.errors.append((slot, error))
        if count:
            del self._free[-count:]
            slots += [slot] * count
            buffers += rows[:count].tolist()

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
                sent = self._send(int(fds[start]), at, end - start, MSG_DONTWAIT | MSG_NOSIGNAL)
                if sent > 0:
                    start += sent
                else:
                    failures.append(Failure(start, ctypes.get_errno()))
                    start += 1
        return failures
