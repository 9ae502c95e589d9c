"""Hosted clients without UDP: each datagram follows from (slot, sequence, time), so that tests can count."""

from __future__ import annotations

import asyncio
import heapq
import ipaddress
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from udprism.columns.types import NS_PER_MS, NS_PER_S
from udprism.errors import RequestError
from udprism.ledger.fates import Cause, Fate
from udprism.node.view import ROW_STATS, Roster, Snapshot
from udprism.serving.clients import State
from udprism.settings import Settings, split_host_port
from udprism.wire import colours as palette

PERIOD = 64
"""Fates repeat after so many sequence numbers, so that sums are exact without remembering anything."""
_LOST = {1: (7, 31, 32, 33), 4: (12,)}
_LATE = {4: (50,)}
_REORDERED = {4: (20, 50)}
_DUPLICATE = {4: (40,)}
CLASSES = 8
_FATE = np.full((CLASSES, PERIOD), Fate.RECEIVED, np.uint8)
_MARKS = np.zeros((CLASSES, PERIOD), np.uint8)
for _class, _places in _LOST.items():
    _FATE[_class, list(_places)] = Fate.LOST
for _class, _places in _LATE.items():
    _FATE[_class, list(_places)] = Fate.LATE
for _class, _places in _REORDERED.items():
    _MARKS[_class, list(_places)] |= 4
for _class, _places in _DUPLICATE.items():
    _MARKS[_class, list(_places)] |= 8


