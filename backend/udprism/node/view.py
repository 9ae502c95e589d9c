"""Copies and bodies of the pool's state, for readers on other threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from udprism.columns.runs import median
from udprism.columns.types import NS_PER_MS, BoolColumn, I32Column, U8Column, U16Column, U32Column
from udprism.link.book import LinkBook
from udprism.node.bodies.clients import MODE_WORDS, STATE_WORDS
from udprism.node.bodies.whole import MOST_ATTENTION, Attention, Summary, attention
from udprism.serving.book import ClientColumns
from udprism.serving.clients import Mode, State

F32Column: TypeAlias = npt.NDArray[np.float32]

FLAG_PLAIN = 16
FLAG_LINK = 32
FLAG_RELATIVE_DELAY = 64
FLAG_BEHIND = 128
"""Its sender does not keep the requested rate."""
_BEHIND = 0.9
_BEHIND_RANK = 1.5
_FEW = 4
_MANY_BEHIND = 0.4
_MOST_LOSING = 0.7
_RECENT_S = 10
"""Over how long `Rates.loss_recent` and `sent_recent_hz` look back."""
_BEHIND_LEAST_HZ = 2.0
"""Of slower streams ten seconds hold too few datagrams to tell."""
AGE_NEVER = 65_535
_AGE_MOST = 65_534

ROW_STATS = np.dtype(
    [
        ("newest", np.float64),
        ("received", np.float64),
        ("lost", np.float64),
        ("sent", np.float64),
        ("rate_hz", np.float32),
        ("loss_ratio", np.float32),
        ("jitter_ms", np.float32),
        ("delay_ms", np.float32),
        ("silence_ms", np.float64),
    ]
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent moment of all clients: private copies, safe to read from any thread.

    n: slots 0 … n-1. rgba: uint8[n, 4]. state, flags: uint8[n]. age_ms: uint16[n], saturating, 65535 never.
    rate_hz, loss_ratio, jitter_ms, delay_ms: float32[n], NaN unknown. version: uint32[n], grows with each datagram.
    rows: int32[k], the watched slots that exist; row_stats: ROW_STATS[k]; cells: uint8[k, 256, 4].
    """

    frame: int
    unix_ns: int
    n: int
    state: U8Column
    rgba: U8Column
    flags: U8Column
    age_ms: U16Column
    rate_hz: F32Column
    loss_ratio: F32Column
    jitter_ms: F32Column
    delay_ms: F32Column
    version: U32Column
    roster_version: int
    rows: I32Column
    row_stats: npt.NDArray[np.void]
    cells: U8Column


@dataclass(frozen=True, slots=True)
class Roster:
    """Who is in which slot: everyone if `base` is 0, otherwise what changed since version `base`.

    upsert: [slot, id, name, target, mode, stream, rate_hz, colours, local_address]. remove: slots.
    """

    version: int
    base: int
    upsert: list[list[Any]]
    remove: list[int]


