"""One io_uring: its system calls and its mapped queues, seen as NumPy arrays. Linux 6.12 and later, 64 bits.

Structures and constants: linux/io_uring.h, io_uring_setup(2), io_uring_enter(2), io_uring_register(2).

Memory ordering: with IORING_SETUP_DEFER_TASKRUN the kernel posts completions and takes buffers only while this very
thread is inside io_uring_enter, and no kernel thread polls the queues (no SQPOLL). So nothing else touches them at the
same time, and plain loads and stores are enough on every machine, aarch64 included. That flag is not optional here.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from udprism.columns.types import NS_PER_S, I64Column, U64Column

SUBMISSION = np.dtype(
    {
        "names": ["opcode", "flags", "ioprio", "fd", "address", "len", "op_flags", "slot", "generation"],
        "formats": ["u1", "u1", "u2", "i4", "u8", "u4", "u4", "i4", "i4"],
        "offsets": [0, 1, 2, 4, 16, 24, 28, 32, 36],
        "itemsize": 64,
    }
)
"""struct io_uring_sqe. Its user_data is ours alone and comes back unchanged: a slot and the generation of its use."""

Completions = npt.NDArray[np.int32]
"""int32[n, 4], struct io_uring_cqe: slot, generation, result, flags."""

_SYS_SETUP, _SYS_ENTER, _SYS_REGISTER = 425, 426, 427  # the same on every machine but alpha
_SETUP_FLAGS = 1 << 3 | 1 << 7 | 1 << 12 | 1 << 13  # CQSIZE, SUBMIT_ALL, SINGLE_ISSUER, DEFER_TASKRUN
_FEATURES = 1 << 0 | 1 << 15  # SINGLE_MMAP, MIN_TIMEOUT (6.12)
_OFFSET_RINGS, _OFFSET_SUBMISSIONS = 0, 0x1000_0000
_ENTER_FLAGS = 1 << 0 | 1 << 3  # GETEVENTS, EXT_ARG
_ENTER_PASSES = {errno.ETIME, errno.EINTR, errno.EAGAIN, errno.EBUSY}
_REGISTER_BUFFERS, _REGISTER_CANCEL = 22, 24  # PBUF_RING, SYNC_CANCEL
_CANCEL_EVERYTHING = 1 << 0 | 1 << 2  # ALL, ANY
_U32 = 0xFFFF_FFFF

OP_POLL_ADD, OP_SENDMSG, OP_RECVMSG, OP_ASYNC_CANCEL, OP_SEND = 6, 9, 10, 14, 26
RECV_MULTISHOT, POLL_ADD_MULTI = 1 << 1, 1 << 0  # of ioprio, and of a poll's len
BUFFER_SELECT, SKIP_SUCCESS = 1 << 5, 1 << 6  # a submission's flags
WITH_BUFFER, MORE_TO_COME = 1 << 0, 1 << 1
"""A completion's flags. A datagram has both, unless its request has ended with it."""

_BUFFER = np.dtype([("address", "u8"), ("len", "u4"), ("id", "u2"), ("tail", "u2")])


