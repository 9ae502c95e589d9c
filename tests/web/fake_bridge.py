"""A bridge without UDP: its subjects are fakes, of which a test may put in one of its own.

`python -m tests.web.fake_bridge --port 8100 --clients 1000 --rate-hz 20` serves the page with it.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from udprism.columns.types import NS_PER_MS, NS_PER_S
from udprism.errors import RequestError
from udprism.ledger.delays import Histogram
from udprism.ledger.timeline import STEP, Steps
from udprism.link.link import Link
from udprism.node.bodies.flows import flow_of_client
from udprism.node.bodies.history import HistoryBody, history_body
from udprism.node.captures import Captures
from udprism.node.clients import Clients
from udprism.node.events import Event
from udprism.node.links import Links
from udprism.node.play import Stage
from udprism.node.receivers import Receivers
from udprism.node.recordings import Recordings
from udprism.node.relays import Relays
from udprism.node.replays import Replays
from udprism.node.scenarios import Scenarios
from udprism.node.senders import Senders
from udprism.node.store import Store
from udprism.node.view import Roster, Snapshot
from udprism.serving.clients import State
from udprism.settings import Settings, split_host_port
from udprism.udp.lookups import Lookups
from udprism.udp.networks import Targets
from web.fake_clients import CLASSES, FakeClient, FakeClients

if TYPE_CHECKING:
    from udprism.node.assembly import Assembly
    from udprism.node.bridge import Bridge

_RESPONSE = {"text": "merah", "colour": "red", "answered_after_ms": 812.0}


class FakeSessions:
    """What `node.sessions.Sessions` offers to the web: two raw clients, and the fake's own."""

    def __init__(self, clients: FakeClients, links: FakeLinks, raw: list[str], started_unix_ns: int) -> None:
        self.raw = raw
        self._clients, self._links = clients, links
        self.started_unix_ns = started_unix_ns

    async def page(self, limit: int = 1000, query: str | None = None) -> tuple[list[dict[str, Any]], int]:
        words = (query or "").split()
        raw = [self._session(address, None) for address in self.raw]
        hosted = [self._session(f"127.0.0.1:{50_000 + one.slot}", one) for one in self._clients.of_id.values()]
        found = [one for one in raw + hosted if all(word in " ".join(map(str, one.values())) for word in words)]
        return found[:limit], len(found)

    def _session(self, address: str, client: FakeClient | None) -> dict[str, Any]:
        age_ms = (self._clients.unix_ns() - self.started_unix_ns) / NS_PER_MS
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
            "link": self._links.of.get(session_id),
            "last_colour": "red",
            "recent_rgb": "" if client else "ff0000" * 3,
            "left_ms": None,
        }

    async def left(self) -> list[dict[str, Any]]:
        return []

    async def end(self, session_id: str) -> None:
        address = next((one for one in self.raw if "raw-" + one.rpartition(":")[2] == session_id), None)
        if address is None:
            raise RequestError("there is no such session", kind="not-found")
        self.raw.remove(address)


