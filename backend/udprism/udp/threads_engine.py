"""The shape that this system grew from: a new socket and a new thread for each client.

Kept for teaching and as a baseline. Replies come from the new socket's own port, so a client has to listen on a socket
that is not connected. The commands, the session table and its bounds are those of the batch engine.
"""

from __future__ import annotations

import logging
import socket
import threading
import time

import numpy as np

from udprism.columns.types import NEVER_NS, NS_PER_S, Address
from udprism.serving.sessions import SessionTable
from udprism.udp.source import address_of
from udprism.wire import colours as palette
from udprism.wire import measured as wire

log = logging.getLogger(__name__)

MAX_THREADS = 1000


class ThreadsEngine:
    """One `_Stream` a session. `serve` and `end` on the server's thread, `stop` from any."""

    def __init__(self, table: SessionTable, seed: int) -> None:
        self._table = table
        self._seed = seed
        self._streams: dict[int, _Stream] = {}
        self.refused = 0
        """Sessions that got no thread because a thousand run already."""
        self.sent = 0

    def serve(self, slot: int, address: Address, source: bytes) -> None:
        """Give the session its socket, which sends from `source`, and thread; a renewal changes nothing."""
        self._table.due_ns[slot] = NEVER_NS  # its own thread keeps its time
        if slot in self._streams:
            return
        if len(self._streams) >= MAX_THREADS:
            self.refused += 1
            return
        stream = _Stream(self, self._table, slot, address, source, np.random.default_rng([self._seed, slot]))
        self._streams[slot] = stream
        stream.start()

    def end(self, slot: int) -> None:
        """End the session's thread."""
        stream = self._streams.pop(slot, None)
        if stream is not None:
            stream.stopping.set()

    def stop(self) -> None:
        """End all threads and wait for them."""
        for stream in self._streams.values():
            stream.stopping.set()
        for stream in self._streams.values():
            stream.join(2.0)
        self._streams.clear()


class _Stream(threading.Thread):
    """Sends one client its colours from a socket of its own."""

    def __init__(
        self,
        engine: ThreadsEngine,
        table: SessionTable,
        slot: int,
        address: Address,
        source: bytes,
        rng: np.random.Generator,
    ) -> None:
        super().__init__(name=f"udprism-stream-{slot}", daemon=True)
        self.stopping = threading.Event()
        self._engine = engine
        self._table = table
        self._slot = np.array([slot], np.int32)
        self._session_id = table.session_id[slot]
        self._address = address
        self._source = source
        self._rng = rng

    def run(self) -> None:
        """Until told to stop, or until nobody listens any more."""
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            local = address_of(self._source)
            if local is not None:
                sock.bind(local)
            sock.connect(self._address)
            next_ns = time.monotonic_ns()
            while not self.stopping.is_set():
                try:
                    sock.send(self._datagram())
                    self._engine.sent += 1
                except ConnectionRefusedError:
                    return
                except OSError:
                    self._table.unsent_kernel[self._slot] += 1
                period_ns = int(self._table.period_ns[self._slot[0]]) or NS_PER_S
                now_ns = time.monotonic_ns()
                next_ns += period_ns * (1 + max(0, now_ns - next_ns) // period_ns)  # missed ticks are skipped
                self.stopping.wait((next_ns - now_ns) / NS_PER_S)

    def _datagram(self) -> bytes:
        table, slot = self._table, self._slot
        shape = table.shapes[table.shape[slot[0]]]
        sequence = table.issue(slot, time.monotonic_ns())
        if not shape.measured:
            words, length, colours = palette.plain_rows(shape.palette, shape.line_feed)
            choice = int(self._rng.integers(0, len(colours)))
            table.last_rgb[slot] = colours[choice]
            return words[choice, : length[choice]].tobytes()
        colours = palette.colours_of(shape.palette)
        rgb = colours[self._rng.integers(0, len(colours), (1, shape.colours))]
        table.last_rgb[slot] = rgb[:, 0]
        row = np.zeros((1, wire.HEADER_BYTES + 3 * shape.colours), np.uint8)
        wire.encode_colours(row, table.session_id[slot], sequence, time.time_ns(), rgb)
        return row.tobytes()
