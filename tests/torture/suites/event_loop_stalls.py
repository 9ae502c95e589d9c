"""Something keeps the event loop's thread busy for three seconds, holding the GIL as Python code does.

Promise: the UDP side misses at most one tick, and what it misses is counted.
"""

from __future__ import annotations

import signal
import time
from random import Random

from support import program
from torture import faulty
from torture.figure import Figure
from torture.fleet import Fleet
from torture.outside import metrics, wait_until

STALLS = 10
CLIENTS = 100
RATE_HZ = 10


def run(scale: float, rng: Random) -> Figure:
    """Hosted and raw clients at once; gaps are those between the server's own stamps."""
    stalls = max(1, round(STALLS * scale))
    with (
        program.ephemeral("--clients", str(CLIENTS), "--rate-hz", str(RATE_HZ), command=faulty.COMMAND) as served,
        Fleet(served.udp, CLIENTS, f"connect v=1 rate_hz={RATE_HZ}".encode()) as fleet,
    ):
        wait_until(lambda: metrics(served).get('clients{state="live"}') == CLIENTS)
        fleet.connect()
        fleet.listen(1.0)
        skipped_before = metrics(served)["skipped_ticks_total"]
        since_unix_ns = time.time_ns()
        for _ in range(stalls):
            served.process.send_signal(signal.SIGUSR1)
            fleet.listen(faulty.STALL_S + 0.5 + rng.random() * 0.1)
        after = metrics(served)
        lost = served.get("/api/ledger")["lost"]
        gap_s = max(raw.longest_gap_s(since_unix_ns) for raw in fleet.clients)
        missing = sum(raw.missing for raw in fleet.clients)
    skipped = int(after["skipped_ticks_total"] - skipped_before)
    return Figure(
        f"{stalls} stalls of {faulty.STALL_S:g} s: longest gap {gap_s * RATE_HZ:.2f} periods, {skipped} ticks skipped "
        f"of {round(2 * CLIENTS * RATE_HZ * faulty.STALL_S * stalls):,}, {missing + lost} datagrams missing",
        gap_s * RATE_HZ < 2.5 and missing + lost == 0,
    )
