"""The composition root: builds the two UDP threads and connects them. Nothing is asked of it."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from udprism.columns.types import NS_PER_S, Address, is_loopback
from udprism.errors import UdprismError
from udprism.ledger.history import History
from udprism.ledger.latest import Latest
from udprism.ledger.ledger import Ledger
from udprism.ledger.rates import Rates
from udprism.ledger.send_log import SendLog
from udprism.ledger.taps import Taps
from udprism.ledger.timeline import Timeline, ledger_totals
from udprism.link.delay_line import DelayLine
from udprism.link.model import LinkModel
from udprism.node.events import Events, changed_by
from udprism.node.view import View
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
from udprism.udp.sockets import bind_server
from udprism.udp.source import is_wildcard
from udprism.udp.threads_engine import ThreadsEngine
from udprism.wire.measured import MAX_DATAGRAM_BYTES

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


class Assembly:
    """The colour server, the hosted clients, and what both use."""

    def __init__(
        self,
        settings: Settings,
        *,
        given_up: Callable[[BaseException | None], None],
    ) -> None:
        """Raises: BindError, or UdprismError for tables that no memory holds, with nothing left open."""
        self.settings = settings
        self.clock = SystemClock()
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
        send_log = SendLog(
            table.session_id,
            table.next_sequence,
            table.slot_of_id,
            table.slot_of_address,
            table.ended,
            settings.max_fate_reports,
            table.remote_send_log,
        )
        releaser = None  # it knows the server's own sockets, and no stream's
        if settings.engine == "batch":
            releaser = Releaser.where_possible(sockets, settings.link_queue_datagrams, MAX_DATAGRAM_BYTES)
        outlet = Outlet(
            sockets,
            table,
            send_log,
            LinkModel(settings.max_sessions),
            DelayLine(settings.link_queue_datagrams, MAX_DATAGRAM_BYTES, None if releaser is None else releaser.rows),
            self.clock,
            releaser,
        )
        encoder = Encoder(table, np.random.default_rng(), MAX_BATCH)
        engine = ThreadsEngine(table, encoder, outlet, self.clock) if settings.engine == "threads" else None
        return ColourServer(
            sockets,
            table,
            self._make_admission(),
            encoder,
            outlet,
            send_log,
            self.clock,
            owner_of=self.client_of_address,
            engine=engine,
            given_up=given_up,
        )

    def _make_admission(self) -> Admission:
        settings = self.settings
        return Admission(
            secrets.token_bytes(32),
            networks=own_networks,
            trusted=settings.udp_trust,
            own_ports=[self.udp_address[1]],
            beyond_loopback=not is_loopback(settings.udp_address[0]),
            lan_lease_ns=round(settings.udp_lan_lease_s * NS_PER_S),
            lease_ns=round(settings.udp_lease_s * NS_PER_S),
            max_remote_sessions=settings.max_remote_sessions,
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
            Timeline(
                settings.max_clients,
                self.clock.now_ns(),
                partial(ledger_totals, ledger),
                keep_flows=settings.history_over_time,
            ),
        )
        row_bytes = max(_ROW_BYTES, settings.history_payload_bytes)
        view = View(columns, self.server.links)
        pool = ClientPool(
            columns,
            Taps(),
            best_receiver(settings.max_clients, row_bytes, _MOST_ARRIVALS, settings.coalesce_ms / 1000),
            self.clock,
            np.random.default_rng(),
            client_buffer_bytes=settings.client_buffer_bytes,
            silent_after_ns=round(settings.silent_after_s * NS_PER_S),
            max_sockets=room(),
            lookups=self.lookups,
            is_ours=self.is_ours,
            send_log=self.server.send_log,
            swept=self._swept,
            client_of_address=self.client_of_address,
            given_up=given_up,
        )
        return pool, view

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
        self.server.thread.start()

    def start_pool(self) -> None:
        """Start the hosted clients' thread, and the watch over both; until then the pool is the caller's."""
        self.pool.thread.start()
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

    def note(self, kind: str, text: str, flow: str | None = None) -> None:
        """Mark an event on the charts, now, and who asked for it; a scenario's own marks name it. Any thread."""
        whom = None if kind == "scenario" else changed_by.get()
        self.events.note(self.clock.unix_ns(), kind, text if whom is None else f"{text}, by {whom}", flow)

    # -- the pool's thread

    def _swept(self, now_ns: int) -> None:
        """What is noted a few times per second, beside the timeline."""
        table, unix_ns = self.pool.table, self.clock.unix_ns()
        self.events.watch_states(unix_ns, table.state[: table.high], self._flow_at)
        self.events.watch_schedule(unix_ns, self.server.skipped_ticks)

    def _flow_at(self, slot: int) -> tuple[str, str] | None:
        client = self.pool.table.clients.get(slot)
        return None if client is None else (client.id, client.name)


def _random_words() -> Iterator[int]:
    """Unguessable 32-bit numbers, for ever; drawn many at a time, because a system call for each takes 90 µs."""
    while True:
        yield from memoryview(secrets.token_bytes(4096)).cast("I")


def _address(sock: socket.socket) -> Address:
    name = sock.getsockname()
    return name[0], name[1]


def _too_large() -> UdprismError:
    return UdprismError(f"not enough memory for such tables: lower one of {', '.join(_SIZES)}")
