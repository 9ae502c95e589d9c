"""A client's side of the wire without a socket: bytes and instants in, bytes and events out.

One conversation is one client that wants colours from one server: it asks, proves its address where that is wanted,
falls back to the plain stream, reports what it saw, and asks again when it hears nothing. (The hosted clients' pool
does the same for thousands at once, in columns.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np

from udprism.columns.types import NEVER_NS, NS_PER_MS, NS_PER_S, I32Column
from udprism.errors import WireError
from udprism.ledger.ledger import Ledger
from udprism.serving.clients import Mode, attempt
from udprism.serving.commands import Connect, encode_connect, parse_retry
from udprism.wire import measured as wire
from udprism.wire.colours import decode_plain

REPORT_NS: Final = NS_PER_S
LOSS_AFTER_NS: Final = NS_PER_S
LOSS_AFTER_ARRIVALS: Final = 64
WINDOW: Final = 256
MEASURED_SILENT_NS: Final = 3 * NS_PER_S
"""A server answers every REPORT, so three of those without a word mean that it is gone."""
PLAIN_SILENT_NS: Final = 5 * NS_PER_S
"""Or three times the longest gap so far: nobody said how often a plain stream sends."""
SESSION_CHANGES_WITHIN_NS: Final = NS_PER_S
_U32_MAX: Final = 2**32 - 1
_ME: Final[I32Column] = np.zeros(1, np.int32)


@dataclass(frozen=True, slots=True)
class Heard:
    """One colour arrived. What a plain stream does not tell is None.

    sequence: extended, it does not wrap. flags: of `ledger`. delay_ns: only where both ends share a clock.
    """

    rgb: tuple[int, int, int]
    received_unix_ns: int
    sequence: int | None = None
    flags: int | None = None
    sent_at_unix_ns: int | None = None
    delay_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """These bytes are to go to the server now."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The server said BYE; the conversation is over."""

    reason: wire.ByeReason


Event: TypeAlias = Heard | Send | Ended


