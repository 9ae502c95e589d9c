"""A bridge without UDP: clients whose every datagram follows from (slot, sequence, time), so that tests can count.

`python -m tests.web.fake_bridge --port 8100 --clients 1000 --rate-hz 20` serves the page with it.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import ipaddress
import itertools
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from udprism.columns.types import NS_PER_MS, NS_PER_S
from udprism.errors import RequestError
from udprism.ledger.delays import Histogram
from udprism.ledger.fates import Cause, Fate
from udprism.ledger.timeline import STEP, Steps
from udprism.node.events import Event
from udprism.node.flows import flow_of_client
from udprism.node.history import HistoryBody, history_body
from udprism.node.receivers import Receivers
from udprism.node.relays import Relays
from udprism.node.store import Store
from udprism.node.view import ROW_STATS, Roster, Snapshot
from udprism.serving.clients import State
from udprism.settings import Settings, split_host_port
from udprism.udp.networks import Targets
from udprism.wire import colours as palette

if TYPE_CHECKING:
    from udprism.node.bridge import Bridge

PERIOD = 64
"""Fates repeat after so many sequence numbers, so that sums are exact without remembering anything."""
_LOST = {1: (7, 31, 32, 33), 4: (12,)}
_LATE = {4: (50,)}
_REORDERED = {4: (20, 50)}
_DUPLICATE = {4: (40,)}
_CLASSES = 8
_FATE = np.full((_CLASSES, PERIOD), Fate.RECEIVED, np.uint8)
_MARKS = np.zeros((_CLASSES, PERIOD), np.uint8)
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
    return np.concatenate([np.zeros((_CLASSES, 1), np.int64), np.cumsum(here, axis=1)], axis=1)


_LOST_BEFORE = _before(_FATE == Fate.LOST)
_REORDERED_BEFORE = _before(_MARKS & 4 != 0)
_DUPLICATE_BEFORE = _before(_MARKS & 8 != 0)


def _count_before(
    table: npt.NDArray[np.int64], slot: npt.NDArray[np.int64], issued: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """How many of the first `issued` sequence numbers of each slot are so."""
    kind = slot % _CLASSES
    return issued // PERIOD * table[kind, PERIOD] + table[kind, issued % PERIOD]


_ODD = {7: State.SILENT, 15: State.REFUSED, 31: State.CONNECTING, 39: State.ERROR}
PLAIN_EVERY = (40, 23)
"""Of 40 slots, the one with this remainder has a plain stream."""
CELLS = 256


@dataclass
class _Client:
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


class FakeFlows:
    """Those that arrive at the fake's clients."""

    def __init__(self, bridge: FakeBridge) -> None:
        self._bridge = bridge

    async def page(
        self, kind: str | None, form: str | None, query: str | None, offset: int, limit: int
    ) -> tuple[list[dict[str, Any]], int]:
        bodies, _ = await self._bridge.list_clients(0, 10_000, None, query)
        flows = [flow_of_client(body) for body in bodies if kind != "session"]
        flows = [flow for flow in flows if form in (None, flow["format"])]
        return flows[offset : offset + limit], len(flows)

    async def get(self, flow_id: str) -> dict[str, Any]:
        return flow_of_client(await self._bridge.get_client(flow_id))

    async def datagrams(self, flow_id: str, limit: int) -> list[dict[str, Any]]:
        return await self._bridge.datagrams(flow_id, limit)


async def _keeps_nothing(write: Callable[[Store], None]) -> None:
    """What an ephemeral program does."""


