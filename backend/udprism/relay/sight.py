"""What recordings see of a relay: each datagram as it comes in and as it goes out, with what the link did to it."""

from __future__ import annotations

import secrets
import time
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from udprism.capture.sightings import Point, Seen
from udprism.columns.runs import distinct, is_among, runs_of
from udprism.columns.types import BoolColumn, I64Column, Rows, U8Column, U16Column, U64Column
from udprism.ledger.fates import Cause
from udprism.link.model import Part
from udprism.relay import layout
from udprism.relay.accounts import NO_CAUSE
from udprism.relay.delayed import Released
from udprism.relay.flows import Flows
from udprism.relay.fronts import Front
from udprism.relay.memory import FLOW, Memory, Sum
from udprism.udp.sight import (
    CAUSE_SHIFT,
    ENDPOINT_BYTES,
    PART_SHIFT,
    Note,
    endpoint_of,
    endpoints_of,
    note_of,
    pairs_of,
)
from udprism.udp.sight_queue import SightQueue

_NOTE_OF_SUM: Final = np.zeros(len(Sum), np.uint16)
_NOTE_OF_SUM[Sum.LINK] = _NOTE_OF_SUM[Sum.QUEUE] = Cause.LINK << CAUSE_SHIFT
_NOTE_OF_SUM[Sum.KERNEL] = Cause.SENDER_KERNEL << CAUSE_SHIFT
_GROUP: Final = np.int64(1 << 44)
_OF_ADDRESS: Final = ("ordinal", "local_port", "far_port")


