"""SIGSTOP for up to a minute: a laptop lid, a debugger, a machine that swaps.

Promise: nobody is thrown out, no thread is taken for hung, the missed ticks are skipped and counted, never made up.
"""

from __future__ import annotations

import signal
import time
from random import Random

from support import program
from torture.figure import Figure
from torture.fleet import Fleet
from torture.outside import metrics, total, wait_until

STOPPED_S = 60.0
CLIENTS = 100
RATE_HZ = 20
_AFTER_S = 1.0


def run(scale: float, rng: Random) -> Figure:
    """Stopped once for a part of a minute, but never shorter than what counts as a hang."""
    stopped_s = max(4.0, STOPPED_S * scale)
    with (
        program.ephemeral("--clients", str(CLIENTS), "--rate-hz", str(RATE_HZ)) as served,
        Fleet(served.udp, CLIENTS, f"connect v=1 rate_hz={RATE_HZ}".encode()) as fleet,
    ):
        wait_until(lambda: metrics(served).get('clients{state="live"}') == CLIENTS)
        fleet.connect()
        fleet.listen(1.0)
        served.process.send_signal(signal.SIGSTOP)
        time.sleep(stopped_s)  # the length is the fault itself
        fleet.listen(0.2)
        heard_before = [len(raw.heard) for raw in fleet.clients]
        served.process.send_signal(signal.SIGCONT)
        fleet.listen(_AFTER_S)
        most = max(len(raw.heard) - before for raw, before in zip(fleet.clients, heard_before, strict=True))
        after = metrics(served)
        live = wait_until(lambda: metrics(served).get('clients{state="live"}') == CLIENTS)
        missing = sum(raw.missing for raw in fleet.clients)
    sessions, restarts = int(after["sessions"]), total(after, "thread_restarts_total")
    skipped = int(after["skipped_ticks_total"])
    fair = round(_AFTER_S * RATE_HZ) + 2  # the missed tick, and one at the edge
    return Figure(
        f"stopped {stopped_s:.0f} s: {sessions}/{2 * CLIENTS} sessions stay, hosted all live {live:.1f} s later, "
        f"{skipped:,} ticks skipped, at most {most} datagrams in the next {_AFTER_S:g} s (fair: {fair}), "
        f"{missing} missing, thread restarts {restarts}",
        sessions == 2 * CLIENTS
        and restarts == 0
        and most <= fair
        and missing == 0
        and skipped >= 2 * CLIENTS * RATE_HZ * (stopped_s - 1) * 0.9,
    )
