"""A server that stands still while its link holds datagrams back: late they are, and not lost."""

from __future__ import annotations

import asyncio
import threading
import time

from udprism.bridge import Bridge
from udprism.settings import Settings

DEADLINE_S = 20.0
STANDS_STILL_S = 1.0
"""A multiple of the age at which a hole counts as lost; a thread that hangs for two seconds is replaced."""


def test_what_a_server_that_stands_still_holds_back_is_not_called_unexplained() -> None:
    bridge = Bridge(Settings(udp="127.0.0.1:0", clients=0, max_clients=8, loss_after_s=0.1))
    bridge.start()
    try:
        asyncio.run(bridge.put_default_link({"delay_ms": 50}))
        asyncio.run(bridge.add_clients(count=4, rate_hz=200))
        until_s = time.monotonic() + DEADLINE_S
        while asyncio.run(bridge.ledger())["received"] < 100:
            assert time.monotonic() < until_s
        bridge._works.server.inbox.submit(lambda: threading.Event().wait(STANDS_STILL_S))
        until_s = time.monotonic() + 2 * STANDS_STILL_S
        while time.monotonic() < until_s:
            ledger = asyncio.run(bridge.ledger())
            assert ledger["lost_by_cause"]["unexplained"] == 0
            time.sleep(0.02)
        assert ledger["lost"] == 0
    finally:
        bridge.stop()
