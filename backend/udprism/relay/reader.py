"""recvmmsg into rows of the pool, laid out as io_uring lays out its own."""

from __future__ import annotations

import ctypes
import errno

import numpy as np

from udprism.columns.types import I64Column, Rows
from udprism.relay import layout
from udprism.relay.port import MSG_DONTWAIT
from udprism.udp.sockets import IOVEC, MMSGHDR

_NO_NEWS = (errno.EAGAIN, errno.EINTR, errno.ENOBUFS, errno.ENOMEM)


class Reader:
    """Reads up to `most` datagrams of one socket with one system call."""

    def __init__(self, pool: Rows, most: int) -> None:
        self._words = pool.view(np.uint32)
        self._addresses = pool.ctypes.data + layout.BUFFER_BYTES * np.arange(len(pool), dtype=np.uint64)
        self._headers = np.zeros(most, MMSGHDR)
        self._iov = np.zeros(most, IOVEC)
        self._headers["iov"] = self._iov.ctypes.data + 16 * np.arange(most, dtype=np.uint64)
        self._headers["iov_length"] = 1
        self._iov["length"] = layout.BUFFER_BYTES - layout.PAYLOAD_AT
        self._receive = ctypes.CDLL(None, use_errno=True).recvmmsg
        self._receive.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]
        self._rows = np.zeros(0, np.int64)

    def read(self, fd: int, rows: I64Column) -> tuple[int, int]:
        """Fill the first of these rows of the pool, `most` at most; how many, and the errno if there is one to tell."""
        headers, n = self._headers[: len(rows)], len(rows)
        if rows is not self._rows:  # the same ones, mostly
            at = self._addresses[rows]
            headers["name"], headers["control"] = at + np.uint64(layout.NAME_AT), at + np.uint64(layout.CONTROL_AT)
            self._iov["base"][:n] = at + np.uint64(layout.PAYLOAD_AT)
            self._rows = rows
        headers["name_length"], headers["control_length"] = layout.NAME_BYTES, layout.CONTROL_BYTES
        count = self._receive(fd, self._headers.ctypes.data, n, MSG_DONTWAIT, None)
        if count < 0:
            error = ctypes.get_errno()
            return 0, 0 if error in _NO_NEWS else error
        self._words[rows[:count], layout.LENGTH_WORD] = headers["sent"][:count]
        return count, 0
