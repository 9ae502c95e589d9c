"""The server's sessions: addresses, rates and leases, with columns for what every tick touches."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from udprism.columns.arrivals import SOCKADDR_BYTES
from udprism.columns.types import NEVER_NS, NS_PER_S, Address, I32Column, I64Column, format_address
from udprism.ledger.remote_send_log import RemoteSendLog
from udprism.serving.commands import Connect
from udprism.serving.recent import RecentColours
from udprism.wire.colours import PaletteName, nearest_name
from udprism.wire.measured import Report

SOURCE_BYTES = 40
STRIKES_TO_END = 2
"""Port-unreachable errors in a row, without a datagram from the client, that end its session."""
_ID = re.compile("s-[0-9a-f]{8}")
_GOLDEN = 0.6180339887498949  # fractional part of the golden ratio: slot × it mod 1 spreads any run of slots evenly
_FIRST_WITHIN_NS = NS_PER_S


class Encoding(NamedTuple):
    """What a session's datagrams have in common with others', so that a tick encodes them together."""

    measured: bool
    colours: int
    palette: PaletteName
    line_feed: bool


class ServiceTerms(NamedTuple):
    """The conditions on which an address is served. A lease of None never ends."""

    source: str
    lease_ns: int | None
    max_rate_hz: float | None


class RecordedResponse(NamedTuple):
    """A client's answer to the colour that it last got."""

    text: str
    colour: str
    answered_after_ns: int
    unix_ns: int


@dataclass(slots=True)
class Session:
    """The rarely used half of a session, which no tick touches."""

    address: Address
    name: str | None
    encoding: Encoding
    terms: ServiceTerms
    started_unix_ns: int
    started_ns: int
    rate_hz: float
    responses: tuple[RecordedResponse, ...] = ()
    report: Report | None = None
    reported_ns: int = 0
    port_unreachable: int = 0
    server_only_in_a_row: int = 0
    """Datagrams that only a server sends, since the last one that a client may send."""