class RelayTap:
    """Relay's loop only. Costs one comparison per batch while nothing is recorded."""

    def __init__(self, memory: Memory, fronts: list[Front], flows: Flows, pool: Rows) -> None:
        """pool: the port's buffers."""
        self.any = False
        """Whether anything is recorded."""
        self._queues: dict[str, tuple[SightQueue, I64Column | None]] = {}
        self._memory, self._fronts, self._flows = memory, fronts, flows
        self._pool = pool
        self._salt = secrets.randbits(32)
        self._known: npt.NDArray[np.void] = np.zeros(memory.rows, FLOW)
        self._known["ordinal"] = -1
        self._client, self._front, self._local, self._far = (
            np.zeros((memory.rows, ENDPOINT_BYTES), np.uint8) for _ in range(4)
        )
        self._highest = np.full(memory.width, -1, np.int64)
        """By direction: of those that went out."""

    def begin(self, recording_id: str, queue: SightQueue, wanted: list[int] | None) -> None:
        """Show it to this recording. wanted: 2 × ordinal + direction of each flow that it records; None for all."""
        self._queues[recording_id] = queue, None if wanted is None else np.array(wanted, np.int64)
        self.any = True

    def end(self, recording_id: str) -> None:
        """This recording has ended."""
        self._queues.pop(recording_id, None)
        self.any = bool(self._queues)

    # -- what happens

    def entered(
        self, direction: I64Column, number: I64Column, unix_ns: I64Column, length: I64Column, buffer: I64Column
    ) -> None:
        """A batch that came in, and lies in these buffers as it came."""
        source, target = self._ends(direction, inside=True)
        note = np.zeros(len(direction), np.uint16)
        self._see(
            Point.SENDER,
            direction,
            number,
            unix_ns,
            pairs_of(source, target),
            length,
            self._payloads(buffer, length),
            note,
        )

    def judged(
        self, direction: I64Column, number: I64Column, cause: U8Column, part: U8Column | None, corrupted: Any
    ) -> None:
        """What became of them so far. cause: rows of `Sum`. part: uint8[n], Part. corrupted: bool[n] or None."""
        note = _NOTE_OF_SUM[cause]
        if part is not None:
            note = note | note_of(np.where(cause > 0, part, np.uint8(Part.NONE)), PART_SHIFT)
        if corrupted is not None:
            note = note | np.where(corrupted, Note.CORRUPT, 0).astype(np.uint16)
        told = np.flatnonzero(note)
        self._note(direction[told], number[told], note[told])

    def holds(self, hold_ns: int) -> None:
        """The link holds a datagram back for so long."""
        for queue, _ in self._queues.values():
            queue.holds(hold_ns)

    def sent(
        self,
        direction: I64Column,
        number: I64Column,
        length: I64Column,
        buffer: I64Column,
        lost: BoolColumn | None,
        copy: BoolColumn,
    ) -> None:
        """These were sent from these buffers just now. lost: bool[n], the kernel refused them; None for none."""
        which = slice(None) if lost is None else np.flatnonzero(~lost)
        length = length[which]
        payload = self._payloads(buffer[which], length)
        self._left(direction[which], number[which], length, payload, copy[which])

    def released(self, due: Released, payload: Rows, lost: BoolColumn | None) -> None:
        """The same of what was held until now."""
        lost = np.zeros(len(due.direction), np.bool_) if lost is None else lost
        cause = np.where(lost & ~due.copy, Sum.KERNEL, NO_CAUSE).astype(np.uint8)
        self.judged(due.direction, due.number, cause, None, None)
        left = np.flatnonzero(~lost)
        self._left(due.direction[left], due.number[left], due.length[left], payload[left], due.copy[left])

    # -- how

    def _payloads(self, buffer: I64Column, length: I64Column) -> Rows:
        """uint8[n, longest]: what lies in these buffers now."""
        widest: Rows = self._pool[buffer, layout.PAYLOAD_AT : layout.PAYLOAD_AT + int(length.max(initial=0))]
        return widest

    def _left(
        self, direction: I64Column, number: I64Column, length: I64Column, payload: Rows, copy: BoolColumn
    ) -> None:
        """These went out, in this order. copy: bool[n], of those that came in once."""
        if not len(direction):
            return
        source, target = self._ends(direction, inside=False)
        note = np.where(copy, Note.DUPLICATE, 0).astype(np.uint16)
        note[self._overtaken(direction, number) & ~copy] |= np.uint16(Note.REORDERED)
        time_ns = np.full(len(direction), time.time_ns(), np.int64)
        self._see(Point.RECEIVER, direction, number, time_ns, pairs_of(source, target), length, payload, note)

    def _flow(self, direction: I64Column) -> I64Column:
        ordinal: I64Column = self._memory.flows["ordinal"][direction >> 1]
        return 2 * ordinal + (direction & 1)

    def _key(self, direction: I64Column, number: I64Column) -> U64Column:
        session = (self._flow(direction) + self._salt & 0xFFFF_FFFF).astype(np.uint64)
        return session << np.uint64(32) | (number & 0xFFFF_FFFF).astype(np.uint64)

    def _see(
        self,
        point: Point,
        direction: I64Column,
        number: I64Column,
        time_ns: I64Column,
        addresses: Rows,
        length: I64Column,
        payload: Rows,
        note: U16Column,
    ) -> None:
        kept = np.minimum(length, payload.shape[1]).astype(np.int32)
        seen = Seen(self._key(direction, number), time_ns, addresses, length.astype(np.int32), kept, payload, note)
        for queue, wanted in self._queues.values():
            which = None if wanted is None else is_among(self._flow(direction), wanted)
            queue.see(point, seen if which is None else seen.part(which))

    def _note(self, direction: I64Column, number: I64Column, note: U16Column) -> None:
        if len(direction):
            key = self._key(direction, number)
            for queue, _ in self._queues.values():
                queue.note(key, note)

    def _overtaken(self, direction: I64Column, number: I64Column) -> BoolColumn:
        """bool[n]: which went out after a higher number of their direction."""
        order = np.argsort(direction, kind="stable")
        whose, mine = direction[order], number[order]
        runs = runs_of(whose)
        group = np.repeat(np.arange(len(runs.starts)) * _GROUP, runs.lengths)
        highest = np.maximum(np.maximum.accumulate(mine + group) - group, self._highest[whose])
        ends = runs.starts + runs.lengths - 1
        self._highest[whose[ends]] = highest[ends]
        overtaken = np.empty(len(order), np.bool_)
        overtaken[order] = mine < highest
        return overtaken

    # -- addresses

    def _ends(self, direction: I64Column, *, inside: bool) -> tuple[Rows, Rows]:
        """uint8[n, 18] each: from where and to where, as a datagram comes in (inside) or goes out."""
        slot = direction >> 1
        self._look_up(distinct(slot))
        up = (direction & 1 == 0)[:, None]
        client, front, local, far = self._client[slot], self._front[slot], self._local[slot], self._far[slot]
        if inside:
            return np.where(up, client, far), np.where(up, front, local)
        return np.where(up, local, front), np.where(up, far, client)

    def _look_up(self, slots: I64Column) -> None:
        flows, known = self._memory.flows, self._known
        stale = (flows["asked"][slots] != known["asked"][slots]).any(axis=1)
        for name in _OF_ADDRESS:
            stale |= flows[name][slots] != known[name][slots]
        for slot in slots[stale].tolist():
            flow = flows[slot]
            if flow["ordinal"] != known["ordinal"][slot]:
                self._highest[2 * slot : 2 * slot + 2] = -1
            known[slot] = flow
            self._client[slot] = endpoints_of(flow["client"][None])[0]
            self._front[slot] = self._asked(self._fronts[int(flow["front"])], flow["asked"])
            sock = self._flows.sockets.get(slot)
            if sock is not None:
                self._local[slot] = endpoint_of(sock.getsockname()[:2])
            self._far[slot] = endpoints_of(self._flows.target_row[None])[0]
            self._far[slot, 16:] = np.frombuffer(int(flow["far_port"]).to_bytes(2, "big"), np.uint8)

    def _asked(self, front: Front, asked: U8Column) -> U8Column:
        """The address that a client sent to: the kernel's in_pktinfo or in6_pktinfo says it of a wildcard's."""
        endpoint = endpoint_of(front.sock.getsockname()[:2]).copy()
        if front.wildcard and front.six:
            endpoint[:16] = asked[:16]
        elif front.wildcard:
            endpoint[12:16] = asked[8:12]
        return endpoint
