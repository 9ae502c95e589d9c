"""How a tick's datagrams leave: encoded together, judged by the link, sent in batches, and accounted for."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from udprism.core import palette, wire
from udprism.core.delay_line import DelayLine
from udprism.core.link import Link
from udprism.core.link_model import LinkModel
from udprism.core.sessions import SessionTable, Shape
from udprism.core.types import NS_PER_MS, Address, BoolColumn, Cause, Clock, I32Column, I64Column, Rows, U8Column
from udprism.core.witness import CORRUPT, FateReport, Witness
from udprism.udp.sockets import BatchSender, drain_error_queue

MAX_BATCH = 1024
STAMP_CHUNK = 32
"""Datagrams that share one sent_at: stamped just before their system call, so that the wait for the ones ahead does
not show up as delay."""
PACE_NS = 3_000
"""How far apart a tick's datagrams enter the link: what one takes to be sent. Else all of them would be due at once
when their delay is over, and the last one would be late by what the sending of the others takes."""
_MOST_AHEAD_NS = 8 * NS_PER_MS
_TRIES = 3


class _Batch(NamedTuple):
    """Rows of one shape that leave together. All columns have one length; rows are C-ordered."""

    slot: I32Column
    sequence: I64Column
    length: I32Column
    rows: Rows

    def take(self, which: npt.NDArray[np.int64] | BoolColumn) -> _Batch:
        """These rows of it, copied."""
        return _Batch(self.slot[which], self.sequence[which], self.length[which], self.rows[which])


class Departures:
    """Encodes, impairs and sends. Server thread only."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        table: SessionTable,
        witness: Witness,
        link: LinkModel,
        line: DelayLine,
        clock: Clock,
        rng: np.random.Generator,
    ) -> None:
        self.link = link
        self.line = line
        self.sent = 0
        self.refused = 0
        self.tracked = False
        """True where somebody takes the witness's reports."""
        self._senders = [BatchSender(sock, MAX_BATCH) for sock in sockets]
        self._table = table
        self._witness = witness
        self._clock = clock
        self._rng = rng
        self._scratch = np.zeros(MAX_BATCH * wire.MAX_DATAGRAM_BYTES, np.uint8)
        self._unreachable: list[Address] = []
        self._entered_ns = 0

    @property
    def next_release_ns(self) -> int:
        """When the delay line lets its next datagram go."""
        return self.line.next_release_ns

    def take_unreachable(self) -> list[Address]:
        """Addresses whose port was unreachable since the last call, one entry an error."""
        taken, self._unreachable = self._unreachable, []
        return taken

    def send_due(self, slot: I32Column, now_ns: int) -> None:
        """Make and send one datagram for each slot (each at most once)."""
        shapes = self._table.shape[slot]
        if (shapes == shapes[0]).all():
            self._send_shape(self._table.shapes[shapes[0]], slot, now_ns)
        else:
            for number in np.unique(shapes):
                self._send_shape(self._table.shapes[number], slot[shapes == number], now_ns)

    def release(self, now_ns: int) -> None:
        """Send what the delay line lets go, and report what it held as dropped."""
        held = self.line.pop_due(now_ns)
        if held.dropped.any():
            self._report(held.slot[held.dropped], held.sequence[held.dropped], Cause.LINK)
            np.add.at(self._table.unsent_link, held.slot[held.dropped], 1)
        held_batch = _Batch(held.slot, held.sequence, held.length, held.rows).take(~held.dropped)
        index = np.array([self._table.shapes[number].socket_index for number in self._table.shape[held_batch.slot]])
        for socket_index in range(len(self._senders)):
            mine = np.flatnonzero(index == socket_index)
            for start in range(0, len(mine), MAX_BATCH):
                part = mine[start : start + MAX_BATCH]
                self._depart(socket_index, held_batch.take(part), stamp=False)
        self._witness.next_release_ns = self.line.next_release_ns  # not before: all of it must have left

    def assign_link(self, slot: int, link: Link | None, key: int) -> None:
        """The link for a session's next datagrams; None for none."""
        if link is None and not self.link.active:
            return
        self.link.assign(np.array([slot], np.int32), link, np.array([key], np.uint64))

    def forget(self, slot: int) -> None:
        """The session has ended: what waits for it never leaves, and its link is off."""
        if len(self.line):
            gone = self.line.forget(slot)
            self._witness.next_release_ns = self.line.next_release_ns
            self._report(gone.slot, gone.sequence, Cause.LINK)
        self.assign_link(slot, None, 0)

    def _send_shape(self, shape: Shape, slot: I32Column, now_ns: int) -> None:
        for start in range(0, len(slot), MAX_BATCH):
            part = slot[start : start + MAX_BATCH]
            batch = self._encode(shape, part, self._table.issue(part, now_ns))
            if self.link.active:
                batch = self._impair(batch, stamp=shape.measured)
            if len(batch.slot):
                self._depart(shape.socket_index, batch, stamp=shape.measured)

    def _encode(self, shape: Shape, slot: I32Column, sequence: I64Column) -> _Batch:
        count = len(slot)
        if not shape.measured:
            words, lengths, colours = palette.plain_rows(shape.palette, shape.line_feed)
            index = self._rng.integers(0, len(colours), count)
            self._table.last_rgb[slot] = colours[index]
            return _Batch(slot, sequence, lengths[index], words[index])
        colours = palette.colours_of(shape.palette)
        rgb = colours[self._rng.integers(0, len(colours), (count, shape.colours))]
        self._table.last_rgb[slot] = rgb[:, 0]
        width = wire.HEADER_BYTES + 3 * shape.colours
        rows = self._scratch[: count * width].reshape(count, width)
        wire.encode_colours(rows, self._table.session_id[slot], sequence, self._clock.unix_ns(), rgb)
        return _Batch(slot, sequence, np.full(count, width, np.int32), rows)

    def _enter(self, batch: _Batch, now_ns: int) -> I64Column:
        """When these rows enter the link, int64[n]: one after the other, and after those of the last batch."""
        first_ns = max(now_ns, self._entered_ns)
        pace_ns = PACE_NS if first_ns < now_ns + _MOST_AHEAD_NS else 0
        enters_ns = first_ns + pace_ns * np.arange(len(batch.slot))
        self._entered_ns = int(enters_ns[-1]) + pace_ns
        return enters_ns

    def _impair(self, batch: _Batch, *, stamp: bool) -> _Batch:
        """Apply the link: what is dropped, delayed or doubled goes into the delay line; answers what leaves now."""
        # The wall clock first: a thread that had to wait for a CPU in between would otherwise let datagrams go before
        # their delay is over.
        unix_ns, now_ns = self._clock.unix_ns(), self._clock.now_ns()
        enters_ns = self._enter(batch, now_ns)
        if stamp:
            wire.stamp(batch.rows, unix_ns + (enters_ns - now_ns))
        verdict = self.link.judge(batch.slot, batch.sequence, batch.length, enters_ns)
        damaged = np.flatnonzero(verdict.corrupt_bit >= 0)
        if len(damaged):
            bit = verdict.corrupt_bit[damaged]
            batch.rows[damaged, bit >> 3] ^= (1 << (bit & 7)).astype(np.uint8)
            self._report(batch.slot[damaged], batch.sequence[damaged], CORRUPT)
        doubled = np.flatnonzero(verdict.duplicate)
        if len(doubled):
            copies = batch.take(doubled)
            self._hold(copies, verdict.duplicate_release_ns[doubled], np.zeros(len(doubled), np.bool_), count=False)
        now = (verdict.release_ns <= enters_ns) & ~verdict.dropped
        if now.all():
            return batch
        later = np.flatnonzero(~now)
        held = batch.take(later)
        # at once: the receiver must know for how long to wait before it misses the first of these
        self._witness.hold_ns = max(self._witness.hold_ns, int(verdict.release_ns[later].max()) - now_ns)
        self._hold(held, verdict.release_ns[later], verdict.dropped[later], count=True)
        left = np.flatnonzero(now)
        return batch.take(left)

    def _hold(
        self,
        batch: _Batch,
        release_ns: I64Column,
        dropped: BoolColumn,
        *,
        count: bool,
    ) -> None:
        """Put rows into the delay line. A duplicate that finds no room is no loss, so it is not counted as one."""
        overflow = self.line.push(release_ns, batch.slot, batch.sequence, batch.length, batch.rows, dropped)
        self._witness.next_release_ns = min(self._witness.next_release_ns, self.line.next_release_ns)
        if count and overflow.any():
            self._report(batch.slot[overflow], batch.sequence[overflow], Cause.LINK)
            np.add.at(self._table.unsent_link, batch.slot[overflow], 1)

    def _depart(self, socket_index: int, batch: _Batch, *, stamp: bool) -> None:
        """Send n ≤ MAX_BATCH rows; what the kernel refuses is counted, never queued.

        stamp: write sent_at just before the system call. Without it, one call takes all: each gives the interpreter
        lock back, and waits for it again.
        """
        sender = self._senders[socket_index]
        count = len(batch.slot)
        sender.prepare(batch.rows, batch.length, self._table.sockaddr, batch.slot)
        refused: list[int] = []
        start = tries = 0
        chunk = STAMP_CHUNK if stamp else count
        while start < count:
            stop = min(start + chunk, count)
            if stamp:
                wire.stamp(batch.rows[start:stop], self._clock.unix_ns())
            left, error = sender.send(start, stop)
            start += left
            if left:
                tries = 0
            if not error:
                if start < stop:
                    # The kernel kept to itself why it stopped: if somebody is gone, an error queue that is not emptied
                    # here has room for some hundreds like that one, and forgets the rest.
                    self._unreachable += [gone.address for gone in drain_error_queue(sender.sock)]
                continue
            tries += 1
            if error not in (errno.EAGAIN, errno.ENOBUFS) and tries < _TRIES:
                # The pending error is somebody's, not this datagram's: learn whose, and send again.
                self._unreachable += [gone.address for gone in drain_error_queue(sender.sock)]
            else:
                refused.append(start)
                start += 1
                tries = 0
        self.sent += count - len(refused)
        if refused:
            self.refused += len(refused)
            slot = batch.slot[refused]
            np.add.at(self._table.unsent_kernel, slot, 1)
            self._report(slot, batch.sequence[refused], Cause.SENDER_KERNEL)

    def _report(self, slot: I32Column, sequence: I64Column, cause: int) -> None:
        if self.tracked:
            causes: U8Column = np.full(len(slot), cause, np.uint8)
            self._witness.report(FateReport(slot.copy(), self._table.session_id[slot], sequence.copy(), causes))
