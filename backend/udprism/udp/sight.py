"""What a recording sees of the colour server's datagrams and of those that hosted clients receive, as columns.

Two taps, one per thread. Each costs one comparison while nothing is recorded.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Mapping, Sequence
from enum import IntFlag
from typing import Final, Protocol

import numpy as np

from udprism.capture.sightings import UNNUMBERED, Point, Seen
from udprism.columns.arrivals import Arrivals
from udprism.columns.outgoing import Outgoing
from udprism.columns.runs import distinct, is_among
from udprism.columns.types import (
    Address,
    BoolColumn,
    I32Column,
    I64Column,
    Rows,
    U8Column,
    U16Column,
    U32Column,
    U64Column,
)
from udprism.ledger.fates import DUPLICATE, LATE, REORDERED, Cause
from udprism.ledger.send_log import CORRUPT, FateReport
from udprism.link.model import Part
from udprism.udp.source import is_wildcard
from udprism.wire import measured as wire

ENDPOINT_BYTES: Final = 18
"""An IPv6 address, in which IPv4 ones are mapped, and a port in network byte order."""
_MAPPED: Final = bytes(10) + b"\xff\xff"
_INET: Final = 2
_PKTINFO_AT: Final = 16


class Note(IntFlag):
    """What a recording says of a datagram: flags in the low bits; the cause of its loss and the link's part above."""

    LATE = 1
    DUPLICATE = 2
    REORDERED = 4
    CORRUPT = 8
    UNKNOWN = 16
    """Unknown whether it arrived."""


CAUSE_SHIFT: Final = 5
PART_SHIFT: Final = 8
"""Above the cause: which part of the link it was, `Part`."""
NOTES: Final = 1 << 11
"""How many values a note has."""
_NOTE_OF_FLAGS: Final = np.zeros(256, np.uint16)
for _flags in range(256):
    _NOTE_OF_FLAGS[_flags] = (
        Note.LATE * bool(_flags & LATE)
        | Note.DUPLICATE * bool(_flags & DUPLICATE)
        | Note.REORDERED * bool(_flags & REORDERED)
    )


def note_of(values: U8Column, shift: int) -> U16Column:
    """Causes or parts as notes."""
    return values.astype(np.uint16) << np.uint16(shift)


class Recorder(Protocol):
    """Takes what was seen. Each method may be called from any thread, and never waits."""

    def see(self, point: Point, seen: Seen) -> None:
        """Sightings. Their columns are the caller's again afterwards: what is kept is copied."""

    def note(self, key: U64Column, note: U16Column) -> None:
        """What became of datagrams."""


def key_of(session_id: U32Column | U64Column, number: U32Column | I64Column) -> U64Column:
    """uint64[n]: the same at both points; numbers by which a client and a server mean one datagram."""
    return session_id.astype(np.uint64) << np.uint64(32) | number.astype(np.uint64) & np.uint64(0xFFFFFFFF)


def endpoint_of(address: Address) -> U8Column:
    """uint8[18]: one address."""
    ip = ipaddress.ip_address(address[0].partition("%")[0])
    packed = ip.packed if ip.version == 6 else _MAPPED + ip.packed
    return np.frombuffer(packed + address[1].to_bytes(2, "big"), np.uint8)


def endpoints_of(sockaddr: Rows) -> Rows:
    """uint8[n, 18] of uint8[n, 28]: Linux's struct sockaddr_in and sockaddr_in6."""
    found = np.zeros((len(sockaddr), ENDPOINT_BYTES), np.uint8)
    four = sockaddr[:, 0] == _INET
    found[:, :16] = sockaddr[:, 8:24]
    found[four, :12] = np.frombuffer(_MAPPED, np.uint8)
    found[four, 12:16] = sockaddr[four, 4:8]
    found[:, 16:] = sockaddr[:, 2:4]
    return found


def pairs_of(source: Rows, target: Rows) -> Rows:
    """uint8[n, 36], as `capture.frames` has them."""
    pairs = np.empty((len(source), 36), np.uint8)
    pairs[:, :16], pairs[:, 16:32] = source[:, :16], target[:, :16]
    pairs[:, 32:34], pairs[:, 34:] = source[:, 16:], target[:, 16:]
    return pairs


class _SentFlows(Protocol):
    """The sessions' columns: see `outlet.Flows`."""

    session_id: U32Column
    sockaddr: Rows
    socket_index: I32Column
    source: Rows


class _Sender(Protocol):
    sock: socket.socket


