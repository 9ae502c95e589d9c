"""One client's conversation with one server, without a socket: bytes and instants in, bytes and events out.

It asks, proves its address where that is wanted, falls back to the plain stream, reports what it saw, and asks again
when nothing arrives; all by `rules`, which it shares with the hosted clients' pool.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from udprism.columns.types import NEVER_NS, NS_PER_MS, NS_PER_S, I32Column, I64Column
from udprism.errors import WireError
from udprism.ledger.ledger import Ledger
from udprism.serving.clients import ClientTable, HostedClient, Mode, State
from udprism.serving.commands import Connect, encode_connect, parse_retry
from udprism.serving.rules import Rules, connect_of, round_trip_ns
from udprism.wire import measured as wire
from udprism.wire.colours import decode_plain

REPORT_NS: Final = NS_PER_S
LOSS_AFTER_NS: Final = NS_PER_S
LOSS_AFTER_ARRIVALS: Final = 64
WINDOW: Final = 256
SILENT_NS: Final = 3 * NS_PER_S
"""A server answers every REPORT, so three of those without a word mean that it is gone. (Of a plain stream the period
is learned.)"""
_U32_MAX: Final = 2**32 - 1
_ME: Final[I32Column] = np.zeros(1, np.int32)
_SLOT: Final = 0
_COUNTS: Final = ("received", "lost", "reordered", "duplicates", "late")


@dataclass(frozen=True, slots=True)
class ReceivedColour:
    """One colour arrived. What a plain stream does not tell is None.

    sequence: extended, it does not wrap. flags: of `ledger`. delay_ns: only if both ends share a clock.
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
    """The server sent BYE; the conversation is over."""

    reason: wire.ByeReason


Event: TypeAlias = ReceivedColour | Send | Ended