def _before(here: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """int64[classes, PERIOD + 1]: how many sequence numbers of the period are so, before each place."""
    return np.concatenate([np.zeros((CLASSES, 1), np.int64), np.cumsum(here, axis=1)], axis=1)


_LOST_BEFORE = _before(_FATE == Fate.LOST)
_REORDERED_BEFORE = _before(_MARKS & 4 != 0)
_DUPLICATE_BEFORE = _before(_MARKS & 8 != 0)


def _count_before(
    table: npt.NDArray[np.int64], slot: npt.NDArray[np.int64], issued: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """How many of the first `issued` sequence numbers of each slot are so."""
    kind = slot % CLASSES
    return issued // PERIOD * table[kind, PERIOD] + table[kind, issued % PERIOD]


_ODD = {7: State.SILENT, 15: State.REFUSED, 31: State.CONNECTING, 39: State.ERROR}
PLAIN_EVERY = (40, 23)
"""Of 40 slots, the one with this remainder has a plain stream."""
CELLS = 256


@dataclass
class FakeClient:
    slot: int
    id: str
    name: str
    target: str
    mode: str
    rate_hz: float
    colours: int
    made_ns: int
    counted: int = 0
    """Sequence numbers issued before `made_ns` (moved on when the rate changes)."""
    paused: bool = False
    link: dict[str, Any] | None = None

    @property
    def state(self) -> State:
        return State.PAUSED if self.paused else _ODD.get(self.slot % 40, State.LIVE)

    @property
    def is_plain(self) -> bool:
        return self.mode == "plain" or self.slot % PLAIN_EVERY[0] == PLAIN_EVERY[1]

    def issued(self, now_ns: int) -> int:
        if self.paused:
            return self.counted
        heard_ns = {State.SILENT: 5 * NS_PER_S, State.LIVE: 1 << 62}.get(self.state, 0)
        return self.counted + int(min(now_ns - self.made_ns, heard_ns) * self.rate_hz) // NS_PER_S


def rgb_of(slot: npt.NDArray[Any], sequence: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """uint8[n, 3]: the colour of each datagram."""
    mixed = (slot.astype(np.uint64) + np.uint64(1)) * np.uint64(2654435761) + sequence.astype(np.uint64) * np.uint64(
        0x9E3779B97F4A7C15
    )
    return palette.RGB[(mixed >> np.uint64(33)) % np.uint64(6)]


class FakeClients:
    """What `node.clients.Clients` offers to the web."""

    def __init__(self, settings: Settings, unix_ns: Callable[[], int], first_clients: int) -> None:
        self.settings, self.unix_ns = settings, unix_ns
        self.of_id: dict[str, FakeClient] = {}
        self.by_slot: list[FakeClient | None] = []
        self.departed = 0
        self.roster_version = 1
        self._changed: list[int] = []
        self._free: list[int] = []
        self._numbers = itertools.count(1)
        for name in self._names(None, first_clients):
            self._add(name, settings.udp, None, None, None)

    async def add(
        self,
        name: str | None = None,
        target: str | None = None,
        rate_hz: float | None = None,
        colours: int | None = None,
        mode: str | None = None,
        count: int = 1,
    ) -> list[dict[str, Any]]:
        added = self.add_in_pieces(name, target, rate_hz, colours, mode, count)
        return [body async for piece in added for body in piece]

    async def add_in_pieces(
        self,
        name: str | None = None,
        target: str | None = None,
        rate_hz: float | None = None,
        colours: int | None = None,
        mode: str | None = None,
        count: int = 1,
    ) -> AsyncGenerator[list[dict[str, Any]], None]:
        if len(self.of_id) + count > self.settings.max_clients:
            room = self.settings.max_clients - len(self.of_id)
            raise RequestError(f"there is room for {room} more clients", field="count", kind="too-many-clients")
        target = target or self.settings.udp
        self._check_target(target)
        names = self._names(name, count)
        taken = {client.name for client in self.of_id.values()} & set(names)
        if taken:
            raise RequestError(f"{min(taken)} is taken", field="name", kind="name-taken")
        for one in names:
            yield [self._body(self._add(one, target, rate_hz, colours, mode))]

    def _check_target(self, target: str) -> None:
        try:
            host, port = split_host_port(target)
            address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
        except ValueError:
            raise RequestError("a target is HOST:PORT and must resolve", field="target") from None
        if not address.is_loopback or port < 1024:
            raise RequestError("only loopback and ports from 1024", field="target", kind="target-not-allowed")

    def _names(self, name: str | None, count: int) -> list[str]:
        if name is not None and count == 1:
            return [name]
        return [f"{name or 'client'}-{next(self._numbers):03d}" for _ in range(count)]

    def _add(self, name: str, target: str, rate_hz: float | None, colours: int | None, mode: str | None) -> FakeClient:
        if not self._free:
            self._free.append(len(self.by_slot))
            self.by_slot.append(None)
            self._changed.append(0)
        slot = heapq.heappop(self._free)
        rate = rate_hz or self.settings.rate_hz
        client_id = f"c-{next(self._numbers):08d}"
        client = FakeClient(slot, client_id, name, target, mode or "auto", rate, colours or 1, self.unix_ns())
        self.by_slot[slot] = self.of_id[client.id] = client
        self._touch(slot)
        return client

    def _touch(self, slot: int) -> None:
        self.roster_version += 1
        self._changed[slot] = self.roster_version

    async def page(
        self, offset: int = 0, limit: int = 1000, state: str | None = None, query: str | None = None
    ) -> tuple[list[dict[str, Any]], int]:
        found = [
            client
            for client in self.of_id.values()
            if (state is None or client.state.name.lower() == state)
            and (query is None or any(query in text for text in (client.name, client.target, client.id)))
        ]
        return [self._body(client) for client in found[offset : offset + limit]], len(found)

    def find(self, client_id: str) -> FakeClient:
        if client_id not in self.of_id:
            raise RequestError("there is no such client", kind="not-found")
        return self.of_id[client_id]

    async def get(self, client_id: str) -> dict[str, Any]:
        return self._body(self.find(client_id))

    async def change(self, client_id: str, changes: dict[str, Any]) -> dict[str, Any]:
        client = self.find(client_id)
        if any(other.name == changes.get("name") and other is not client for other in self.of_id.values()):
            raise RequestError("this name is taken", field="name", kind="name-taken")
        client.counted, client.made_ns = client.issued(self.unix_ns()), self.unix_ns()
        for key, value in changes.items():
            setattr(client, key, value)
        self._touch(client.slot)
        return self._body(client)

    async def remove(self, client_id: str) -> None:
        client = self.find(client_id)
        self.departed += self.received(client)
        del self.of_id[client_id]
        self.by_slot[client.slot] = None
        heapq.heappush(self._free, client.slot)
        self._touch(client.slot)

    async def remove_many(self, ids: list[str] | None = None) -> int:
        gone = list(self.of_id) if ids is None else [one for one in ids if one in self.of_id]
        for client_id in gone:
            await self.remove(client_id)
        return len(gone)

    # what became of them

    def received(self, client: FakeClient) -> int:
        issued = client.issued(self.unix_ns())
        return issued - self.lost(client, issued)

    def lost(self, client: FakeClient, issued: int) -> int:
        table = _LOST_BEFORE[client.slot % CLASSES]
        return int(issued // PERIOD * table[PERIOD] + table[issued % PERIOD])

    @staticmethod
    def ledger(sent: int, received: int, lost: int) -> dict[str, Any]:
        return {
            "sent": sent,
            "received": received,
            "lost": lost,
            "in_flight": sent - received - lost,
            "late": 0,
            "reordered": 0,
            "duplicates": 0,
            "corrupt": 0,
            "lost_by_cause": {
                "link": lost,
                "sender_kernel": 0,
                "receiver_kernel": 0,
                "unexplained": 0,
                "unknown_path": 0,
                "path": 0,
                "awaiting": 0,
            },
            "relayed": received,
            "conflated": 0,
        }

    def _body(self, client: FakeClient) -> dict[str, Any]:
        issued = client.issued(self.unix_ns())
        lost = self.lost(client, issued)
        heard = issued > lost
        delay = {"min": 0.1, "p50": 0.2, "p95": 0.4, "p99": 0.9, "max": 3.1} if heard else dict.fromkeys(_DELAYS)
        return {
            "id": client.id,
            "slot": client.slot,
            "name": client.name,
            "target": client.target,
            "target_address": client.target,
            "mode": client.mode,
            "stream": ("plain" if client.is_plain else "measured") if heard else None,
            "state": client.state.name.lower(),
            "error": "no route to host" if client.state == State.ERROR else None,
            "paused": client.paused,
            "rate_hz": client.rate_hz,
            "measured_rate_hz": client.rate_hz if client.state == State.LIVE else 0.0,
            "colours": client.colours,
            "local_address": f"127.0.0.1:{50_000 + client.slot % 10_000}",
            "session_id": f"s-{client.slot:08x}",
            "ledger": self.ledger(issued, issued - lost, lost),
            "path": "in-process" if heard else None,
            "loss_ratio": lost / issued if issued else None,
            "jitter_ms": 0.2 if heard else None,
            "delay_ms": delay,
            "anomalies": {"jumps": 0, "beyond_window": 0, "negative_delays": 0} if heard else None,
            "delay_is_relative": False if heard else None,
            "rtt_ms": 0.3 if heard else None,
            "last_colour": self._colour(client, issued - 1) if heard else None,
            "age_ms": self.age_ms(client),
            "link": client.link,
        }

    def age_ms(self, client: FakeClient) -> float | None:
        issued = client.issued(self.unix_ns())
        if issued == 0:
            return None
        last_ns = client.made_ns + int((issued - client.counted) * NS_PER_S / client.rate_hz)
        return max(0, self.unix_ns() - last_ns) / NS_PER_MS

    def _colour(self, client: FakeClient, sequence: int) -> dict[str, str]:
        rgb = rgb_of(np.array([client.slot]), np.array([sequence]))[0]
        name = palette.NAMES[int(np.flatnonzero((rgb == palette.RGB).all(axis=1))[0])]
        return {"name": name, "rgb": "#" + bytes(rgb).hex()}

    async def datagrams(self, client_id: str, limit: int) -> list[dict[str, Any]]:
        client = self.find(client_id)
        issued = client.issued(self.unix_ns())
        return [self.datagram(client, sequence) for sequence in range(max(0, issued - min(limit, CELLS)), issued)]

    def datagram(self, client: FakeClient, sequence: int) -> dict[str, Any]:
        fate = Fate(int(_FATE[client.slot % CLASSES, sequence % PERIOD]))
        marks = int(_MARKS[client.slot % CLASSES, sequence % PERIOD])
        heard = fate != Fate.LOST
        sent_ns = client.made_ns + int((sequence - client.counted) * NS_PER_S / client.rate_hz)
        colour = self._colour(client, sequence)
        header = b"\xc7\x01\x01\x00" + client.slot.to_bytes(4, "big") + sequence.to_bytes(4, "big")
        payload = header + sent_ns.to_bytes(8, "big") + bytes.fromhex(colour["rgb"][1:])
        return {
            "sequence": sequence,
            "fate": fate.name.lower(),
            "cause": None if heard else "link",
            "colour": colour["name"] if heard else None,
            "rgb": colour["rgb"] if heard else None,
            "sent_at_ns": sent_ns,
            "received_at_ns": sent_ns + 200_000 if heard else None,
            "delay_ms": 0.2 if heard else None,
            "duplicates": 1 if marks & 8 else 0,
            "reordered": bool(marks & 4),
            "corrupt": False,
            "size_bytes": len(payload) if heard else None,
            "payload_hex": payload.hex() if heard else None,
        }

    def whole_ledger(self) -> dict[str, Any]:
        """All clients' ledger."""
        now_ns = self.unix_ns()
        sent = sum(client.issued(now_ns) for client in self.of_id.values())
        lost = sum(self.lost(client, client.issued(now_ns)) for client in self.of_id.values())
        departed = self.ledger(self.departed, self.departed, 0) | {"received_plain": 0}
        return self.ledger(sent, sent - lost, lost) | {"received_plain": 0, "departed": departed}

    # the live feed

    def roster(self, since_version: int) -> Roster:
        base = 0 if since_version > self.roster_version else since_version
        changed = [slot for slot, version in enumerate(self._changed) if version > base]
        upsert = [self._roster_row(client) for slot in changed if (client := self.by_slot[slot]) is not None]
        remove = [slot for slot in changed if self.by_slot[slot] is None] if base else []
        return Roster(self.roster_version, base, upsert, remove)

    def _roster_row(self, client: FakeClient) -> list[Any]:
        stream = ("plain" if client.is_plain else "measured") if client.state == State.LIVE else None
        address = f"127.0.0.1:{50_000 + client.slot % 10_000}"
        target, rate_hz = client.target, client.rate_hz
        return [client.slot, client.id, client.name, target, client.mode, stream, rate_hz, client.colours, address]

    def snapshot(self, watch_slots: list[int], frame: int, linked: bool) -> Snapshot:
        """linked: whether there is a default link."""
        now_ns = self.unix_ns()
        n = len(self.by_slot)
        clients = [client for client in self.by_slot if client is not None]
        slot = np.array([client.slot for client in clients], np.int64)
        issued = np.array([client.issued(now_ns) for client in clients], np.int64)
        lost = _count_before(_LOST_BEFORE, slot, issued)
        heard = issued > lost
        unknown = np.where(heard, np.float32(0), np.float32(np.nan))
        at_full_rate = np.array([client.rate_hz if client.state == State.LIVE else 0 for client in clients], np.float32)

        def column(values: Iterable[Any], dtype: Any, free: Any = 0) -> npt.NDArray[Any]:
            full = np.full(n, free, dtype)
            full[slot] = np.asarray(list(values), dtype)
            return full

        version = column(issued - lost, np.uint32)
        ages = [65_535 if (age := self.age_ms(client)) is None else min(age, 65_534) for client in clients]
        rgba = np.zeros((n, 4), np.uint8)
        rgba[slot[heard], :3] = rgb_of(slot[heard], issued[heard] - 1)
        rgba[slot[heard], 3] = 255
        return Snapshot(
            frame=frame,
            unix_ns=now_ns,
            n=n,
            state=column([client.state for client in clients], np.uint8),
            rgba=rgba,
            flags=column(self._flags(clients, slot, issued, linked), np.uint8),
            age_ms=column(ages, np.uint16, 65_535),
            rate_hz=column(at_full_rate, np.float32),
            loss_ratio=column(lost / np.maximum(issued, 1) + unknown, np.float32, np.nan),
            jitter_ms=column(0.2 + unknown, np.float32, np.nan),
            delay_ms=column(0.5 + slot % 7 + unknown, np.float32, np.nan),
            version=version,
            roster_version=self.roster_version,
            **self._rows(watch_slots, now_ns),
        )

    def _flags(
        self, clients: list[FakeClient], slot: npt.NDArray[np.int64], issued: npt.NDArray[np.int64], linked: bool
    ) -> npt.NDArray[np.int64]:
        a_second_ago = np.maximum(0, issued - np.array([max(1, int(client.rate_hz)) for client in clients], np.int64))
        flags = np.array([client.is_plain << 4 for client in clients], np.int64)
        flags |= np.array([(linked or client.link is not None) << 5 for client in clients], np.int64)
        for bit, table in enumerate((_LOST_BEFORE, _REORDERED_BEFORE, _DUPLICATE_BEFORE)):
            recent = _count_before(table, slot, issued) - _count_before(table, slot, a_second_ago)
            flags |= (recent > 0).astype(np.int64) << bit
        return flags

    def _rows(self, watch_slots: list[int], now_ns: int) -> dict[str, Any]:
        watched = [
            client for slot in watch_slots if slot < len(self.by_slot) and (client := self.by_slot[slot]) is not None
        ]
        stats = np.zeros(len(watched), ROW_STATS)
        cells = np.zeros((len(watched), CELLS, 4), np.uint8)
        for place, client in enumerate(watched):
            issued = client.issued(now_ns)
            lost = self.lost(client, issued)
            age_ms = self.age_ms(client)
            stats[place] = (
                np.nan if client.is_plain else issued - 1,
                issued - lost,
                np.nan if client.is_plain else lost,
                np.nan if client.is_plain else issued,
                client.rate_hz if client.state == State.LIVE else 0,
                lost / issued if issued and not client.is_plain else np.nan,
                0.2 if issued else np.nan,
                0.5 + client.slot % 7 if issued else np.nan,
                np.nan if age_ms is None else age_ms,
            )
            sequence = np.arange(max(0, issued - CELLS), issued)
            fates = _FATE[client.slot % CLASSES, sequence % PERIOD]
            here = cells[place, CELLS - len(sequence) :]
            here[:, :3] = rgb_of(np.full(len(sequence), client.slot), sequence)
            here[:, 3] = fates | _MARKS[client.slot % CLASSES, sequence % PERIOD]
            here[fates == Fate.LOST] = (0, 0, 0, Fate.LOST | Cause.LINK << 5)
        return {"rows": np.array([c.slot for c in watched], np.int32), "row_stats": stats, "cells": cells}

    def tap(self, client_id: str) -> Tap:
        return Tap(self, self.find(client_id))


class Tap:
    """One client's datagrams as they come."""

    def __init__(self, clients: FakeClients, client: FakeClient) -> None:
        self._clients = clients
        self._client = client
        self.dropped = 0
        self.is_open = False

    def __enter__(self) -> Tap:
        self.is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_open = False

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        client = self._client
        sequence = client.issued(self._clients.unix_ns())
        while client.id in self._clients.of_id:
            if client.issued(self._clients.unix_ns()) <= sequence:
                await asyncio.sleep(1 / client.rate_hz)
                continue
            one = self._clients.datagram(client, sequence)
            sequence += 1
            if one["fate"] != "lost":
                told = ("sequence", "fate", "reordered", "colour", "rgb", "sent_at_ns", "received_at_ns", "delay_ms")
                yield {"client_id": client.id, "duplicate": False} | {key: one[key] for key in told}


_DELAYS = ("min", "p50", "p95", "p99", "max")
