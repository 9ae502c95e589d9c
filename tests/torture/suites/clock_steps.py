"""The wall clock is set forward and back, by seconds and by hours, while streams run.

Promise: nobody is thrown out, no tick comes twice or in a burst, and nothing is lost for it. The step is made inside
the program, at its clock and at the stamps of what arrives: the machine's own clock belongs to others too.
"""

from __future__ import annotations

from random import Random

from support import program
from torture import faulty
from torture.figure import Figure
from torture.fleet import Fleet
from torture.outside import metrics, total, wait_until

STEPS = 100
CLIENTS = 100
RATE_HZ = 20
_WATCHED_S = 0.5
_MOST_SKIPPED = 0.05
"""Of all ticks: a busy machine skips some too; who went by the wall clock would skip half of them, or hours of them."""
_STEPS_S = (-86_400, -3_600, -61, -1, 1, 61, 3_600, 86_400)


def run(scale: float, rng: Random) -> Figure:
    """Hosted clients and raw ones beside them."""
    steps = max(len(_STEPS_S), round(STEPS * scale))
    most = 0
    with (
        program.ephemeral("--clients", str(CLIENTS), "--rate-hz", str(RATE_HZ), command=faulty.COMMAND) as served,
        Fleet(served.udp, CLIENTS, f"connect v=1 rate_hz={RATE_HZ}".encode()) as fleet,
    ):
        wait_until(lambda: metrics(served).get('clients{state="live"}') == CLIENTS)
        fleet.connect()
        fleet.listen(1.0)
        before = metrics(served)
        for turn in range(steps):
            heard = [len(raw.heard) for raw in fleet.clients]
            faulty.tell(served, f"step {rng.choice(_STEPS_S) if turn >= len(_STEPS_S) else _STEPS_S[turn]}")
            fleet.listen(_WATCHED_S)
            most = max(most, *(len(raw.heard) - one for raw, one in zip(fleet.clients, heard, strict=True)))
        after = metrics(served)
        figures = served.get("/api/ledger")
        missing = sum(raw.missing for raw in fleet.clients)
    live = round(after.get('clients{state="live"}', 0))
    skipped = round(after["skipped_ticks_total"] - before["skipped_ticks_total"])
    restarts = total(after, "thread_restarts_total")
    fair = round(_WATCHED_S * RATE_HZ) + 2  # one at each edge
    return Figure(
        f"{steps} steps of up to a day: {live}/{CLIENTS} hosted clients live, {after['sessions']:.0f}/{2 * CLIENTS} "
        f"sessions stay, {figures['lost']} lost, {missing} missing, {skipped} ticks skipped, at most {most} datagrams "
        f"in {_WATCHED_S:g} s (fair: {fair}), thread restarts {restarts}",
        live == CLIENTS
        and after["sessions"] == 2 * CLIENTS
        and figures["lost"] == missing == restarts == 0
        and skipped <= _MOST_SKIPPED * steps * _WATCHED_S * RATE_HZ * 2 * CLIENTS
        and most <= fair,
    )
