"""Half of ten thousand clients vanish without a word, all at once.

Promise: the other half misses no tick, and the dead are reaped within two of their ticks.
"""

from __future__ import annotations

import socket
import time
from random import Random

from support import program
from torture.figure import Figure
from torture.fleet import Fleet
from torture.outside import metrics, wait_until

CLIENTS = 10_000
RATE_HZ = 2
_SLACK_TICKS = 0.5
"""For asking how many are left, and for a machine that does other things too."""


def run(scale: float, rng: Random) -> Figure:
    """By the numbers and stamps in what the healthy ones hear; the dead by the server's count of sessions."""
    count = round(CLIENTS * scale) // 2 * 2
    with (
        program.ephemeral("--clients", "0") as served,
        Fleet(served.udp, count, f"connect v=1 rate_hz={RATE_HZ}".encode()) as fleet,
    ):
        fleet.connect()
        fleet.listen(1.0)
        skipped_before = metrics(served)["skipped_ticks_total"]
        since_unix_ns = time.time_ns()
        fleet.leave(rng.sample(fleet.clients, count // 2))
        began_s = time.monotonic()
        reaped_s = 0.0

        def reaped() -> bool:
            nonlocal reaped_s
            if metrics(served)["sessions"] == count // 2:
                reaped_s = time.monotonic() - began_s
            return bool(reaped_s)

        fleet.listen(10.0, reaped)
        fleet.listen(5 / RATE_HZ)
        skipped = metrics(served)["skipped_ticks_total"] - skipped_before
        gap = max(raw.longest_gap_s(since_unix_ns) for raw in fleet.clients) * RATE_HZ
        missing = sum(raw.missing for raw in fleet.clients)
        wait_until(lambda: metrics(served)["sessions"] == count // 2)
    return Figure(
        f"{count // 2:,} of {count:,} gone: reaped after {reaped_s * RATE_HZ:.1f} ticks; the others: "
        f"{missing} missing, {skipped:.0f} ticks skipped, longest gap {gap:.2f} periods; "
        f"a plain socket hears of {_told()} of 10 dead",
        0 < reaped_s * RATE_HZ <= 2 + _SLACK_TICKS and missing == 0 and skipped == 0 and gap < 2,
    )


def _told() -> int:
    """How many errors the usual socket, without an error queue, raises for datagrams to a closed port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dead:
        dead.bind(("127.0.0.1", 0))
        address = dead.getsockname()
    errors = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(10):
            try:
                sock.sendto(b"red", address)
            except ConnectionRefusedError:
                errors += 1
    return errors
