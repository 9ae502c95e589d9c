"""Relays that run, or will again: a process that died is replaced, and what could not begin is tried again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from udprism.columns.types import Address
from udprism.errors import RelayError, UdprismError
from udprism.node.relay_history import RelayHistory
from udprism.node.relay_totals import RelayTotals
from udprism.relay.plan import Plan
from udprism.relay.relay import Relay
from udprism.udp.clock import SystemClock

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.5
TRY_AGAIN_S = 5.0
_STOPS_WITHIN_S = 5.0
_TOLD_S = 10.0
_STARTING = "it is being started"


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

    def __init__(self, permit: Callable[[Address], object], *, keeps_history: bool = True) -> None:
        """permit: whether it may be sent to this address now. Raises: RequestError.

        keeps_history: whether each flow has figures over time.
        """
        self._permit, self._keeps_history = permit, keeps_history
        self.totals = RelayTotals()
        self._turned_back: WeakKeyDictionary[Relay, int] = WeakKeyDictionary()
        self._without_room_s = -_TOLD_S
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
        """Look after this one. One that does not run yet is begun beside the caller: each takes a process's start."""
        if entry.relay is None:
            entry.error = _STARTING
        with self._lock:
            self._entries[entry.id] = entry
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._look, name="udprism-relays", daemon=True)
                self._watcher.start()

    def take(self, relay_id: str) -> None:
        """Look after it no more, and end it."""
        with self._lock:
            entry = self._entries.pop(relay_id)
        if entry.relay is not None:
            entry.relay.close()
            self.totals.add_ended(entry.relay)

    @property
    def lacks_room(self) -> bool:
        """Whether a relay's links had no room for what they would have delayed, within the last seconds."""
        return time.monotonic() - self._without_room_s < _TOLD_S

    def counters(self) -> dict[str, Any]:
        """For /metrics."""
        entries = self.all()
        running = [relay for entry in entries if (relay := entry.relay) is not None]
        return {"relays": len(entries), **self.totals.counters(running)}

    def sample(self, entry: Entry, relay: Relay) -> RelayHistory:
        """Its figures over time, up to date. Raises: RelayError."""
        with self._lock:
            if entry.history is None:
                entry.history = RelayHistory(entry.plan.max_flows, SystemClock(), keeps_flows=self._keeps_history)
        entry.history.sample(relay.read())
        return entry.history

    def stop(self) -> None:
        """End all of them, each beside the others: one whose process hangs takes some seconds."""
        self._ended.set()
        running = [relay for entry in self.all() if (relay := entry.relay) is not None]
        endings = [threading.Thread(target=relay.close, name="udprism-relay-end", daemon=True) for relay in running]
        for thread in endings:
            thread.start()
        until_s = time.monotonic() + _STOPS_WITHIN_S
        for thread in [*endings, *filter(None, [self._watcher])]:
            thread.join(max(0.0, until_s - time.monotonic()))

    def _look(self) -> None:
        while True:
            for entry in self.all():
                if self._ended.is_set():
                    return
                try:
                    if entry.relay is not None:
                        entry.relay.watch()
                        self._look_for_want_of_room(entry.relay)
                        with suppress(RelayError):  # its process is in the middle of a batch, or was replaced there
                            self.sample(entry, entry.relay)
                    elif time.monotonic() >= entry.next_try_s:
                        self._try(entry)
                except (
                    UdprismError,
                    OSError,
                    MemoryError,
                ) as error:  # nothing that befalls one relay may end the watch over all
                    self._give_up(entry, error)
            if self._ended.wait(_LOOK_EVERY_S):
                return

    def _look_for_want_of_room(self, relay: Relay) -> None:
        turned_back = relay.turned_back
        if turned_back > self._turned_back.get(relay, 0):
            self._without_room_s = time.monotonic()
        self._turned_back[relay] = turned_back

    def _try(self, entry: Entry) -> None:
        self._permit(entry.plan.target)  # addresses of this machine come and go
        entry.relay, entry.error = Relay(entry.plan), None
        with self._lock:
            is_wanted = self._entries.get(entry.id) is entry and not self._ended.is_set()
        if not is_wanted:
            entry.relay.close()  # it was taken away meanwhile

    def _give_up(self, entry: Entry, error: Exception) -> None:
        relay, entry.relay, entry.next_try_s = entry.relay, None, time.monotonic() + TRY_AGAIN_S
        if relay is not None:
            relay.close()
            self.totals.add_ended(relay)
        if str(error) != entry.error:
            log.warning("the relay %s is not running: %s", entry.plan.name, error)
        entry.error = str(error)
