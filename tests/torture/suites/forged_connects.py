"""A million `connect`s with forged sources.

Promise: at most three bytes out for each byte in, for every source, and never a colour. Forged sources cannot come over
loopback, so the real server's thread reads them from a socket that makes its sources up and weighs the answers; all
else is as it runs. The same flood with every network trusted shows that it takes the token for that.
"""

from __future__ import annotations

import random
import socket
from collections import Counter
from ipaddress import ip_network
from typing import Any

import numpy as np

from torture.figure import Figure
from torture.outside import wait_until
from udprism.columns.types import NS_PER_S, Address
from udprism.ledger.send_log import SendLog
from udprism.link.delay_line import DelayLine
from udprism.link.model import LinkModel
from udprism.serving.admission import MAX_AMPLIFICATION, Admission
from udprism.serving.commands import Connect, encode_connect
from udprism.serving.encoder import Encoder
from udprism.serving.sessions import SessionTable
from udprism.udp.clock import SystemClock
from udprism.udp.outlet import MAX_BATCH, Outlet
from udprism.udp.server import ColourServer

CONNECTS = 1_000_000
TRUSTING = 2_000
_SESSIONS = 4_096
_NEIGHBOURS = "192.168.1.0/24"
_WORDS = (
    b"connect",
    b"connect\n",
    b"connect v=1",
    b"connect v=1 rate_hz=1000 colours=480",
    b"connect token=AAAAAAAAAAA",
    encode_connect(Connect(measured=True, name="x" * 60, token="_" * 11)),
)


class ForgedSocket(socket.socket):
    """Always readable; what it reads comes from anywhere. Its answers are weighed, and go nowhere."""

    def __init__(self, rng: random.Random, count: int) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_DGRAM)
        self.bind(("127.0.0.1", 0))  # where something is sent past `sendto`, the kernel refuses: no route from here
        self.setblocking(False)
        super().sendto(b"readable from now on", self.getsockname())
        self.left = count
        self.bytes_in: Counter[Address] = Counter()
        self.bytes_out: Counter[Address] = Counter()
        self.largest = 0
        self._rng = rng
        self._victims = [_anywhere(rng) for _ in range(100)]

    def recvfrom(self, *args: Any) -> tuple[bytes, Any]:
        """The next forged datagram. Raises: BlockingIOError where there are no more."""
        if not self.left:
            raise BlockingIOError
        self.left -= 1
        source = self._rng.choice(self._victims) if self._rng.random() < 0.1 else _anywhere(self._rng)
        data = self._rng.choice(_WORDS)
        self.bytes_in[source] += len(data)
        return data, source

    def sendto(self, data: Any, *args: Any) -> int:
        """Weigh an answer."""
        self.bytes_out[args[-1]] += len(data)
        self.largest = max(self.largest, len(data))
        return len(data)


def run(scale: float, rng: random.Random) -> Figure:
    """First as it is, then with everybody trusted."""
    count = round(CONNECTS * scale)
    forged, sessions, colours = _flood(rng, count, trusted=[])
    worst = max(forged.bytes_out[source] / size for source, size in forged.bytes_in.items())
    answered = len(forged.bytes_out)
    _, served, _ = _flood(rng, TRUSTING, trusted=["0.0.0.0/0"])
    return Figure(
        f"{count:,} from {len(forged.bytes_in):,} sources: {answered:,} answered, at most {worst:.2f} bytes out for "
        f"each in, {forged.largest} bytes at most, {sessions} sessions, {colours} colours; "
        f"trusting everybody, {served:,} of {TRUSTING:,} get a stream",
        0 < worst <= MAX_AMPLIFICATION and sessions == 0 and colours == 0 and served > TRUSTING // 2,
    )


def _flood(rng: random.Random, count: int, trusted: list[str]) -> tuple[ForgedSocket, int, int]:
    """The socket, how many sessions there ever were, and how many colours left for them."""
    forged = ForgedSocket(rng, count)
    server = _server(forged, rng, trusted)
    server.thread.start()
    try:
        wait_until(lambda: forged.left == 0, deadline_s=600)
    finally:
        server.stop()
    return forged, server.table.high, server.outlet.sent + server.outlet.refused


def _server(sock: socket.socket, rng: random.Random, trusted: list[str]) -> ColourServer:
    table = SessionTable(_SESSIONS, 10, 16, lambda: rng.getrandbits(32))
    send_log = SendLog(table.session_id, table.next_sequence, table.slot_of_id, table.slot_of_address, table.ended, 16)
    clock = SystemClock()
    outlet = Outlet([sock], table, send_log, LinkModel(_SESSIONS), DelayLine(64, 64), clock)
    encoder = Encoder(table, np.random.default_rng(rng.getrandbits(32)), MAX_BATCH)
    admission = Admission(
        rng.randbytes(32),
        networks=lambda: [ip_network(_NEIGHBOURS)],
        trusted=trusted,
        own_ports=[sock.getsockname()[1]],
        beyond_loopback=True,
        lan_lease_ns=3600 * NS_PER_S,
        lease_ns=60 * NS_PER_S,
        max_remote_sessions=_SESSIONS,
    )
    return ColourServer([sock], table, admission, encoder, outlet, send_log, clock)


def _anywhere(rng: random.Random) -> Address:
    """Any address that is neither this machine nor a neighbour; multicast and the like among them."""
    first = rng.choice([*range(1, 127), *range(128, 192), *range(193, 256)])
    return f"{first}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)}", rng.randrange(1, 65_536)
