"""The two UDP threads, built and wired to each other, and what may be asked of them together."""

from __future__ import annotations

import logging
import secrets
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from udprism.columns.types import NS_PER_MS, NS_PER_S, Address, is_loopback
from udprism.errors import UdprismError
from udprism.ledger.history import History
from udprism.ledger.latest import Latest
from udprism.ledger.ledger import Ledger
from udprism.ledger.rates import Rates
from udprism.ledger.taps import Taps
from udprism.ledger.timeline import Steps, Timeline
from udprism.ledger.witness import Witness
from udprism.link.delay_line import DelayLine
from udprism.link.model import LinkModel
from udprism.node.events import Events
from udprism.node.view import STATE_WORDS, Snapshot, View
from udprism.serving.admission import Admission
from udprism.serving.book import ClientColumns
from udprism.serving.clients import ClientTable
from udprism.serving.encoder import Encoder
from udprism.serving.sessions import SessionTable
from udprism.settings import Settings, reachable_host
from udprism.udp.arrivals import best_receiver
from udprism.udp.clock import SystemClock
from udprism.udp.descriptors import room
from udprism.udp.lookups import Lookups
from udprism.udp.networks import Targets, is_here, own_networks
from udprism.udp.outlet import MAX_BATCH, Outlet
from udprism.udp.pool import ClientPool
from udprism.udp.releaser import Releaser
from udprism.udp.server import ColourServer
from udprism.udp.sockets import bind_server, dropped_by_kernel
from udprism.udp.source import is_wildcard
from udprism.udp.thread import ThreadState
from udprism.udp.threads_engine import ThreadsEngine
from udprism.wire.measured import MAX_DATAGRAM_BYTES

log = logging.getLogger(__name__)

_WATCH_S = 0.5
_ROW_BYTES = 64
"""Bytes read of each datagram, if the history does not want more: enough for a report; its true length is known all
the same."""
_SIZES = (
    "UDPRISM_MAX_CLIENTS",
    "UDPRISM_HISTORY_DATAGRAMS",
    "UDPRISM_HISTORY_PAYLOAD_BYTES",
    "UDPRISM_LINK_QUEUE_DATAGRAMS",
)
"""What makes the large tables large."""
_MOST_ARRIVALS = 2048


_DETAIL = {
    ThreadState.RUNNING: "running",
    ThreadState.RESTARTING: "restarting; last cause: {}",
    ThreadState.BUSY: "busy: no heartbeat for two seconds, but it gets on",
    ThreadState.HANGS: "hangs: no heartbeat for two seconds",
    ThreadState.ENDED: "ended; last cause: {}",
}