class SenderTap:
    """The colour server's datagrams as they leave it, or enter its link. Its thread only, except for `recorder`."""

    def __init__(self, flows: _SentFlows, senders: Mapping[int, _Sender]) -> None:
        """senders: by number, whose sockets the flows leave through."""
        self.recorder: Recorder | None = None
        """None while nothing is recorded. Set by any thread."""
        self._flows = flows
        self._senders = senders
        self._session: U32Column = np.zeros(0, np.uint32)
        self._pairs: Rows = np.zeros((0, 36), np.uint8)
        """By flow: the addresses of that session."""

    def sent(self, batch: Outgoing, unix_ns: int) -> None:
        """n datagrams that carry their final bytes. unix_ns: when those left that do not carry it themselves."""
        recorder = self.recorder
        if recorder is None or not len(batch.flow):
            return
        flow, flows = batch.flow, self._flows
        count, width = batch.rows.shape
        key, time_ns = np.full(count, UNNUMBERED, np.uint64), np.full(count, unix_ns, np.int64)
        if batch.stamp is not None:
            key = key_of(flows.session_id[flow], batch.number)
            time_ns = wire.decode_colours(batch.rows, batch.length).sent_at_unix_ns
        length = batch.length.astype(np.int32)
        kept = np.minimum(length, width)
        note = np.zeros(count, np.uint16)
        rows = batch.rows[:, : int(kept.max())]
        recorder.see(Point.SENDER, Seen(key, time_ns, self._addresses(flow), length, kept, rows, note))

    def judged(self, batch: Outgoing, part: U8Column) -> None:
        """Which part of the link drops these; that it does is reported when they would have left."""
        if self.recorder is not None and batch.stamp is not None:
            dropped = np.flatnonzero(part)
            flow = batch.flow[dropped]
            key = key_of(self._flows.session_id[flow], batch.number[dropped])
            self.recorder.note(key, note_of(part[dropped], PART_SHIFT))

    def _addresses(self, flow: I32Column) -> Rows:
        """uint8[n, 36]. A session has the same ones from its beginning to its end."""
        session = self._flows.session_id[flow]
        if len(self._session) < len(self._flows.session_id):
            self._session = np.zeros_like(self._flows.session_id)
            self._pairs = np.zeros((len(self._session), 36), np.uint8)
        stale = distinct(flow[(self._session[flow] != session) | (session == 0)])
        if len(stale):
            self._pairs[stale] = pairs_of(self._sources(stale), endpoints_of(self._flows.sockaddr[stale]))
            self._session[stale] = self._flows.session_id[stale]
        rows: Rows = self._pairs[flow]
        return rows

    def _sources(self, flow: I32Column) -> Rows:
        index = self._flows.socket_index[flow]
        rows = np.empty((len(flow), ENDPOINT_BYTES), np.uint8)
        for one in distinct(index).tolist():
            which, own = index == one, self._senders[one].sock.getsockname()[:2]
            rows[which] = endpoint_of(own)
            if is_wildcard(own[0]):
                at = _PKTINFO_AT + (4 if ":" not in own[0] else 0)
                asked = self._flows.source[flow[which]]
                if ":" in own[0]:
                    rows[which, :16] = asked[:, at : at + 16]
                else:
                    rows[which, 12:16] = asked[:, at : at + 4]
        return rows


class HearingTap:
    """What receivers hear. Their thread only, except for `recorders`."""

    def __init__(self) -> None:
        self.recorders: tuple[tuple[Recorder, frozenset[str] | None], ...] = ()
        """Each with the ids of the flows that it records; None for all. Set by any thread."""

    def heard(
        self, slot: I32Column, slot_of_id: Mapping[str, int], arrivals: Arrivals, to: U8Column, flags: U8Column
    ) -> None:
        """One batch of one socket, whose flows have these slots. to: uint8[18], the socket's own endpoint."""
        count, width = arrivals.rows.shape
        kept = np.minimum(arrivals.length, width).astype(np.int32)
        seen = Seen(
            np.full(count, UNNUMBERED, np.uint64),
            arrivals.received_unix_ns,
            pairs_of(endpoints_of(arrivals.source), np.broadcast_to(to, (count, ENDPOINT_BYTES))),
            arrivals.length.astype(np.int32),
            kept,
            arrivals.rows[:, : int(kept.max(initial=0))],
            _NOTE_OF_FLAGS[flags],
        )
        for recorder, wanted in self.recorders:
            if wanted is None:
                recorder.see(Point.RECEIVER, seen)
                continue
            slots = np.array([slot_of_id[one] for one in wanted if one in slot_of_id], np.int32)
            chosen = is_among(slot, slots)
            if chosen.any():
                recorder.see(Point.RECEIVER, seen.part(chosen))


