"""Sends a test pattern in one format, through a link: correct numbers, refreshes of a still picture, a goodbye."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from udprism.columns.arrivals import SOCKADDR_BYTES, Arrivals
from udprism.columns.outgoing import Outgoing
from udprism.columns.types import NS_PER_MS, NS_PER_S, Address, Clock, I32Column, I64Column, Rows, U8Column, U32Column
from udprism.ledger.delays import BUCKETS
from udprism.ledger.fates import Cause
from udprism.ledger.send_log import SendLog
from udprism.ledger.timeline import CAUSES, Timeline, Totals
from udprism.link.delay_line import DelayLine
from udprism.link.link import Link, client_key
from udprism.link.model import LinkModel
from udprism.udp.outlet import MAX_BATCH, Outlet
from udprism.udp.release_process import SOURCE_BYTES
from udprism.udp.sockets import header_bytes, report_errors, sockaddr_row
from udprism.wire.format import Encoder, Numbering, Part
from udprism.wire.patterns import Pattern

_HELD: Final = 4096
"""Datagrams that the link can hold, at least."""
_SNDBUF_BYTES: Final = 4 << 20
_REFUSED_FOR_NS: Final = 2 * NS_PER_S
_SAMPLE_NS: Final = 250 * NS_PER_MS


class OutgoingFlows:
    """`outlet.Flows`: one flow per key of the encoder, all to one target.

    offered: int64[k], datagrams that were made. keys: the encoder's, in the order of the slots.
    """

    def __init__(self, keys: list[int], target: Address, family: socket.AddressFamily) -> None:
        count = len(keys)
        self.keys = keys
        self.session_id: U32Column = np.ones(count, np.uint32)
        self.sockaddr: Rows = np.zeros((count, SOCKADDR_BYTES), np.uint8)
        self.sockaddr[:] = sockaddr_row(target, family)
        self.socket_index: I32Column = np.zeros(count, np.int32)
        self.source: Rows = np.zeros((count, SOURCE_BYTES), np.uint8)
        self.unsent_link: I64Column = np.zeros(count, np.int64)
        self.unsent_kernel: I64Column = np.zeros(count, np.int64)
        self.offered: I64Column = np.zeros(count, np.int64)

    def totals_of(self, slots: I32Column | I64Column) -> Totals:
        """Totals of these flows: `received` is what left here, or is held by the link."""
        link, kernel = self.unsent_link[slots], self.unsent_kernel[slots]
        lost = np.zeros((len(CAUSES), len(slots)), np.int64)
        lost[CAUSES.index(Cause.LINK)], lost[CAUSES.index(Cause.SENDER_KERNEL)] = link, kernel
        return Totals(
            self.offered[slots] - link - kernel,
            lost,
            np.zeros((len(slots), BUCKETS), np.uint32),
            np.zeros(len(slots), np.uint32),
            np.full(len(slots), np.nan),
        )


class Show(NamedTuple):
    """A sender's configuration. period_ns: between two frames. payload_at: as `Format.payload_at`."""

    encoder: Encoder
    numbering: Numbering
    payload_at: int
    pattern: Pattern
    pixels: int
    period_ns: int