class Works:
    """The colour server and the hosted clients. Methods say whose thread they are for."""

    def __init__(
        self,
        settings: Settings,
        *,
        given_up: Callable[[BaseException | None], None],
    ) -> None:
        """Raises: BindError, or UdprismError for tables that no memory holds, with nothing left open."""
        self.settings = settings
        self._clock = SystemClock()
        host, port = settings.udp_address
        sockets = bind_server(host, port, settings.receive_buffer_bytes)
        self.udp_addresses = [_address(sock) for sock in sockets]
        self.udp_address = self.udp_addresses[0]
        self.events = Events()
        self.targets = Targets(settings.allow_target, [settings.http_address[1]])
        self.lookups = Lookups(self.targets.resolve)
        self.client_of_address: dict[Address, str] = {}
        """Hosted clients by the address from which they speak. The pool's thread writes, any thread may look up."""
        try:
            self.server = self._make_server(sockets, given_up)
        except MemoryError:
            for sock in sockets:
                sock.close()
            raise _too_large() from None
        try:
            self.pool, self.view = self._make_pool(given_up)
        except MemoryError:
            self.server.stop()
            raise _too_large() from None
        self._stopped = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="udprism-watch", daemon=True)

    def _make_server(
        self, sockets: list[socket.socket], given_up: Callable[[BaseException | None], None]
    ) -> ColourServer:
        settings = self.settings
        table = SessionTable(
            settings.max_sessions, settings.rate_hz, settings.max_responses, partial(next, _random_words())
        )
        witness = Witness(
            table.session_id,
            table.next_sequence,
            table.slot_of_id,
            table.slot_of_address,
            table.ended,
            settings.max_fate_reports,
        )
        admission = Admission(
            secrets.token_bytes(32),
            networks=own_networks,
            trusted=settings.udp_trust,
            own_ports=[self.udp_address[1]],
            beyond_loopback=not is_loopback(settings.udp_address[0]),
            lan_lease_ns=round(settings.udp_lan_lease_s * NS_PER_S),
            lease_ns=round(settings.udp_lease_s * NS_PER_S),
            max_remote_sessions=settings.max_remote_sessions,
        )
        releaser = None  # it knows the server's own sockets, and no stream's
        if settings.engine == "batch":
            releaser = Releaser.where_possible(sockets, settings.link_queue_datagrams, MAX_DATAGRAM_BYTES)
        outlet = Outlet(
            sockets,
            table,
            witness,
            LinkModel(settings.max_sessions),
            DelayLine(settings.link_queue_datagrams, MAX_DATAGRAM_BYTES, None if releaser is None else releaser.rows),
            self._clock,
            releaser,
        )
        encoder = Encoder(table, np.random.default_rng(), MAX_BATCH)
        engine = ThreadsEngine(table, encoder, outlet, self._clock) if settings.engine == "threads" else None
        return ColourServer(
            sockets,
            table,
            admission,
            encoder,
            outlet,
            witness,
            self._clock,
            owner_of=self.client_of_address,
            engine=engine,
            given_up=given_up,
        )

    def _make_pool(self, given_up: Callable[[BaseException | None], None]) -> tuple[ClientPool, View]:
        settings = self.settings
        ledger = Ledger(
            settings.max_clients,
            window=settings.history_datagrams,
            loss_after_ns=round(settings.loss_after_s * NS_PER_S),
            loss_after_arrivals=settings.loss_after_arrivals,
        )
        history = History(settings.max_clients, settings.history_datagrams, settings.history_payload_bytes)
        columns = ClientColumns(
            ClientTable(settings.max_clients),
            ledger,
            history,
            Rates(settings.max_clients),
            Latest(settings.max_clients),
            Timeline(settings.max_clients, self._clock.now_ns(), keep_flows=settings.history_over_time),
        )
        row_bytes = max(_ROW_BYTES, settings.history_payload_bytes)
        view = View(columns, self.server.links)
        pool = ClientPool(
            columns,
            Taps(),
            best_receiver(settings.max_clients, row_bytes, _MOST_ARRIVALS, settings.coalesce_ms / 1000),
            self._clock,
            np.random.default_rng(),
            client_buffer_bytes=settings.client_buffer_bytes,
            silent_after_ns=round(settings.silent_after_s * NS_PER_S),
            max_sockets=room(),
            lookups=self.lookups,
            is_ours=self.is_ours,
            witness=self.server.witness,
            swept=self._swept,
            client_of_address=self.client_of_address,
            given_up=given_up,
        )
        return pool, view

    def now_ns(self) -> int:
        """The time by which both threads go. Any thread."""
        return self._clock.now_ns()

    # -- life

    @property
    def own_target(self) -> Address:
        """Where clients on this machine find the colour server."""
        host, port = self.udp_address
        return reachable_host(host), port

    def is_ours(self, address: Address) -> bool:
        """Whether our own server is at this address and answers from it: clients that ask there need not fall back."""
        if self.settings.engine != "batch":
            return False
        if address in (self.own_target, *self.udp_addresses):
            return True
        wildcards = [own for own in self.udp_addresses if is_wildcard(own[0]) and own[1] == address[1]]
        return any((":" in own[0]) == (":" in address[0]) for own in wildcards) and is_here(address)

    def start_server(self) -> None:
        """Start the colour server's thread."""
        self.server.start()

    def start_pool(self) -> None:
        """Start the hosted clients' thread, and the watch over both; until then the pool is the caller's."""
        self.pool.start()
        self._watcher.start()

    def stop(self) -> None:
        """End them: the clients first, so that they do not take the server's BYE for a fault."""
        self._stopped.set()
        self.lookups.close()
        self.pool.stop()
        self.server.stop()
        if self._watcher.is_alive():
            self._watcher.join(2.0)

    def _watch(self) -> None:
        """Tell busy from hanging, and give up what hangs for good. Its own thread, because those it watches cannot."""
        while not self._stopped.wait(_WATCH_S):
            self.server.thread.watch()
            self.pool.thread.watch()

    # -- the pool's thread

    def client_bodies(self, slots: list[int]) -> list[dict[str, Any]]:
        """These clients' bodies, of one moment."""
        now_ns = self._clock.now_ns()
        self.pool.settle(now_ns)
        return self.view.clients(slots, now_ns)

    def matching(self, state: str | None, query: str | None) -> list[int]:
        """Slots of the clients in this state whose name, id or target has this text, by name."""
        table = self.pool.table
        text = (query or "").casefold()
        return [
            slot
            for name, slot in sorted(table.slot_of_name.items())
            if (state is None or STATE_WORDS[int(table.state[slot])] == state)
            and (
                text in name.casefold()
                or text in table.clients[slot].id
                or text in table.clients[slot].target.casefold()
            )
        ]

    def datagrams(self, slot: int, limit: int) -> list[dict[str, Any]]:
        """The client's last datagrams, newest last."""
        self.pool.settle(self._clock.now_ns())
        ledger = self.pool.ledger
        shared_clock = bool(ledger.shared_clock[slot])
        return self.pool.columns.history.rows(slot, limit, ledger.next_sequence(slot), shared_clock=shared_clock)

    def snapshot(self, watch: list[int]) -> Snapshot:
        """One consistent moment for the live feed."""
        now_ns = self._clock.now_ns()  # not settled for it: the sweep has done so an eighth of a second ago
        self.pool.columns.latest.take_frame(self.pool.table.high)
        return self.view.snapshot(watch, now_ns, self._clock.unix_ns())

    def _swept(self, now_ns: int) -> None:
        """What is noted a few times per second, beside the timeline."""
        table, unix_ns = self.pool.table, self._clock.unix_ns()
        self.events.watch_states(unix_ns, table.state[: table.high], self._flow_at)
        self.events.watch_schedule(unix_ns, self.server.skipped_ticks)

    def _flow_at(self, slot: int) -> tuple[str, str] | None:
        client = self.pool.table.clients.get(slot)
        return None if client is None else (client.id, client.name)

    def history(self, slot: int | None, from_unix_ns: int, to_unix_ns: int, step_s: float | None) -> Steps:
        """What happened over time, to one client or all of them; a client that is asked for is kept in finer steps."""
        now_ns = self._clock.now_ns()
        offset_ns = self._clock.unix_ns() - now_ns
        timeline = self.pool.timeline
        if slot is None:
            return timeline.whole(from_unix_ns, to_unix_ns, step_s, offset_ns)
        timeline.watch(slot, now_ns, self.pool.ledger)
        return timeline.flow(slot, from_unix_ns, to_unix_ns, step_s, offset_ns)

    def whole_ledger(self) -> dict[str, Any]:
        """All clients' ledger."""
        self.pool.settle(self._clock.now_ns())
        return self.view.ledger()

    def status(self) -> dict[str, Any]:
        """The header line's figures, but for sessions and links."""
        self.pool.settle(self._clock.now_ns())
        status = self.view.status()
        ledger = status["ledger"]
        server = self.server
        status["closes"] = ledger["sent"] == ledger["received"] + ledger["lost"] + ledger["in_flight"]
        status["schedule"] = {"lag_ms": server.lag_ns / NS_PER_MS, "skipped_ticks": server.skipped_ticks}
        status["server"] = {
            "state": server.thread.state.value,
            "restarts": server.thread.restarts,
        }
        return status

    def restart_delays(self, client_ids: Collection[str] | None, but: Collection[str] = ()) -> None:
        """The links of these clients (None: of all but some) have changed: their delays and jitter begin anew."""
        slot_of_id = self.pool.table.slot_of_id
        if client_ids is None:
            slots = [slot for client_id, slot in slot_of_id.items() if client_id not in but]
        else:
            slots = [slot_of_id[client_id] for client_id in client_ids if client_id in slot_of_id]
        self.pool.ledger.delays.restart(np.array(slots, np.int32))

    # -- the server's thread

    def session_bodies(self, limit: int, query: str, names: Mapping[Address, str]) -> tuple[list[dict[str, Any]], int]:
        """Raw sessions first, newest first: those that match, and how many these are.

        names: of hosted clients; needed for a query only.
        """
        table, now_ns, client_of = self.server.table, self._clock.now_ns(), self.client_of_address
        order = sorted(
            table.matching(query, names),
            key=lambda slot: (table.sessions[slot].address in client_of, -table.sessions[slot].started_ns),
        )
        bodies = []
        for slot in order[:limit]:
            body = table.body(slot, now_ns)
            body["client_id"] = client_of.get(table.sessions[slot].address)
            body["kind"] = "raw" if body["client_id"] is None else "hosted"
            link = self.server.links.own_of(slot)
            body["link"] = None if link is None else link.to_body()
            bodies.append(body)
        return bodies, len(order)

    def session_counts(self) -> dict[str, int]:
        """All sessions, and those of raw clients. Any thread."""
        total = len(self.server.table)
        return {"total": total, "raw": max(0, total - self.server.links.owned)}

    # -- any thread

    def checks(self) -> list[dict[str, Any]]:
        """Whether both threads are alive, and what sends delayed datagrams."""
        checks: list[dict[str, Any]] = [
            {
                "name": name,
                "ok": thread.state == ThreadState.RUNNING,
                "detail": _DETAIL[thread.state].format(thread.last_cause),
                "fatal": True,
            }
            for name, thread in (("server", self.server.thread), ("pool", self.pool.thread))
        ]
        ok, detail = self.server.outlet.releaser_state
        return [*checks, {"name": "link", "ok": ok, "detail": detail, "fatal": False}]

    def counters(self) -> dict[str, Any]:
        """Figures for /metrics: `…_total` grows, the rest are gauges."""
        server, pool = self.server, self.pool
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
            "server_drops_total": dict(server.drops),
            "pool_drops_total": dict(pool.drops),
            "pool_batches_total": pool.batches,
            "pool_datagrams_total": pool.intake.datagrams,
            "taps_dropped_total": pool.taps.dropped,
            "loss_reports_forgotten_total": pool.ledger.reports_forgotten,
            "sessions_without_thread_total": server.engine.refused if server.engine else 0,
            "datagram_delay_seconds": pool.ledger.delays.histogram(),
            "commands_total": server.commands,
            "sessions": len(server.table),
            "clients": {word: int(states[value]) for value, word in STATE_WORDS.items() if value},
            "schedule_lag_seconds": server.lag_ns / NS_PER_S,
            "skipped_ticks_total": server.skipped_ticks,
            "link_queue_datagrams": len(server.outlet.line),
            "link_turned_away_total": server.outlet.turned_away,
            "link_process_starts_total": server.outlet.releaser_starts,
            "fate_reports_forgotten_total": server.witness.forgotten,
            "thread_restarts_total": {"server": server.thread.restarts, "pool": pool.thread.restarts},
            "history_bytes": pool.columns.history.nbytes,
            "events_total": self.events.noted,
        }


def _random_words() -> Iterator[int]:
    """Unguessable 32-bit numbers, for ever; drawn many at a time, because a system call for each takes 90 µs."""
    while True:
        yield from memoryview(secrets.token_bytes(4096)).cast("I")


def _address(sock: socket.socket) -> Address:
    name = sock.getsockname()
    return name[0], name[1]


def _too_large() -> UdprismError:
    return UdprismError(f"not enough memory for such tables: lower one of {', '.join(_SIZES)}")
