"""A channel between the program and a process that it started: one line of JSON each, with descriptors if need be.

A side that asks waits for the answer before it asks again, so there is never more than one line to read.
"""

from __future__ import annotations

import json
import socket
from array import array
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

_PIECE_BYTES: Final = 1 << 16
_MAX_FILES: Final = 64


class Heard(NamedTuple):
    """One line, and the descriptors that came with it: the receiver's now."""

    body: dict[str, Any]
    files: list[int]


def receive(sock: socket.socket, most_bytes: int, most_files: int, flags: int = 0) -> tuple[bytes, list[int]]:
    """What is there, and descriptors. `socket.recv_fds` has the same arguments and ignores its flags (CPython 3.11)."""
    fds = array("i")
    data, ancillary, _, _ = sock.recvmsg(most_bytes, socket.CMSG_LEN(most_files * fds.itemsize), flags)
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return data, list(fds)


class Control:
    """One end. Raises: OSError, if the other end is gone."""

    def __init__(self, sock: socket.socket) -> None:
        """sock: of a pair of Unix stream sockets."""
        self._sock = sock

    def say(self, body: dict[str, Any], files: Sequence[int] = ()) -> None:
        """One line. files: at most 64."""
        line = json.dumps(body).encode() + b"\n"
        sent = socket.send_fds(self._sock, [line], files) if files else 0
        self._sock.sendall(line[sent:])

    def hear(self) -> Heard | None:
        """The next line; None if the other end is gone."""
        line, files = b"", []
        while not line.endswith(b"\n"):
            with suppress(ConnectionResetError):
                piece, descriptors = receive(self._sock, _PIECE_BYTES, _MAX_FILES)
                files += descriptors
                line += piece
                if piece:
                    continue
            return None
        return Heard(json.loads(line), files)

    def finish(self) -> None:
        """Send no more. The other end's last lines can still be read."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Both ways."""
        self._sock.close()
