"""Events: links changed, clients fell silent, ticks were skipped. They are marks on every curve of the page."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np

from udprism.columns.types import NS_PER_S, U8Column
from udprism.serving.clients import State

changed_by: ContextVar[str | None] = ContextVar("changed_by", default=None)
"""Who asked for what is being done, in words: the page or a program and its host, a node, a scenario. None: nobody."""
MAX_EVENTS = 2000
MAX_NAMED_AT_ONCE = 8
"""If more flows than this change their state in the same moment, one event counts them."""
_CALM_NS = 2 * NS_PER_S
_TOLD = {State.LIVE: "live", State.SILENT: "silent", State.REFUSED: "refused", State.ERROR: "error"}


@dataclass(frozen=True, slots=True)
class Event:
    """kind: link, client, state, schedule, restart, recording or scenario. flow: an id; None means all."""

    unix_ns: int
    kind: str
    text: str
    flow: str | None = None


class Events:
    """The last MAX_EVENTS events. `note` and `between` may be called from any thread, `watch_states` from one only."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._state: U8Column = np.zeros(0, np.uint8)
        self._skipped = self._skipped_before = 0
        self._skipping_since_unix_ns: int | None = None
        self._skipped_last_unix_ns = 0
        self.noted = 0
        """How many there ever were; those beyond MAX_EVENTS are gone."""

    def note(self, unix_ns: int, kind: str, text: str, flow: str | None = None) -> None:
        """Keep an event."""
        self._events.append(Event(unix_ns, kind, text, flow))
        self.noted += 1

    def between(self, from_unix_ns: int, to_unix_ns: int, flow: str | None = None) -> list[Event]:
        """Events of that stretch, oldest first. flow: only its own and those that concern all."""
        return [
            event
            for event in list(self._events)
            if from_unix_ns <= event.unix_ns < to_unix_ns and (flow is None or event.flow in (None, flow))
        ]

    def kept(self) -> list[Event]:
        """All of them, oldest first."""
        return list(self._events)

    def restore(self, events: list[Event]) -> None:
        """Begin with those of an earlier run. Before anything else is noted."""
        self._events.extend(events)

    def watch_states(self, unix_ns: int, state: U8Column, who: Callable[[int], tuple[str, str] | None]) -> None:
        """Note flows whose state changed since the last call. who: a slot's id and name; None if it is free."""
        before, self._state = self._state, state.copy()
        known = min(len(before), len(state))
        changed = np.flatnonzero((before[:known] != state[:known]) & (before[:known] != State.FREE))
        if not len(changed):
            return
        for after, word in _TOLD.items():
            slots = changed[state[changed] == after]
            if after == State.LIVE:  # coming back is an event, connecting for the first time is not
                slots = slots[np.isin(before[slots], (State.SILENT, State.REFUSED, State.ERROR))]
            if len(slots) > MAX_NAMED_AT_ONCE:
                self.note(unix_ns, "state", f"{len(slots)} flows: {word}")
                continue
            for flow, name in _named(slots.tolist(), who):
                self.note(unix_ns, "state", f"{name}: {word}", flow)

    def watch_schedule(self, unix_ns: int, skipped_ticks: int) -> None:
        """Note that the server's schedule skipped ticks. A stretch of skipping is one event, noted when
        nothing was skipped for two seconds.

        skipped_ticks: all so far.
        """
        skipped = skipped_ticks - self._skipped
        since = self._skipping_since_unix_ns
        if skipped:
            if since is None:
                self._skipping_since_unix_ns = unix_ns
                self._skipped_before = self._skipped
            self._skipped_last_unix_ns = unix_ns
        elif since is not None and unix_ns - self._skipped_last_unix_ns > _CALM_NS:
            self._skipping_since_unix_ns = None
            lasted_s = (self._skipped_last_unix_ns - since) / NS_PER_S
            missing = skipped_ticks - self._skipped_before
            self.note(since, "schedule", f"the sender skipped {missing} ticks of its schedule within {lasted_s:.1f} s")
        self._skipped = skipped_ticks


def _named(slots: list[int], who: Callable[[int], tuple[str, str] | None]) -> Iterator[tuple[str, str]]:
    for slot in slots:
        found = who(slot)
        if found is not None:
            yield found
