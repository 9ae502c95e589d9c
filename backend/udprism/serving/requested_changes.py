"""Repeats a client's requested change until its stream agrees: a command is one datagram and may be lost.

A changed rate or number of colours shows in what arrives; a `disconnect` shows in that nothing arrives. Pool thread
only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from udprism.columns.types import NEVER_NS, NS_PER_S, I32Column
from udprism.serving.clients import ClientTable, Mode, State

FIRST_WAIT_NS: Final = NS_PER_S
LONGEST_WAIT_NS: Final = 60 * NS_PER_S
_AGREES_RATIO: Final = 0.25
_ENOUGH_DATAGRAMS: Final = 4
"""This many must have arrived, or be due, before a rate can be judged; until then the request is just repeated."""


class RequestedChanges:
    """Over all clients of a table. Columns are [max_clients]."""

    def __init__(self, table: ClientTable) -> None:
        count = table.max_clients
        self._table = table
        self._due_ns = np.full(count, NEVER_NS, np.int64)
        """When to check whether what arrives agrees."""
        self._wait_ns = np.zeros(count, np.int64)
        self._said_ns = np.zeros(count, np.int64)
        self._number = np.zeros(count, np.int64)
        """The stream's next number when the request was last sent."""

    def begin(self, slot: int) -> None:
        """A new client is in this slot: its first `connect` says all."""
        self._due_ns[slot] = NEVER_NS

    def changed(self, slot: int, number: int, now_ns: int) -> None:
        """The client has asked for another rate or number of colours. number: its stream's next one, by then."""
        self._wait_ns[slot] = FIRST_WAIT_NS
        self._say(slot, number, now_ns)

    def paused(self, slot: int, now_ns: int) -> None:
        """The client has sent `disconnect`."""
        self._due_ns[slot] = NEVER_NS
        self._wait_ns[slot], self._said_ns[slot] = FIRST_WAIT_NS, now_ns

    def unmet(self, now_ns: int, number_of: Callable[[int], int], colours_of: Callable[[int], int | None]) -> list[int]:
        """Clients whose request must be repeated: what comes does not match it, or too little has come to tell.

        number_of: a stream's next number. colours_of: how many the newest datagram has; None if that is not known.
        """
        table = self._table
        due = np.flatnonzero(self._due_ns[: table.high] <= now_ns).astype(np.int32)
        self._due_ns[due] = NEVER_NS
        streaming = (table.state[due] == State.LIVE) & (table.stream[due] == Mode.MEASURED)  # others ask anyway
        unmet = [
            slot
            for slot in due[streaming].tolist()
            if not self._agrees(slot, number_of(slot), colours_of(slot), now_ns)
        ]
        for slot in unmet:
            self._wait_ns[slot] = min(LONGEST_WAIT_NS, 2 * int(self._wait_ns[slot]))
            self._say(slot, number_of(slot), now_ns)
        return unmet

    def _say(self, slot: int, number: int, now_ns: int) -> None:
        self._said_ns[slot], self._number[slot] = now_ns, number
        self._due_ns[slot] = now_ns + self._wait_ns[slot]

    def _agrees(self, slot: int, number: int, colours: int | None, now_ns: int) -> bool:
        client = self._table.clients[slot]
        if colours is not None and colours != client.colours:
            return False
        came = number - int(self._number[slot])
        due = client.rate_hz * (now_ns - int(self._said_ns[slot])) / NS_PER_S
        if max(came, due) < _ENOUGH_DATAGRAMS:
            return False
        return abs(came - due) <= max(2.0, _AGREES_RATIO * due)

    def hear_unwanted(self, slots: I32Column, now_ns: int) -> None:
        """Colours have come; for those of these clients that are paused, long after they said so: say it again."""
        table = self._table
        late = slots[(table.state[slots] == State.PAUSED) & (now_ns - self._said_ns[slots] >= self._wait_ns[slots])]
        table.timer_ns[late] = now_ns

    def disconnect_again(self, slot: int, now_ns: int) -> None:
        """A paused client sends `disconnect` again."""
        self._table.timer_ns[slot] = NEVER_NS
        self._said_ns[slot] = now_ns
        self._wait_ns[slot] = min(LONGEST_WAIT_NS, 2 * int(self._wait_ns[slot]))