class FakeLinks:
    """What `node.links.Links` offers to the web."""

    def __init__(self, clients: FakeClients, raw: list[str], started_unix_ns: int) -> None:
        self.of: dict[str, dict[str, Any]] = {}
        self._clients, self._raw = clients, raw
        self.started_unix_ns = started_unix_ns

    async def get(self, owner_id: str) -> dict[str, Any] | None:
        self.check_owner(owner_id)
        return self.of.get(owner_id)

    async def put(self, owner_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self.check_owner(owner_id)
        self.of[owner_id] = _link(body)
        if owner_id in self._clients.of_id:
            self._clients.of_id[owner_id].link = self.of[owner_id]
        return self.of[owner_id]

    async def remove(self, owner_id: str) -> None:
        self.check_owner(owner_id)
        self.of.pop(owner_id, None)
        if owner_id in self._clients.of_id:
            self._clients.of_id[owner_id].link = None

    def check_owner(self, owner_id: str) -> None:
        raw = {"raw-" + address.rpartition(":")[2] for address in self._raw}
        if owner_id not in self._clients.of_id and owner_id not in raw:
            raise RequestError("there is no such client or session", kind="not-found")

    async def get_default(self) -> dict[str, Any] | None:
        return self.of.get("default")

    async def put_default(self, body: Mapping[str, Any]) -> dict[str, Any]:
        self.of["default"] = _link(body)
        return self.of["default"]

    async def remove_default(self) -> None:
        self.of.pop("default", None)

    async def clear(self) -> None:
        self.of.clear()
        for client in self._clients.of_id.values():
            client.link = None

    async def summary(self) -> dict[str, Any]:
        return {
            "default": "default" in self.of,
            "clients": sum(client.link is not None for client in self._clients.of_id.values()),
            "sessions": sum(owner.startswith("raw-") for owner in self.of),
            "since_unix_ms": self.started_unix_ns // NS_PER_MS if self.of else None,
            "room": {"datagrams": 65_536, "needed": 0, "held": 0, "turned_away": 0},
        }


class FakeFlows:
    """Those that arrive at the fake's clients."""

    def __init__(self, clients: FakeClients) -> None:
        self._clients = clients

    async def page(
        self, kind: str | None, form: str | None, query: str | None, offset: int, limit: int
    ) -> tuple[list[dict[str, Any]], int]:
        bodies, _ = await self._clients.page(0, 10_000, None, query)
        flows = [flow_of_client(body) for body in bodies if kind != "session"]
        flows = [flow for flow in flows if form in (None, flow["format"])]
        return flows[offset : offset + limit], len(flows)

    async def get(self, flow_id: str) -> dict[str, Any]:
        return flow_of_client(await self._clients.get(flow_id))

    async def datagrams(self, flow_id: str, limit: int) -> list[dict[str, Any]]:
        return await self._clients.datagrams(flow_id, limit)

    async def picture(self, flow_id: str) -> dict[str, Any]:
        raise RequestError(f"no flow {flow_id!r} is heard by a receiver", field="id", kind="not-found")


async def _keeps_nothing(write: Callable[[Store], None]) -> None:
    """What an ephemeral program does."""


class FakeSendReports:
    """What `node.send_reports.SendReports` tells the web: the server here serves no other node's clients."""

    nodes: tuple[str, ...] = ()


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
        self.udp_addresses = [self.udp_address]
        self.watched: list[list[int]] = []
        raw = ["127.0.0.1:40001", "127.0.0.1:40002"]
        self.clients = FakeClients(self.settings, self.unix_ns, self.first_clients)
        self.links = FakeLinks(self.clients, raw, self.started_unix_ns)
        self.sessions = FakeSessions(self.clients, self.links, raw, self.started_unix_ns)
        self.flows = FakeFlows(self.clients)
        self.send_reports = FakeSendReports()
        # Real ones: whoever begins some ends them.
        self.relays = Relays(None, Lookups(Targets([], []).resolve), lambda kind, text, flow: None)
        self.receivers = Receivers(self.settings, _keeps_nothing, lambda kind, text, flow: None)
        self.senders = Senders(_keeps_nothing, Lookups(Targets([], []).resolve), lambda kind, text, flow: None)
        self.recordings = Recordings(cast("Assembly", None), self.relays, self.receivers, None)
        self.captures = Captures(None)
        self.replays = Replays(
            Lookups(Targets([], []).resolve), self.recordings.files, self.captures.path, lambda kind, text, flow: None
        )

        stage = Stage(cast("Clients", self.clients), cast("Links", self.links), self.schedule, alone=False)
        self.scenarios = Scenarios(stage, self.history, lambda kind, text, flow: None, lambda error: None)

    async def schedule(self) -> tuple[int, int]:
        return 0, 0

    async def ledger(self) -> dict[str, Any]:
        return self.clients.whole_ledger()

    async def history(self, flow: str | None, from_unix_ns: int, to_unix_ns: int, step_s: float | None) -> HistoryBody:
        """A curve that anybody can work out: step i of the stretch received i datagrams."""
        if flow is not None:
            self.links.check_owner(flow)
        ends = np.arange(from_unix_ns + NS_PER_S, to_unix_ns + 1, NS_PER_S)[-600:]
        steps = np.zeros(len(ends), STEP)
        steps["received"], steps["length_s"] = np.arange(len(ends)), 1
        steps["delay_ms"], steps["jitter_ms"] = 2, np.nan
        return history_body(Steps(1.0, ends, steps), flow, [Event(from_unix_ns, "link", "link set", None)])

    async def status(self) -> dict[str, Any]:
        states = [client.state.name.lower() for client in self.clients.of_id.values()]
        names = ("connecting", "live", "silent", "refused", "error", "paused")
        losing = [client for client in self.clients.of_id.values() if client.slot % CLASSES == 1]
        return {
            "clients": {"total": len(states), **{name: states.count(name) for name in names}},
            "losing": len(losing),
            "behind": 0,
            "datagrams_per_s": sum(c.rate_hz for c in self.clients.of_id.values() if c.state == State.LIVE),
            "sessions": {"total": len(states) + len(self.sessions.raw), "raw": len(self.sessions.raw)},
            "ledger": await self.ledger(),
            "closes": True,
            "links": await self.links.summary(),
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
            "datagrams_received_total": sum(self.clients.received(client) for client in self.clients.of_id.values()),
            "server_drops_total": {"magic": 3, "version": 0, "truncated": 1},
            "clients": {"live": len(self.clients.of_id)},
            "schedule_lag_seconds": 0.0001,
            "datagram_delay_seconds": Histogram([0.001, 0.01, float("inf")], [1, 3, 4], 0.03),
            **self.relays.counters(),
            **self.receivers.counters(),
            **self.senders.counters(),
            **self.recordings.counters(),
        }

    async def roster(self, since_version: int) -> Roster:
        return self.clients.roster(since_version)

    async def snapshot(self, watch_slots: list[int]) -> Snapshot:
        if self.busy:
            raise RequestError("too busy", kind="busy")
        if self.down:
            await asyncio.Event().wait()
        self.snapshots += 1
        self.watched.append(watch_slots)
        return self.clients.snapshot(watch_slots, self.snapshots, "default" in self.links.of)


def _link(body: Mapping[str, Any]) -> dict[str, Any]:
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