class Conversation:
    """One client's talk with one server.

    mode: AUTO asks for the measured stream first. wish: what else to ask for; its `measured` and `token` are ours to
    set. loopback: both ends share a clock, and asking again costs nobody anything. draw: uniform in [0, 1).

    timer_ns: when `on_timer` is due. any_port: the answers may come from any port of the server's address, so the
    socket must not be connected; it changes to True once at most, before `on_timer` gives the first bare `connect`.
    """

    def __init__(self, mode: Mode, wish: Connect, *, loopback: bool, draw: Callable[[], float]) -> None:
        self.timer_ns = NEVER_NS
        self.any_port = mode == Mode.PLAIN
        self.session_id = 0
        self.rtt_ns: int | None = None
        self.is_live = False
        self._mode = mode
        self._wish = wish
        self._loopback = loopback
        self._draw = draw
        self._attempts = 0
        self._refused = False
        self._token: str | None = None
        self._asked_measured = False
        self._report_sequence = 0
        self._heard_ns = 0
        self._longest_gap_ns = 0
        self._session_changed_ns = -SESSION_CHANGES_WITHIN_NS
        self._ledger = Ledger(1, window=WINDOW, loss_after_ns=LOSS_AFTER_NS, loss_after_arrivals=LOSS_AFTER_ARRIVALS)
        self._ledger.reset(_ME)

    def start(self, now_ns: int) -> bytes:
        """The first thing to send."""
        return self._ask(now_ns)

    def on_timer(self, now_ns: int, now_unix_ns: int) -> bytes | None:
        """What to send now that `timer_ns` has come; None where there is nothing to say."""
        if not self.is_live:
            return self._ask(now_ns)
        if now_ns - self._heard_ns > self._silent_after_ns():
            return self._ask_anew(now_ns)
        if not self.session_id:
            self.timer_ns = self._heard_ns + self._silent_after_ns() + 1
            return None
        self.timer_ns = now_ns + REPORT_NS
        return self._report(now_ns, now_unix_ns)

    def refused(self, now_ns: int) -> None:
        """The server's host says that nobody listens there."""
        self._refused = True
        if self.is_live:
            self._forget(now_ns)

    def receive(self, data: bytes, received_unix_ns: int, now_ns: int) -> Event | None:
        """One datagram from the server. None: it was for the conversation alone.

        Raises: WireError for what makes no sense here; count it and go on.
        """
        if not wire.is_binary(data):
            return self._receive_text(data, received_unix_ns, now_ns)
        datagram = wire.decode_datagram(data)
        if isinstance(datagram, wire.Colour):
            return self._receive_colour(datagram, received_unix_ns, now_ns)
        if isinstance(datagram, wire.Report):
            raise WireError("client-binary")
        if datagram.session_id != self.session_id:
            raise WireError("other-session")
        self._note_life(now_ns)
        if isinstance(datagram, wire.Bye):
            self.timer_ns = NEVER_NS
            return Ended(datagram.reason)
        self.rtt_ns = received_unix_ns - datagram.report.sent_at_unix_ns
        return None

    def figures(self) -> dict[str, Any]:
        """What was seen of this session; on a plain stream all but `received` are None."""
        ledger = self._ledger
        seen = {
            "received": ledger.received[0],
            "lost": ledger.lost[0],
            "reordered": ledger.reordered[0],
            "duplicates": ledger.duplicates[0],
            "late": ledger.late[0],
            "jitter_ms": ledger.jitter_ns[0] / NS_PER_MS,
        }
        figures = {
            name: value.item() if self.session_id or name == "received" else None for name, value in seen.items()
        }
        return figures | {"rtt_ms": None if self.rtt_ns is None else self.rtt_ns / NS_PER_MS}

    def _ask(self, now_ns: int) -> bytes:
        attempt_now = attempt(
            self._mode, self._attempts, loopback=self._loopback, refused=self._refused, draw=self._draw()
        )
        self._refused = False
        self._attempts += 1
        self.any_port |= not attempt_now.measured
        self._asked_measured = attempt_now.measured
        self.timer_ns = now_ns + attempt_now.wait_ns
        return self._connect()

    def _connect(self) -> bytes:
        if self._asked_measured:
            return encode_connect(replace(self._wish, measured=True, token=self._token))
        return encode_connect(Connect(token=self._token))  # bare: a foreign server may compare the whole datagram

    def _ask_anew(self, now_ns: int) -> bytes:
        self._forget(now_ns)
        return self._ask(now_ns)

    def _forget(self, now_ns: int) -> None:
        """The stream has stopped: begin again, as at first. A session that lives on is simply renewed."""
        self.is_live = False
        self._attempts = 0
        self.timer_ns = now_ns

    def _silent_after_ns(self) -> int:
        return MEASURED_SILENT_NS if self.session_id else max(PLAIN_SILENT_NS, 3 * self._longest_gap_ns)

    def _note_life(self, now_ns: int) -> None:
        if self.is_live:
            self._longest_gap_ns = max(self._longest_gap_ns, now_ns - self._heard_ns)
        else:
            self.is_live = True
            self._attempts = 0
            self.timer_ns = now_ns + REPORT_NS
        self._heard_ns = now_ns

    def _receive_text(self, data: bytes, received_unix_ns: int, now_ns: int) -> Event:
        rows = np.frombuffer(data or b"\0", np.uint8).reshape(1, -1)
        index, rgb = decode_plain(rows, np.array([len(data)], np.int32))
        if index[0] < 0:
            return self._receive_retry(data)
        if self.session_id:
            if self.is_live:
                raise WireError("other-session")
            self._begin(0, now_ns)
        self._note_life(now_ns)
        self._ledger.update_plain(_ME, np.array([received_unix_ns]))
        red, green, blue = rgb[0].tolist()
        return Heard((red, green, blue), received_unix_ns)

    def _receive_retry(self, data: bytes) -> Send:
        token = parse_retry(data)
        if self.is_live or token == self._token:
            raise WireError("retry-unasked")  # a token that did not help will not help now either
        self._token = token
        return Send(self._connect())

    def _receive_colour(self, colour: wire.Colour, received_unix_ns: int, now_ns: int) -> Heard:
        if colour.session_id != self.session_id:
            if self.session_id and now_ns - self._session_changed_ns < SESSION_CHANGES_WITHIN_NS:
                raise WireError("other-session")
            self._begin(colour.session_id, now_ns)
        self._note_life(now_ns)
        outcome = self._ledger.update(
            _ME,
            np.array([colour.sequence], np.uint32),
            np.array([colour.sent_at_unix_ns]),
            np.array([received_unix_ns]),
            now_ns,
        )
        return Heard(
            colour.rgb,
            received_unix_ns,
            int(outcome.extended[0]),
            int(outcome.flags[0]),
            colour.sent_at_unix_ns,
            received_unix_ns - colour.sent_at_unix_ns if self._loopback else None,
        )

    def _begin(self, session_id: int, now_ns: int) -> None:
        """Another session: its figures start from nothing, because a report is of one session."""
        self.session_id = session_id
        self.rtt_ns = None
        self._report_sequence = 0
        self._session_changed_ns = now_ns
        self._ledger.reset(_ME)
        if session_id:
            self._ledger.begin_session(_ME, in_process=np.array([False]), shared_clock=np.array([self._loopback]))

    def _report(self, now_ns: int, now_unix_ns: int) -> bytes:
        ledger = self._ledger
        ledger.expire(now_ns, lambda slots: np.zeros(len(slots), np.int64), 0)
        highest, received, lost, reordered, duplicates, late, jitter_us = (int(c[0]) for c in ledger.report(_ME))
        sequence = self._report_sequence & _U32_MAX
        report = wire.Report(
            self.session_id, sequence, now_unix_ns, highest, received, lost, reordered, duplicates, late, jitter_us
        )
        self._report_sequence += 1
        return wire.encode_report(report)
