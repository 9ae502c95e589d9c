"""The hosted clients' table: their targets and states, and when each has something to do. `rules` says what follows."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np

from udprism.columns.runs import is_among
from udprism.columns.types import NEVER_NS, Address, BoolColumn, I32Column, I64Column

ModeName = Literal["auto", "measured", "plain"]
UNANSWERED_BEFORE_FALLBACK = 2
"""Tries that a client makes by itself, before it waits for others."""
MAX_REMOVALS_KEPT = 4096
MAX_PROBERS = 32
"""Clients that keep asking a target that does not answer at their own pace; all others wait for their result."""


class State(IntEnum):
    """A hosted client's state. FREE marks an unused slot."""

    FREE = 0
    CONNECTING = 1
    LIVE = 2
    SILENT = 3
    REFUSED = 4
    ERROR = 5
    PAUSED = 6


class Mode(IntEnum):
    """Which stream a hosted client asked for, or (as `stream`) which one it gets."""

    AUTO = 0
    MEASURED = 1
    PLAIN = 2


_WITHOUT_STREAM = np.isin(np.arange(len(State)), (State.CONNECTING, State.SILENT, State.REFUSED, State.ERROR))
"""By state."""


@dataclass(slots=True)
class HostedClient:
    """The rarely used half of a client, which no batch touches."""

    id: str
    name: str
    target: str
    address: Address
    loopback: bool
    mode: Mode
    rate_hz: float
    colours: int
    connected: bool
    falls_back: bool = True
    """Whether to try the bare `connect`: not if the target is known to speak the measured stream."""
    local: Address = ("", 0)
    local_address: str = ""
    token: str | None = None
    error: str | None = None


