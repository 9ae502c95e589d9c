"""Ten thousand clients ask at the same instant.

Promise: all are served within five seconds (who is not heard asks again each second), and what found no room in the
kernel's buffer is counted.
"""

from __future__ import annotations

from random import Random

from support import program
from torture.figure import Figure
from torture.fleet import Fleet
from torture.outside import kernel_drops, metrics

CLIENTS = 10_000
WITHIN_S = 5.0
RATE_HZ = 2


def run(scale: float, rng: Random) -> Figure:
    """One socket a client. The first colour comes within a second of being served."""
    count = round(CLIENTS * scale)
    with (
        program.ephemeral("--clients", "0") as served,
        Fleet(served.udp, count, f"connect v=1 rate_hz={RATE_HZ}".encode()) as fleet,
    ):
        took_s, again = fleet.connect()
        after = metrics(served)
        drops = kernel_drops(served.udp[1])
    counted = after.get("datagrams_dropped_by_kernel_total", 0)
    return Figure(
        f"{count:,} connects: all served within {took_s:.1f} s, {again} asked again, {drops} dropped by the kernel "
        f"of which {counted:.0f} counted, {after['sessions']:.0f} sessions",
        took_s <= WITHIN_S and after["sessions"] == count and counted == drops,
    )