class Conversation:
    """One client's conversation with one server. mode: AUTO asks for the measured stream first. request: what else to
    ask for; its `measured` and `token` are ours to set. loopback: both ends share a clock, and asking again costs
    nothing. draw: uniform in [0, 1).

    timer_ns: when `on_timer` is due. wants_new_socket: what `on_timer` gave last is to leave from a new socket.
    addresses: how many of the server's take turns, a try each: for the caller to set.
    any_port: the answers may come from any port of the server's address, so the socket must not be connected.
    """

    def __init__(self, mode: Mode, request: Connect, *, loopback: bool, draw: Callable[[], float]) -> None:
        self.wants_new_socket = False
        self.addresses = 1
        self._request = request
        self._table = ClientTable(1)
        self._rules = Rules(self._table, draw)
        self._me = HostedClient("", "", "", ("", 0), loopback, mode, 0.0, 0, connected=mode != Mode.PLAIN)
        self._table.add(self._me, SILENT_NS, 0)
        self._rules.begin(_SLOT)
        self._ledger = Ledger(1, window=WINDOW, loss_after_ns=LOSS_AFTER_NS, loss_after_arrivals=LOSS_AFTER_ARRIVALS)
        self._ledger.reset(_ME)
        self._session_of_ledger = 0
        self._banked = np.zeros(len(_COUNTS), np.int64)
        """What the sessions before that one came to."""
        self._plain = 0
        """Colours that came on plain streams."""
        self._unheard_ns = 0
        """Length of the silences in which the number sent is unknown, because another stream ended them."""
        self._again_ns = NEVER_NS
        """When a plain stream's server is to be asked for the measured one."""

    @property
    def timer_ns(self) -> int:
        """When `on_timer` is due."""
        return int(self._table.timer_ns[_SLOT])

    @property
    def is_live(self) -> bool:
        """Whether colours arrive."""
        return bool(self._table.state[_SLOT] == State.LIVE)

    @property
    def is_silent(self) -> bool:
        """Whether they arrived, and have stopped without a BYE."""
        return bool(self._table.state[_SLOT] == State.SILENT)

    @property
    def tries(self) -> int:
        """How many have been made since colours came last."""
        return int(self._table.attempts[_SLOT])

    @property
    def any_port(self) -> bool:
        """Whether the answers may come from any port of the server's address."""
        return not self._me.connected

    @property
    def session_id(self) -> int:
        """Of the measured stream; 0 without one."""
        return int(self._table.session_id[_SLOT])

    def start(self, now_ns: int) -> bytes:
        """The first thing to send."""
        return self._ask(now_ns)

    def on_timer(self, now_ns: int, now_unix_ns: int) -> bytes | None:
        """What to send now that `timer_ns` has come; None if there is nothing to say."""
        self.wants_new_socket = False
        if not self.is_live:
            return self._ask(now_ns)
        if now_ns > self._silent_ns():
            self._rules.fell_silent(_ME, now_ns)
            return self._ask(now_ns)
        if self._table.stream[_SLOT] == Mode.MEASURED:
            self._table.timer_ns[_SLOT] = now_ns + REPORT_NS
            return self._report(now_ns, now_unix_ns)
        asks = now_ns >= self._again_ns and self._rules.ask_measured_again(_SLOT, now_ns)
        if asks:
            self._again_ns = self.timer_ns
        self._wait_for_plain()
        return encode_connect(self._connect()) if asks else None

    def refused(self, now_ns: int) -> None:
        """The server's host reports that nothing listens there."""
        self._rules.refused(_SLOT, now_ns)

    def failed(self, reason: str, now_ns: int) -> None:
        """What was sent last did not leave this machine, or some router could not pass it on."""
        self._rules.failed(_SLOT, reason, now_ns, new_socket=True)

    def moved(self) -> None:
        """This machine's address towards the server has changed: the next datagram leaves from a new socket."""
        self._rules.moved(_SLOT)

    def readdressed(self, *, loopback: bool) -> None:
        """The server is asked at another of its addresses from now on, from a new socket."""
        self._me.loopback = loopback
        self._me.token = None
        self._me.connected = self._me.mode != Mode.PLAIN
        self._table.forget_session(_SLOT)
        self._rules.readdressed(_SLOT)

    def hurry(self, at_ns: int) -> None:
        """Ask no later than that: another address may answer."""
        self._table.timer_ns[_SLOT] = min(self.timer_ns, at_ns)

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
        if isinstance(datagram, wire.Bye):
            self._table.timer_ns[_SLOT] = NEVER_NS
            return Ended(datagram.reason)
        self._table.rtt_ns[_SLOT] = round_trip_ns(received_unix_ns, datagram.report)
        self._note_life(now_ns)
        return None

    def figures(self, now_ns: int) -> dict[str, Any]:
        """Totals; None for what cannot be known.

        plain: how many of those received came on a plain stream, whose losses are unknown; all but `received` are
        None if that is all. unheard_s: for how long nothing came, without anything that tells what was sent meanwhile.
        """
        measured = self._banked + self._counted()
        counts = dict(zip(_COUNTS, measured.tolist(), strict=True))
        is_known = self._session_of_ledger != 0
        rtt_ns = int(self._table.rtt_ns[_SLOT])
        unheard_ns = self._unheard_ns + self._silence_ns(now_ns)
        return {
            **{name: value if is_known else None for name, value in counts.items()},
            "received": counts["received"] + self._plain,
            "plain": self._plain,
            "jitter_ms": self._ledger.jitter_ns[_SLOT].item() / NS_PER_MS if is_known else None,
            "rtt_ms": rtt_ns / NS_PER_MS if rtt_ns else None,
            "unheard_s": unheard_ns / NS_PER_S,
        }

    def _counted(self) -> I64Column:
        ledger = self._ledger
        columns = (ledger.received, ledger.lost, ledger.reordered, ledger.duplicates, ledger.late)
        return np.array([column[_SLOT] for column in columns], np.int64)

    def _silence_ns(self, now_ns: int) -> int:
        """For how long nothing has arrived, if that is longer than it should be."""
        heard_ns = int(self._table.last_arrival_ns[_SLOT])
        return now_ns - heard_ns if heard_ns and not self.is_live else 0

    def _silent_ns(self) -> int:
        """When the stream counts as silent, unless something arrives before."""
        return int(self._table.last_arrival_ns[_SLOT] + self._table.silent_after_ns[_SLOT])

    def _ask(self, now_ns: int) -> bytes:
        ask = self._rules.ask(_SLOT, now_ns, addresses=self.addresses)
        self.wants_new_socket = ask.new_socket
        return encode_connect(self._connect())

    def _connect(self) -> Connect:
        return connect_of(self._request, measured=self._rules.asks_measured(_SLOT), token=self._me.token)

    def _note_life(self, now_ns: int) -> None:
        self._table.last_arrival_ns[_SLOT] = now_ns
        came = len(self._rules.came_alive(_ME, now_ns)) > 0
        if self._table.stream[_SLOT] == Mode.PLAIN:
            if came:
                self._again_ns = self.timer_ns
            self._wait_for_plain()
        elif came:
            self._table.timer_ns[_SLOT] = now_ns + REPORT_NS

    def _wait_for_plain(self) -> None:
        self._table.timer_ns[_SLOT] = min(self._again_ns, self._silent_ns() + 1)

    def _receive_text(self, data: bytes, received_unix_ns: int, now_ns: int) -> Event:
        rows = np.frombuffer(data or b"\0", np.uint8).reshape(1, -1)
        index, rgb = decode_plain(rows, np.array([len(data)], np.int32))
        if index[0] < 0:
            return self._receive_retry(data)
        if not self._rules.takes_plain(_ME)[0]:
            raise WireError("other-session")
        self._unheard_ns += self._silence_ns(now_ns)
        self._rules.hear_plain(_ME, now_ns)
        self._note_life(now_ns)
        self._plain += 1
        red, green, blue = rgb[0].tolist()
        return ReceivedColour((red, green, blue), received_unix_ns)

    def _receive_retry(self, data: bytes) -> Send:
        if not self._rules.may_prove(_SLOT, parse_retry(data)):
            raise WireError("retry-unasked")  # a token that did not help will not help now either
        return Send(encode_connect(self._connect()))

    def _receive_colour(self, colour: wire.Colour, received_unix_ns: int, now_ns: int) -> ReceivedColour:
        if colour.session_id != self.session_id:
            if not self._rules.may_adopt(_SLOT, now_ns):
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
        return ReceivedColour(
            colour.rgb,
            received_unix_ns,
            int(outcome.extended[0]),
            int(outcome.flags[0]),
            colour.sent_at_unix_ns,
            received_unix_ns - colour.sent_at_unix_ns if self._me.loopback else None,
        )

    def _begin(self, session_id: int, now_ns: int) -> None:
        """A new stream, or one that was given up and goes on: its numbers then tell what was lost meanwhile."""
        self._table.session_id[_SLOT] = session_id
        self._rules.begin_sessions(_ME, now_ns)
        self._table.timer_ns[_SLOT] = now_ns + REPORT_NS
        if session_id == self._session_of_ledger:
            return
        self._unheard_ns += self._silence_ns(now_ns)
        self._banked += self._counted()
        self._session_of_ledger = session_id
        self._table.rtt_ns[_SLOT] = 0
        self._ledger.reset(_ME)
        self._ledger.begin_session(_ME, in_process=np.array([False]), shared_clock=np.array([self._me.loopback]))

    def _report(self, now_ns: int, now_unix_ns: int) -> bytes:
        ledger = self._ledger
        ledger.expire(now_ns, lambda slots: np.zeros(len(slots), np.int64), 0)
        highest, received, lost, reordered, duplicates, late, jitter_us = (int(c[0]) for c in ledger.report(_ME))
        sequence = int(self._table.report_sequence[_SLOT])
        self._table.report_sequence[_SLOT] = sequence + 1
        report = wire.Report(
            self.session_id,
            sequence & _U32_MAX,
            now_unix_ns,
            highest,
            received,
            lost,
            reordered,
            duplicates,
            late,
            jitter_us,
        )
        return wire.encode_report(report)