class MessageHeader(ctypes.Structure):
    """struct msghdr, from which a multishot RECVMSG takes how much room it leaves in each buffer."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_bytes", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_bytes", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Parameters(ctypes.Structure):
    _fields_ = (
        ("submissions", ctypes.c_uint32),
        ("completions", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("thread", ctypes.c_uint32 * 2),
        ("features", ctypes.c_uint32),
        ("unused", ctypes.c_uint32 * 4),
        ("submission_offsets", ctypes.c_uint32 * 10),
        ("completion_offsets", ctypes.c_uint32 * 10),
    )


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_int64), ("tv_nsec", ctypes.c_int64))


class _Wait(ctypes.Structure):
    _fields_ = (
        ("sigmask", ctypes.c_uint64),
        ("sigmask_size", ctypes.c_uint32),
        ("min_wait_us", ctypes.c_uint32),
        ("timespec", ctypes.c_uint64),
    )


class _Buffers(ctypes.Structure):
    _fields_ = (
        ("address", ctypes.c_uint64),
        ("count", ctypes.c_uint32),
        ("group", ctypes.c_uint16),
        ("flags", ctypes.c_uint16),
        ("unused", ctypes.c_uint64 * 3),
    )


class _Cancel(ctypes.Structure):
    _fields_ = (
        ("user_data", ctypes.c_uint64),
        ("fd", ctypes.c_int32),
        ("flags", ctypes.c_uint32),
        ("tv_sec", ctypes.c_int64),
        ("tv_nsec", ctypes.c_int64),
        ("unused", ctypes.c_uint64 * 4),
    )


class Ring:
    """Belongs to the thread that made it (the kernel insists). Raises: OSError if the kernel does not have or allow it.

    submissions, completions: entries of the two queues, powers of two. buffer_bytes: of each buffer of the pool,
    `pool` being uint8[buffers + spare, buffer_bytes], the last of which the kernel does not get; buffers is a power of
    two, at most 32,768.
    """

    def __init__(self, submissions: int, completions: int, buffers: int, buffer_bytes: int, spare: int = 0) -> None:
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall
        self._syscall.argtypes = [ctypes.c_long] * 7
        self._syscall.restype = ctypes.c_long
        self._timespec = _Timespec()
        self._wait = _Wait(timespec=ctypes.addressof(self._timespec))
        parameters = _Parameters(completions=completions, flags=_SETUP_FLAGS)
        self._fd = self._call(_SYS_SETUP, submissions, ctypes.addressof(parameters))
        try:
            if parameters.features & _FEATURES != _FEATURES or ctypes.sizeof(ctypes.c_void_p) != 8:
                raise OSError(errno.ENOSYS, "needs Linux 6.12 and 64 bits")
            self._map(parameters)
            self._offer_buffers(buffers, buffer_bytes, spare)
        except OSError:
            os.close(self._fd)
            raise

    def _map(self, parameters: _Parameters) -> None:
        at_submission, at_completion = parameters.submission_offsets, parameters.completion_offsets
        self.submissions, self.completions = int(parameters.submissions), int(parameters.completions)
        index_end, completions_end = at_submission[6] + 4 * self.submissions, at_completion[5] + 16 * self.completions
        rings = mmap.mmap(self._fd, max(index_end, completions_end), offset=_OFFSET_RINGS)
        entries = mmap.mmap(self._fd, SUBMISSION.itemsize * self.submissions, offset=_OFFSET_SUBMISSIONS)
        self._submission_head, self._submission_tail, self._completion_head, self._completion_tail = (
            np.frombuffer(rings, np.uint32, 1, offset) for offset in (*at_submission[0:2], *at_completion[0:2])
        )
        self._submission = np.frombuffer(entries, SUBMISSION, self.submissions)
        self._completion = np.frombuffer(rings, np.int32, 4 * self.completions, at_completion[5]).reshape(-1, 4)
        index = np.frombuffer(rings, np.uint32, self.submissions, at_submission[6])
        index[:] = np.arange(self.submissions)

    def _offer_buffers(self, count: int, buffer_bytes: int, spare: int) -> None:
        self.pool = np.zeros((count + spare, buffer_bytes), np.uint8)
        self._addresses: U64Column = self.pool.ctypes.data + np.arange(count, dtype=np.uint64) * np.uint64(buffer_bytes)
        self._buffers = np.frombuffer(mmap.mmap(-1, count * _BUFFER.itemsize), _BUFFER)
        self._buffers["len"] = buffer_bytes
        self._buffer_tail = 0
        self._register(_REGISTER_BUFFERS, _Buffers(address=self._buffers.ctypes.data, count=count))
        self.give_back(np.arange(count))

    def _call(self, number: int, *arguments: int) -> int:
        result: int = self._syscall(number, *arguments, *(0,) * (6 - len(arguments)))
        if result < 0:
            failure = ctypes.get_errno()
            raise OSError(failure, os.strerror(failure))
        return result

    def _register(self, opcode: int, argument: ctypes.Structure) -> None:
        self._call(_SYS_REGISTER, self._fd, opcode, ctypes.addressof(argument), 1)

    def _unsubmitted(self) -> int:
        return (int(self._submission_tail[0]) - int(self._submission_head[0])) & _U32

    def submissions_for(self, count: int) -> Iterator[tuple[int, npt.NDArray[np.void]]]:
        """`count` zeroed entries in runs, each with the number of those before it; the next `enter` submits them."""
        done = 0
        while done < count:
            if self._unsubmitted() == self.submissions:
                self.enter(0, 0.0)
            first = int(self._submission_tail[0]) & (self.submissions - 1)
            entries = self._submission[first : first + min(self.submissions - self._unsubmitted(), count - done)]
            entries[:] = np.zeros((), SUBMISSION)
            yield done, entries
            self._submission_tail[0] += np.uint32(len(entries))
            done += len(entries)

    def enter(self, enough: int, timeout_s: float, min_wait_s: float = 0.0) -> None:
        """Submits, lets the kernel do what the sockets have brought, and waits until there are `enough` completions,
        or `min_wait_s` are over and there is one, or `timeout_s` are over."""
        self._timespec.tv_sec = whole_s = int(timeout_s)
        self._timespec.tv_nsec = int((timeout_s - whole_s) * NS_PER_S)
        self._wait.min_wait_us = max(1, int(min_wait_s * 1e6))  # 0 would mean: until there are enough
        wait_at, wait_bytes = ctypes.addressof(self._wait), ctypes.sizeof(self._wait)
        result = self._syscall(_SYS_ENTER, self._fd, self._unsubmitted(), enough, _ENTER_FLAGS, wait_at, wait_bytes)
        if result < 0 and ctypes.get_errno() not in _ENTER_PASSES:
            raise OSError(ctypes.get_errno(), "io_uring_enter: " + os.strerror(ctypes.get_errno()))

    def ready(self) -> int:
        """How many are completed and not dealt with."""
        return (int(self._completion_tail[0]) - int(self._completion_head[0])) & _U32

    def completed(self, at_most: int) -> Completions:
        """The oldest of these, not all where the queue's end lies between; valid until the next `enter`."""
        first = int(self._completion_head[0]) & (self.completions - 1)
        return self._completion[first : first + min(self.ready(), at_most)]

    def pop(self, count: int) -> None:
        """The first `count` of `completed` have been dealt with."""
        self._completion_head[0] += np.uint32(count)

    def give_back(self, ids: I64Column) -> None:
        """These buffers of the pool have been read."""
        count, done = len(self._buffers), 0
        while done < len(ids):
            first = self._buffer_tail & (count - 1)
            some = ids[done : done + count - first]
            self._buffers["address"][first : first + len(some)] = self._addresses[some]
            self._buffers["id"][first : first + len(some)] = some
            self._buffer_tail = (self._buffer_tail + len(some)) & 0xFFFF
            done += len(some)
        self._buffers["tail"][0] = self._buffer_tail  # struct io_uring_buf_ring: the first entry's spare word

    def close(self) -> None:
        """Gives back descriptor and memory. On the ring's own thread, all its requests have ended by then."""
        with contextlib.suppress(OSError):  # EEXIST on another thread; then the kernel ends them on its own
            self._register(_REGISTER_CANCEL, _Cancel(flags=_CANCEL_EVERYTHING, tv_sec=-1, tv_nsec=-1))
            self.enter(0, 0.0)
        del self._submission_head, self._submission_tail, self._completion_head, self._completion_tail
        del self._submission, self._completion
        os.close(self._fd)
