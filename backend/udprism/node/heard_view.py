"""What receivers hear, for the live feed: the same columns as those of hosted clients. The loop's thread only."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from udprism.columns.types import NS_PER_MS, I32Column
from udprism.ledger.counting import STREAK
from udprism.ledger.heard import FlowState, HeardFlows
from udprism.node.bodies.whole import MOST_ATTENTION, Attention, attention
from udprism.node.view import AGE_NEVER, FLAG_PLAIN, ROW_STATS, Roster, Snapshot

_AGE_MOST: Final = AGE_NEVER - 1
KIND: Final = "receiver"
_SILENT_RANK: Final = 2.0
"""Worse than any loss."""


def snapshot(flows: HeardFlows, watch: list[int], now_ns: int, unix_ns: int) -> Snapshot:
    """Copies of all columns, and the rows of the watched slots that exist. Its frame number is 0."""
    high = flows.high
    flows.latest.take_frame(high)
    rows = np.array([slot for slot in watch if slot in flows.flows], np.int32)
    unknown = np.full(high, np.nan, np.float32)
    age_ms = np.clip((now_ns - flows.last_ns[:high]) // NS_PER_MS, 0, _AGE_MOST)
    return Snapshot(
        frame=0,
        unix_ns=unix_ns,
        n=high,
        state=flows.state[:high].copy(),
        rgba=flows.latest.rgba[:high] * flows.coloured[:high, None],
        flags=flows.rates.flags[:high] | (~flows.counting.believed[:high] * np.uint8(FLAG_PLAIN)),
        age_ms=age_ms.astype(np.uint16),
        rate_hz=flows.rates.rate_hz[:high].astype(np.float32),
        loss_ratio=np.where(flows.counting.believed[:high], flows.rates.loss_recent[:high], np.nan).astype(np.float32),
        jitter_ms=flows.media.ms(slice(high)).astype(np.float32),
        delay_ms=unknown,
        version=flows.latest.version[:high].astype(np.uint32),
        roster_version=flows.roster_version,
        rows=rows,
        row_stats=_row_stats(flows, rows, now_ns),
        cells=flows.history.cells(rows),
    )


def _row_stats(flows: HeardFlows, rows: I32Column, now_ns: int) -> npt.NDArray[np.void]:
    stats = np.zeros(len(rows), ROW_STATS)
    ledger, believed = flows.ledger, flows.counting.believed[rows]
    for name in ("newest", "delay_ms"):
        stats[name] = np.nan
    stats["jitter_ms"] = flows.media.ms(rows)
    for name, column in (
        ("lost", ledger.lost[rows]),
        ("sent", ledger.sent_of(rows)),
        ("loss_ratio", ledger.loss_ratio(rows)),
    ):
        stats[name] = np.where(believed, column, np.nan)
    stats["received"] = flows.ledger.received_of(rows)
    stats["rate_hz"] = flows.rates.rate_hz[rows]
    stats["silence_ms"] = (now_ns - flows.last_ns[rows]) / NS_PER_MS
    return stats


def attention_of(flows: HeardFlows, base: int) -> list[Attention]:
    """The flows whose steady sender fell silent, then those that lose, worst first. base: added to each slot."""
    high = flows.high
    losing = np.where(flows.counting.believed[:high], np.nan_to_num(flows.rates.loss_recent[:high]), 0.0)
    state = flows.state[:high]
    silent = (state == FlowState.SILENT) & (flows.counting.rows[:high] >= STREAK)
    badness = np.where(
        silent, _SILENT_RANK, np.where((state == FlowState.FREE) | (state == FlowState.ENDED), 0, losing)
    )
    found = []
    for slot in np.argsort(-badness, kind="stable")[:MOST_ATTENTION].tolist():
        flow, bad = flows.flows.get(slot), float(badness[slot])
        if flow is not None and bad > 0:
            why, value = ("silent", None) if bad == _SILENT_RANK else ("loss", bad)
            found.append(attention(why, value, base + slot, flow.id, flow.name))
    return found


def roster(flows: HeardFlows, since: int, base: int) -> Roster:
    """What changed since version `since`, everything if that is too long ago. base: added to each slot."""
    oldest_kept = flows.removals[0][0] if len(flows.removals) == flows.removals.maxlen else 0
    if since <= 0 or since < oldest_kept or since > flows.roster_version:
        return Roster(flows.roster_version, 0, [_row(flows, slot, base) for slot in sorted(flows.flows)], [])
    changed = np.flatnonzero(flows.changed_in[: flows.high] > since).tolist()
    removed = {slot for version, slot in flows.removals if version > since}
    return Roster(
        flows.roster_version,
        since,
        [_row(flows, slot, base) for slot in changed if slot in flows.flows],
        sorted(base + slot for slot in removed if slot not in flows.flows),
    )


def _row(flows: HeardFlows, slot: int, base: int) -> list[Any]:
    flow = flows.flows[slot]
    return [base + slot, flow.id, flow.name, flow.source, flow.form.name, flow.form.name, None, 0, flow.to, KIND]
