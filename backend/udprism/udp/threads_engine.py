"""The design that this program grew from: a new socket and a new thread for each client.

Kept for teaching and as a baseline. Replies come from the new socket's own port, so a client has to listen on a socket
that is not connected. Commands, sessions and the way out are those of the batch engine: links, counters and the end of
a client that is gone hold here as well.
"""

from __future__ import annotations

import socket
import threading
import time

import numpy as np

from udprism.columns.types import NEVER_NS, NS_PER_S, Address, Clock
from udprism.serving.encoder import Encoder
from udprism.serving.sessions import SessionTable
from udprism.udp.outlet import Outlet
from udprism.udp.sockets import report_errors
from udprism.udp.source import address_of

MAX_THREADS = 1000
_ENDS_WITHIN_S = 2.0


class ThreadsEngine:
    """One `_Stream` per session. Call `serve` and `end` with `owning`, `stop` after the server's thread ended."""

    def __init__(self, table: SessionTable, encoder: Encoder, outlet: Outlet, clock: Clock) -> None:
        self.owning = threading.Lock()
        """Whoever holds it may use the sessions and the outlet: the server's thread during its turn, or a stream to
        send."""
        self.refused = 0
        """Sessions that got no thread because a thousand run already."""
        self.skipped_ticks = 0
        self._table = table
        self._encoder = encoder
        self._outlet = outlet
        self._clock = clock
        self._streams: dict[int, _Stream] = {}

    def serve(self, slot: int, address: Address, source: bytes) -> None:
        """Give the session its socket, which sends from `source`, and thread; a renewal changes nothing."""
        self._table.due_ns[slot] = NEVER_NS  # its own thread keeps its time
        if slot not in self._streams:
            if len(self._streams) >= MAX_THREADS:
                self.refused += 1
                return
            sock = _socket(address, source)
            self._streams[slot] = _Stream(self, slot, sock, self._outlet.open(sock))
            self._streams[slot].start()
        self._table.socket_index[slot] = self._streams[slot].socket_index

    def end(self, slot: int) -> None:
        """End the session's thread, and close its socket."""
        stream = self._streams.pop(slot, None)
        if stream is not None:
            stream.stopping.set()
            self._outlet.shut(stream.socket_index)
            stream.sock.close()

    def stop(self) -> None:
        """End all threads, wait for them and close their sockets."""
        streams = list(self._streams.values())
        for stream in streams:
            stream.stopping.set()
        until_s = time.monotonic() + _ENDS_WITHIN_S
        for stream in streams:
            stream.join(max(0.0, until_s - time.monotonic()))
        with self.owning:
            for slot in list(self._streams):
                self.end(slot)

    def send(self, slot: int, due_ns: int) -> int:
        """Send a session its datagram that was due then; returns when the next one is due. Call it with `owning`."""
        now_ns, column = self._clock.now_ns(), np.array([slot], np.int32)
        enters_ns = self._outlet.enter(np.array([due_ns], np.int64), now_ns)
        for which, batch in self._encoder.batches(column, now_ns):
            self._outlet.send(batch, enters_ns[which])
        period_ns = int(self._table.period_ns[slot]) or NS_PER_S
        missed = max(0, now_ns - due_ns) // period_ns  # missed ticks are skipped
        self.skipped_ticks += missed
        return due_ns + period_ns * (1 + missed)


class _Stream(threading.Thread):
    """Sends one client its colours from a socket of its own, until told to stop."""

    def __init__(self, engine: ThreadsEngine, slot: int, sock: socket.socket, socket_index: int) -> None:
        super().__init__(name=f"udprism-stream-{slot}", daemon=True)
        self.stopping = threading.Event()
        self.sock = sock
        self.socket_index = socket_index
        self._engine = engine
        self._slot = slot

    def run(self) -> None:
        """Each datagram in its time."""
        due_ns = time.monotonic_ns()
        while True:
            with self._engine.owning:
                if self.stopping.is_set():
                    return
                due_ns = self._engine.send(self._slot, due_ns)
            self.stopping.wait(max(0, due_ns - time.monotonic_ns()) / NS_PER_S)


def _socket(address: Address, source: bytes) -> socket.socket:
    """A new socket that sends from `source` (empty: from wherever the route leads)."""
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    report_errors(sock)
    local = address_of(source)
    if local is not None:
        sock.bind(local)
    return sock