class ReceiverTap:
    """What hosted clients receive. The receiving thread only, except for `recorder`."""

    def __init__(self, capacity: int, local_of: Callable[[int], Address]) -> None:
        """capacity: of the table of clients. local_of: the address that the client of a slot speaks from."""
        self.recorder: Recorder | None = None
        """None while nothing is recorded. Set by any thread."""
        self._local_of = local_of
        self._session = np.zeros(capacity, np.uint64)
        self._endpoints = np.zeros((capacity, ENDPOINT_BYTES), np.uint8)

    def arrived(self, arrivals: Arrivals, key: U64Column | None, flags: U8Column) -> None:
        """One batch, as the ledger judged it. key: None for datagrams without numbers."""
        recorder = self.recorder
        if recorder is None:
            return
        count, width = arrivals.rows.shape
        local = self._locals(arrivals.slot, key)
        kept = np.minimum(arrivals.length, width).astype(np.int32)
        seen = Seen(
            np.full(count, UNNUMBERED, np.uint64) if key is None else key,
            arrivals.received_unix_ns,
            pairs_of(endpoints_of(arrivals.source), local),
            arrivals.length,
            kept,
            arrivals.rows[:, : int(kept.max(initial=0))],
            _NOTE_OF_FLAGS[flags],
        )
        recorder.see(Point.RECEIVER, seen)

    def lost(self, key: U64Column, cause: U8Column) -> None:
        """These were declared lost."""
        if self.recorder is not None and len(key):
            self.recorder.note(key, note_of(cause, CAUSE_SHIFT))

    def told(self, reports: Sequence[FateReport]) -> None:
        """What the colour server says of its own: dropped by its link, refused by its kernel, or damaged."""
        if self.recorder is None:
            return
        for report in reports:
            damaged: BoolColumn = report.cause == CORRUPT
            note = np.where(damaged, np.uint16(Note.CORRUPT), note_of(report.cause, CAUSE_SHIFT))
            self.recorder.note(key_of(report.session_id, report.sequence), note)

    def _locals(self, slot: I32Column, key: U64Column | None) -> Rows:
        """uint8[n, 18]: where these clients listen. One with another session than last time may have another socket."""
        if key is None:
            stale = distinct(slot)
        else:
            session = key >> np.uint64(32)
            stale = distinct(slot[self._session[slot] != session])
            self._session[slot] = session
        for one in stale.tolist():
            self._endpoints[one] = endpoint_of(self._local_of(one))
        rows: Rows = self._endpoints[slot]
        return rows


def comments() -> list[str]:
    """A text for each value of a note; the first is empty."""
    return [_comment(note) for note in range(NOTES)]


_CAUSES: Final[dict[int, str]] = {
    Cause.LINK: "lost by the link",
    Cause.SENDER_KERNEL: "lost: refused by the sender's kernel",
    Cause.RECEIVER_KERNEL: "lost: dropped by the receiver's kernel",
    Cause.UNEXPLAINED: "lost, unexplained",
    Cause.UNKNOWN_PATH: "lost somewhere on the path",
    Cause.PATH: "lost between the two nodes",
    Cause.AWAITING: "lost; its sender's node has not reported it yet",
}


_PARTS: Final[dict[int, str]] = {
    Part.LOSS: "at random",
    Part.BURST: "burst",
    Part.BLACKOUT: "blackout",
    Part.QUEUE: "its rate's queue was full",
    Part.ROOM: "no room for more delayed datagrams",
    Part.RULE: "a rule",
    Part.MTU: "too large",
}


def _comment(note: int) -> str:
    words = []
    # A part is known at once, the cause when the datagram would have left.
    cause, part = note >> CAUSE_SHIFT & (1 << PART_SHIFT - CAUSE_SHIFT) - 1, note >> PART_SHIFT
    cause = cause or (Cause.LINK if part else Cause.NONE)
    if note & Note.LATE:
        words.append("late: arrived after it was counted as lost")
    elif cause:
        what = _PARTS.get(part) if cause == Cause.LINK else None
        words.append(_CAUSES.get(cause, "lost") + (f": {what}" if what else ""))
    elif note & Note.UNKNOWN:
        words.append("its fate is not known")
    if note & Note.REORDERED:
        words.append("reordered")
    if note & Note.DUPLICATE:
        words.append("duplicate")
    if note & Note.CORRUPT:
        words.append("corrupt: damaged by the link")
    return "; ".join(words)