class ClientTable:
    """Hosted clients by slot, id and name. All columns are [max_clients]. Pool thread only."""

    def __init__(self, max_clients: int) -> None:
        self.max_clients = max_clients
        self.state = np.zeros(max_clients, np.uint8)
        self.stream = np.zeros(max_clients, np.uint8)
        self.session_id = np.zeros(max_clients, np.uint32)
        self.timer_ns = np.full(max_clients, NEVER_NS, np.int64)
        self.last_arrival_ns = np.zeros(max_clients, np.int64)
        self.silent_after_ns = np.zeros(max_clients, np.int64)
        self.asked_hz = np.zeros(max_clients)
        """The rate that each client asks for."""
        self.attempts = np.zeros(max_clients, np.int32)
        self.refused = np.zeros(max_clients, np.bool_)
        """Whether the target's host has reported, after the client's last try, that nothing listens there."""
        self.has_socket = np.zeros(max_clients, np.bool_)
        """Whether the client can send: a system may be out of descriptors, ports, or a network to the target."""
        self.target = np.zeros(max_clients, np.int64)
        """int64: the same number for the same address."""
        self.report_sequence = np.zeros(max_clients, np.int64)
        self.rtt_ns = np.zeros(max_clients, np.int64)
        self.high = 0
        """Slots at and beyond this one were never used."""
        self.clients: dict[int, HostedClient] = {}
        self.slot_of_id: dict[str, int] = {}
        self.slot_of_name: dict[str, int] = {}
        self.roster_version = 0
        self.changed_in = np.zeros(max_clients, np.int64)
        """int64: the roster version in which a slot last changed."""
        self.removals: deque[tuple[int, int]] = deque(maxlen=MAX_REMOVALS_KEPT)
        """(version, slot), oldest first: what a viewer that knows an earlier version has to forget."""
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self.clients)

    def add(self, client: HostedClient, silent_after_ns: int, now_ns: int) -> int:
        """Give a client a slot; its first attempt is due at once. The caller has checked that there is room."""
        if self._free:
            slot = heapq.heappop(self._free)
        else:
            slot = self.high
            self.high += 1
        self.clients[slot] = client
        self.slot_of_id[client.id] = slot
        self.slot_of_name[client.name] = slot
        self.target[slot] = hash(client.address)
        self.silent_after_ns[slot] = silent_after_ns
        self.asked_hz[slot] = client.rate_hz
        self.last_arrival_ns[slot] = 0
        self.report_sequence[slot] = 0
        self.rtt_ns[slot] = 0
        self.restart(slot, now_ns)
        self.touch([slot])
        return slot

    def remove(self, slot: int) -> HostedClient:
        """Forget a client; its slot is free at once."""
        client = self.clients.pop(slot)
        del self.slot_of_id[client.id]
        del self.slot_of_name[client.name]
        self.state[slot] = State.FREE
        self.timer_ns[slot] = NEVER_NS
        self.session_id[slot] = 0
        self.has_socket[slot] = False
        self.roster_version += 1
        self.removals.append((self.roster_version, slot))
        heapq.heappush(self._free, slot)
        return client

    def restart(self, slot: int, now_ns: int) -> None:
        """Start asking for a stream again."""
        self.state[slot] = State.CONNECTING
        self.stream[slot] = Mode.AUTO
        self.forget_session(slot)
        self.attempts[slot] = 0
        self.refused[slot] = False
        self.timer_ns[slot] = now_ns

    def forget_session(self, slot: int) -> None:
        """Whatever arrives next, plain or measured, is a new stream."""
        self.session_id[slot] = 0

    def touch(self, slots: Iterable[int]) -> None:
        """The roster's entries of these slots have changed."""
        self.roster_version += 1
        self.changed_in[list(slots)] = self.roster_version

    def rename(self, slot: int, name: str) -> None:
        """Rename a client. The caller has checked that the name is free."""
        client = self.clients[slot]
        del self.slot_of_name[client.name]
        client.name = name
        self.slot_of_name[name] = slot

    def due(self, now_ns: int) -> I32Column:
        """Slots whose timer has run out: int32[n]."""
        return np.flatnonzero(self.timer_ns[: self.high] <= now_ns).astype(np.int32)

    def next_timer_ns(self) -> int:
        """The earliest timer."""
        return int(self.timer_ns[: self.high].min(initial=NEVER_NS))

    def fell_silent(self, now_ns: int) -> I32Column:
        """Live slots that have received nothing for too long: int32[n]."""
        high = self.high
        quiet_ns = now_ns - self.last_arrival_ns[:high]
        silent = (self.state[:high] == State.LIVE) & (quiet_ns > self.silent_after_ns[:high])
        return np.flatnonzero(silent).astype(np.int32)

    def refuse(self, slot: int) -> None:
        """Nothing listens at this client's target, as reported: that holds for all that wait for the same one."""
        one_target = self.target[: self.high] == self.target[slot]
        told = np.flatnonzero(one_target & ~self.refused[: self.high])  # mostly itself alone: the others know
        told = np.append(told[self._is_waiting(told)], slot)
        self.attempts[told[self.state[told] != State.REFUSED]] = 0
        self.state[told] = State.REFUSED
        self.refused[told] = True

    def waiting(self, slots: I32Column) -> I32Column:
        """All clients without a stream that ask the same targets as `slots`, these among them: int32[n]."""
        high = self.high
        waiting = is_among(self.target[:high], self.target[slots]) & self._is_waiting(slice(high))
        return np.flatnonzero(waiting).astype(np.int32)

    def held_back(self, slots: I32Column, now_ns: int) -> BoolColumn:
        """Which of these should leave it to others to find out whether their target is back: bool[n].

        MAX_PROBERS clients ask a target that does not answer; the others would only repeat the same question.
        The first two tries of a client are its own.
        """
        held = np.zeros(self.high, np.bool_)
        if len(self) <= MAX_PROBERS or not _WITHOUT_STREAM[self.state[slots]].any():
            return held[slots]
        state, target = self.state[: self.high], self.target[: self.high]
        is_waiting = self._is_waiting(slice(self.high))
        is_waiting &= (state != State.CONNECTING) | (self.attempts[: self.high] >= UNANSWERED_BEFORE_FALLBACK)
        quiet_ns = now_ns - self.last_arrival_ns[: self.high]
        # Half of it: if a target falls silent for thousands, they do not all notice in the same moment.
        is_heard = (state == State.LIVE) & (quiet_ns < self.silent_after_ns[: self.high] // 2)
        waiting = np.flatnonzero(is_waiting & ~is_among(target, target[is_heard]))
        waiting = waiting[np.argsort(target[waiting], kind="stable")]
        first = np.searchsorted(target[waiting], target[waiting])
        held[waiting[np.arange(len(waiting)) - first >= MAX_PROBERS]] = True
        return held[slots]

    def speak_measured(self, slots: I32Column) -> BoolColumn:
        """For which of these another client has a measured stream of the same target: bool[n]."""
        state, stream = self.state[: self.high], self.stream[: self.high]
        if not _WITHOUT_STREAM[self.state[slots]].any():
            return np.zeros(len(slots), np.bool_)
        measured = self.target[: self.high][(state == State.LIVE) & (stream == Mode.MEASURED)]
        return is_among(self.target[slots], measured)

    def _is_waiting(self, slots: slice | I64Column) -> BoolColumn:
        waiting: BoolColumn = _WITHOUT_STREAM[self.state[slots]]
        return waiting & self.has_socket[slots] & (self.timer_ns[slots] < NEVER_NS)
