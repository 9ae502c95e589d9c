"""A thousand browsers ask for frames and read none.

Promise: at most 150 MB more in all, one who reads still sees colours 150 ms old or younger (p99), and all of the others
are cut ten seconds after they stopped. That it takes the guard for that is shown in tests/web/test_guard.py.
"""

from __future__ import annotations

import time
from random import Random

from support import program
from torture import browsers
from torture.figure import Figure
from torture.outside import metrics, rss_bytes, wait_until
from udprism.cli.viewer import BenchViewer

BROWSERS = 1_000
CLIENTS = 1_000
MOST_BYTES = 150 << 20
ONE_PICTURE_BYTES = 8 << 20
"""What the picture of so many lanes costs once, however many ask for it."""
MOST_AGE_MS = 150
CUT_WITHIN_S = 25.0
"""Ten seconds from the first write that waits; some read a little by their kernel's hand and have their time anew."""
_ASK_S = 0.5


def run(scale: float, rng: Random) -> Figure:
    """Frames carry 256 lanes, a quarter of a megabyte, so that no kernel hides who does not read."""
    count = round(BROWSERS * scale)
    with program.ephemeral("--clients", str(CLIENTS), UDPRISM_MAX_VIEWERS=str(count + 10)) as served:
        pid = served.process.pid
        wait_until(lambda: metrics(served).get('clients{state="live"}') == CLIENTS)
        with BenchViewer(served.page + "/") as fast:
            wait_until(lambda: fast.frames > 50)
            before, most = rss_bytes(pid), 0
            stalled = browsers.stalled(served, count)
            fast.reset()
            began_s = time.monotonic()
            while stalled and time.monotonic() - began_s < CUT_WITHIN_S + 30:
                stalled = [sock for sock in stalled if browsers.ask(sock)]
                most = max(most, rss_bytes(pid) - before)
                time.sleep(_ASK_S)
            cut_s = time.monotonic() - began_s
            age_ms = fast.age_ms(0.99) or 0.0
        cuts = metrics(served)['connections_cut_total{reason="stalled"}']
    return Figure(
        f"{count} browsers: {cuts:.0f} cut within {cut_s:.0f} s, RSS +{most / (1 << 20):.0f} MB at most, "
        f"p99 age for one who reads {age_ms:.0f} ms",
        cuts == count
        and cut_s <= CUT_WITHIN_S
        and most <= MOST_BYTES * scale + ONE_PICTURE_BYTES
        and age_ms <= MOST_AGE_MS,
    )
