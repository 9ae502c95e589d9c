"""Wakes a thread that waits for its sockets."""

from __future__ import annotations

import contextlib
import socket


class Wake:
    """A pair of sockets: the thread waits for `reader` beside its own sockets. `set` may be called from any thread."""

    def __init__(self) -> None:
        self.reader, self._writer = socket.socketpair()
        self.reader.setblocking(False)
        self._writer.setblocking(False)

    def set(self) -> None:
        """Make `reader` readable. Without effect if it is, or if the pair is closed."""
        with contextlib.suppress(OSError):
            self._writer.send(b"\0")

    def clear(self) -> None:
        """Empty `reader`. The waiting thread only."""
        with contextlib.suppress(BlockingIOError):
            while self.reader.recv(4096):
                pass

    def close(self) -> None:
        """Close both."""
        self.reader.close()
        self._writer.close()
