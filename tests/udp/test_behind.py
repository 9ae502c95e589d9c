"""A server that stands still, and a pool that is behind: what they may say of losses and of silence, and when."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from udprism.columns.arrivals import Arrivals
from udprism.columns.types import NS_PER_S
from udprism.node.bridge import Bridge
from udprism.serving.clients import State
from udprism.settings import Settings
from udprism.udp.pool import ClientPool

DEADLINE_S = 20.0
STANDS_STILL_S = 1.0
"""A multiple of the age at which a hole counts as lost; a thread that hangs for two seconds is not ready."""


def test_what_a_server_that_stands_still_holds_back_is_not_called_unexplained() -> None:
    bridge = Bridge(Settings(udp="127.0.0.1:0", clients=0, max_clients=8, loss_after_s=0.1))
    bridge.start()
    try:
        asyncio.run(bridge.links.put_default({"delay_ms": 50}))
        asyncio.run(bridge.clients.add(count=4, rate_hz=200))
        until_s = time.monotonic() + DEADLINE_S
        while asyncio.run(bridge.ledger())["received"] < 100:
            assert time.monotonic() < until_s
        bridge._assembly.server.inbox.submit(lambda: threading.Event().wait(STANDS_STILL_S))
        until_s = time.monotonic() + 2 * STANDS_STILL_S
        while time.monotonic() < until_s:
            ledger = asyncio.run(bridge.ledger())
            assert ledger["lost_by_cause"]["unexplained"] == 0
            time.sleep(0.02)
        assert ledger["lost"] == 0
    finally:
        bridge.stop()


class Interrupted:
    """A receiver that is behind whenever a sweep is due, and not shortly afterwards, as where clients are refused."""

    def __init__(self, pool: ClientPool) -> None:
        self._pool, self._receiver = pool, pool.receiver
        self.behind = False
        self._was_behind_ns = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._receiver, name)

    def poll(self, timeout_s: float) -> Arrivals:
        arrivals = self._receiver.poll(timeout_s)
        now_ns = time.monotonic_ns()
        due = now_ns >= self._pool._next_sweep_ns - NS_PER_S // 20
        self.behind = due and now_ns - self._was_behind_ns > NS_PER_S // 10
        if self.behind:
            self._was_behind_ns = now_ns
        return arrivals


def test_silence_is_seen_though_the_receiver_is_behind_at_each_sweep() -> None:
    bridge = Bridge(Settings(udp="127.0.0.1:0", clients=0, max_clients=8, silent_after_s=0.5))
    pool = bridge._assembly.pool
    pool.receiver = Interrupted(pool)
    bridge.start()
    try:
        asyncio.run(bridge.clients.add(count=4, rate_hz=50))
        until_s = time.monotonic() + DEADLINE_S
        while (pool.table.state[:4] != State.LIVE).any():
            assert time.monotonic() < until_s
        bridge._assembly.server.inbox.submit(lambda: threading.Event().wait(1.5 * STANDS_STILL_S))
        until_s = time.monotonic() + 1.5 * STANDS_STILL_S
        while (pool.table.state[:4] != State.SILENT).any():
            assert time.monotonic() < until_s
            time.sleep(0.01)
    finally:
        bridge.stop()
