"""Sends datagrams: the link judges them, delayed ones wait, batches leave and are accounted for."""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from udprism.columns.outgoing import Outgoing, Stamp
from udprism.columns.runs import distinct
from udprism.columns.types import (
    NEVER_NS,
    NS_PER_MS,
    Address,
    BoolColumn,
    Clock,
    I32Column,
    I64Column,
    Rows,
    U32Column,
)
from udprism.ledger.fates import Cause
from udprism.ledger.send_log import CORRUPT, FateReport, SendLog
from udprism.link.delay_line import DelayLine
from udprism.link.model import LinkModel
from udprism.udp.pace import Pace
from udprism.udp.releaser import DelayedBatch, Releaser
from udprism.udp.sight import SenderTap
from udprism.udp.sockets import BatchSender, drain_error_queue

MAX_BATCH = 1024
STAMP_CHUNK = 32
"""Datagrams that share one sent_at: stamped just before their system call, so that the wait for the ones ahead does
not show up as delay."""
_AHEAD_NS = 60 * NS_PER_MS
"""What leaves within that time is handed over to the releaser together."""
_ENOUGH_AHEAD_NS = 40 * NS_PER_MS
"""At least this long before its time: a thread that waits for the interpreter lock is late by some milliseconds."""
_LATE = "late by some milliseconds"
_LOOK_EVERY_NS = NS_PER_MS // 2
_ONE_FLOW_BATCH = 16
_TRIES = 3


class Flows(Protocol):
    """The flows that the outlet sends to: columns by slot, kept by their owner."""

    session_id: U32Column
    """Tells a slot's flow from the one that had the slot before; 0 for none."""
    sockaddr: Rows
    """uint8[capacity, 28]: a struct sockaddr each."""
    socket_index: I32Column
    """Through which of the outlet's sockets."""
    source: Rows
    """uint8[capacity, 40]: from which of this machine's addresses, if the socket is bound to all; see `source`."""
    unsent_link: I64Column
    unsent_kernel: I64Column
    """How many never left, by cause: the outlet counts here."""