class View:
    """Reads the pool's tables. Pool thread only; what it returns may be used on any thread."""

    def __init__(self, columns: ClientColumns, links: LinkBook) -> None:
        self._table, self._ledger, self._history, self._rates, self._latest, _ = columns
        self._links = links
        self._linked = np.zeros(self._table.max_clients, np.bool_)
        """Which clients have a link, recomputed when links or clients have changed."""
        self._linked_of = (-1, -1)
        self._frame = 0

    def snapshot(self, watch: list[int], now_ns: int, unix_ns: int) -> Snapshot:
        """Copy all columns, and the rows of the watched slots that exist."""
        table, high = self._table, self._table.high
        self._frame += 1
        measured = self._ledger.measured[:high]
        timed = ~np.isnan(self._ledger.delays.p50_ns[:high])  # no delay yet is no jitter yet, not a jitter of zero
        rows = np.array([slot for slot in watch if slot in table.clients], np.int32)
        return Snapshot(
            frame=self._frame,
            unix_ns=unix_ns,
            n=high,
            state=table.state[:high].copy(),
            rgba=self._latest.rgba[:high].copy(),
            flags=self._flags(high),
            age_ms=self._age_ms(high, now_ns),
            rate_hz=self._rates.rate_hz[:high].astype(np.float32),
            loss_ratio=self._rates.loss_recent[:high].astype(np.float32),
            jitter_ms=self._ms_or_nan(self._ledger.jitter_ns[:high], measured & timed),
            delay_ms=self._ms_or_nan(self._ledger.delays.p50_ns[:high], measured),
            version=self._latest.version[:high].astype(np.uint32),
            roster_version=table.roster_version,
            rows=rows,
            row_stats=self._row_stats(rows, now_ns),
            cells=self._history.cells(rows),
        )

    def _flags(self, high: int) -> U8Column:
        table = self._table
        flags = self._rates.flags[:high].copy()
        flags |= (table.stream[:high] == Mode.PLAIN) * np.uint8(FLAG_PLAIN)
        flags |= self._whose_link_is_on()[:high] * np.uint8(FLAG_LINK)
        flags |= (~self._ledger.shared_clock[:high]) * np.uint8(FLAG_RELATIVE_DELAY)
        flags |= self._behind(high) * np.uint8(FLAG_BEHIND)
        return flags

    def _behind(self, high: int) -> BoolColumn:
        """Whose sender sent less than nine tenths of the rate asked for, over the last ten seconds."""
        table, asked_hz = self._table, self._table.asked_hz[:high]
        told = (table.state[:high] == State.LIVE) & (asked_hz >= _BEHIND_LEAST_HZ)
        behind: BoolColumn = told & (self._rates.sent_recent_hz[:high] < _BEHIND * asked_hz)  # NaN, unknown, is not
        return behind

    def _whose_link_is_on(self) -> BoolColumn:
        table, links = self._table, self._links
        of = links.version, table.roster_version
        if of != self._linked_of:
            self._linked_of = of
            self._linked[:] = links.default is not None and not links.default.is_off
            for client_id, link in links.of_owner.items():
                slot = table.slot_of_id.get(client_id)
                if slot is not None:
                    self._linked[slot] = not link.is_off
        return self._linked

    def _age_ms(self, high: int, now_ns: int) -> U16Column:
        last_ns = self._table.last_arrival_ns[:high]
        age_ms = np.clip((now_ns - last_ns) // NS_PER_MS, 0, _AGE_MOST)
        return np.where(last_ns == 0, AGE_NEVER, age_ms).astype(np.uint16)

    def _ms_or_nan(self, values_ns: npt.NDArray[np.float64], known: npt.NDArray[np.bool_]) -> F32Column:
        return np.where(known, values_ns / NS_PER_MS, np.nan).astype(np.float32)

    def _row_stats(self, rows: I32Column, now_ns: int) -> npt.NDArray[np.void]:
        stats = np.zeros(len(rows), ROW_STATS)
        ledger, last_ns = self._ledger, self._table.last_arrival_ns[rows]
        measured = ledger.measured[rows]
        for name, column in (
            ("newest", ledger.highest[rows]),
            ("lost", ledger.lost[rows]),
            ("sent", ledger.sent[rows]),
            ("loss_ratio", ledger.loss_ratio(rows)),
            ("jitter_ms", np.where(np.isnan(ledger.delays.p50_ns[rows]), np.nan, ledger.jitter_ns[rows]) / NS_PER_MS),
            ("delay_ms", ledger.delays.p50_ns[rows] / NS_PER_MS),
        ):
            stats[name] = np.where(measured, column, np.nan)
        stats["received"] = ledger.received[rows]
        stats["rate_hz"] = self._rates.rate_hz[rows]
        stats["silence_ms"] = np.where(last_ns == 0, np.nan, (now_ns - last_ns) / NS_PER_MS)
        return stats

    def roster(self, since: int) -> Roster:
        """What changed since version `since`; everything if that is too long ago."""
        table = self._table
        oldest_kept = table.removals[0][0] if len(table.removals) == table.removals.maxlen else 0
        if since <= 0 or since < oldest_kept or since > table.roster_version:
            return Roster(table.roster_version, 0, [self._roster_row(slot) for slot in sorted(table.clients)], [])
        changed = np.flatnonzero(table.changed_in[: table.high] > since).tolist()
        removed = {slot for version, slot in table.removals if version > since}
        upsert = [self._roster_row(slot) for slot in changed if slot in table.clients]
        return Roster(
            table.roster_version, since, upsert, sorted(slot for slot in removed if slot not in table.clients)
        )

    def _roster_row(self, slot: int) -> list[Any]:
        client = self._table.clients[slot]
        stream = int(self._table.stream[slot])
        return [
            slot,
            client.id,
            client.name,
            client.target,
            MODE_WORDS[client.mode],
            MODE_WORDS[stream] if stream else None,
            client.rate_hz,
            client.colours,
            client.local_address,
        ]

    def summary(self) -> Summary:
        """What the header line shows of clients."""
        table, high = self._table, self._table.high
        states = np.bincount(table.state[:high], minlength=len(State))
        used = table.state[:high] != State.FREE
        losing = used & (self._rates.loss_recent[:high] > 0)  # NaN, unknown, is not
        return Summary(
            {STATE_WORDS[state.value]: int(states[state]) for state in State if state != State.FREE},
            int(losing.sum()),
            int(self._behind(high).sum()),
            float(self._rates.rate_hz[:high][used].sum()),
            self._attention(high),
        )

    def _attention(self, high: int) -> list[Attention]:
        """The worst clients, worst first: errors, refusals, silence, senders that fall behind, then recent loss."""
        table = self._table
        rank = {State.ERROR: 3.0, State.REFUSED: 2.5, State.SILENT: 2.0}
        state = table.state[:high]
        badness = np.nan_to_num(self._rates.loss_recent[:high])
        for bad, weight in rank.items():
            badness = np.where(state == bad, weight, badness)
        behind = self._behind(high)
        badness = np.where(behind & (badness <= 1), _BEHIND_RANK, badness)
        badness = np.where((state == State.FREE) | (state == State.PAUSED), 0, badness)
        common = self._common_lag(badness) + self._common_loss(high, badness)
        worst = np.argsort(-badness, kind="stable")[: MOST_ATTENTION - len(common)]
        return common + [self._line(slot, float(badness[slot])) for slot in worst.tolist() if badness[slot] > 0]

    def _common_lag(self, badness: npt.NDArray[np.float64]) -> list[Attention]:
        """If many senders fall behind, this machine is at fault: one line instead of them all (changed in place)."""
        lagging = np.flatnonzero(badness == _BEHIND_RANK)
        if len(lagging) < max(_FEW, _MANY_BEHIND * len(self._table)):
            return []
        badness[lagging] = 0
        kept = self._rates.sent_recent_hz[lagging] / self._table.asked_hz[lagging]
        return [attention("everybody-behind", median(kept))]

    def _common_loss(self, high: int, badness: npt.NDArray[np.float64]) -> list[Attention]:
        """If most clients lose about as much, one line says so; only outliers keep their badness (changed in place).

        An outlier lost more than the median by four standard deviations of as many independent losses.
        """
        told = (self._table.state[:high] == State.LIVE) & self._ledger.measured[:high]
        loss = self._rates.loss_recent[:high]
        losing = told & (loss > 0)  # also those whose sender falls behind, which are worse for another reason
        if losing.sum() < max(_FEW, _MOST_LOSING * told.sum()):
            return []
        usual = median(loss[losing])
        sent = np.maximum(np.nan_to_num(self._rates.sent_recent_hz[:high]) * _RECENT_S, 1)
        usual_most = usual + 4 * np.sqrt(usual * (1 - usual) / sent)
        badness[losing & (badness <= usual_most)] = 0  # one whose sender falls behind has a badness above any loss
        by_link = bool(self._whose_link_is_on()[:high][losing].all())
        return [attention("everybody-link" if by_link else "everybody", usual)]

    def _line(self, slot: int, badness: float) -> Attention:
        """What is wrong in a word, and how much: of a loss its ratio, of a sender behind the part of its rate kept."""
        client = self._table.clients[slot]
        if badness == _BEHIND_RANK:
            kept = self._rates.sent_recent_hz[slot] / self._table.asked_hz[slot]
            return attention("behind", float(kept), slot, client.id, client.name)
        if badness > 1:
            return attention(STATE_WORDS[int(self._table.state[slot])], None, slot, client.id, client.name)
        return attention("loss", badness, slot, client.id, client.name)
