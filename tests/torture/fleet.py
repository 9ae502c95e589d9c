"""Raw measured clients in this process: what the server sent to each, by its own numbers and clock."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from types import TracebackType

from udprism.columns.types import Address
from udprism.wire import measured as wire

_HEADER = struct.Struct(">BBBBIIq")
_READS = 64
_RESEND_S = 1.0


@dataclass(slots=True)
class Raw:
    """One client. heard: (sequence, sent_at_unix_ns) of each colour, in the order of arrival."""

    sock: socket.socket
    heard: list[tuple[int, int]] = field(default_factory=list)
    told: bool = False
    """Whether the server has said BYE."""

    @property
    def missing(self) -> int:
        """Sequence numbers that were passed over."""
        numbers = {sequence for sequence, _ in self.heard}
        return max(numbers) - min(numbers) + 1 - len(numbers) if numbers else 0

    def longest_gap_s(self, since_unix_ns: int) -> float:
        """Between two colours in a row, as the server stamped them."""
        sent = [sent_at for _, sent_at in self.heard if sent_at >= since_unix_ns]
        return max((b - a for a, b in pairwise(sent)), default=0) / 1e9


class Fleet:
    """`count` clients of one server; a context manager. One thread, which must `listen` for anything to be heard."""

    def __init__(self, server: Address, count: int, connect: bytes) -> None:
        self._connect = connect
        self._epoll = select.epoll()
        self.clients: list[Raw] = []
        self._of_fd: dict[int, Raw] = {}
        for _ in range(count):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setblocking(False)
            sock.connect(server)
            raw = Raw(sock)
            self.clients.append(raw)
            self._of_fd[sock.fileno()] = raw
            self._epoll.register(sock.fileno(), select.EPOLLIN)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.leave(self.clients)
        self._epoll.close()

    def connect(self, within_s: float = 30.0) -> tuple[float, int]:
        """Ask for a stream, again each second where no answer came; answers (seconds until all had one, asked again).

        Raises: TimeoutError.
        """
        began_s = time.monotonic()
        again = -len(self.clients)
        while waiting := [raw for raw in self.clients if not raw.heard]:
            if time.monotonic() - began_s > within_s:
                raise TimeoutError(f"{len(waiting)} of {len(self.clients)} clients got no colour in {within_s:g} s")
            for raw in waiting:
                raw.sock.send(self._connect)
            again += len(waiting)
            self.listen(_RESEND_S, lambda: all(raw.heard for raw in self.clients))
        return time.monotonic() - began_s, again

    def listen(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Take what comes for so long, or until it is so (looked at ten times a second)."""
        end_s = time.monotonic() + seconds
        look_s = 0.0
        while (now_s := time.monotonic()) < end_s:
            for fd, _ in self._epoll.poll(min(0.1, end_s - now_s)):
                self._take(self._of_fd[fd])
            if now_s >= look_s:
                look_s = now_s + 0.1
                if until():
                    return

    def leave(self, clients: list[Raw]) -> None:
        """Close these clients' sockets, without a word."""
        for raw in clients:
            if raw.sock.fileno() >= 0:
                self._epoll.unregister(raw.sock.fileno())
                del self._of_fd[raw.sock.fileno()]
                raw.sock.close()
        gone = set(map(id, clients))
        self.clients = [raw for raw in self.clients if id(raw) not in gone]

    def _take(self, raw: Raw) -> None:
        for _ in range(_READS):
            try:
                data = raw.sock.recv(2048)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                continue
            if len(data) >= wire.MIN_COLOUR_BYTES and data[2] == wire.Kind.COLOUR:
                *_, sequence, sent_at_unix_ns = _HEADER.unpack_from(data)
                raw.heard.append((sequence, sent_at_unix_ns))
            elif data[2:3] == bytes((wire.Kind.BYE,)):
                raw.told = True
