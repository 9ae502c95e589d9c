"""The bridge: the colour server, the hosted clients, relays and what is kept of them, as one thing to drive.

No HTTP in here: the web app, scenarios and the bench all drive this. Its coroutines belong to one event loop. They ask
the two UDP threads through the threads' inboxes, so that no thread waits for another one's lock.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from udprism import __version__
from udprism.columns.types import Address
from udprism.errors import RequestError, StoreError
from udprism.ledger.timeline import Steps
from udprism.link.link import Link
from udprism.node import checks
from udprism.node.assembly import Assembly
from udprism.node.bodies.history import HistoryBody, history_body
from udprism.node.bodies.json import Json, as_json
from udprism.node.bodies.ledgers import WholeLedger, whole_ledger
from udprism.node.bodies.whole import Summary, status_body
from udprism.node.captures import FOLDER as CAPTURES
from udprism.node.captures import Captures
from udprism.node.clients import Clients
from udprism.node.directory import Directory
from udprism.node.flows import Flows
from udprism.node.heard import HeardByReceivers
from udprism.node.history_keeper import HistoryKeeper
from udprism.node.hosting import MOST_REASONS, bring_back
from udprism.node.kept import OWN_SERVER, Kept, KeptClient
from udprism.node.lanes import Lanes
from udprism.node.links import Links
from udprism.node.play import Stage
from udprism.node.receivers import KIND as RECEIVER
from udprism.node.receivers import Receivers
from udprism.node.recordings import FOLDER as RECORDINGS
from udprism.node.recordings import Recordings
from udprism.node.relays import Relays
from udprism.node.replays import Replays
from udprism.node.scenarios import Scenarios
from udprism.node.send_reports import SendReports
from udprism.node.senders import KIND as SENDER
from udprism.node.senders import Senders
from udprism.node.sessions import Sessions
from udprism.node.store import Store
from udprism.node.threads import Threads
from udprism.node.view import Roster, Snapshot
from udprism.settings import Settings
from udprism.udp.descriptors import raise_limit

__all__ = ["Bridge", "Roster", "Snapshot"]

log = logging.getLogger(__name__)


class Bridge:
    """Everything but the web app: its life, its subjects as attributes, and the whole. `start` and `stop` once each."""

    def __init__(
        self,
        settings: Settings,
        store: Store | None = None,
        *,
        given_up: Callable[[BaseException | None], None] = lambda error: None,
        delays_over_all_links: bool = False,
    ) -> None:
        """Binds the UDP sockets. Raises: BindError, with nothing left open.

        delays_over_all_links: keep a client's delay figures when its link changes. Otherwise they start again, so that
        the effect of a slider shows at once.
        """
        raise_limit()
        self.settings = settings
        self.instance_id = secrets.token_hex(8)
        self.identity = _identity(store)
        """Of what is kept: the same after a restart, another one for another directory. Lower-case hexadecimal."""
        self.started_unix_ns = time.time_ns()
        self._store = store
        self._rows_left_out = 0
        self._directory = Directory()
        self._assembly = assembly = Assembly(settings, given_up=given_up)
        self._threads = threads = Threads(assembly, store)
        self.links = Links(assembly, threads, self._directory, delays_over_all_links=delays_over_all_links)
        self.clients = Clients(assembly, threads, self._directory, self.links)
        self.sessions = Sessions(assembly, threads, self._directory)
        self.send_reports = SendReports(assembly, threads, self.instance_id)
        self.relays = Relays(store, assembly.lookups, assembly.note, keeps_history=settings.history_over_time)
        self.receivers = Receivers(settings, threads.keep, assembly.note, given_up)
        data = None if store is None else store.path.parent
        self._history_keeper = HistoryKeeper(assembly, data if settings.keep_history else None, given_up)
        self.recordings = Recordings(
            assembly, self.relays, self.receivers, None if data is None else data / RECORDINGS, given_up
        )
        self.captures = Captures(None if data is None else data / CAPTURES)
        self.replays = Replays(assembly.lookups, self.recordings.files, self.captures.path, assembly.note)
        self._lanes = Lanes(assembly, threads, self.receivers)
        heard = HeardByReceivers(self.receivers)
        self.senders = Senders(threads.keep, assembly.lookups, assembly.note, given_up)
        self._endpoints = (self.relays, self.receivers, self.senders)
        self.flows = Flows(assembly, threads, self.clients, self.relays, heard, self.senders, self.replays)
        stage = Stage(self.clients, self.links, self.schedule, alone=False)
        self.scenarios = Scenarios(stage, self.history, assembly.note, given_up)

    # -- life

    @property
    def udp_address(self) -> Address:
        """What the colour server is bound to."""
        return self._assembly.udp_address

    @property
    def udp_addresses(self) -> list[Address]:
        """All that the colour server is bound to: one address a family."""
        return self._assembly.udp_addresses

    @property
    def own_target(self) -> Address:
        """Where hosted clients find the colour server."""
        return self._assembly.own_target

    def start(self) -> None:
        """Start both threads and bring back what was kept; the first start makes `settings.clients` clients.

        Clients are there when this returns, and begin to ask for their streams. One that cannot is in state `error` and
        tries again. Those beyond `settings.max_clients` stay on the disk for a start with more room.
        """
        self._assembly.start_server()
        kept = None if self._store is None else self._store.load().with_names_once()
        if kept is not None:
            self._restore_links(kept)
        bring_back(self._assembly, self._directory, self._first_clients(kept))
        self._history_keeper.restore()
        self._assembly.note("restart", f"udprism {__version__} started")
        self._assembly.start_pool()
        self.relays.restore()
        if self._store is not None:
            self.receivers.restore(self._store.endpoints(RECEIVER))
            self.senders.restore(self._store.endpoints(SENDER))

    def _restore_links(self, kept: Kept) -> None:
        if kept.left_out:
            reasons = "; ".join(kept.left_out[:MOST_REASONS])
            log.warning("skipped damaged rows of the database: %d. %s", len(kept.left_out), reasons)
        self._rows_left_out = len(kept.left_out)
        self.links.restore(
            {owner: Link.from_body(body) for owner, body in kept.links.items()},
            None if kept.default_link is None else Link.from_body(kept.default_link),
        )

    def _first_clients(self, kept: Kept | None) -> list[KeptClient]:
        """Those that are kept; at the first start, and if nothing is kept, new ones."""
        if kept is not None and not kept.first_start:
            return kept.clients
        settings = self.settings
        definitions = self._directory.define(None, OWN_SERVER, settings.rate_hz, 1, "auto", settings.clients)
        if self._store is not None:
            self._store.add_clients(definitions)
        return definitions

    def stop(self) -> None:
        """BYE to measured clients, both threads ended, sockets and store closed; within two seconds or so."""
        self._history_keeper.stop()
        self.relays.stop()
        self.senders.stop()
        self.receivers.stop()
        self.replays.stop()
        self.recordings.stop()
        self.captures.stop()
        self._assembly.stop()
        if self._store is not None:
            self._store.close()

    # -- the whole

    async def ledger(self) -> Json:
        """What became of every datagram, all clients together."""
        return as_json(await self._threads.pool(self._whole_ledger))

    async def history(self, flow: str | None, from_unix_ns: int, to_unix_ns: int, step_s: float | None) -> HistoryBody:
        """What happened over time, to one flow (by id) or all hosted clients. Raises: RequestError (404)."""
        if flow is None:
            steps = await self._threads.pool(lambda: self._steps(from_unix_ns, to_unix_ns, step_s))
        else:
            try:
                steps = await self.flows.steps(flow, from_unix_ns, to_unix_ns, step_s)
            except RequestError as error:
                if error.kind != "not-found":
                    raise
                raise RequestError(f"no flow {flow!r}", field="flow", kind="not-found") from error
        events = self._assembly.events.between(from_unix_ns, to_unix_ns, flow)
        return history_body(steps, flow, events, self.started_unix_ns)

    async def snapshot(self, watch_slots: list[int]) -> Snapshot:
        """One moment of all clients and of what receivers hear, for the live feed."""
        return await self._lanes.snapshot(watch_slots)

    async def roster(self, since_version: int) -> Roster:
        """Who is in which slot."""
        return await self._lanes.roster(since_version)

    async def schedule(self) -> tuple[int, int]:
        """Datagrams that the colour server has made since its start, and those that were due and it did not make."""
        return await self._threads.server(self._assembly.server.schedule)

    async def status(self) -> Json:
        """What the page's header line shows."""

        def read() -> tuple[Summary, WholeLedger]:
            ledger = self._whole_ledger()
            return self._assembly.view.summary(), ledger

        clients, ledger = await self._threads.pool(read)
        links, server = self.links, self._assembly.server
        counts, summary = self.sessions.counts(), await links.summary()
        heard = await self._lanes.attention()
        return as_json(
            status_body(clients, ledger, counts, summary, server, [*links.attention(), *self.relays.attention()], heard)
        )

    async def keep_reply(self, command_id: str, reply: str) -> None:
        """Keep what a command of another node was answered, as far as it changed what is kept."""
        with suppress(RequestError):  # that it was done is kept already
            await self._threads.keep(lambda store: store.put_reply(command_id, reply))

    def checks(self) -> list[Json]:
        """What must be true for this program to do its work. From any thread."""
        found = checks.checks(self._assembly)
        if self._store is not None:
            found.append(checks.store_check(self._threads.store_error))
        return [as_json(check) for check in found]

    def counters(self) -> dict[str, Any]:
        """Figures for /metrics. From any thread."""
        return checks.counters(self._assembly) | {
            "clients_kept": len(self._directory) + len(self._directory.held_back),
            "clients_held_back": len(self._directory.held_back),
            "store_rows_left_out": self._rows_left_out + sum(one.rows_left_out for one in self._endpoints),
            "taps": self.clients.taps,
            **self.relays.counters(),
            **self.receivers.counters(),
            **self.senders.counters(),
            **self.recordings.counters(),
            **self.captures.counters(),
            **self.replays.counters(),
            **self.send_reports.counters(),
            "history_written_total": self._history_keeper.written,
            "history_write_errors_total": self._history_keeper.failed,
        }

    # -- the pool's thread

    def _whole_ledger(self) -> WholeLedger:
        self._assembly.pool.settle(self._assembly.clock.now_ns())
        return whole_ledger(self._assembly.pool.columns)

    def _steps(self, from_unix_ns: int, to_unix_ns: int, step_s: float | None) -> Steps:
        clock = self._assembly.clock
        offset_ns = clock.unix_ns() - clock.now_ns()
        return self._assembly.pool.timeline.whole(from_unix_ns, to_unix_ns, step_s, offset_ns)


def _identity(store: Store | None) -> str:
    if store is not None:
        with suppress(StoreError):  # a full disk: then the name is this process's alone
            return store.identity()
    return secrets.token_hex(4)
