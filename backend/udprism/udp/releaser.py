"""Starts, feeds and replaces the process that sends delayed datagrams. Used by the server's thread.

The interpreter lock is why it is a process: a thread that wants to wake up each 0.2 ms waits for it longer than that.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import mmap
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from udprism.columns.arrivals import SOCKADDR_BYTES
from udprism.columns.types import NEVER_NS, NS_PER_S, I64Column, Rows, U32Column
from udprism.link.delay_line import DueDatagrams
from udprism.udp import release_process as far
from udprism.udp.sockets import IOVEC, LINUX, MMSGHDR, NAME_BYTES
from udprism.udp.source import SENT_BYTES, tells_source

log = logging.getLogger(__name__)

_START_AGAIN_NS = 5 * NS_PER_S
_HANGS_AFTER_NS = 2 * NS_PER_S
_ENDS_WITHIN_S = 1.0


@dataclass(slots=True, eq=False)
class DelayedBatch:
    """Delayed datagrams that leave through one socket, in the order of release."""

    due: DueDatagrams
    socket_index: int
    session_id: U32Column
    """uint32[n]: their sessions; a slot may have been taken by another session in the meantime."""
    done: int = 0
    """How many of them have left or were refused, the first ones."""
    refused: I64Column = field(default_factory=lambda: np.zeros(0, np.int64))
    """int64[k]: which of them the kernel refused."""

    @property
    def next_release_ns(self) -> int:
        """When the first that has not left is to leave; NEVER_NS if all have."""
        return int(self.due.release_ns[self.done]) if self.done < len(self.due) else NEVER_NS

    @property
    def last_release_ns(self) -> int:
        """When the last of them is to leave."""
        return int(self.due.release_ns[-1])


class Releaser:
    """Owns the memory and the process. Server thread only, except for reading its attributes.

    The process is started by `want` and when it died; until it is `ready`, the caller sends by itself.
    """

    def __init__(self, sockets: Sequence[socket.socket], capacity: int, row_bytes: int) -> None:
        """capacity, row_bytes: of the delay line, which keeps its rows here. Raises: OSError."""
        self.starts = 0
        self.ready = False
        """Whether the process takes blocks."""
        self.wanted = False
        """Whether a link is on."""
        self._sockets = list(sockets)
        self._at = at = far.layout()
        self._file = open(os.memfd_create("udprism-link"), "rb+", buffering=0)  # noqa: SIM115 - closed by `close`
        self._file.truncate(at.rows + capacity * row_bytes)
        memory, count = mmap.mmap(self._file.fileno(), 0), far.BLOCKS * far.BLOCK_DATAGRAMS
        self.rows: Rows = np.frombuffer(memory, np.uint8, capacity * row_bytes, at.rows).reshape(capacity, row_bytes)
        """uint8[capacity, row_bytes]: where the delay line's rows have to be."""
        self._progress = np.frombuffer(memory, np.int64, far.BLOCKS, at.progress)
        self._release_ns = np.frombuffer(memory, np.int64, count, at.release)
        self._messages = np.frombuffer(memory, MMSGHDR, count, at.messages)
        self._iov = np.frombuffer(memory, IOVEC, count, at.iov)
        self._names = np.frombuffer(memory, np.uint8, count * far.NAME_BYTES, at.names).reshape(count, far.NAME_BYTES)
        self._sources = np.frombuffer(memory, np.uint8, count * far.SOURCE_BYTES, at.sources).reshape(
            count, far.SOURCE_BYTES
        )
        self._source_bytes = [SENT_BYTES[sock.family] if tells_source(sock) else 0 for sock in self._sockets]
        """Of a control message, by socket; 0 if none is to be sent."""
        self._there = 0
        """Where the memory lies in the process."""
        self._processors = os.sched_getaffinity(0)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._start_ns = -NEVER_NS
        self._blocks: dict[int, DelayedBatch] = {}
        self._free = list(range(far.BLOCKS - 1, -1, -1))

    @classmethod
    def where_possible(cls, sockets: Sequence[socket.socket], capacity: int, row_bytes: int) -> Releaser | None:
        """One, or None if the system has not what it takes: 64-bit Linux, and a Python to start."""
        if not LINUX or ctypes.sizeof(ctypes.c_void_p) != 8 or not sys.executable or len(sockets) > far.MAX_SOCKETS:
            return None
        with contextlib.suppress(OSError):
            return cls(sockets, capacity, row_bytes)
        return None

    @property
    def has_room(self) -> bool:
        """Whether a block for each socket can be handed over."""
        return len(self._free) >= len(self._sockets)

    @property
    def next_release_ns(self) -> int:
        """When the next of what was handed over leaves, as of the last `settle`; NEVER_NS if there is none."""
        return min((held.next_release_ns for held in self._blocks.values()), default=NEVER_NS)

    @property
    def last_release_ns(self) -> int:
        """When the last of what was handed over leaves; -NEVER_NS if there is none."""
        return max((held.last_release_ns for held in self._blocks.values()), default=-NEVER_NS)

    @property
    def next_done_ns(self) -> int:
        """When the next block is to be done; NEVER_NS if there is none."""
        return min((held.last_release_ns for held in self._blocks.values()), default=NEVER_NS)

    def want(self, wanted: bool) -> None:
        """Whether a link is on. The first one starts the process; without one it only waits, and takes no processor."""
        if wanted != self.wanted:
            self.wanted = wanted
            self._set_apart(wanted and self.ready)

    def _set_apart(self, apart: bool) -> None:
        """Leave one processor to the process alone, or go everywhere again; as far as the program itself goes.

        Two that want the same processor wait for each other for milliseconds, while another one is idle. The program
        loses little by it: of its threads only one has the interpreter lock.
        """
        if len(self._processors) > 1:
            alone = {max(self._processors)}
            for thread in os.listdir("/proc/self/task"):
                with contextlib.suppress(OSError):  # it has just ended
                    os.sched_setaffinity(int(thread), self._processors - alone if apart else self._processors)
            if self._process is not None:
                with contextlib.suppress(OSError):
                    os.sched_setaffinity(self._process.pid, alone)

    def hand_over(self, held: DelayedBatch, names: Rows, sources: Rows | None = None) -> bool:
        """Schedule up to BLOCK_DATAGRAMS datagrams. Returns False, with no effect, if that is not possible.

        names: uint8[n, SOCKADDR_BYTES], where each goes. sources: uint8[n, SOURCE_BYTES], from which address; needed if
        the socket tells sources. Their places are taken until `settle` gives them back.
        """
        if self._control is None or not self._free:
            return False
        due, number, count = held.due, self._free[-1], len(held.due)
        first = number * far.BLOCK_DATAGRAMS
        mine, entry = slice(first, first + count), np.arange(first, first + count)
        self._release_ns[mine] = due.release_ns
        self._iov["base"][mine] = self._there + self._at.rows + due.places * self.rows.strides[0]
        self._iov["length"][mine] = due.length
        self._names[mine, :SOCKADDR_BYTES] = names
        message = self._messages[mine]
        message["iov"] = self._there + self._at.iov + far.IOVEC_BYTES * entry
        message["iov_length"] = 1
        message["name"] = self._there + self._at.names + far.NAME_BYTES * entry
        message["name_length"] = NAME_BYTES[self._sockets[held.socket_index].family]
        message["control_length"] = 0 if sources is None else self._source_bytes[held.socket_index]
        if sources is not None:
            self._sources[mine] = sources
            message["control"] = self._there + self._at.sources + far.SOURCE_BYTES * entry
        self._progress[number] = 0
        try:
            self._control.send(far.HANDED.pack(number, count, held.socket_index))
        except OSError:  # full, or dead, which `settle` finds out
            return False
        self._blocks[self._free.pop()] = held
        return True

    def settle(self, now_ns: int) -> list[DelayedBatch]:
        """Find out what has left, and watch the process. Returns blocks that are done, or left over by one that
        died."""
        if self._process is None:
            if self.wanted and now_ns >= self._start_ns:
                self._start_ns = now_ns + _START_AGAIN_NS
                self._start()
            return []
        back, alive = self._listen()
        self._look()
        if alive and now_ns < self.next_release_ns + _HANGS_AFTER_NS:
            return back
        log.warning("the link's process %s; a new one starts when a link is on", "hangs" if alive else "ended")
        return back + self._end()

    def close(self) -> None:
        """End the process; what it holds never leaves."""
        self.want(False)
        self._end()
        self._file.close()

    def _start(self) -> None:
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        here.setblocking(False)
        try:
            with there:
                # Python's descriptors are closed in another program by themselves.
                command = [sys.executable, "-I", "-S", far.__file__]
                self._process = subprocess.Popen(
                    command, stdin=there.fileno(), stdout=subprocess.DEVNULL, close_fds=False
                )
            self._control = here
            self.starts += 1
            socket.send_fds(here, [b"\0"], [self._file.fileno(), *(sock.fileno() for sock in self._sockets)])
        except OSError as error:
            log.warning("the link's process cannot be started: %s", error)
            self._end()
            here.close()

    def _listen(self) -> tuple[list[DelayedBatch], bool]:
        """The blocks that are done, and whether the process lives."""
        done: list[DelayedBatch] = []
        try:
            while self._control is not None and (record := self._control.recv(far.DONE_BYTES)):
                if self.ready:
                    done.append(self._done(record))
                else:
                    (self._there,) = far.ADDRESS.unpack(record)
                    self.ready = True
                    self._set_apart(self.wanted)
        except BlockingIOError:
            return done, True
        except ConnectionError:
            pass
        return done, False

    def _look(self) -> None:
        for number, held in self._blocks.items():
            held.done = int(self._progress[number])

    def _done(self, record: bytes) -> DelayedBatch:
        number, *refused = np.frombuffer(record, np.uint16).tolist()
        held = self._blocks.pop(number)
        self._free.append(number)
        held.done = len(held.due)
        held.refused = np.array(refused, np.int64)
        return held

    def _end(self) -> list[DelayedBatch]:
        """Drop the process. Returns its blocks, as far as it got."""
        self.ready = False
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(_ENDS_WITHIN_S if not self.wanted else 0)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGKILL)
                self._process.wait()
            self._process = None
            self._set_apart(False)
        self._look()
        back = list(self._blocks.values())
        self._blocks.clear()
        self._free = list(range(far.BLOCKS - 1, -1, -1))
        return back
