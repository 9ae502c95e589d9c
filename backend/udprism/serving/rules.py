"""One client's rules: when it asks and for what, which answers it accepts, and when a stream is silent. The only copy
of them.

`conversation` runs one client on it, the pool thousands; each client is a row of a `ClientTable`. Nothing here sends:
the caller does, and reports the outcome.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from udprism.columns.types import NEVER_NS, NS_PER_S, BoolColumn, I32Column
from udprism.errors import WireError
from udprism.serving.clients import UNANSWERED_BEFORE_FALLBACK, ClientTable, Mode, State
from udprism.serving.commands import Connect
from udprism.wire.measured import Report

UNANSWERED_BEFORE_DOUBT: Final = 8
"""After this many tries, a target that once sent a measured stream may have been replaced by another kind of server."""
_FIRST_WAIT_NS: Final = NS_PER_S
_LONGEST_WAIT_NS: Final = 30 * NS_PER_S
_LONGEST_NEAR_WAIT_NS: Final = 4 * NS_PER_S
"""On loopback, and while the network is away: a try that does not leave the host costs nothing."""
_FIRST_BARE_WAIT_NS: Final = 12 * NS_PER_S
_LONGEST_BARE_WAIT_NS: Final = 60 * NS_PER_S
"""Between two bare `connect` that nobody answers: a server of the old shape starts another endless stream at each, and
may send its first colour only after its period of ten seconds."""
_MEASURED_AGAIN_NS: Final = (NS_PER_S, 8 * NS_PER_S, 60 * NS_PER_S)
"""After a plain stream has begun, and after each `connect v=1` on top of it: the ones before may have been lost."""
UNKNOWN_PERIOD_SILENT_NS: Final = 30 * NS_PER_S
"""A plain stream of which only one colour has arrived: its period is unknown."""
_SILENT_PERIODS: Final = 3
_LONGEST_PERIOD_NS: Final = 300 * NS_PER_S
_FORGETS_BITS: Final = 4
"""A longest gap shrinks by a sixteenth at each arrival, so that one hiccup does not make a stream slow for ever."""
SESSION_CHANGES_WITHIN_NS: Final = NS_PER_S
LONGEST_RTT_NS: Final = 60 * NS_PER_S
"""An echo of a report older than that tells nothing; and a forged one can be as old as 2**64 ns."""
PROOFS_A_TRY: Final = 2
"""Tokens sent back after one try of our own: a server asks for one, and again if the first has just expired."""


class Attempt(NamedTuple):
    """One try to get a stream: whether to ask for the measured one, and how long to wait for it."""

    measured: bool
    wait_ns: int


def attempt(
    mode: Mode,
    number: int,
    *,
    near: bool,
    unheard: bool,
    draw: float,
    spoke_measured: bool = False,
    bare_wait_ns: int = 0,
) -> Attempt:
    """What to send as try `number` (0, 1, …), and how long to wait for an answer.

    near: a retry costs nothing. unheard: the last try reached no one, because the host refused it or it could
    not leave; that is no reason to fall back. draw: uniform in [0, 1). spoke_measured: the target has sent a measured
    stream before; a bare `connect` would end the session that it may still serve. bare_wait_ns: how long the next bare
    `connect` has to wait still.

    Two measured tries a second apart, then the bare `connect` if it is allowed, otherwise the measured one, 1 to 30 s
    apart with full jitter (near: to 4 s).
    """
    tried = number if unheard else max(0, number - UNANSWERED_BEFORE_FALLBACK)
    limit_ns = min(_LONGEST_NEAR_WAIT_NS if near else _LONGEST_WAIT_NS, _FIRST_WAIT_NS << min(tried, 5))
    wait_ns = _FIRST_WAIT_NS + int(draw * (limit_ns - _FIRST_WAIT_NS))
    if mode == Mode.PLAIN:
        return Attempt(False, wait_ns)
    if mode == Mode.MEASURED or unheard:
        return Attempt(True, wait_ns)
    if number < UNANSWERED_BEFORE_FALLBACK:
        return Attempt(True, _FIRST_WAIT_NS)
    if spoke_measured and number < UNANSWERED_BEFORE_DOUBT:
        return Attempt(True, wait_ns)
    return Attempt(bare_wait_ns > 0, wait_ns)


def connect_of(request: Connect, *, measured: bool, token: str | None) -> Connect:
    """The `connect` with all options, or the bare one, which a foreign server may compare as a whole."""
    return replace(request, measured=True, token=token) if measured else Connect(token=token)


def round_trip_ns(received_unix_ns: int, report: Report) -> int:
    """From an echoed report, on one clock. Raises: WireError for an echo that is too old to be believed."""
    rtt_ns = max(1, received_unix_ns - report.sent_at_unix_ns)
    if rtt_ns > LONGEST_RTT_NS:
        raise WireError("stale-ack")
    return rtt_ns


class Ask(NamedTuple):
    """A try that is due. new_socket: the one that the client has may be of a network that is gone, or connected to a
    port from which no plain stream will come."""

    measured: bool
    new_socket: bool


class Rules:
    """Over all clients of a table. Pool thread only.

    draw: uniform in [0, 1). Columns are [max_clients].
    """

    def __init__(self, table: ClientTable, draw: Callable[[], float]) -> None:
        count = table.max_clients
        self._table = table
        self._draw = draw
        self._unsent = np.zeros(count, np.bool_)
        """Whether the last try could not leave this machine, or was answered by a router's error."""
        self._new_socket = np.zeros(count, np.bool_)
        """Whether the next try is to leave from a new socket."""
        self._spoke_measured = np.zeros(count, np.bool_)
        self._asked_measured = np.zeros(count, np.bool_)
        self._bare_tries = np.zeros(count, np.int32)
        self._bare_at_ns = np.zeros(count, np.int64)
        self._proofs_left = np.zeros(count, np.int8)
        self._session_changed_ns = np.full(count, -SESSION_CHANGES_WITHIN_NS, np.int64)
        self._least_silent_ns = np.zeros(count, np.int64)
        self._longest_gap_ns = np.zeros(count, np.int64)
        self._measured_again = np.zeros(count, np.int32)

    def begin(self, slot: int) -> None:
        """A new client is in this slot; `silent_after_ns` of the table is what a measured stream of its rate needs."""
        for column in (self._unsent, self._new_socket, self._spoke_measured, self._asked_measured, self._bare_tries):
            column[slot] = 0
        self._bare_at_ns[slot] = self._proofs_left[slot] = self._longest_gap_ns[slot] = 0
        self._session_changed_ns[slot] = -SESSION_CHANGES_WITHIN_NS
        self.set_silence(slot, int(self._table.silent_after_ns[slot]))

    def set_silence(self, slot: int, least_ns: int) -> None:
        """The least time after which a stream at the requested rate is silent."""
        self._least_silent_ns[slot] = self._table.silent_after_ns[slot] = least_ns
        if self._table.stream[slot] == Mode.PLAIN:
            self._learn_silence(np.array([slot], np.int32))

    # -- asking

    def readdressed(self, slot: int) -> None:
        """The client asks at another address from now on: what it knows of the server there is nothing."""
        self._spoke_measured[slot] = self._new_socket[slot] = False

    def ask(self, slot: int, now_ns: int, *, speaks_measured: bool = False, addresses: int = 1) -> Ask:
        """A client without a stream tries: what to say. Its timer is set for the next try.

        speaks_measured: the target sends another client a measured stream. Thousands that fall back from a server that
        is merely slow make it slower, and themselves. addresses: how many of its target take turns, a try each; what
        goes for one address goes for each of them.
        """
        table, client = self._table, self._table.clients[slot]
        unheard = bool(table.refused[slot] or self._unsent[slot])
        near = client.loopback or bool(self._unsent[slot])
        if table.state[slot] in (State.REFUSED, State.ERROR) and not unheard:
            table.state[slot] = State.CONNECTING  # that trouble is over, and there is no answer either
            table.attempts[slot] = 0
            client.error = None
        if unheard:
            self._bare_tries[slot] = self._bare_at_ns[slot] = 0
        new_socket = bool(self._new_socket[slot])
        table.refused[slot] = self._unsent[slot] = self._new_socket[slot] = False
        number = int(table.attempts[slot])
        table.attempts[slot] = number + 1
        what = attempt(
            client.mode if (client.falls_back and not speaks_measured) or client.mode == Mode.PLAIN else Mode.MEASURED,
            number // addresses,
            near=near,
            unheard=unheard,
            draw=self._draw(),
            spoke_measured=bool(self._spoke_measured[slot]),
            bare_wait_ns=int(self._bare_at_ns[slot]) - now_ns,
        )
        wait_ns = what.wait_ns
        if not what.measured:
            table.forget_session(slot)  # or the plain stream that it asks for would be a stray
            bare_wait_ns = self._note_bare(slot, now_ns, addresses)
            if client.mode == Mode.PLAIN and client.falls_back and not unheard:
                wait_ns = max(wait_ns, bare_wait_ns)
        connected = what.measured if new_socket else client.connected and what.measured
        new_socket |= connected != client.connected
        client.connected = connected
        self._asked_measured[slot] = what.measured
        self._proofs_left[slot] = PROOFS_A_TRY
        table.timer_ns[slot] = now_ns + wait_ns
        return Ask(what.measured, new_socket)

    def _note_bare(self, slot: int, now_ns: int, addresses: int) -> int:
        round_number, place = divmod(int(self._bare_tries[slot]), addresses)
        is_last = place == addresses - 1  # of a round, in which each address gets one
        wait_ns = min(_LONGEST_BARE_WAIT_NS, _FIRST_BARE_WAIT_NS << min(round_number, 5)) if is_last else 0
        self._bare_tries[slot] += 1
        self._bare_at_ns[slot] = now_ns + wait_ns
        return wait_ns

    def asks_measured(self, slot: int) -> bool:
        """Whether the client's last try was for the measured stream: a token goes with the same words."""
        return bool(self._asked_measured[slot])

    def may_prove(self, slot: int, token: str) -> bool:
        """The server asks for proof that we are where we say. Whether to send its token back at once.

        A server that asks without end is answered PROOFS_A_TRY times for each try of the client's own.
        """
        table, client = self._table, self._table.clients[slot]
        if client.token == token or table.state[slot] in (State.LIVE, State.PAUSED) or not self._proofs_left[slot]:
            return False
        client.token = token
        self._proofs_left[slot] -= 1
        return True

    def ask_measured_again(self, slot: int, now_ns: int) -> bool:
        """The timer of a live plain stream: whether to ask for the measured one on top of it, on the same socket.

        The tries before it may have been lost while the network was away. A server that knows the bare `connect` alone
        ignores this one.
        """
        done = int(self._measured_again[slot])
        self._measured_again[slot] = done + 1
        self._table.timer_ns[slot] = self._measured_again_ns(slot, now_ns)
        self._asked_measured[slot] = True
        return done < len(_MEASURED_AGAIN_NS)

    def _measured_again_ns(self, slot: int, now_ns: int) -> int:
        client, done = self._table.clients[slot], int(self._measured_again[slot])
        if client.mode != Mode.AUTO or (self._asked_measured[slot] and not done) or done == len(_MEASURED_AGAIN_NS):
            return NEVER_NS
        return now_ns + _MEASURED_AGAIN_NS[done]

    # -- what comes

    def may_adopt(self, slot: int, now_ns: int) -> bool:
        """Whether a datagram of a session that is not the client's begins a new one. Once a second at most."""
        table = self._table
        if table.state[slot] in (State.PAUSED, State.FREE):
            return False
        long_ago = now_ns - self._session_changed_ns[slot] >= SESSION_CHANGES_WITHIN_NS
        return bool(long_ago or not table.session_id[slot])

    def begin_sessions(self, slots: I32Column, now_ns: int) -> None:
        """These clients have a new session each, which the table knows."""
        table = self._table
        table.report_sequence[slots] = 0
        self._session_changed_ns[slots] = now_ns
        self._spoke_measured[slots] = True
        table.stream[slots] = Mode.MEASURED
        table.silent_after_ns[slots] = self._least_silent_ns[slots]

    def takes_plain(self, slots: I32Column) -> BoolColumn:
        """For which of these a colour's name is their own stream's: not while they have a measured one."""
        table = self._table
        free: BoolColumn = (table.session_id[slots] == 0) & (table.state[slots] != State.PAUSED)
        return free

    def hear_plain(self, slots: I32Column, now_ns: int) -> None:
        """Colours' names have come, before `last_arrival_ns` says so: learn how often they do."""
        table = self._table
        live = slots[table.state[slots] == State.LIVE]
        gap_ns = np.minimum(now_ns - table.last_arrival_ns[live], _LONGEST_PERIOD_NS)
        longest_ns = self._longest_gap_ns[live]
        self._longest_gap_ns[live] = longest_ns - (longest_ns >> _FORGETS_BITS)
        np.maximum.at(self._longest_gap_ns, live, gap_ns)
        self._learn_silence(live)

    def _learn_silence(self, slots: I32Column) -> None:
        longest_ns = self._longest_gap_ns[slots]
        learned_ns = np.maximum(self._least_silent_ns[slots], _SILENT_PERIODS * longest_ns)
        self._table.silent_after_ns[slots] = np.where(longest_ns > 0, learned_ns, UNKNOWN_PERIOD_SILENT_NS)

    def came_alive(self, slots: I32Column, now_ns: int) -> I32Column:
        """Colours have come for clients without a stream (each once; others are passed over).

        Returns those that are live now. A measured stream's timer is for the caller to set: its next REPORT.
        """
        table = self._table
        state = table.state[slots]
        woken: I32Column = slots[(state != State.LIVE) & (state != State.PAUSED) & (state != State.FREE)]
        table.state[woken] = State.LIVE
        table.attempts[woken] = self._bare_tries[woken] = self._measured_again[woken] = 0
        table.refused[woken] = self._unsent[woken] = self._new_socket[woken] = False
        self._bare_at_ns[woken] = self._longest_gap_ns[woken] = 0
        for one in woken.tolist():
            table.clients[one].error = None
            stream = Mode.MEASURED if table.session_id[one] else Mode.PLAIN
            if table.stream[one] != stream:
                table.stream[one] = stream
                table.touch([one])
            table.timer_ns[one] = self._measured_again_ns(one, now_ns) if stream == Mode.PLAIN else NEVER_NS
        self._learn_silence(woken[table.stream[woken] == Mode.PLAIN])
        return woken

    # -- what fails

    def fell_silent(self, slots: I32Column, now_ns: int) -> None:
        """These clients' streams have stopped: they ask as at the beginning. A session that lives on is renewed."""
        self._table.state[slots] = State.SILENT
        self._table.attempts[slots] = 0
        self._table.timer_ns[slots] = now_ns

    def refused(self, slot: int, now_ns: int) -> None:
        """No one listens at the client's target; this applies to all clients that wait for the same target."""
        was_streaming = self._table.state[slot] in (State.LIVE, State.SILENT)
        self._table.refuse(slot)
        if was_streaming:
            self._ask_soon(slot, now_ns)

    def failed(self, slot: int, reason: str, now_ns: int, *, new_socket: bool) -> None:
        """What the client sends does not leave this machine, or does not arrive.

        new_socket: it is the network's fault: this machine may have another address by now, so the next try leaves from
        a new socket.
        """
        table = self._table
        was_streaming = table.state[slot] in (State.LIVE, State.SILENT)
        if table.state[slot] != State.ERROR:
            table.attempts[slot] = 0
        table.state[slot] = State.ERROR
        table.clients[slot].error = reason
        self._unsent[slot] = True
        self._new_socket[slot] |= new_socket
        if was_streaming:
            self._ask_soon(slot, now_ns)

    def moved(self, slot: int) -> None:
        """The route to the client's target starts from another address now: the client starts again from there."""
        self._table.attempts[slot] = 0
        self._new_socket[slot] = True

    def _ask_soon(self, slot: int, now_ns: int) -> None:
        self._table.timer_ns[slot] = now_ns + int((0.2 + 0.8 * self._draw()) * NS_PER_S)

    def ended(self, slot: int, now_ns: int) -> None:
        """The server sent BYE: it may be back in a moment. A paused client stays paused."""
        if self._table.state[slot] in (State.PAUSED, State.FREE):
            return
        self._table.restart(slot, now_ns)
        self._ask_soon(slot, now_ns)
        self._table.touch([slot])