class SessionTable:
    """Sessions by slot and by address. All columns are [max_sessions]. Server thread only, but for `send_log` reads."""

    def __init__(
        self, max_sessions: int, default_rate_hz: float, max_responses: int, new_session_id: Callable[[], int]
    ) -> None:
        self.max_sessions = max_sessions
        self.default_rate_hz = default_rate_hz
        self._max_responses = max_responses
        self._new_session_id = new_session_id
        self.session_id = np.zeros(max_sessions, np.uint32)
        self.next_sequence = np.zeros(max_sessions, np.int64)
        self.sockaddr = np.zeros((max_sessions, SOCKADDR_BYTES), np.uint8)
        self.socket_index = np.zeros(max_sessions, np.int32)
        self.source = np.zeros((max_sessions, SOURCE_BYTES), np.uint8)
        """Which of this machine's addresses was asked, in the shell's own form: all answers leave from there."""
        self.encoding = np.zeros(max_sessions, np.int32)
        self.period_ns = np.zeros(max_sessions, np.int64)
        self.due_ns = np.full(max_sessions, NEVER_NS, np.int64)
        self._next_due_ns: int | None = NEVER_NS
        """The earliest of them; None if it must be recomputed."""
        self.lease_deadline_ns = np.full(max_sessions, NEVER_NS, np.int64)
        self.last_sent_ns = np.zeros(max_sessions, np.int64)
        self.recent = RecentColours(max_sessions)
        self.unsent_link = np.zeros(max_sessions, np.int64)
        self.unsent_kernel = np.zeros(max_sessions, np.int64)
        self.strikes = np.zeros(max_sessions, np.int64)
        self.high = 0
        """Slots at and beyond this one were never used."""
        self.sessions: dict[int, Session] = {}
        self.slot_of_address: dict[Address, int] = {}
        self.slot_of_id: dict[int, int] = {}
        self.ended: dict[int, int] = {}
        """How many numbers a session was issued that is over, by session id: what was sent last is still on its way.
        Of the newest `max_sessions` that have ended."""
        self.remote = 0
        self.remote_send_log = RemoteSendLog(max_sessions)
        self.encodings: list[Encoding] = []
        self._encoding_number: dict[Encoding, int] = {}
        self._sessions_of_host: dict[str, int] = {}
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self.sessions)

    def sessions_of(self, host: str) -> int:
        """How many sessions one IP address has."""
        return self._sessions_of_host.get(host, 0)

    def connect(
        self,
        address: Address,
        sockaddr: np.ndarray[tuple[int], np.dtype[np.uint8]],
        socket_index: int,
        command: Connect,
        terms: ServiceTerms,
        now_ns: int,
        now_unix_ns: int,
    ) -> tuple[int, bool] | None:
        """Start a session, or renew the one that the address has.

        Returns (slot, whether it is a new session), or None if the table is full.
        """
        encoding = Encoding(command.measured, command.colours or 1, command.palette or "basic", command.line_feed)
        rate_hz = command.rate_hz or self.default_rate_hz
        if terms.max_rate_hz is not None:
            rate_hz = min(rate_hz, terms.max_rate_hz)
        slot = self.slot_of_address.get(address)
        if slot is not None and self.is_measured(slot) != command.measured:
            self.end(slot)  # the other stream has other rules: a new session, not a renewed one
            slot = None
        started = slot is None
        if slot is None:
            slot = self._start(address, sockaddr, command, encoding, terms, now_ns, now_unix_ns)
            if slot is None:
                return None
        session = self.sessions[slot]
        session.encoding = encoding
        session.rate_hz = rate_hz
        session.name = command.name or session.name
        self.encoding[slot] = self._number(encoding)
        self.socket_index[slot] = socket_index
        period_ns = round(NS_PER_S / rate_hz)
        if period_ns != self.period_ns[slot]:
            self.period_ns[slot] = period_ns
            self.due_ns[slot] = _first_due_ns(slot, now_ns, min(period_ns, _FIRST_WITHIN_NS))
            self._next_due_ns = None
        self.remote_send_log.connected(slot, int(self.session_id[slot]), command.asker)
        self.heard(slot, now_ns)
        return slot, started

    def is_measured(self, slot: int) -> bool:
        """Which of the two streams a session is."""
        encoding: Encoding = self.encodings[self.encoding[slot]]
        return encoding.measured

    def _start(
        self,
        address: Address,
        sockaddr: np.ndarray[tuple[int], np.dtype[np.uint8]],
        command: Connect,
        encoding: Encoding,
        terms: ServiceTerms,
        now_ns: int,
        now_unix_ns: int,
    ) -> int | None:
        if self._free:
            slot = heapq.heappop(self._free)
        elif self.high < self.max_sessions:
            slot = self.high
            self.high += 1
        else:
            return None
        session_id = self._new_session_id()
        while session_id == 0 or session_id in self.slot_of_id:
            session_id = self._new_session_id()
        for column in (self.next_sequence, self.period_ns, self.last_sent_ns, self.strikes):
            column[slot] = 0
        self.unsent_link[slot] = self.unsent_kernel[slot] = 0
        self.source[slot] = 0
        self.session_id[slot] = session_id
        self.sockaddr[slot] = sockaddr
        self.slot_of_id[session_id] = slot
        self.slot_of_address[address] = slot
        host = address[0]
        self._sessions_of_host[host] = self._sessions_of_host.get(host, 0) + 1
        self.remote += terms.source != "loopback"
        self.sessions[slot] = Session(
            address,
            command.name,
            encoding,
            terms,
            now_unix_ns,
            now_ns,
            self.default_rate_hz,
        )
        return slot

    def _number(self, encoding: Encoding) -> int:
        number = self._encoding_number.get(encoding)
        if number is None:
            number = self._encoding_number[encoding] = len(self.encodings)
            self.encodings.append(encoding)
        return number

    def end(self, slot: int) -> Session:
        """Forget a session; its slot is free at once."""
        if len(self.ended) == self.max_sessions:
            del self.ended[next(iter(self.ended))]
        self.ended[int(self.session_id[slot])] = int(self.next_sequence[slot])  # first: others read, and miss the id
        self.remote_send_log.end(slot, int(self.next_sequence[slot]))
        session = self.sessions.pop(slot)
        del self.slot_of_address[session.address]
        del self.slot_of_id[int(self.session_id[slot])]
        host = session.address[0]
        left = self._sessions_of_host[host] - 1
        if left:
            self._sessions_of_host[host] = left
        else:
            del self._sessions_of_host[host]
        self.remote -= session.terms.source != "loopback"
        self.session_id[slot] = 0
        self.due_ns[slot] = NEVER_NS
        self._next_due_ns = None
        self.lease_deadline_ns[slot] = NEVER_NS
        heapq.heappush(self._free, slot)
        return session

    def heard(self, slot: int, now_ns: int) -> None:
        """The client sent something valid: its lease restarts and its strikes are forgiven."""
        self.strikes[slot] = 0
        self.sessions[slot].server_only_in_a_row = 0
        lease_ns = self.sessions[slot].terms.lease_ns
        self.lease_deadline_ns[slot] = NEVER_NS if lease_ns is None else now_ns + lease_ns

    def strike(self, slot: int) -> bool:
        """The client's port was unreachable. Returns True if this strike ends its session."""
        self.sessions[slot].port_unreachable += 1
        self.strikes[slot] += 1
        return bool(self.strikes[slot] >= STRIKES_TO_END)

    def respond(self, slot: int, text: str, now_ns: int, now_unix_ns: int) -> None:
        """Record a response beside the colour that it answers."""
        answered_after_ns = now_ns - int(self.last_sent_ns[slot])
        session = self.sessions[slot]
        colour = nearest_name(self.recent.newest(slot, int(self.next_sequence[slot])))
        # A tuple: of ten thousand sessions hardly one ever responds, and an empty deque takes 760 bytes.
        session.responses = (*session.responses, RecordedResponse(text, colour, answered_after_ns, now_unix_ns))
        session.responses = session.responses[-self._max_responses :]

    def due(self, now_ns: int) -> I32Column:
        """Slots whose next datagram is due, ascending: int32[n]."""
        return np.flatnonzero(self.due_ns[: self.high] <= now_ns).astype(np.int32)

    def advance(self, slot: I32Column, now_ns: int) -> tuple[I64Column, int, int]:
        """Set the next due instants; a missed tick is skipped, never made up.

        Returns (when the last tick of each was due: int64[n], largest lag in ns, ticks skipped).
        """
        due_ns = self.due_ns[slot]
        period_ns = self.period_ns[slot]
        lag_ns = now_ns - due_ns
        worst_ns = int(lag_ns.max(initial=0))
        missed = lag_ns // period_ns
        due_ns += missed * period_ns
        self.due_ns[slot] = due_ns + period_ns
        self._next_due_ns = None
        return due_ns, worst_ns, int(missed.sum())

    def overdue(self, now_ns: int) -> int:
        """Ticks, beyond its next one, for which each slot is late."""
        slot = self.due(now_ns)
        return int(((now_ns - self.due_ns[slot]) // self.period_ns[slot]).sum())

    def issue(self, slot: I32Column, now_ns: int) -> I64Column:
        """Take the next sequence number of each slot (each at most once in `slot`): int64[n], not wrapped."""
        sequence = self.next_sequence[slot]
        self.next_sequence[slot] = sequence + 1
        self.last_sent_ns[slot] = now_ns
        return sequence

    def next_due_ns(self) -> int:
        """The earliest instant at which a session is due."""
        if self._next_due_ns is None:
            self._next_due_ns = int(self.due_ns[: self.high].min(initial=NEVER_NS))
        return self._next_due_ns

    def expired(self, now_ns: int) -> I32Column:
        """Slots whose lease has ended."""
        return np.flatnonzero(self.lease_deadline_ns[: self.high] <= now_ns).astype(np.int32)

    def give_grace(self, until_ns: int) -> None:
        """No lease ends before this instant."""
        deadline_ns = self.lease_deadline_ns[: self.high]
        np.maximum(deadline_ns, until_ns, out=deadline_ns)

    def matching(self, query: str, hosted: Mapping[Address, str]) -> Iterable[int]:
        """Slots of the sessions that have each word of the query in name, id, address, stream, source or kind.

        hosted: names of the hosted clients, some of which have not told them to the server.
        """
        words = query.casefold().split()
        if not words:
            return self.sessions
        if is_session_id(query):  # an open drawer asks four times a second
            slot = self.slot_of_id.get(int(query[2:], 16))
            return [] if slot is None else [slot]
        texts = ((slot, self._words(slot, hosted)) for slot in self.sessions)
        return [slot for slot, text in texts if all(word in text for word in words)]

    def _words(self, slot: int, hosted: Mapping[Address, str]) -> str:
        """The text that a search looks at."""
        session = self.sessions[slot]
        stream = "measured" if session.encoding.measured else "plain"
        kind = "hosted" if session.address in hosted else "raw"
        address = format_address(session.address)
        name = hosted.get(session.address) or session.name or ""
        texts = (name, f"s-{int(self.session_id[slot]):08x}", address, stream, session.terms.source, kind)
        return " ".join(texts).casefold()


def is_session_id(text: str) -> bool:
    """Whether the text is a session's id."""
    return _ID.fullmatch(text) is not None


def _first_due_ns(slot: int, now_ns: int, within_ns: int) -> int:
    """Spread over `within_ns`, so that no tick is a burst, yet some at each instant: each wakes both threads.

    The instants are multiples of a part of `within_ns` on the clock's own scale: 4 for up to 8 slots, then one for
    each one or two.
    """
    step_ns = within_ns // max(4, 1 << (slot // 2).bit_length())
    at_ns = now_ns + int(slot * _GOLDEN % 1.0 * (within_ns - step_ns))
    return -(-at_ns // step_ns) * step_ns
