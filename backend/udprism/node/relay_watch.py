"""Relays that run, or will again: a process that died is replaced, and what could not begin is tried again."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from udprism.errors import BindError, RelayError
from udprism.node.relay_history import RelayHistory
from udprism.relay.plan import Plan
from udprism.relay.relay import Relay
from udprism.udp.clock import SystemClock

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.5
TRY_AGAIN_S = 5.0


@dataclass(slots=True)
class Entry:
    """One relay. plan: as it is kept; relay: None while it cannot run, and error says why."""

    id: str
    plan: Plan
    relay: Relay | None = None
    error: str | None = None
    next_try_s: float = 0.0
    history: RelayHistory | None = None


class RelayWatch:
    """All entries, in the order in which they were put. Any thread; one of its own looks after them."""

    def __init__(self, *, keeps_history: bool = True) -> None:
        """keeps_history: whether each flow has figures over time."""
        self._keeps_history = keeps_history
        self._entries: dict[str, Entry] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._watcher: threading.Thread | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def all(self) -> list[Entry]:
        """Those that there are."""
        with self._lock:
            return list(self._entries.values())

    def get(self, relay_id: str) -> Entry | None:
        """One of them."""
        return self._entries.get(relay_id)

    def put(self, entry: Entry) -> None:
        """Look after this one; begin it, unless it runs. May block for as long as a process takes to start."""
        if entry.relay is None:
            self._try(entry)
        with self._lock:
            self._entries[entry.id] = entry
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._look, name="udprism-relays", daemon=True)
                self._watcher.start()

    def take(self, relay_id: str) -> None:
        """Look after it no more."""
        with self._lock:
            del self._entries[relay_id]

    def sample(self, entry: Entry, relay: Relay) -> RelayHistory:
        """Its figures over time, up to date. Raises: RelayError."""
        with self._lock:
            if entry.history is None:
                entry.history = RelayHistory(entry.plan.max_flows, SystemClock(), keeps_flows=self._keeps_history)
        entry.history.sample(relay.read())
        return entry.history

    def stop(self) -> None:
        """End all of them."""
        self._ended.set()
        if self._watcher is not None:
            self._watcher.join()
        for entry in self.all():
            if entry.relay is not None:
                entry.relay.close()

    def _look(self) -> None:
        while not self._ended.wait(_LOOK_EVERY_S):
            for entry in self.all():
                try:
                    if entry.relay is not None:
                        entry.relay.watch()
                        self.sample(entry, entry.relay)
                    elif time.monotonic() >= entry.next_try_s:
                        begun = self._try(entry)
                        if begun is not None and entry.id not in self._entries:
                            begun.close()  # it was taken away meanwhile
                except RelayError as error:
                    if entry.relay is not None:
                        entry.relay.close()
                    self._give_up(entry, error)

    def _try(self, entry: Entry) -> Relay | None:
        try:
            entry.relay, entry.error = Relay(entry.plan), None
        except (BindError, RelayError) as error:
            self._give_up(entry, error)
        return entry.relay

    def _give_up(self, entry: Entry, error: BindError | RelayError) -> None:
        entry.relay, entry.error, entry.next_try_s = None, str(error), time.monotonic() + TRY_AGAIN_S
        log.warning("the relay %s is not running: %s", entry.plan.name, error)
