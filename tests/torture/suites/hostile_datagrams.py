"""Ten million random and mutated datagrams on the server's live socket, and at hosted clients' own sockets.

Promise: both threads live, and honest clients miss nothing.
"""

from __future__ import annotations

import socket
import time
from random import Random
from typing import Any

import numpy as np

from fuzz.mutation import hostile
from support import program
from support.program import Program
from torture.figure import Figure
from torture.outside import metrics, total, wait_until
from udprism.columns.types import Address
from udprism.udp.sockets import BatchSender, sockaddr_row

HOSTILE = 10_000_000
HONEST = 200
OPEN = 8
"""Hosted clients with plain streams: their sockets take datagrams from any port, so they get their share."""
SOURCES = 16
BATCH = 512
_AT_OPEN_CLIENTS_EVERY = 16
_PAUSE_S = 0.004
"""After a batch, so that most of them find room in the server's buffer: what the kernel drops tests nothing."""


def run(scale: float, rng: Random) -> Figure:
    """Until so many have been taken in, not merely sent."""
    wanted = round(HOSTILE * scale)
    died_at = _older_parser_dies_at(rng)
    with program.ephemeral("--clients", str(HONEST), "--rate-hz", "20") as served:
        wait_until(lambda: metrics(served).get('clients{state="live"}') == HONEST)
        served.ask("POST", "/api/clients", {"count": OPEN, "mode": "plain", "name": "open"})
        sent = _flood(served, wanted, rng)
        after = metrics(served)
        taken = _taken(after)
        honest = [one for one in _clients(served) if not one["name"].startswith("open")]
        lost = sum(one["ledger"]["lost"] for one in honest)
        live = sum(one["state"] == "live" for one in honest)
        received = sum(one["ledger"]["received"] for one in honest)
    restarts = total(after, "thread_restarts_total")
    return Figure(
        f"{taken:,} taken in of {sent:,} sent; honest clients {live}/{HONEST} live, {lost} of {received:,} lost; "
        f"thread restarts {restarts}; the older parser dies at datagram {died_at}",
        taken >= wanted and live == HONEST and lost == 0 and restarts == 0,
    )


def _flood(served: Program, wanted: int, rng: Random) -> int:
    numbers = np.random.default_rng(rng.randrange(2**32))
    targets = _rows([served.udp])
    open_clients = _rows([_address(one) for one in _clients(served) if one["name"].startswith("open")])
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(SOURCES)]
    for sock in sockets:
        sock.bind(("127.0.0.1", 0))
    senders = [BatchSender(sock, BATCH) for sock in sockets]
    sent = turn = 0
    while turn % 64 or _taken(metrics(served)) < wanted:
        rows, length = hostile(numbers, BATCH)
        at_clients = turn % _AT_OPEN_CLIENTS_EVERY == 0
        addresses = open_clients if at_clients else targets
        senders[turn % SOURCES].prepare(rows, length, addresses, numbers.integers(0, len(addresses), BATCH, np.int32))
        sent += _send_all(senders[turn % SOURCES])
        turn += 1
        time.sleep(_PAUSE_S)
    for sock in sockets:
        sock.sendto(b"disconnect", served.udp)
        sock.close()
    return sent


def _send_all(sender: BatchSender) -> int:
    start = sent = 0
    while start < BATCH:
        left, error = sender.send(start, BATCH)
        start += left
        sent += left
        if error:
            start += 1
    return sent


def _taken(samples: dict[str, float]) -> int:
    return total(samples, "commands_total") + total(samples, "server_drops_total") + total(samples, "pool_drops_total")


def _clients(served: Program) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = served.get("/api/clients?limit=1000")["clients"]
    return listed


def _address(client: dict[str, Any]) -> Address:
    host, _, port = client["local_address"].rpartition(":")
    return host, int(port)


def _rows(addresses: list[Address]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.array([sockaddr_row(address, socket.AF_INET) for address in addresses])


def _older_parser_dies_at(rng: Random) -> int | None:
    """Which datagram ends a server of the older shape, `data.decode().split()`."""
    rows, length = hostile(np.random.default_rng(rng.randrange(2**32)), 1000)
    for number in range(1000):
        try:
            rows[number, : length[number]].tobytes().decode().split()[0]
        except (UnicodeDecodeError, IndexError):
            return number + 1
    return None
