"""How a tick's datagrams leave: encoded together, judged by the link, sent in batches, and accounted for."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from udprism.core import palette, wire
from udprism.core.delay_line import DelayLine
from udprism.core.link import Link
from udprism.core.link_model import LinkModel
from udprism.core.sessions import SessionTable, Shape
from udprism.core.types import (
    NEVER_NS,
    NS_PER_MS,
    Address,
    BoolColumn,
    Cause,
    Clock,
    I32Column,
    I64Column,
    Rows,
    U8Column,
)
from udprism.core.witness import CORRUPT, FateReport, Witness
from udprism.udp.sockets import BatchSender, drain_error_queue

MAX_BATCH = 1024
LINK_BATCH = 250
"""Datagrams that a link judges together: NumPy gives the interpreter lock back in calls on more than 500 numbers, and
judging has two for each."""
STAMP_CHUNK = 32
"""Datagrams that share one sent_at: stamped just before their system call, so that the wait for the ones ahead does
not show up as delay."""
PACE_NS = 3_000
"""How far apart datagrams enter the link at least: what one takes to be sent. Those that enter at once are due at once
when their delay is over, and the last one would be late by what the sending of the others takes."""
_MOST_SHIFT_NS = 50 * NS_PER_MS
"""What was due longer ago, on a machine with too much to do, enters a link within that time."""
_TOGETHER_NS = 4 * NS_PER_MS
_TRIES = 3


class _Batch(NamedTuple):
    """Rows of one shape that leave together. All columns have one length; rows are C-ordered."""

    slot: I32Column
    sequence: I64Column
    length: I32Column
    rows: Rows

    def take(self, which: I64Column) -> _Batch:
        """These rows of it, copied."""
        return _Batch(self.slot[which], self.sequence[which], self.length[which], self.rows[which])


@dataclass(slots=True)
class _Leaving:
    """Datagrams of the delay line that a sender has ready, in the order of their times; the first `sent` have left."""

    sender: BatchSender
    slot: I32Column
    sequence: I64Column
    places: I64Column
    release_ns: I64Column
    sent: int = 0

    @property
    def is_over(self) -> bool:
        return self.sent == len(self.slot)


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
        self.next_release_ns = NEVER_NS
        """When the link lets the next datagram go."""
        self._senders = [BatchSender(sock, MAX_BATCH) for sock in sockets]
        self._senders_of_held = [BatchSender(sock, MAX_BATCH) for sock in sockets]
        self._table = table
        self._witness = witness
        self._clock = clock
        self._rng = rng
        self._scratch = np.zeros(MAX_BATCH * wire.MAX_DATAGRAM_BYTES, np.uint8)
        self._unreachable: list[Address] = []
        self._shift_ns = self._shifted_ns = 0
        self._leaving: list[_Leaving] = []

    @property
    def last_release_ns(self) -> int:
        """When the last of those that are held back now leaves; -NEVER_NS where none is."""
        return max(self.line.last_release_ns, *(int(one.release_ns[-1]) for one in self._leaving), -NEVER_NS)

    def take_unreachable(self) -> list[Address]:
        """Addresses whose port was unreachable since the last call, one entry an error."""
        taken, self._unreachable = self._unreachable, []
        return taken

    def send_due(self, slot: I32Column, due_ns: I64Column, now_ns: int) -> None:
        """Make and send one datagram for each slot (each at most once). due_ns: int64[n], when each of them was due."""
        enters_ns = self._enter(due_ns, now_ns) if self.link.active else due_ns
        shapes = self._table.shape[slot]
        if (shapes == shapes[0]).all():
            self._send_shape(self._table.shapes[shapes[0]], slot, enters_ns, now_ns)
        else:
            for number in np.unique(shapes):
                mine = shapes == number
                self._send_shape(self._table.shapes[number], slot[mine], enters_ns[mine], now_ns)

    def release(self, now_ns: int) -> None:
        """Send what the link lets go, and report what it held as dropped.

        What leaves within the next milliseconds is put together once, so that letting go of some of it, which is done
        as often as it takes to be in time, is one system call and little else.
        """
        if self.line.next_release_ns <= now_ns:
            self._put_together(now_ns)
            now_ns = max(now_ns, self._clock.now_ns())
        for leaving in self._leaving:
            stop = int(leaving.release_ns.searchsorted(now_ns, side="right"))
            if stop > leaving.sent:
                self._send(leaving.sender, leaving.slot, leaving.sequence, leaving.sent, stop)
                leaving.sent = stop
        if all(leaving.is_over for leaving in self._leaving):
            self._put_apart()
        self._foresee_release()

    def _keep_releasing(self) -> None:
        """What is to leave in the midst of a tick does not wait for its end."""
        now_ns = self._clock.now_ns()
        if self.next_release_ns <= now_ns:
            self.release(now_ns)

    def _put_together(self, now_ns: int) -> None:
        self._put_apart()
        due = self.line.take_due(now_ns + _TOGETHER_NS, MAX_BATCH)
        places, release_ns, slot, sequence, dropped = due.places, due.release_ns, due.slot, due.sequence, due.dropped
        if dropped.any():
            self._report(slot[dropped], sequence[dropped], Cause.LINK)
            np.add.at(self._table.unsent_link, slot[dropped], 1)
            self.line.give_back(places[dropped])
        length = due.length
        through = np.where(dropped, -1, self._table.socket_of_shape[self._table.shape[slot]])
        for index, sender in enumerate(self._senders_of_held):
            mine = np.flatnonzero(through == index)
            if len(mine):
                leaving = _Leaving(sender, slot[mine], sequence[mine], places[mine], release_ns[mine])
                sender.prepare(self.line.rows, length[mine], self._table.sockaddr, leaving.slot, leaving.places)
                self._leaving.append(leaving)

    def _put_apart(self) -> None:
        """Give the delay line back its places, and what has not left."""
        for leaving in self._leaving:
            self.line.give_back(leaving.places[: leaving.sent])
            self.line.put_back(leaving.places[leaving.sent :], leaving.release_ns[leaving.sent :])
        self._leaving.clear()

    def _foresee_release(self) -> None:
        next_ns = [int(one.release_ns[one.sent]) for one in self._leaving if not one.is_over]
        # What has been let go has left by now, all of it.
        self.next_release_ns = self._witness.next_release_ns = min(self.line.next_release_ns, *next_ns, NEVER_NS)

    def assign_link(self, slot: int, link: Link | None, key: int) -> None:
        """The link for a session's next datagrams; None for none."""
        if link is None and not self.link.active:
            return
        self.link.assign(np.array([slot], np.int32), link, np.array([key], np.uint64))

    def forget(self, slot: int) -> None:
        """The session has ended: what waits for it never leaves, and its link is off."""
        if len(self.line):
            self._put_apart()
            gone = self.line.take_slot(slot)
            self._report(gone.slot, gone.sequence, Cause.LINK)
            self.line.give_back(gone.places)
            self._foresee_release()
        self.assign_link(slot, None, 0)

    def _send_shape(self, shape: Shape, slot: I32Column, enters_ns: I64Column, now_ns: int) -> None:
        together = LINK_BATCH if self.link.active else MAX_BATCH
        for start in range(0, len(slot), together):
            some = slice(start, start + together)
            batch = self._encode(shape, slot[some], self._table.issue(slot[some], now_ns))
            if self.link.active:
                self._keep_releasing()
                batch = self._impair(batch, enters_ns[some], stamp=shape.measured)
            if len(batch.slot):
                self._depart(self._senders[shape.socket_index], batch, stamp=shape.measured)

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

    def _enter(self, due_ns: I64Column, now_ns: int) -> I64Column:
        """When a tick's datagrams enter the link, int64[n]: as far apart as they were due, 3 µs at least.

        A tick gathers what was due within some milliseconds; what leaves a link has to leave in its time, not in lumps.
        So each enters by a shift after it was due, which is as long as the latest tick was late with its first, and
        grows shorter by a tenth of the time: no datagram overtakes the one before it.
        """
        order = np.argsort(due_ns, kind="stable")
        paced_ns = PACE_NS * np.arange(len(due_ns))
        after_ns = np.maximum.accumulate(due_ns[order] - due_ns[order[0]] - paced_ns) + paced_ns
        if after_ns[-1] > _MOST_SHIFT_NS:
            after_ns = after_ns * _MOST_SHIFT_NS // after_ns[-1]
        late_ns = now_ns - int(due_ns[order[0]])
        shift_ns = max(late_ns, self._shift_ns - (now_ns - self._shifted_ns) // 10)
        self._shift_ns, self._shifted_ns = min(shift_ns, _MOST_SHIFT_NS), now_ns
        enters_ns = np.empty(len(due_ns), np.int64)
        enters_ns[order] = now_ns + (shift_ns - late_ns) + after_ns
        return enters_ns

    def _impair(self, batch: _Batch, enters_ns: I64Column, *, stamp: bool) -> _Batch:
        """Apply the link: what is dropped, delayed or doubled goes into the delay line; answers what leaves now."""
        # The wall clock first: a thread that had to wait for a CPU in between would otherwise let datagrams go before
        # their delay is over.
        unix_ns, now_ns = self._clock.unix_ns(), self._clock.now_ns()
        if stamp:
            wire.stamp(batch.rows, unix_ns + (enters_ns - now_ns))
        verdict = self.link.judge(batch.slot, batch.sequence, batch.length, enters_ns)
        self._keep_releasing()
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
        self._foresee_release()
        if count and overflow.any():
            self._report(batch.slot[overflow], batch.sequence[overflow], Cause.LINK)
            np.add.at(self._table.unsent_link, batch.slot[overflow], 1)

    def _depart(self, sender: BatchSender, batch: _Batch, *, stamp: bool) -> None:
        """Send n ≤ MAX_BATCH rows now."""
        sender.prepare(batch.rows, batch.length, self._table.sockaddr, batch.slot)
        self._send(sender, batch.slot, batch.sequence, 0, len(batch.slot), batch.rows if stamp else None)

    def _send(
        self,
        sender: BatchSender,
        slot: I32Column,
        sequence: I64Column,
        first: int,
        end: int,
        unstamped: Rows | None = None,
    ) -> None:
        """Send those that the sender has ready, [first, end); what the kernel refuses is counted, never queued.

        unstamped: all its rows, to write sent_at just before the system call. Without it, one call takes all: each
        gives the interpreter lock back, and waits for it again.
        """
        refused: list[int] = []
        start, tries = first, 0
        chunk = end if unstamped is None else STAMP_CHUNK
        while start < end:
            stop = min(start + chunk, end)
            if unstamped is None:
                self._witness.wanted_ns = self._clock.now_ns() + PACE_NS * (stop - start)
            else:
                wire.stamp(unstamped[start:stop], self._clock.unix_ns())
            left, error = sender.send(start, stop)
            if unstamped is None:
                self._witness.wanted_ns = 0
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
        self.sent += end - first - len(refused)
        if refused:
            self.refused += len(refused)
            np.add.at(self._table.unsent_kernel, slot[refused], 1)
            self._report(slot[refused], sequence[refused], Cause.SENDER_KERNEL)

    def _report(self, slot: I32Column, sequence: I64Column, cause: int) -> None:
        if self.tracked:
            causes: U8Column = np.full(len(slot), cause, np.uint8)
            self._witness.report(FateReport(slot.copy(), self._table.session_id[slot], sequence.copy(), causes))