class Outlet:
    """Impairs, delays and sends. Server thread only, except for reading counters."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        flows: Flows,
        send_log: SendLog,
        link: LinkModel,
        line: DelayLine,
        clock: Clock,
        releaser: Releaser | None = None,
    ) -> None:
        """releaser: sends delayed datagrams; without one the server's thread does, and is late more often."""
        self.link = link
        self.line = line
        self.releaser = releaser
        self.sent = 0
        self.refused = 0
        self.turned_away = 0
        """Datagrams that the link would have delayed, had it had room for them: they were dropped."""
        self.next_release_ns = NEVER_NS
        """When the link lets the next datagram go."""
        self.wake_ns = NEVER_NS
        """When to call `release`."""
        self._senders = {index: BatchSender(sock, MAX_BATCH) for index, sock in enumerate(sockets)}
        self._opened = len(sockets)
        self._flows = flows
        self._send_log = send_log
        self._clock = clock
        self.tap = SenderTap(flows, self._senders)  # sees what leaves, or enters the link
        self._unreachable: list[Address] = []
        self._pace = Pace()
        self._unreported: deque[tuple[int, FateReport]] = deque()
        """Datagrams of one handed-over block that the link dropped, and when the block's last one leaves."""

    @property
    def last_release_ns(self) -> int:
        """When the last of those that are held back now leaves; -NEVER_NS if none is."""
        return max(self.line.last_release_ns, -NEVER_NS if self.releaser is None else self.releaser.last_release_ns)

    def told_ns(self, now_ns: int) -> tuple[int, int]:
        """(until when all has left, or was reported; by when all will have that was sent until now)."""
        untold = [at_ns for at_ns, _ in self._unreported]
        return min(now_ns, self.next_release_ns, *untold), max(self.last_release_ns, *untold, -NEVER_NS)

    @property
    def releaser_starts(self) -> int:
        """How often the releaser's process was started. Any thread."""
        return 0 if self.releaser is None else self.releaser.starts

    @property
    def releaser_state(self) -> tuple[bool, str]:
        """Whether delays are as accurate as possible here, and what sends delayed datagrams. Any thread."""
        if self.releaser is None:
            return True, f"the server's thread sends delayed datagrams, {_LATE}: there is no other way here"
        if self.releaser.ready or not self.releaser.wanted:
            return True, "a separate process sends delayed datagrams"
        return False, f"the link's process is being started; the server's thread does its work meanwhile, {_LATE}"

    def close(self) -> None:
        """Datagrams that are still delayed never leave."""
        if self.releaser is not None:
            self.releaser.close()

    def open(self, sock: socket.socket) -> int:
        """Send through this socket as well, for one flow. Returns its number here, which is never reused."""
        self._senders[self._opened] = BatchSender(sock, _ONE_FLOW_BATCH)
        self._opened += 1
        return self._opened - 1

    def shut(self, socket_index: int) -> None:
        """Stop sending through this socket; its flow was forgotten."""
        del self._senders[socket_index]

    def take_unreachable(self) -> list[Address]:
        """Addresses whose port was unreachable since the last call, one entry per error."""
        taken, self._unreachable = self._unreachable, []
        return taken

    def send(self, batch: Outgoing, enters_ns: I64Column) -> None:
        """Send n ≤ MAX_BATCH datagrams, or have the link hold them. enters_ns: int64[n], see `enter`."""
        if self.link.active:
            batch = self._impair(batch, enters_ns)
        for index, which in self._by_socket(batch.flow):
            self._depart(self._senders[index], batch if which is None else batch.part(which))

    def _by_socket(self, flow: I32Column) -> Iterator[tuple[int, I64Column | None]]:
        """(socket, rows that leave through it; None for all)."""
        if len(flow):
            index = self._flows.socket_index[flow]
            first = int(index[0])
            if (index == first).all():
                yield first, None
            else:
                yield from ((one, np.flatnonzero(index == one)) for one in distinct(index).tolist())

    def release(self, now_ns: int) -> None:
        """Send what the link has delayed, and report what it dropped.

        What leaves within the next milliseconds is handed over to the releaser, which is in time whatever this thread
        waits for. Where there is none, what is due now leaves from here.
        """
        releaser = self.releaser
        if releaser is not None:
            releaser.want(self.link.active)
            for held in releaser.settle(now_ns):
                self._take_back(held)
        if releaser is not None and releaser.ready:
            while self.line.next_release_ns <= now_ns + _ENOUGH_AHEAD_NS and releaser.has_room:
                for held in self._take_due(now_ns + _AHEAD_NS):
                    if not self._hand_over(releaser, held):
                        self.line.put_back(held.due)
        else:
            while self.line.next_release_ns <= now_ns:
                for held in self._take_due(now_ns):
                    self._let_go(held)
        self._foresee(now_ns)

    def _take_due(self, until_ns: int) -> list[DelayedBatch]:
        """The first of what leaves until then, without what the link dropped: this is reported in its turn."""
        due = self.line.take_due(until_ns, MAX_BATCH)
        dropped = due.dropped
        if dropped.any():
            lost = due.part(dropped)
            np.add.at(self._flows.unsent_link, lost.slot, 1)
            fates = FateReport.of(lost.slot, self._flows.session_id[lost.slot], lost.sequence, Cause.LINK)
            self._unreported.append((int(due.release_ns[-1]), fates))
            self.line.give_back(lost)
            due = due.part(~dropped)
        parts = [(index, due if which is None else due.part(which)) for index, which in self._by_socket(due.slot)]
        return [DelayedBatch(part, index, self._flows.session_id[part.slot]) for index, part in parts]

    def _hand_over(self, releaser: Releaser, held: DelayedBatch) -> bool:
        slot, tells = held.due.slot, self._senders[held.socket_index].tells_source
        return releaser.hand_over(held, self._flows.sockaddr[slot], self._flows.source[slot] if tells else None)

    def _let_go(self, held: DelayedBatch) -> None:
        sender = self._senders[held.socket_index]
        for start in range(0, len(held.due), sender.max_batch):
            due = held.due.part(slice(start, start + sender.max_batch))
            sender.prepare(self.line.rows, due.length, self._flows.sockaddr, due.slot, due.places, self._flows.source)
            self._send(sender, due.slot, due.sequence)
        self.line.give_back(held.due)

    def _take_back(self, held: DelayedBatch) -> None:
        """What was handed over has left or was refused; what has not, because the releaser died, is held again."""
        refused = held.due.part(held.refused)
        self.sent += held.done - len(refused)
        self._refuse(refused.slot, held.session_id[held.refused], refused.sequence)
        self.line.give_back(held.due.part(slice(held.done)))
        if held.done < len(held.due):
            rest, session_id = held.due.part(slice(held.done, None)), held.session_id[held.done :]
            ended = session_id != self._flows.session_id[rest.slot]
            lost = rest.part(ended)
            self._tell(FateReport.of(lost.slot, session_id[ended], lost.sequence, Cause.LINK))
            self.line.give_back(lost)
            self.line.put_back(rest.part(~ended))

    def _foresee(self, now_ns: int) -> None:
        """Set the time of the next release, and report the fates that are due."""
        self.next_release_ns = self.wake_ns = self.line.next_release_ns
        if self.releaser is not None and self.releaser.ready:
            self.next_release_ns = min(self.line.next_release_ns, self.releaser.next_release_ns)
            self.wake_ns = min(self.line.next_release_ns - _ENOUGH_AHEAD_NS, self.releaser.next_done_ns)
        self._send_log.next_release_ns = self.next_release_ns
        while self._unreported and self._unreported[0][0] < min(self.next_release_ns, now_ns + 1):
            self._tell(self._unreported.popleft()[1])
        if self._unreported:
            self.wake_ns = min(self.wake_ns, self._unreported[0][0])
        self.wake_ns = max(self.wake_ns, now_ns + _LOOK_EVERY_NS)

    def forget(self, slot: int) -> None:
        """The flow has ended: its delayed datagrams never leave, except for those that the releaser already has."""
        if len(self.line):
            gone = self.line.take_slot(slot)
            self._report(gone.slot, gone.sequence, Cause.LINK)
            self.line.give_back(gone)
            self._foresee(self._clock.now_ns())

    def enter(self, due_ns: I64Column, now_ns: int) -> I64Column:
        """When a tick's datagrams, which were due then, enter the link: int64[n]; see `Pace`."""
        return self._pace.enter(due_ns, now_ns) if self.link.active else due_ns

    def _impair(self, batch: Outgoing, enters_ns: I64Column) -> Outgoing:
        """Apply the link: dropped, delayed and duplicated datagrams go into the delay line. Returns what leaves now."""
        # The wall clock first: a thread that had to wait for a CPU in between would otherwise let datagrams go before
        # their delay is over.
        unix_ns, now_ns = self._clock.unix_ns(), self._clock.now_ns()
        if batch.stamp is not None:
            batch.stamp(batch.rows, unix_ns + (enters_ns - now_ns))
        self.tap.sent(batch, unix_ns)
        verdict = self.link.judge(batch.flow, batch.number, batch.length, enters_ns)
        self.tap.judged(batch, verdict.part)
        damaged = np.flatnonzero(verdict.corrupt_bit >= 0)
        if len(damaged):
            bit = verdict.corrupt_bit[damaged]
            batch.rows[damaged, bit >> 3] ^= (1 << (bit & 7)).astype(np.uint8)
            self._report(batch.flow[damaged], batch.number[damaged], CORRUPT)
        doubled = np.flatnonzero(verdict.duplicate)
        if len(doubled):
            copies = batch.part(doubled)
            self._hold(copies, verdict.duplicate_release_ns[doubled], np.zeros(len(doubled), np.bool_), count=False)
        now = (verdict.release_ns <= enters_ns) & ~verdict.dropped
        if self.releaser is not None and self.releaser.ready:
            # Two processes that send to the same client would let one datagram overtake another by accident.
            now &= ~self.link.holds(batch.flow)
        if now.all():
            return batch
        later = np.flatnonzero(~now)
        held = batch.part(later)
        # at once: the receiver must know for how long to wait before it misses the first of these
        self._send_log.hold_ns = max(self._send_log.hold_ns, int(verdict.release_ns[later].max()) - now_ns)
        self._hold(held, verdict.release_ns[later], verdict.dropped[later], count=True)
        left = np.flatnonzero(now)
        return batch.part(left)

    def _hold(self, batch: Outgoing, release_ns: I64Column, dropped: BoolColumn, *, count: bool) -> None:
        """Put rows into the delay line. A duplicate that finds no room is no loss, so it is not counted as one."""
        overflow = self.line.push(release_ns, batch.flow, batch.number, batch.length, batch.rows, dropped)
        if count and overflow.any():
            self.turned_away += int(np.count_nonzero(overflow & ~dropped))
            self._report(batch.flow[overflow], batch.number[overflow], Cause.LINK)
            np.add.at(self._flows.unsent_link, batch.flow[overflow], 1)

    def _depart(self, sender: BatchSender, batch: Outgoing) -> None:
        """Send n ≤ MAX_BATCH rows now."""
        sender.prepare(batch.rows, batch.length, self._flows.sockaddr, batch.flow, sources=self._flows.source)
        self._send(sender, batch.flow, batch.number, batch.rows, batch.stamp)
        if self.tap.recorder is not None and not self.link.active:
            self.tap.sent(batch, self._clock.unix_ns())

    def _send(
        self,
        sender: BatchSender,
        slot: I32Column,
        sequence: I64Column,
        rows: Rows | None = None,
        stamp: Stamp | None = None,
    ) -> None:
        """Send all that the sender has ready; what the kernel refuses is counted, never queued.

        stamp: writes into the rows when they leave, just before the system call. Without it, one call takes all: each
        gives the interpreter lock back, and waits for it again.
        """
        refused: list[int] = []
        start, end, tries = 0, len(slot), 0
        chunk = end if stamp is None else STAMP_CHUNK
        while start < end:
            stop = min(start + chunk, end)
            if stamp is not None and rows is not None:
                stamp(rows[start:stop], self._clock.unix_ns())
            left, error = sender.send(start, stop)
            start += left
            if left:
                tries = 0
            if not error:
                if start < stop:
                    # The kernel does not say why it stopped: if a peer is gone, an error queue that is not emptied
                    # here has room for some hundreds like that one, and forgets the rest.
                    self._unreachable += [gone.address for gone in drain_error_queue(sender.sock)]
                continue
            tries += 1
            if error not in (errno.EAGAIN, errno.ENOBUFS) and tries < _TRIES:
                # The pending error belongs to another peer, not to this datagram: find out whose, then send again.
                self._unreachable += [gone.address for gone in drain_error_queue(sender.sock)]
            else:
                refused.append(start)
                start += 1
                tries = 0
        self.sent += end - len(refused)
        self._refuse(slot[refused], self._flows.session_id[slot[refused]], sequence[refused])

    def _refuse(self, slot: I32Column, session_id: U32Column, sequence: I64Column) -> None:
        """The kernel did not take these."""
        if len(slot):
            self.refused += len(slot)
            np.add.at(self._flows.unsent_kernel, slot[self._flows.session_id[slot] == session_id], 1)
            self._tell(FateReport.of(slot, session_id, sequence, Cause.SENDER_KERNEL))

    def _report(self, slot: I32Column, sequence: I64Column, cause: int) -> None:
        self._tell(FateReport.of(slot, self._flows.session_id[slot], sequence, cause))

    def _tell(self, report: FateReport) -> None:
        if len(report.sequence):
            self._send_log.report(report)
