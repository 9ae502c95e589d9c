"""Sessions that all lead to one socket, and the server's way out to them, driven without the server."""

from __future__ import annotations

import socket
from typing import Generic, TypeVar

import numpy as np

from udprism.columns.types import Clock, I32Column, I64Column
from udprism.ledger.send_log import SendLog
from udprism.link.delay_line import DelayLine
from udprism.link.link import Link
from udprism.link.model import LinkModel
from udprism.serving.commands import Connect
from udprism.serving.encoder import Encoder
from udprism.serving.sessions import ServiceTerms, SessionTable
from udprism.udp.outlet import MAX_BATCH, Outlet
from udprism.udp.releaser import Releaser
from udprism.udp.sockets import sockaddr_row
from udprism.wire import measured as wire

SESSIONS = 200
EVERYBODY: I32Column = np.arange(SESSIONS, dtype=np.int32)
_LINE = 50_000
C = TypeVar("C", bound=Clock)


class WayOut(Generic[C]):
    """So many measured sessions; session ids are slots plus one. With a releaser, or without one."""

    def __init__(self, clock: C, *, with_releaser: bool = False) -> None:
        self.clock = clock
        self.sender, self.receiver = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self.receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        self.receiver.bind(("127.0.0.1", 0))
        self.receiver.settimeout(5)
        ids = iter(range(1, 1 + SESSIONS))
        self.table = SessionTable(SESSIONS, 10, 4, lambda: next(ids))
        row = sockaddr_row(self.receiver.getsockname(), socket.AF_INET)
        for port in range(SESSIONS):
            address, terms = ("127.0.0.1", 1024 + port), ServiceTerms("loopback", None, None)
            self.table.connect(address, row, 0, Connect(measured=True), terms, 0, 0)
        self.send_log = SendLog(self.table.session_id, self.table.next_sequence, {}, {}, {}, 1000)
        self.releaser = Releaser([self.sender], _LINE, wire.MAX_DATAGRAM_BYTES) if with_releaser else None
        rows = None if self.releaser is None else self.releaser.rows
        self.outlet = Outlet(
            [self.sender],
            self.table,
            self.send_log,
            LinkModel(SESSIONS),
            DelayLine(_LINE, wire.MAX_DATAGRAM_BYTES, rows),
            self.clock,
            self.releaser,
        )
        self._encoder = Encoder(self.table, np.random.default_rng(1), MAX_BATCH)

    def close(self) -> None:
        """Leave nothing open."""
        self.outlet.close()
        self.sender.close()
        self.receiver.close()

    def impair(self, link: Link) -> None:
        """The same link for everybody."""
        self.outlet.link.assign(EVERYBODY, link, EVERYBODY.astype(np.uint64), payload_at=wire.HEADER_BYTES)
        self.outlet.release(self.clock.now_ns())

    def send(self, apart_ns: int = 0) -> None:
        """A tick of everybody, who were due so far apart, the last one now."""
        now_ns = self.clock.now_ns()
        self.send_due(now_ns - apart_ns * (SESSIONS - 1 - EVERYBODY.astype(np.int64)), now_ns)

    def send_due(self, due_ns: I64Column, now_ns: int) -> None:
        """One datagram for everybody. due_ns: int64[SESSIONS]."""
        enters_ns = self.outlet.enter(due_ns, now_ns)
        for which, batch in self._encoder.batches(EVERYBODY, now_ns):
            self.outlet.send(batch, enters_ns[which])
        self.outlet.release(self.clock.now_ns())

    def heard(self, count: int) -> list[wire.Colour]:
        """The next datagrams; no more of them wait."""
        colours = [wire.decode_datagram(self.receiver.recv(100)) for _ in range(count)]
        assert self.waits_for_nothing()
        return [colour for colour in colours if isinstance(colour, wire.Colour)]

    def waits_for_nothing(self) -> bool:
        """Whether all that has arrived was heard."""
        self.receiver.setblocking(False)
        try:
            self.receiver.recv(100)
        except BlockingIOError:
            return True
        finally:
            self.receiver.settimeout(5)
        return False
