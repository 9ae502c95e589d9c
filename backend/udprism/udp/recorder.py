"""Writes a recording: a bounded queue to a thread of its own, so that no datagram ever waits for a disk."""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from udprism import __version__
from udprism.capture.pcapng_writer import file_header
from udprism.capture.recording import RecordedFlow, Seen, interfaces, packed_addresses, packet_blocks
from udprism.columns.types import I32Column, U64Column
from udprism.errors import RequestError

MAX_QUEUED: Final = 256
"""Batches that may wait for the disk."""
MAX_WRITE_ROWS: Final = 1024
_LOOK_S: Final = 0.2


class Progress(NamedTuple):
    """How a recording is. error: why it stopped by itself; None if it did not."""

    running: bool
    size_bytes: int
    files: int
    recorded: int
    not_recorded: int
    error: str | None


class Recorder:
    """One recording, in a ring of at most `max_files` files of `max_bytes` in all: the oldest is deleted first.

    The newest datagram is written when another one follows or the recording stops, because the sums stand in the
    comment of the last packet. A file is only ever appended to in whole blocks: whatever ends the process, all blocks
    but the last can be read.
    """

    def __init__(
        self,
        folder: Path,
        flows: Sequence[RecordedFlow],
        comments: Sequence[str],
        *,
        max_bytes: int,
        max_files: int,
        max_queued: int = MAX_QUEUED,
    ) -> None:
        """comments: what a datagram's `comment` means; the first is never written.

        Raises: RequestError, if a file has too little room for its header and one datagram of each flow's size; and
        OSError, if the first file cannot be made.
        """
        self._header = file_header(f"udprism {__version__}", interfaces(flows))
        self._file_bytes = max_bytes // max_files
        if self._file_bytes < 2 * len(self._header) + (1 << 16):
            raise RequestError(
                f"max_bytes leaves {self._file_bytes} bytes for a file, and {2 * len(self._header) + (1 << 16)} are"
                " needed for these flows",
                field="max_bytes",
            )
        self._folder = folder
        self._addresses = packed_addresses(flows)
        self._comments = list(comments)
        self._max_files = max_files
        self._queue: queue.Queue[Seen] = queue.Queue(max_queued)
        self._dropped = np.zeros(2 * len(flows), np.uint64)
        self._told = self._dropped.copy()
        self._last: Seen | None = None
        self._files: deque[tuple[Path, int]] = deque()
        self._made = 0
        self._open_bytes = 0
        self._recorded = 0
        self._error: str | None = None
        self._stopping = threading.Event()
        self._fd = -1
        self._next_file()
        self._thread = threading.Thread(target=self._run, name="udprism-recorder", daemon=True)
        self._thread.start()

    # -- the threads that have datagrams

    def offer(self, seen: Seen) -> None:
        """Record copies of these, or count them as not recorded; returns at once. One thread per point."""
        if self._error is None and not self._stopping.is_set() and not self._queue.full():
            try:
                self._queue.put_nowait(seen.copy())
            except queue.Full:
                pass
            else:
                return
        np.add.at(self._dropped, seen.interface, np.uint64(1))

    # -- any thread

    def progress(self) -> Progress:
        """How it is now."""
        files = list(self._files)
        size_bytes = sum(size for _, size in files) + self._open_bytes
        running = self._thread.is_alive() and self._error is None
        return Progress(running, size_bytes, self._made, self._recorded, int(self._dropped.sum()), self._error)

    def files(self) -> list[Path]:
        """The files that are kept, oldest first."""
        return sorted(self._folder.glob("*.pcapng"))

    def stop(self) -> None:
        """Write what waits, with the sums in the last packet's comment, and end."""
        self._stopping.set()
        self._thread.join()

    # -- the recorder's thread

    def _run(self) -> None:
        try:
            while not (self._stopping.is_set() and self._queue.empty()):
                try:
                    seen = self._queue.get(timeout=_LOOK_S)
                except queue.Empty:
                    continue
                for start in range(0, len(seen.flow), MAX_WRITE_ROWS):
                    self._take(seen.part(slice(start, start + MAX_WRITE_ROWS)))
            if self._last is not None:
                self._write_last(self._last)
            os.fsync(self._fd)
        except OSError as error:  # the disk is full or gone: the recording ends, and nothing else does
            self._error = f"{error.strerror}; the recording stopped"
        finally:
            os.close(self._fd)

    def _take(self, seen: Seen) -> None:
        if self._last is not None:
            self._write(self._last, self._comments)
        self._last = seen.part(slice(-1, None))
        if len(seen.flow) > 1:
            self._write(seen.part(slice(None, -1)), self._comments)

    def _write_last(self, last: Seen) -> None:
        sums = f"recorded {self._recorded + 1}, not recorded {int(self._dropped.sum())}"
        own = self._comments[int(last.comment[0])]
        index = np.array([1], np.int32)
        self._write(last._replace(comment=index), ["", f"{own}; {sums}" if own else sums])

    def _write(self, seen: Seen, comments: Sequence[str]) -> None:
        data = packet_blocks(seen, self._addresses, self._drops(seen.interface), comments)
        count = len(seen.flow)
        if self._open_bytes + len(data) > self._file_bytes:
            if count > 1 and len(data) > self._file_bytes // 2:
                self._write(seen.part(slice(count // 2)), comments)
                self._write(seen.part(slice(count // 2, None)), comments)
                return
            self._next_file()
        self._append(data.tobytes())
        self._recorded += count

    def _drops(self, interface: I32Column) -> U64Column:
        """What was not recorded since each interface's last packet, at the first of its packets in this batch."""
        drops = np.zeros(len(interface), np.uint64)
        seen, first = np.unique(interface, return_index=True)
        now = self._dropped[seen]
        drops[first] = now - self._told[seen]
        self._told[seen] = now
        return drops

    def _next_file(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._files.append((self._path(), self._open_bytes))
        while len(self._files) >= self._max_files:
            self._files.popleft()[0].unlink(missing_ok=True)
        self._made += 1
        self._open_bytes = 0
        self._fd = os.open(self._path(), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._append(self._header)

    def _path(self) -> Path:
        return self._folder / f"{self._made:06}.pcapng"

    def _append(self, data: bytes) -> None:
        """All of it, or nothing. Raises: OSError."""
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError:
            os.ftruncate(self._fd, self._open_bytes)
            raise
        self._open_bytes += len(data)
