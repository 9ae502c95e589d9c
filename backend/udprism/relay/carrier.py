"""Carries a batch of datagrams from sockets to sockets, as columns: flow, number, link, and out again."""

from __future__ import annotations

import errno
import socket

import numpy as np

from udprism.columns.runs import runs_of
from udprism.columns.types import NS_PER_US, BoolColumn, I32Column, I64Column, U8Column, U64Column
from udprism.link.model import LinkModel, Part
from udprism.link.rules import Rules
from udprism.relay import layout
from udprism.relay.accounts import NO_CAUSE, Accounts, Judged
from udprism.relay.delayed import DelayedDatagrams, Released
from udprism.relay.flows import Flows
from udprism.relay.fronts import Front
from udprism.relay.memory import DOWN, PAYLOAD_BYTES, Count, Memory, State, Sum
from udprism.relay.messages import MAX_ROWS, Routes
from udprism.relay.port import Arrived, Port
from udprism.relay.sender import Sender
from udprism.relay.sight import RelayTap
from udprism.relay.table import Table

_TRIES = 3
_MOST_RELEASED = MAX_ROWS // 2
_NO_ROOM = (errno.EAGAIN, errno.ENOBUFS)
_NO_SEGMENTS = (errno.EINVAL, errno.EIO, errno.EMSGSIZE, errno.EOPNOTSUPP, errno.ENOPROTOOPT)
ANSWERS_TIMES = 3
"""Bytes that an unproven client may be sent per byte that it sent: RFC 9000, section 8.1."""


