"""A sender, its link, two kernels and the receiver's ledger in one simulated process; everything from one seed.

What is real: the link model, the delay line, the wire, the ledger, the history. What is played: time, the sender's
kernel (refuses), the receiver's kernel (drops and counts) and the polling of both threads.
"""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np

from udprism.columns.types import NS_PER_MS, NS_PER_S, I32Column, I64Column
from udprism.ledger.fates import BEYOND, NEW, Cause
from udprism.ledger.history import History
from udprism.ledger.ledger import Ledger
from udprism.link.delay_line import DelayLine
from udprism.link.link import Link
from udprism.link.model import LinkModel
from udprism.wire import measured as wire

TICK_NS = 5 * NS_PER_MS
UNIX_NS = 1_700_000_000 * NS_PER_S
SETTLE_TICKS = 25
POLL_TICKS = 2
CORRUPT = 255
Report = tuple[int, int, int]
"""slot, number, cause"""


class LossyPath:
    """`truth` is what became of each (slot, number), known to nobody in the play."""

    def __init__(self, seed: int, clients: int, link: Link, *, refused_ratio: float, overflow_ratio: float) -> None:
        self.rng = Random(seed)
        self.clients = clients
        self.now_ns = 1_000 * NS_PER_S
        self.ticks = 0
        self.next_sequence = np.zeros(clients, np.int64)
        self.truth: dict[tuple[int, int], Cause] = {}
        self.arrived: set[tuple[int, int]] = set()
        self.received = [0] * clients
        self.drops = np.zeros(clients, np.int64)
        self.reports: list[Report] = []
        self.line = DelayLine(4096, 32)
        self.model = LinkModel(clients)
        self.overflow_ratio = overflow_ratio
        self.refused_ratio = refused_ratio
        self.beyond = 0
        self.socket: list[tuple[int, int, bytes]] = []
        self.ledger = Ledger(clients, window=256, loss_after_ns=NS_PER_S, loss_after_arrivals=64)
        self.ledger.ask_sender = lambda slots: self.next_sequence[slots]
        self.history = History(clients)
        slots = self.slots
        self.ledger.reset(slots)
        self.ledger.begin_session(slots, np.ones(clients, np.bool_), np.ones(clients, np.bool_))
        self.history.begin_session(slots, slots.astype(np.uint32) + 1)
        self.put_link(link)

    @property
    def slots(self) -> I32Column:
        return np.arange(self.clients, dtype=np.int32)

    def put_link(self, link: Link | None) -> None:
        """Another link for all clients; what the line holds stays there."""
        self.model.assign(self.slots, link, self.slots.astype(np.uint64), payload_at=wire.HEADER_BYTES)

    def tick(self, *, sending_ratio: float) -> None:
        """Send, let the line go on, and poll and settle when it is time for it."""
        self.ticks += 1
        self.now_ns += TICK_NS
        due = [slot for slot in range(self.clients) if self.rng.random() < sending_ratio]
        if due:
            self._send(np.array(due, np.int32))
        self._release()
        if self.ticks % POLL_TICKS == 0:
            self.poll()
        if self.ticks % SETTLE_TICKS == 0:
            self.settle()

    def _send(self, slots: I32Column) -> None:
        sequence = self.next_sequence[slots].copy()
        self.next_sequence[slots] += 1
        rows = np.zeros((len(slots), 23), np.uint8)
        length = np.full(len(slots), 23, np.int32)
        rgb = np.full((len(slots), 1, 3), 7, np.uint8)
        wire.encode_colours(rows, slots.astype(np.uint32) + 1, sequence, UNIX_NS + self.now_ns, rgb)
        verdict = self.model.judge(slots, sequence, length, self.now_ns)
        for place in np.flatnonzero(verdict.corrupt_bit >= 0).tolist():
            bit = int(verdict.corrupt_bit[place])
            rows[place, bit >> 3] ^= 1 << (bit & 7)
            self.reports.append((int(slots[place]), int(sequence[place]), CORRUPT))
        copies = np.flatnonzero(verdict.duplicate)
        self.line.push(
            verdict.duplicate_release_ns[copies],
            slots[copies],
            sequence[copies],
            length[copies],
            rows[copies],
            np.zeros(len(copies), np.bool_),
        )
        now = (verdict.release_ns <= self.now_ns) & ~verdict.dropped
        later = np.flatnonzero(~now)
        overflow = self.line.push(
            verdict.release_ns[later], slots[later], sequence[later], length[later], rows[later], verdict.dropped[later]
        )
        for place in later[overflow].tolist():
            self._lose(int(slots[place]), int(sequence[place]), Cause.LINK)
        for place in np.flatnonzero(now).tolist():
            self._depart(int(slots[place]), int(sequence[place]), rows[place].tobytes())

    def _release(self) -> None:
        due = self.line.take_due(self.now_ns)
        for place in range(len(due)):
            slot, number = int(due.slot[place]), int(due.sequence[place])
            if due.dropped[place]:
                self._lose(slot, number, Cause.LINK)
            else:
                self._depart(slot, number, due.rows[place, : due.length[place]].tobytes())
        self.line.give_back(due)

    def _lose(self, slot: int, number: int, cause: Cause) -> None:
        if self.truth.get((slot, number)) in (None, Cause.RECEIVER_KERNEL):
            # of two copies that were lost in two ways the one is known by its number, the other only by how many
            self.truth[slot, number] = cause
        self.reports.append((slot, number, cause))

    def _depart(self, slot: int, number: int, data: bytes) -> None:
        if self.rng.random() < self.refused_ratio:
            self._lose(slot, number, Cause.SENDER_KERNEL)
        elif self.rng.random() < self.overflow_ratio:
            self.drops[slot] += 1
            self.truth.setdefault((slot, number), Cause.RECEIVER_KERNEL)
        else:
            self.socket.append((slot, self.now_ns + self.rng.randrange(NS_PER_MS), data))

    def poll(self) -> None:
        """The receiver reads its sockets: client by client, as a poll does, or as it came."""
        batch, self.socket = self.socket, []
        if self.rng.random() < 0.5:
            batch.sort(key=lambda arrival: arrival[0])
        while batch:
            size = self.rng.choice([1, 7, 1000])
            self._take(batch[:size])
            batch = batch[size:]

    def _take(self, batch: list[tuple[int, int, bytes]]) -> None:
        slot = np.array([slot for slot, _, _ in batch], np.int32)
        received = np.array([UNIX_NS + now_ns for _, now_ns, _ in batch])
        rows = np.array([list(data) for _, _, data in batch], np.uint8)
        length = np.full(len(batch), rows.shape[1], np.int32)
        decoded = wire.decode_colours(rows, length)
        mine = decoded.valid & (decoded.session_id == slot + 1)
        slot, received, rows, length = slot[mine], received[mine], rows[mine], length[mine]
        outcome = self.ledger.update(slot, decoded.sequence[mine], decoded.sent_at_unix_ns[mine], received, self.now_ns)
        self.history.record(slot, outcome.extended, received, length, rows, decoded.rgb[mine], outcome.flags)
        for one, number, flags in zip(slot.tolist(), *(column.tolist() for column in outcome), strict=True):
            if flags & NEW:
                assert (one, number) not in self.arrived
                self.arrived.add((one, number))
                self.received[one] += 1
            self.beyond += flags == BEYOND

    def settle(self) -> None:
        """The receiver hears what the sender has to say, and then declares what is overdue."""
        reports, self.reports = self.reports, []
        self.ledger.set_sent(self.slots, self.next_sequence)
        for slot, number, cause in reports:
            where = np.array([slot], np.int32), np.array([number], np.int64)
            if cause != CORRUPT:
                self.history.mark_lost(*self.ledger.report_unsent(*where, np.array([cause], np.uint8)))
            else:
                self.history.mark_corrupt(*self.ledger.report_corrupt(*where))
        self.history.mark_corrupt(*self.ledger.report_corrupt(self.slots[:0], self.next_sequence[:0]))
        hold_ns = max(0, self.line.last_release_ns - self.now_ns)
        declared = self.ledger.expire(self.now_ns, self._drops_of, hold_ns)
        self.history.mark_lost(*declared)

    def _drops_of(self, slots: I32Column) -> I64Column:
        return self.drops[slots]

    def lost_in_truth(self, slot: int) -> Counter[Cause]:
        """Causes of what never came. A datagram with two copies is lost only if none of them came."""
        return Counter(
            cause for (one, number), cause in self.truth.items() if one == slot and (slot, number) not in self.arrived
        )
