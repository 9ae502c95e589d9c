"""Connections until no descriptor is left.

Promise: running streams go on, new work is refused, all is well within a second of the last one's end, and the log has
ten lines of it at most.
"""

from __future__ import annotations

import resource
import socket
from random import Random
from urllib.error import HTTPError, URLError

from support import program
from support.program import Program
from torture.figure import Figure
from torture.fleet import Fleet
from torture.outside import descriptors, is_ready, metrics, wait_until

CLIENTS = 100
RATE_HZ = 20
_SPARE = 50
_HELD_S = 5.0
BACK_WITHIN_S = 1.0
MOST_LOG_LINES = 10
_MORE_THAN_FIT = 200


def run(scale: float, rng: Random) -> Figure:
    """The limit is lowered from outside to what is open, and a little more."""
    with (
        program.ephemeral("--clients", str(CLIENTS), "--rate-hz", str(RATE_HZ)) as served,
        Fleet(served.udp, CLIENTS, f"connect v=1 rate_hz={RATE_HZ}".encode()) as fleet,
    ):
        wait_until(lambda: metrics(served).get('clients{state="live"}') == CLIENTS)
        fleet.connect()
        fleet.listen(0.5)
        pid = served.process.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors(pid) + _SPARE, hard))
        refused = _is_refused(served)
        host, _, port = served.page.removeprefix("http://").rpartition(":")
        crowd = [socket.create_connection((host, int(port)), 10) for _ in range(_MORE_THAN_FIT)]
        wait_until(lambda: descriptors(pid) >= resource.prlimit(pid, resource.RLIMIT_NOFILE)[0])
        before = [len(raw.heard) for raw in fleet.clients]
        fleet.listen(_HELD_S)
        least = min(len(raw.heard) - heard for raw, heard in zip(fleet.clients, before, strict=True))
        for sock in crowd:
            sock.close()
        back_s = wait_until(lambda: bool(is_ready(served)))
        missing = sum(raw.missing for raw in fleet.clients)
        lost = served.get("/api/ledger")["lost"]
        served.end()
    lines = [line for line in served.output if not line.startswith("  ")]
    fair = _HELD_S * RATE_HZ
    return Figure(
        f"at least {least} of {fair:.0f} datagrams each meanwhile, {missing + lost} missing; new clients "
        f"{'refused' if refused else 'TAKEN'}; answers again after {back_s:.2f} s; {len(lines)} lines of log",
        least >= fair * 0.9
        and missing + lost == 0
        and refused
        and back_s <= BACK_WITHIN_S
        and len(lines) <= MOST_LOG_LINES,
    )


def _is_refused(served: Program) -> bool:
    """Whether more clients than descriptors are left are refused, in so many words."""
    try:
        served.ask("POST", "/api/clients", {"count": _MORE_THAN_FIT})
    except HTTPError as error:
        return error.code == 409
    except URLError:
        return False
    return False
