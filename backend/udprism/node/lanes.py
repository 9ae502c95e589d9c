"""Hosted clients and received flows under one numbering of slots, for the live feed.

Clients keep their slots. Received flows follow from `base` on, with room for more clients in between; when clients
reach it, it moves, and the whole roster is sent again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import replace
from typing import Any, Final

import numpy as np

from udprism.node import heard_view
from udprism.node.assembly import Assembly
from udprism.node.bodies.whole import Attention
from udprism.node.receivers import Receivers
from udprism.node.threads import Threads
from udprism.node.view import AGE_NEVER, Roster, Snapshot
from udprism.udp.listening import Listening

_ROOM: Final = 64
_VERSIONS_KEPT: Final = 1024
_NOTHING: Final[dict[str, Any]] = {
    "rgba": 0, "state": 0, "flags": 0, "age_ms": AGE_NEVER, "version": 0,
    "rate_hz": 0, "loss_ratio": np.nan, "jitter_ms": np.nan, "delay_ms": np.nan,
}  # fmt: skip
"""A slot that is not in use."""


class Lanes:
    """Coroutines belong to one event loop."""

    def __init__(self, assembly: Assembly, threads: Threads, receivers: Receivers) -> None:
        self._assembly, self._threads, self._receivers = assembly, threads, receivers
        self._base, self._moves = _ROOM, 0
        self._parts: OrderedDict[int, tuple[int, int]] = OrderedDict()
        """Both rosters' versions by the version of the whole."""

    async def snapshot(self, watch: list[int]) -> Snapshot:
        """One moment of both, and the rows of the watched slots that exist."""
        base = self._base
        if self._receivers.listening is None:
            return await self._threads.pool(lambda: self._of_clients(watch))
        clients, heard = await asyncio.gather(
            self._threads.pool(lambda: self._of_clients([slot for slot in watch if slot < base])),
            self._receivers.ask(lambda listening: self._heard(listening, [slot - base for slot in watch])),
        )
        self._make_room(clients.n)
        version = self._version(clients.roster_version, heard.roster_version)
        return replace(_joined(clients, heard, self._base), roster_version=version)

    async def roster(self, since: int) -> Roster:
        """Who is in which slot: what changed since version `since`, or everything if that is too long ago."""
        if self._receivers.listening is None:
            return await self._threads.pool(lambda: self._assembly.view.roster(since))
        self._make_room(await self._threads.pool(lambda: self._assembly.pool.table.high))
        known = self._parts.get(since)
        clients, heard = await self._rosters(*(known or (0, 0)))
        is_whole = known is None or _is_whole(clients, known[0]) or _is_whole(heard, known[1])
        if is_whole and (clients.base or heard.base):
            clients, heard = await self._rosters(0, 0)
        return Roster(
            self._version(clients.version, heard.version),
            0 if is_whole else since,
            clients.upsert + heard.upsert,
            clients.remove + heard.remove,
        )

    async def attention(self) -> list[Attention]:
        """The received flows that a person should look at, worst first."""
        if self._receivers.listening is None:
            return []
        return await self._receivers.ask(lambda listening: heard_view.attention_of(listening.flows, self._base))

    async def _rosters(self, clients_since: int, heard_since: int) -> tuple[Roster, Roster]:
        base = self._base
        return await asyncio.gather(
            self._threads.pool(lambda: self._assembly.view.roster(clients_since)),
            self._receivers.ask(lambda listening: heard_view.roster(listening.flows, heard_since, base)),
        )

    def _make_room(self, clients: int) -> None:
        if clients > self._base:
            self._base, self._moves = clients + _ROOM, self._moves + 1
            self._parts.clear()

    def _of_clients(self, watch: list[int]) -> Snapshot:
        """Pool thread only. Not settled for it: the sweep has done so an eighth of a second ago."""
        clock, pool = self._assembly.clock, self._assembly.pool
        now_ns = clock.now_ns()
        pool.columns.latest.take_frame(pool.table.high)
        return self._assembly.view.snapshot(watch, now_ns, clock.unix_ns())

    def _heard(self, listening: Listening, watch: list[int]) -> Snapshot:
        return heard_view.snapshot(listening.flows, watch, self._assembly.clock.now_ns(), 0)

    def _version(self, clients: int, heard: int) -> int:
        """Neither part ever falls, so the sum names one pair; each move counts as well."""
        version = clients + heard + self._moves
        self._parts[version] = clients, heard
        while len(self._parts) > _VERSIONS_KEPT:
            self._parts.popitem(last=False)
        return version


def _is_whole(part: Roster, since: int) -> bool:
    """Whether everything came though changes were asked for; where nobody ever was, there is no change."""
    return part.base == 0 and part.version != since


def _joined(clients: Snapshot, heard: Snapshot, base: int) -> Snapshot:
    """The clients' moment, with what was heard from slot `base` on. base: at least clients.n."""
    columns: dict[str, Any] = {}
    for name, nothing in _NOTHING.items():
        left, right = getattr(clients, name), getattr(heard, name)
        column = np.full((base + heard.n, *left.shape[1:]), nothing, left.dtype)
        column[: clients.n], column[base:] = left, right
        columns[name] = column
    return replace(
        clients,
        n=base + heard.n,
        rows=np.concatenate((clients.rows, heard.rows + np.int32(base))).astype(np.int32),
        row_stats=np.concatenate((clients.row_stats, heard.row_stats)),
        cells=np.concatenate((clients.cells, heard.cells)),
        **columns,
    )
