"""Whether this program can do its work, and its counters. From any thread."""

from __future__ import annotations

from typing import Any

import numpy as np

from udprism.columns.types import NS_PER_S
from udprism.node.assembly import Assembly
from udprism.node.bodies.clients import STATE_WORDS
from udprism.node.bodies.whole import Check, check
from udprism.udp.sockets import dropped_by_kernel
from udprism.udp.thread import ThreadState

_DETAIL = {
    ThreadState.RUNNING: "running",
    ThreadState.RESTARTING: "restarting; last cause: {}",
    ThreadState.BUSY: "busy: no heartbeat for two seconds, but it is working",
    ThreadState.HANGS: "hangs: no heartbeat for two seconds",
    ThreadState.ENDED: "ended; last cause: {}",
}


def checks(assembly: Assembly) -> list[Check]:
    """Whether both threads are alive, and what sends delayed datagrams."""
    threads = (("server", assembly.server.thread), ("pool", assembly.pool.thread))
    found = [
        check(name, thread.state == ThreadState.RUNNING, _DETAIL[thread.state].format(thread.last_cause), fatal=True)
        for name, thread in threads
    ]
    ok, detail = assembly.server.outlet.releaser_state
    return [*found, check("link", ok, detail, fatal=False)]


def store_check(error: str | None) -> Check:
    """error: why the last change could not be kept; None if it was."""
    return check("store", error is None, error or "the last change was stored", fatal=False)


def counters(assembly: Assembly) -> dict[str, Any]:
    """Figures for /metrics: `…_total` grows, the rest are gauges."""
    server, pool = assembly.server, assembly.pool
    totals = pool.totals
    states = np.bincount(pool.table.state[: pool.table.high], minlength=len(STATE_WORDS))
    return {
        "datagrams_sent_total": server.outlet.sent,
        "datagrams_refused_by_kernel_total": server.outlet.refused,
        "datagrams_dropped_by_kernel_total": sum(dropped_by_kernel(sock) or 0 for sock in server.sockets),
        "datagrams_received_total": totals["received"],
        "datagrams_lost_total": totals["declared_lost"],
        "datagrams_late_total": totals["late"],
        "departed_datagrams_total": {fate: totals[f"departed_{fate}"] for fate in ("sent", "received", "lost")},
        "server_drops_total": dict(server.handler.drops),
        "pool_drops_total": dict(pool.drops),
        "pool_batches_total": pool.batches,
        "pool_datagrams_total": pool.accounting.datagrams,
        "taps_dropped_total": pool.taps.dropped,
        "loss_reports_forgotten_total": pool.ledger.reports_forgotten,
        "sessions_without_thread_total": server.engine.refused if server.engine else 0,
        "datagram_delay_seconds": pool.ledger.delays.histogram(),
        "commands_total": server.handler.commands,
        "sessions": len(server.table),
        "clients": {word: int(states[value]) for value, word in STATE_WORDS.items() if value},
        "schedule_lag_seconds": server.lag_ns / NS_PER_S,
        "skipped_ticks_total": server.skipped_ticks,
        "link_queue_datagrams": len(server.outlet.line),
        "link_turned_away_total": server.outlet.turned_away,
        "link_process_starts_total": server.outlet.releaser_starts,
        "fate_reports_forgotten_total": server.send_log.forgotten,
        "thread_restarts_total": {"server": server.thread.restarts, "pool": pool.thread.restarts},
        "history_bytes": pool.columns.history.nbytes,
        "events_total": assembly.events.noted,
    }