class _Layout:
    """How a frame's datagrams fall into flows, one per key. Columns by part, [p], or by flow, [k].

    slot: int32[p], its flow. rank: int64[p], its place among the flow's parts. parts_of: int64[k], how many each flow
    has. first_pixel: int64[k].
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.keys = list(dict.fromkeys(part.key for part in parts))
        slot_of = {key: slot for slot, key in enumerate(self.keys)}
        self.slot: I32Column = np.array([slot_of[part.key] for part in parts], np.int32)
        own = self.slot[:, None] == self.slot
        self.rank: I64Column = np.tril(own, -1).sum(axis=1)
        self.parts_of: I64Column = np.bincount(self.slot)
        self.first_pixel: I64Column = np.array([part.first_pixel for part in parts])[self.rank == 0]


class SenderEndpoint:
    """`loop.Endpoint` for one sender. The loop's thread only, except for reading counters.

    frames: sent. skipped: frames that were due and not sent, because the loop was late by more than one.
    """

    def __init__(self, sender_id: str, show: Show, target: Address, link: Link, clock: Clock) -> None:
        """Raises: OSError, if no socket can be opened."""
        self.id, self.target, self.link = sender_id, target, link
        self.frames = self.skipped = 0
        self.refused_ns = -_REFUSED_FOR_NS
        """When the target last refused a datagram; monotonic."""
        self._show, self._clock = show, clock
        self._family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self.sock = socket.socket(self._family, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SNDBUF_BYTES)
        report_errors(self.sock)
        encoder = show.encoder
        parts = len(encoder.parts)
        self._part = np.arange(parts, dtype=np.int32)
        self._layout = _Layout(encoder.parts)
        self.flows = OutgoingFlows(self._layout.keys, target, self._family)
        self.first_rgb: U8Column = np.zeros((len(self._layout.keys), 3), np.uint8)
        """Of each flow's newest frame."""
        self._rows = np.zeros((parts, encoder.width), np.uint8)
        self._line = DelayLine(max(_HELD, 2 * parts), encoder.width)
        send_log = SendLog(self.flows.session_id, self.flows.offered, {}, {}, {}, 1)
        self._model = LinkModel(len(self.flows.keys))
        self._outlet = Outlet([self.sock], self.flows, send_log, self._model, self._line, clock)
        self.set_link(link)
        self._next_ns = self._sampled_ns = clock.now_ns()
        self.timeline = Timeline(len(self.flows.keys), self._next_ns, self.flows.totals_of)
        self.timeline.reset(np.arange(len(self.flows.keys), dtype=np.int32), self._next_ns)

    def set_link(self, link: Link) -> None:
        """Through this link from the next datagram on."""
        self.link = link
        slots = np.arange(len(self.flows.keys), dtype=np.int32)
        keys = np.array([client_key(f"{self.id}-{slot}") for slot in slots.tolist()], np.uint64)
        size = header_bytes(self._family)
        self._model.assign(slots, link, keys, payload_at=self._show.payload_at, header_bytes=size)

    @property
    def held(self) -> int:
        """Datagrams in the link now, including copies."""
        return len(self._line)

    # -- loop.Endpoint

    def take(self, arrivals: Arrivals, now_ns: int) -> None:
        raise AssertionError("nobody answers a sender")

    def fail(self, error: int, now_ns: int) -> None:
        raise AssertionError("its socket is not listened to")

    def next_due_ns(self) -> int:
        """See `loop.Endpoint`."""
        return min(self._next_ns, self._line.next_release_ns, self._sampled_ns + _SAMPLE_NS)

    def act(self, now_ns: int) -> None:
        """See `loop.Endpoint`."""
        if now_ns >= self._next_ns:
            due_ns = self._next_ns
            late = (now_ns - due_ns) // self._show.period_ns
            self.skipped += late
            self._next_ns += (1 + late) * self._show.period_ns
            self._send_frame(self.frames + self.skipped, due_ns + late * self._show.period_ns, now_ns)
            self.frames += 1
        if now_ns - self._sampled_ns >= _SAMPLE_NS:
            self._sampled_ns = now_ns
            self.timeline.sample(now_ns, len(self.flows.keys))
        if self._line.next_release_ns <= now_ns:
            self._outlet.release(now_ns)
        if self._outlet.take_unreachable():
            self.refused_ns = now_ns

    def end(self, now_ns: int) -> None:
        """Send the format's goodbye, if it has one, and close the socket. Datagrams in the link never leave."""
        for _ in range(self._show.encoder.goodbyes):
            self._send(self._show.encoder.goodbye(self._rows, self._part, self._numbers()), now_ns, now_ns)
        self._outlet.close()
        self.sock.close()

    @property
    def is_refused(self) -> bool:
        """Whether the target refused a datagram in the last two seconds."""
        return self._clock.now_ns() - self.refused_ns < _REFUSED_FOR_NS

    # -- inside

    def _send_frame(self, frame: int, due_ns: int, now_ns: int) -> None:
        rgb = self._show.pattern(np.array([frame], np.int64), self._show.pixels)
        self.first_rgb = rgb[0, self._layout.first_pixel]
        every = np.broadcast_to(rgb, (len(self._part), self._show.pixels, 3))
        sent_unix_ns = np.full(len(self._part), self._clock.unix_ns())
        self._send(
            self._show.encoder.encode(self._rows, self._part, self._numbers(), sent_unix_ns, every), due_ns, now_ns
        )

    def _numbers(self) -> U32Column:
        if not self._show.numbering.modulus:
            return np.zeros(len(self._part), np.uint32)
        count = self.flows.offered[self._layout.slot] + self._layout.rank
        return (self._show.numbering.first + count % self._show.numbering.modulus).astype(np.uint32)

    def _send(self, length: I32Column, due_ns: int, now_ns: int) -> None:
        number = self.flows.offered[self._layout.slot] + self._layout.rank
        self.flows.offered += self._layout.parts_of
        for start in range(0, len(length), MAX_BATCH):
            which = slice(start, start + MAX_BATCH)
            batch = Outgoing(self._layout.slot[which], number[which], length[which], self._rows[which])
            self._outlet.send(batch, self._outlet.enter(np.full(len(batch.length), due_ns), now_ns))