class Carrier:
    """Relay's loop only."""

    def __init__(
        self,
        memory: Memory,
        port: Port,
        fronts: list[Front],
        flows: Flows,
        table: Table,
        routes: Routes,
        model: LinkModel,
        rules: Rules,
        accounts: Accounts,
        sender: Sender,
        tap: RelayTap,
        *,
        keep_ttl: bool,
    ) -> None:
        self.rules = rules
        self.tap = tap
        self.held = DelayedDatagrams()
        self.keys: U64Column = np.zeros(memory.width, np.uint64)
        """By direction: what a link's and a rule's chances are drawn from, beside the seed and the number."""
        self.unproven: set[int] = set()
        """Flows of clients beyond loopback that have not yet sent after an answer."""
        self._memory, self._port, self._fronts, self._flows, self._table = memory, port, fronts, flows, table
        self._model, self._accounts, self._keep_ttl = model, accounts, keep_ttl
        self._sender = sender
        self._routes = routes
        self._words = port.pool.view(np.uint64)
        self._halves = port.pool.view(np.uint32)
        self._bytes = port.pool.reshape(-1)
        self._payload_at = port.pool.ctypes.data + layout.PAYLOAD_AT
        self._target = np.zeros(32, np.uint8)
        self._target[:28] = flows.target_row

    # -- in

    def carry(self, arrived: Arrived, now_ns: int, unix_ns: int) -> None:
        """Take a batch and send, hold or lose each of it. now_ns, unix_ns: one instant, after the release."""
        direction = self._whose(arrived, now_ns)
        buffer = arrived.buffer
        if self.unproven:
            self._withhold(direction, buffer)
        mine = direction >= 0
        if not mine.all():
            direction, buffer = direction[mine], buffer[mine]
        if len(direction):
            if (direction[1:] < direction[:-1]).any():
                order = np.argsort(direction, kind="stable")
                direction, buffer = direction[order], buffer[order]
            self._carry_mine(direction, buffer, now_ns, unix_ns)
        self._port.give_back(arrived.buffer)

    def _whose(self, arrived: Arrived, now_ns: int) -> I64Column:
        """int64[n]: each datagram's direction, -1 for those that are dropped, which is counted."""
        slot, buffer = arrived.slot.astype(np.int64), arrived.buffer
        direction = 2 * slot + DOWN
        from_target = slot < self._memory.rows
        for place, front in enumerate(self._fronts):
            rows = np.flatnonzero(slot == self._memory.rows + place) if len(self._fronts) > 1 else ~from_target
            names = self._words[buffer[rows], layout.NAME_AT // 8 : layout.NAME_AT // 8 + 4]
            if len(names):
                found = self._table.find(names.view(np.uint8), front.six, place, now_ns)
                direction[rows] = np.where(found > 0, 2 * found.astype(np.int64), -1)
                if front.wildcard:
                    self._note_asked(front, found, buffer[rows])
        if from_target.any():
            rows = np.flatnonzero(from_target)
            strange = rows[~self._from_target(slot[rows], buffer[rows])]
            direction[strange] = -1
            self._memory.counts[Count.STRANGERS] += len(strange)
        return direction

    def _from_target(self, slot: I64Column, buffer: I64Column) -> BoolColumn:
        """bool[n]: whether the target sent it. A connected socket may hold what came before it was connected."""
        names = self._words[buffer, layout.NAME_AT // 8 : layout.NAME_AT // 8 + 4].view(np.uint8)
        six = self._flows.family == socket.AF_INET6
        ip = slice(8, 24) if six else slice(4, 8)
        right: BoolColumn = (names[:, ip] == self._target[ip]).all(axis=1)
        if not self._flows.any_port:
            right &= (names[:, 2:4] == self._target[2:4]).all(axis=1)
            return right
        routes_name = self._routes.name
        for row in np.flatnonzero(right).tolist():
            if (routes_name[2 * slot[row], 2:4] != names[row, 2:4]).any():
                self._flows.follow(int(slot[row]), names[row, :28])
        return right

    def _note_asked(self, front: Front, found: I32Column, buffer: I64Column) -> None:
        at, size = front.offsets.asked, 20 if front.six else 12
        for flow, row in dict(zip(found.tolist(), buffer.tolist(), strict=True)).items():
            if flow:
                self._flows.asked(flow, self._port.pool[row, at : at + size])

    def _withhold(self, direction: I64Column, buffer: I64Column) -> None:
        """Drop, in place, answers to unproven clients beyond three times what they sent. Counted apart."""
        ledger = self._memory.ledger
        sent: dict[int, int] = {}
        for row in np.flatnonzero(direction >= 0).tolist():
            flow, is_down = divmod(int(direction[row]), 2)
            if flow not in self.unproven:
                continue
            length = int(self._halves[buffer[row], layout.LENGTH_WORD])
            if not is_down:
                if ledger[Sum.LEFT, 2 * flow + DOWN]:
                    self.unproven.discard(flow)
                    self._memory.flows["proven"][flow] = 1
                continue
            so_far = sent.get(flow, int(ledger[Sum.BYTES_LEFT, 2 * flow + DOWN]))
            if so_far + length > ANSWERS_TIMES * int(ledger[Sum.BYTES_TAKEN, 2 * flow]):
                direction[row] = -1
                self._memory.counts[Count.WITHHELD] += 1
            else:
                sent[flow] = so_far + length

    # -- through

    def _carry_mine(self, direction: I64Column, buffer: I64Column, now_ns: int, unix_ns: int) -> None:
        n = len(direction)
        runs = runs_of(direction)
        number = self._memory.ledger[Sum.TAKEN, direction] + runs.rank()
        length = self._halves[buffer, layout.LENGTH_WORD].astype(np.int64)
        stamp_word = layout.STAMP_AT // 8
        taken_unix_ns = (
            self._words[buffer, stamp_word] * np.uint64(1_000_000_000) + self._words[buffer, stamp_word + 1]
        ).astype(np.int64)
        enters_ns = np.minimum(taken_unix_ns, unix_ns) + (now_ns - unix_ns)
        tos, ttl = self._marks(direction, buffer)
        judged = Judged(runs, direction, number, length, np.zeros(n, np.uint8), np.zeros(n, np.bool_), None, None)
        delay_us = (now_ns - enters_ns) // NS_PER_US
        if self.tap.any:
            self.tap.entered(direction, number, taken_unix_ns, length, buffer)
        if self._model.active or self.rules.rules:
            judged, delay_us = self._impair(judged, buffer, enters_ns, now_ns, delay_us, tos, ttl)
        else:
            lost = self._sender.send(direction, self._address(buffer), length, tos, ttl)
            if lost is not None:
                judged.cause[lost] = Sum.KERNEL
            if self.tap.any:
                self.tap.judged(direction, number, judged.cause, None, None)
                self.tap.sent(direction, number, length, buffer, lost, np.zeros(n, np.bool_))
        payload = self._port.pool[buffer, layout.PAYLOAD_AT : layout.PAYLOAD_AT + PAYLOAD_BYTES]
        if int(length.min()) < PAYLOAD_BYTES:
            payload[np.arange(PAYLOAD_BYTES) >= length[:, None]] = 0
        self._memory.open_sums()
        self._accounts.take(judged, now_ns)
        self._accounts.record(judged, taken_unix_ns, np.minimum(delay_us, 0xFFFF_FFFF), payload)
        self._memory.close_sums()

    def _marks(self, direction: I64Column, buffer: I64Column) -> tuple[U8Column, U8Column | None]:
        """The TOS or traffic class that each came with, and its TTL if that is to be kept."""
        port_slot = np.where(
            direction & 1, direction >> 1, self._memory.rows + self._memory.flows["front"][direction >> 1]
        )
        start = buffer * layout.BUFFER_BYTES
        tos = self._bytes[start + self._flows.tos_at[port_slot]]
        return tos, self._bytes[start + self._flows.ttl_at[port_slot]] if self._keep_ttl else None

    def _address(self, buffer: I64Column) -> U64Column:
        return (self._payload_at + buffer * layout.BUFFER_BYTES).astype(np.uint64)

    def _impair(
        self,
        judged: Judged,
        buffer: I64Column,
        enters_ns: I64Column,
        now_ns: int,
        delay_us: I64Column,
        tos: U8Column,
        ttl: U8Column | None,
    ) -> tuple[Judged, I64Column]:
        """Apply links and rules; send what leaves now and hold the rest."""
        direction, number, length = judged.direction, judged.number, judged.length
        slots = direction.astype(np.int32)
        verdict = self._model.judge(slots, number, length.astype(np.int32), enters_ns)
        release_ns, again_ns, doubled = verdict.release_ns, verdict.duplicate_release_ns, verdict.duplicate
        cause = np.where(verdict.queue_full, Sum.QUEUE, np.where(verdict.dropped, Sum.LINK, NO_CAUSE)).astype(np.uint8)
        part = verdict.part
        if self.rules.rules:
            rows = self._port.pool[buffer, layout.PAYLOAD_AT : layout.PAYLOAD_AT + self.rules.reach]
            chosen = self.rules.choose(slots, number, self.keys[direction], length.astype(np.int32), rows)
            part[chosen.dropped & (cause == NO_CAUSE)] = Part.RULE
            cause[chosen.dropped & (cause == NO_CAUSE)] = Sum.LINK
            release_ns, again_ns = release_ns + chosen.hold_ns, again_ns + chosen.hold_ns
            doubled = (doubled | chosen.duplicated) & (cause == NO_CAUSE)
            again_ns = np.where(verdict.duplicate, again_ns, release_ns)
        corrupted = (verdict.corrupt_bit >= 0) & (cause == NO_CAUSE)
        self._damage(buffer[corrupted], verdict.corrupt_bit[corrupted])
        alive = cause == NO_CAUSE
        held = alive & (release_ns > now_ns)
        now = np.flatnonzero(alive & ~held)
        copies_now = np.flatnonzero(doubled & (again_ns <= now_ns))
        later, copies_later = np.flatnonzero(held), np.flatnonzero(doubled & (again_ns > now_ns))
        for rows_, when_ns, copy in ((later, release_ns, False), (copies_later, again_ns, True)):
            if len(rows_):
                no_room = self._hold(rows_, when_ns, direction, number, length, buffer, tos, ttl, copy=copy)
                if not copy:
                    cause[rows_[no_room]], held[rows_[no_room]] = Sum.QUEUE, False
                    part[rows_[no_room]] = Part.ROOM
                self._memory.counts[Count.HELD_OVERFLOW] += int(no_room.sum())
        self._send_now(now, copies_now, release_ns, again_ns, judged, buffer, tos, ttl, cause)
        if self.tap.any:
            self.tap.judged(direction, number, cause, part, corrupted)
            self.tap.holds(int(np.maximum(release_ns, again_ns).max()) - now_ns)
        delay_us = np.where(held, (release_ns - enters_ns) // NS_PER_US, delay_us)
        return judged._replace(cause=cause, held=held, duplicated=doubled, corrupted=corrupted), delay_us

    def _send_now(
        self,
        now: I64Column,
        copies: I64Column,
        release_ns: I64Column,
        again_ns: I64Column,
        judged: Judged,
        buffer: I64Column,
        tos: U8Column,
        ttl: U8Column | None,
        cause: U8Column,
    ) -> None:
        """Send these rows, and copies of those; cause is set of what the kernel refuses."""
        direction, number, length = judged.direction, judged.number, judged.length
        rows_ = np.concatenate((now, copies))
        if not len(rows_):
            return
        # In the order in which the link releases them, although we may be late with all of them.
        leaves_ns = np.concatenate((release_ns[now], again_ns[copies]))
        order = np.lexsort((leaves_ns, direction[rows_]))
        rows_, is_copy = rows_[order], order >= len(now)
        its_ttl = None if ttl is None else ttl[rows_]
        lost = self._sender.send(direction[rows_], self._address(buffer[rows_]), length[rows_], tos[rows_], its_ttl)
        if lost is not None:
            cause[rows_[lost & ~is_copy]] = Sum.KERNEL
        self._accounts.meter.arrive(direction[rows_], number[rows_])
        if self.tap.any:
            self.tap.sent(direction[rows_], number[rows_], length[rows_], buffer[rows_], lost, is_copy)

    def _damage(self, buffer: I64Column, bit: I32Column) -> None:
        """Flip one bit of each payload."""
        self._port.pool[buffer, layout.PAYLOAD_AT + (bit >> 3)] ^= (1 << (bit & 7)).astype(np.uint8)

    def _hold(
        self,
        rows: I64Column,
        release_ns: I64Column,
        direction: I64Column,
        number: I64Column,
        length: I64Column,
        buffer: I64Column,
        tos: U8Column,
        ttl: U8Column | None,
        *,
        copy: bool,
    ) -> BoolColumn:
        widest = int(length[rows].max())
        payload = self._port.pool[buffer[rows], layout.PAYLOAD_AT : layout.PAYLOAD_AT + widest]
        its_ttl = None if ttl is None else ttl[rows]
        copies = np.full(len(rows), copy)
        return self.held.hold(
            release_ns[rows], direction[rows], number[rows], length[rows], payload, tos[rows], its_ttl, copies
        )

    # -- out

    def release(self, now_ns: int) -> None:
        """Send the datagrams whose delay is over."""
        while self.held.next_release_ns <= now_ns:
            due = self.held.take_due(now_ns, _MOST_RELEASED)
            ttl = due.ttl if self._keep_ttl else None
            lost = self._sender.send(due.direction, due.address, due.length, due.tos, ttl)
            mine = np.flatnonzero(~due.copy)
            self._memory.open_sums()
            failed = np.zeros(len(mine), np.bool_) if lost is None else lost[mine]
            if self.tap.any:
                self.tap.released(due, self.held.payloads(due), lost)
            self._accounts.release(due.direction[mine], due.number[mine], due.length[mine], failed)
            self._accounts.meter.arrive(due.direction, due.number)
            self._memory.close_sums()
            self.held.give_back(due)

    def drop_held(self, direction: int) -> None:
        """A flow ends: what is held of this direction never leaves. The sums must be open."""
        if not len(self.held):  # to look for it takes time, and thousands of flows may end at once
            return
        due: Released = self.held.take_flow(direction)
        mine = np.flatnonzero(~due.copy)
        self._accounts.drop_held(due.direction[mine], due.number[mine])
        if self.tap.any:
            cause = np.full(len(mine), Sum.LINK, np.uint8)
            self.tap.judged(due.direction[mine], due.number[mine], cause, None, None)
        self.held.give_back(due)

    def end(self, slot: int) -> None:
        """This flow ends: what is held of it is lost. The sums must be open."""
        self.unproven.discard(slot)
        self._memory.flows["state"][slot] = State.FREE
        for direction in (2 * slot, 2 * slot + 1):
            self._sender.restart(direction)
            self.drop_held(direction)