@dataclass
class FakeBridge:
    """What `bridge.Bridge` offers to the web; time comes from `unix_ns`, which a test may turn by hand."""

    settings: Settings = field(default_factory=lambda: Settings(ephemeral=True))
    unix_ns: Callable[[], int] = time.time_ns
    down: bool = False
    """The pool's thread does not answer: `snapshot` never returns."""
    busy: bool = False
    """The pool's thread takes no more work."""
    disk_full: bool = False
    first_clients: int = 0
    snapshots: int = 0

    def __post_init__(self) -> None:
        self.started_unix_ns = self.unix_ns()
        self.instance_id = secrets.token_hex(8)
        self.identity = secrets.token_hex(4)
        self.udp_address = split_host_port(self.settings.udp)
        self.watched: list[list[int]] = []
        self._clients: dict[str, _Client] = {}
        self._by_slot: list[_Client | None] = []
        self._changed: list[int] = []
        self._roster_version = 1
        self._links: dict[str, dict[str, Any]] = {}
        self._departed = 0
        self._raw = ["127.0.0.1:40001", "127.0.0.1:40002"]
        self._free: list[int] = []
        self._numbers = itertools.count(1)
        self.flows = FakeFlows(self)
        # Real ones: whoever begins some ends them.
        self.relays = Relays(None, Targets([], []), lambda kind, text, flow: None)
        self.receivers = Receivers(self.settings, _keeps_nothing, lambda kind, text, flow: None)
        for name in self._names(None, self.first_clients):
            self._add(name, self.settings.udp, None, None, None)

    # clients

    async def add_clients(
        self,
        name: str | None,
        target: str | None,
        rate_hz: float | None,
        colours: int | None,
        mode: str | None,
        count: int,
    ) -> list[dict[str, Any]]:
        if len(self._clients) + count > self.settings.max_clients:
            room = self.settings.max_clients - len(self._clients)
            raise RequestError(f"there is room for {room} more clients", field="count", kind="too-many-clients")
        target = target or self.settings.udp
        self._check_target(target)
        names = self._names(name, count)
        taken = {client.name for client in self._clients.values()} & set(names)
        if taken:
            raise RequestError(f"{min(taken)} is taken", field="name", kind="name-taken")
        made = [self._add(one, target, rate_hz, colours, mode) for one in names]
        return [self._body(client) for client in made]

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

    def _add(self, name: str, target: str, rate_hz: float | None, colours: int | None, mode: str | None) -> _Client:
        if not self._free:
            self._free.append(len(self._by_slot))
            self._by_slot.append(None)
            self._changed.append(0)
        slot = heapq.heappop(self._free)
        rate = rate_hz or self.settings.rate_hz
        client_id = f"c-{next(self._numbers):08d}"
        client = _Client(slot, client_id, name, target, mode or "auto", rate, colours or 1, self.unix_ns())
        self._by_slot[slot] = self._clients[client.id] = client
        self._touch(slot)
        return client

    def _touch(self, slot: int) -> None:
        self._roster_version += 1
        self._changed[slot] = self._roster_version

    async def list_clients(
        self, offset: int, limit: int, state: str | None = None, query: str | None = None
    ) -> tuple[list[dict[str, Any]], int]:
        found = [
            client
            for client in self._clients.values()
            if (state is None or client.state.name.lower() == state)
            and (query is None or any(query in text for text in (client.name, client.target, client.id)))
        ]
        return [self._body(client) for client in found[offset : offset + limit]], len(found)

    def _find(self, client_id: str) -> _Client:
        if client_id not in self._clients:
            raise RequestError("there is no such client", kind="not-found")
        return self._clients[client_id]

    async def get_client(self, client_id: str) -> dict[str, Any]:
        return self._body(self._find(client_id))

    async def patch_client(self, client_id: str, changes: dict[str, Any]) -> dict[str, Any]:
        client = self._find(client_id)
        if any(other.name == changes.get("name") and other is not client for other in self._clients.values()):
            raise RequestError("this name is taken", field="name", kind="name-taken")
        client.counted, client.made_ns = client.issued(self.unix_ns()), self.unix_ns()
        for key, value in changes.items():
            setattr(client, key, value)
        self._touch(client.slot)
        return self._body(client)

    async def delete_client(self, client_id: str) -> None:
        client = self._find(client_id)
        self._departed += self._received(client)
        del self._clients[client_id]
        self._by_slot[client.slot] = None
        heapq.heappush(self._free, client.slot)
        self._touch(client.slot)

    async def delete_clients(self, ids: list[str] | None = None) -> int:
        gone = list(self._clients) if ids is None else [one for one in ids if one in self._clients]
        for client_id in gone:
            await self.delete_client(client_id)
        return len(gone)

    # what became of them

    def _received(self, client: _Client) -> int:
        issued = client.issued(self.unix_ns())
        return issued - self._lost(client, issued)

    def _lost(self, client: _Client, issued: int) -> int:
        table = _LOST_BEFORE[client.slot % _CLASSES]
        return int(issued // PERIOD * table[PERIOD] + table[issued % PERIOD])

    def _ledger(self, sent: int, received: int, lost: int) -> dict[str, Any]:
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
            },
            "relayed": received,
            "conflated": 0,
        }

    def _body(self, client: _Client) -> dict[str, Any]:
        issued = client.issued(self.unix_ns())
        lost = self._lost(client, issued)
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
            "ledger": self._ledger(issued, issued - lost, lost),
            "path": "in-process" if heard else None,
            "loss_ratio": lost / issued if issued else None,
            "jitter_ms": 0.2 if heard else None,
            "delay_ms": delay,
            "anomalies": {"jumps": 0, "beyond_window": 0, "negative_delays": 0} if heard else None,
            "delay_is_relative": False if heard else None,
            "rtt_ms": 0.3 if heard else None,
            "last_colour": self._colour(client, issued - 1) if heard else None,
            "age_ms": self._age_ms(client),
            "link": client.link,
        }

    def _age_ms(self, client: _Client) -> float | None:
        issued = client.issued(self.unix_ns())
        if issued == 0:
            return None
        last_ns = client.made_ns + int((issued - client.counted) * NS_PER_S / client.rate_hz)
        return max(0, self.unix_ns() - last_ns) / NS_PER_MS

    def _colour(self, client: _Client, sequence: int) -> dict[str, str]:
        rgb = rgb_of(np.array([client.slot]), np.array([sequence]))[0]
        name = palette.NAMES[int(np.flatnonzero((rgb == palette.RGB).all(axis=1))[0])]
        return {"name": name, "rgb": "#" + bytes(rgb).hex()}

    async def datagrams(self, client_id: str, limit: int) -> list[dict[str, Any]]:
        client = self._find(client_id)
        issued = client.issued(self.unix_ns())
        return [self._datagram(client, sequence) for sequence in range(max(0, issued - min(limit, CELLS)), issued)]

    def _datagram(self, client: _Client, sequence: int) -> dict[str, Any]:
        fate = Fate(int(_FATE[client.slot % _CLASSES, sequence % PERIOD]))
        marks = int(_MARKS[client.slot % _CLASSES, sequence % PERIOD])
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

    # sessions, links, totals

    async def sessions(self, limit: int = 1000, query: str | None = None) -> tuple[list[dict[str, Any]], int]:
        words = (query or "").split()
        raw = [self._session(address, None) for address in self._raw]
        hosted = [self._session(f"127.0.0.1:{50_000 + one.slot}", one) for one in self._clients.values()]
        found = [one for one in raw + hosted if all(word in " ".join(map(str, one.values())) for word in words)]
        return found[:limit], len(found)

    def _session(self, address: str, client: _Client | None) -> dict[str, Any]:
        age_ms = (self.unix_ns() - self.started_unix_ns) / NS_PER_MS
        session_id = f"s-{client.slot:08x}" if client else "raw-" + address.rpartition(":")[2]
        return {
            "id": session_id,
            "address": address,
            "kind": "hosted" if client else "raw",
            "client_id": client.id if client else None,
            "stream": "measured" if client and not client.is_plain else "plain",
            "name": client.name if client else None,
            "rate_hz": client.rate_hz if client else 10.0,
            "colours": client.colours if client else 1,
            "palette": "basic",
            "source": "loopback",
            "started_unix_ms": self.started_unix_ns // NS_PER_MS,
            "age_ms": age_ms,
            "sent": int(age_ms / 100),
            "unsent": {"link": 0, "sender_kernel": 0},
            "lease_ends_in_s": None,
            "port_unreachable": 0,
            "responses": [] if client else [_RESPONSE | {"unix_ms": self.started_unix_ns // NS_PER_MS}],
            "reported": None,
            "link": self._links.get(session_id),
            "last_colour": {"name": "red", "rgb": "#ff0000"},
        }

    async def end_session(self, session_id: str) -> None:
        address = next((one for one in self._raw if "raw-" + one.rpartition(":")[2] == session_id), None)
        if address is None:
            raise RequestError("there is no such session", kind="not-found")
        self._raw.remove(address)

    async def ledger(self) -> dict[str, Any]:
        now_ns = self.unix_ns()
        sent = sum(client.issued(now_ns) for client in self._clients.values())
        lost = sum(self._lost(client, client.issued(now_ns)) for client in self._clients.values())
        departed = self._ledger(self._departed, self._departed, 0) | {"received_plain": 0}
        return self._ledger(sent, sent - lost, lost) | {"received_plain": 0, "departed": departed}

    async def history(self, flow: str | None, from_unix_ns: int, to_unix_ns: int, step_s: float | None) -> HistoryBody:
        """A curve that anybody can work out: step i of the stretch received i datagrams."""
        if flow is not None:
            self._check_owner(flow)
        ends = np.arange(from_unix_ns + NS_PER_S, to_unix_ns + 1, NS_PER_S)[-600:]
        steps = np.zeros(len(ends), STEP)
        steps["received"], steps["length_s"] = np.arange(len(ends)), 1
        steps["delay_ms"], steps["jitter_ms"] = 2, np.nan
        return history_body(Steps(1.0, ends, steps), flow, [Event(from_unix_ns, "link", "link set", None)])

    async def get_link(self, owner_id: str) -> dict[str, Any] | None:
        self._check_owner(owner_id)
        return self._links.get(owner_id)

    async def put_link(self, owner_id: str, body: dict[str, Any]) -> dict[str, Any]:
        self._check_owner(owner_id)
        self._links[owner_id] = _link(body)
        if owner_id in self._clients:
            self._clients[owner_id].link = self._links[owner_id]
        return self._links[owner_id]

    async def delete_link(self, owner_id: str) -> None:
        self._check_owner(owner_id)
        self._links.pop(owner_id, None)
        if owner_id in self._clients:
            self._clients[owner_id].link = None

    def _check_owner(self, owner_id: str) -> None:
        raw = {"raw-" + address.rpartition(":")[2] for address in self._raw}
        if owner_id not in self._clients and owner_id not in raw:
            raise RequestError("there is no such client or session", kind="not-found")

    async def get_default_link(self) -> dict[str, Any] | None:
        return self._links.get("default")

    async def put_default_link(self, body: dict[str, Any]) -> dict[str, Any]:
        self._links["default"] = _link(body)
        return self._links["default"]

    async def delete_default_link(self) -> None:
        self._links.pop("default", None)

    async def delete_links(self) -> None:
        self._links.clear()
        for client in self._clients.values():
            client.link = None

    async def links(self) -> dict[str, Any]:
        return {
            "default": "default" in self._links,
            "clients": sum(client.link is not None for client in self._clients.values()),
            "sessions": sum(owner.startswith("raw-") for owner in self._links),
            "since_unix_ms": self.started_unix_ns // NS_PER_MS if self._links else None,
            "room": {"datagrams": 65_536, "needed": 0, "held": 0, "turned_away": 0},
        }

    async def status(self) -> dict[str, Any]:
        states = [client.state.name.lower() for client in self._clients.values()]
        names = ("connecting", "live", "silent", "refused", "error", "paused")
        losing = [client for client in self._clients.values() if client.slot % _CLASSES == 1]
        return {
            "clients": {"total": len(states), **{name: states.count(name) for name in names}},
            "losing": len(losing),
            "behind": 0,
            "datagrams_per_s": sum(c.rate_hz for c in self._clients.values() if c.state == State.LIVE),
            "sessions": {"total": len(states) + len(self._raw), "raw": len(self._raw)},
            "ledger": await self.ledger(),
            "closes": True,
            "links": await self.links(),
            "schedule": {"lag_ms": 0.1, "skipped_ticks": 0},
            "server": {"state": "running", "restarts": 0},
            "attention": [
                {"slot": client.slot, "id": client.id, "name": client.name, "why": "loss", "value": 0.0625}
                for client in losing[:20]
            ],
        }

    def checks(self) -> list[dict[str, Any]]:
        return [
            {"name": "server", "ok": True, "detail": "running", "fatal": True},
            {"name": "pool", "ok": not self.down, "detail": "no heartbeat" if self.down else "running", "fatal": True},
            {"name": "store", "ok": not self.disk_full, "detail": "the last change was not kept", "fatal": False},
        ]

    def counters(self) -> dict[str, Any]:
        return {
            "datagrams_received_total": sum(self._received(client) for client in self._clients.values()),
            "server_drops_total": {"magic": 3, "version": 0, "truncated": 1},
            "clients": {"live": len(self._clients)},
            "schedule_lag_seconds": 0.0001,
            "datagram_delay_seconds": Histogram([0.001, 0.01, float("inf")], [1, 3, 4], 0.03),
            **self.relays.counters(),
            **self.receivers.counters(),
        }

    # the live feed

    async def roster(self, since_version: int) -> Roster:
        base = 0 if since_version > self._roster_version else since_version
        changed = [slot for slot, version in enumerate(self._changed) if version > base]
        upsert = [self._roster_row(client) for slot in changed if (client := self._by_slot[slot]) is not None]
        remove = [slot for slot in changed if self._by_slot[slot] is None] if base else []
        return Roster(self._roster_version, base, upsert, remove)

    def _roster_row(self, client: _Client) -> list[Any]:
        stream = ("plain" if client.is_plain else "measured") if client.state == State.LIVE else None
        address = f"127.0.0.1:{50_000 + client.slot % 10_000}"
        target, rate_hz = client.target, client.rate_hz
        return [client.slot, client.id, client.name, target, client.mode, stream, rate_hz, client.colours, address]

    async def snapshot(self, watch_slots: list[int]) -> Snapshot:
        if self.busy:
            raise RequestError("too busy", kind="busy")
        if self.down:
            await asyncio.Event().wait()
        self.snapshots += 1
        self.watched.append(watch_slots)
        now_ns = self.unix_ns()
        n = len(self._by_slot)
        clients = [client for client in self._by_slot if client is not None]
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
        ages = [65_535 if (age := self._age_ms(client)) is None else min(age, 65_534) for client in clients]
        rgba = np.zeros((n, 4), np.uint8)
        rgba[slot[heard], :3] = rgb_of(slot[heard], issued[heard] - 1)
        rgba[slot[heard], 3] = 255
        return Snapshot(
            frame=self.snapshots,
            unix_ns=now_ns,
            n=n,
            state=column([client.state for client in clients], np.uint8),
            rgba=rgba,
            flags=column(self._flags(clients, slot, issued), np.uint8),
            age_ms=column(ages, np.uint16, 65_535),
            rate_hz=column(at_full_rate, np.float32),
            loss_ratio=column(lost / np.maximum(issued, 1) + unknown, np.float32, np.nan),
            jitter_ms=column(0.2 + unknown, np.float32, np.nan),
            delay_ms=column(0.5 + slot % 7 + unknown, np.float32, np.nan),
            version=version,
            roster_version=self._roster_version,
            **self._rows(watch_slots, now_ns),
        )

    def _flags(
        self, clients: list[_Client], slot: npt.NDArray[np.int64], issued: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        a_second_ago = np.maximum(0, issued - np.array([max(1, int(client.rate_hz)) for client in clients], np.int64))
        flags = np.array([client.is_plain << 4 for client in clients], np.int64)
        flags |= np.array([("default" in self._links or client.link is not None) << 5 for client in clients], np.int64)
        for bit, table in enumerate((_LOST_BEFORE, _REORDERED_BEFORE, _DUPLICATE_BEFORE)):
            recent = _count_before(table, slot, issued) - _count_before(table, slot, a_second_ago)
            flags |= (recent > 0).astype(np.int64) << bit
        return flags

    def _rows(self, watch_slots: list[int], now_ns: int) -> dict[str, Any]:
        watched = [
            client for slot in watch_slots if slot < len(self._by_slot) and (client := self._by_slot[slot]) is not None
        ]
        stats = np.zeros(len(watched), ROW_STATS)
        cells = np.zeros((len(watched), CELLS, 4), np.uint8)
        for place, client in enumerate(watched):
            issued = client.issued(now_ns)
            lost = self._lost(client, issued)
            age_ms = self._age_ms(client)
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
            fates = _FATE[client.slot % _CLASSES, sequence % PERIOD]
            here = cells[place, CELLS - len(sequence) :]
            here[:, :3] = rgb_of(np.full(len(sequence), client.slot), sequence)
            here[:, 3] = fates | _MARKS[client.slot % _CLASSES, sequence % PERIOD]
            here[fates == Fate.LOST] = (0, 0, 0, Fate.LOST | Cause.LINK << 5)
        return {"rows": np.array([c.slot for c in watched], np.int32), "row_stats": stats, "cells": cells}

    def tap(self, client_id: str) -> Tap:
        return Tap(self, self._find(client_id))


class Tap:
    """One client's datagrams as they come."""

    def __init__(self, bridge: FakeBridge, client: _Client) -> None:
        self._bridge = bridge
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
        sequence = client.issued(self._bridge.unix_ns())
        while client.id in self._bridge._clients:
            if client.issued(self._bridge.unix_ns()) <= sequence:
                await asyncio.sleep(1 / client.rate_hz)
                continue
            one = self._bridge._datagram(client, sequence)
            sequence += 1
            if one["fate"] != "lost":
                told = ("sequence", "fate", "reordered", "colour", "rgb", "sent_at_ns", "received_at_ns", "delay_ms")
                yield {"client_id": client.id, "duplicate": False} | {key: one[key] for key in told}


_DELAYS = ("min", "p50", "p95", "p99", "max")
_RESPONSE = {"text": "merah", "colour": "red", "answered_after_ms": 812.0}


def _link(body: dict[str, Any]) -> dict[str, Any]:
    from udprism.link.link import Link

    return Link.from_body(body).to_body()


def main() -> None:
    """Serve the page with clients that do not exist."""
    from udprism.web.app import listen, serve

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=8100)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--rate-hz", type=float, default=10.0)
    asked = parser.parse_args()
    settings = Settings(http=f"127.0.0.1:{asked.port}", rate_hz=asked.rate_hz, ephemeral=True)
    bridge = FakeBridge(settings, first_clients=asked.clients)
    sockets = listen(settings)
    print(f"http://127.0.0.1:{asked.port} with {asked.clients} clients that do not exist", flush=True)
    serve(cast("Bridge", bridge), settings, sockets, threading.Event())


if __name__ == "__main__":
    main()
