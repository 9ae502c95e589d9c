"""The server that all hosted clients ask goes away, falls silent, and comes back.

Promise: they say so (refused, silent), are all live again within five seconds on loopback, and take less than a fifth
of a core meanwhile.
"""

from __future__ import annotations

import signal
import socket
import time
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from random import Random

from support import program
from support.program import Program
from torture.figure import Figure
from torture.outside import cpu_s, states, wait_until

CLIENTS = 10_000
STOPS = 20
RATE_HZ = 2
BACK_WITHIN_S = 5.0
MOST_CPU = 0.2
SAID_WITHIN_S = 5.0
"""Two seconds of silence, a second until the first try, and time to ask."""
_WATCHED_S = 3.0
_EVERY_S = 0.1


@dataclass
class _Seen:
    """By what the clients are said to be while their server is away."""

    said_s: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    back_s: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"said within {max(self.said_s):.1f} s, {max(self.cpu):.0%} of a core, back within {max(self.back_s):.1f} s"
        )

    @property
    def ok(self) -> bool:
        """Whether each time was as promised."""
        return max(self.said_s) <= SAID_WITHIN_S and max(self.cpu) <= MOST_CPU and max(self.back_s) <= BACK_WITHIN_S


def run(scale: float, rng: Random) -> Figure:
    """In turn: ended (its port refuses), and stopped (its port swallows)."""
    count, turns = round(CLIENTS * scale), max(1, round(STOPS * scale))
    refused, silent = _Seen(), _Seen()
    with program.ephemeral("--clients", "0") as served:
        port = _free_port(rng)
        served.ask("POST", "/api/clients", {"count": count, "target": f"127.0.0.1:{port}", "rate_hz": RATE_HZ})
        for _ in range(turns):
            _watch(served, "refused", count, refused)
            with _server(port) as server:
                refused.back_s.append(wait_until(lambda: _all(served, "live", count), every_s=_EVERY_S))
                server.process.send_signal(signal.SIGSTOP)
                _watch(served, "silent", count, silent)
                server.process.send_signal(signal.SIGCONT)
                silent.back_s.append(wait_until(lambda: _all(served, "live", count), every_s=_EVERY_S))
    return Figure(
        f"{count:,} clients, {turns} times each: refused: {refused}; silent: {silent}", refused.ok and silent.ok
    )


def _watch(served: Program, state: str, count: int, seen: _Seen) -> None:
    """Wait until all are so, and for some seconds see what that costs."""
    seen.said_s.append(wait_until(lambda: _all(served, state, count), every_s=_EVERY_S))
    before_s = cpu_s(served.process.pid)
    time.sleep(_WATCHED_S)
    seen.cpu.append((cpu_s(served.process.pid) - before_s) / _WATCHED_S)


def _all(served: Program, state: str, count: int) -> bool:
    return states(served).get(state) == count


def _server(port: int) -> AbstractContextManager[Program]:
    return program.running("server", "--udp", f"127.0.0.1:{port}")


def _free_port(rng: Random) -> int:
    """A port that the kernel gives to nobody by itself: ten thousand clients would soon have any other."""
    while True:
        port = rng.randrange(20_000, 30_000)
        with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", port))
            return port
