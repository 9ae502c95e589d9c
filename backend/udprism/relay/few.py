"""The path without NumPy, for a handful of datagrams: NumPy's calls cost 100 µs whatever is in them, a datagram here 6.

It takes what goes straight through or is lost; whatever wants more (a mark, a delay, a rule, a new client) goes the way
of `carrier`, and so does all that came with it, so that nothing overtakes.
"""

from __future__ import annotations

import socket
import struct

from udprism.link.model import ASK, LOST, LinkModel
from udprism.relay import layout
from udprism.relay.accounts import Accounts
from udprism.relay.carrier import Carrier
from udprism.relay.flows import Flows
from udprism.relay.fronts import Front
from udprism.relay.memory import (
    CAUSE_SHIFT,
    DOWN,
    HISTORY,
    PAYLOAD_BYTES,
    RECORD,
    RECORD_FORMAT,
    UP,
    Fate,
    Memory,
    State,
    Sum,
)
from udprism.relay.port import Arrived, Port
from udprism.relay.sender import Sender
from udprism.relay.table import Table

MOST = 6
_FORESEEN = 128
_HEADER = struct.Struct("=4x4xI4x")
_STAMP = struct.Struct("=qq")
_RECORD = struct.Struct(RECORD_FORMAT)


class Few:
    """Relay's loop only."""

    def __init__(
        self,
        memory: Memory,
        port: Port,
        fronts: list[Front],
        flows: Flows,
        table: Table,
        model: LinkModel,
        carrier: Carrier,
        sender: Sender,
        accounts: Accounts,
        *,
        keep_payload: bool,
    ) -> None:
        self._memory, self._port, self._fronts, self._flows = memory, port, fronts, flows
        self._table, self._model, self._carrier, self._sender, self._accounts = table, model, carrier, sender, accounts
        self._pool = port.pool.reshape(-1).data
        self._history = memoryview(memory.map)
        self._keep_payload = keep_payload
        self._state = memory.flows["state"]
        self._target = bytes(flows.target_row[: 28 if flows.family == socket.AF_INET6 else 8])
        self._foreseen: dict[int, tuple[int, bytes]] = {}
        self._client: dict[int, tuple[str, int] | tuple[str, int, int, int]] = {}
        self.usable = not (flows.any_port or any(front.wildcard for front in fronts))
        """False if datagrams need more than their bytes: an address of ours to answer from, or an eye on ports."""

    def forget(self, slot: int) -> None:
        """This flow ended, began, or has another link."""
        for direction in (2 * slot, 2 * slot + 1):
            self._foreseen.pop(direction, None)
        self._client.pop(slot, None)

    def carry(self, arrived: Arrived, now_ns: int, unix_ns: int) -> bool:
        """Carry a batch of at most MOST. Returns False, with no effect, if one of them needs more."""
        if not self.usable or self._carrier.rules.rules or self._carrier.unproven:
            return False
        taken: list[tuple[int, int, int, int, int]] = []
        counted: dict[int, int] = {}
        for slot, buffer in zip(arrived.slot.tolist(), arrived.buffer.tolist(), strict=True):
            at = buffer * layout.BUFFER_BYTES
            direction = self._direction(slot, at)
            if direction < 0:
                return False
            number = self._memory.sums[Sum.TAKEN * self._memory.width + direction] + counted.get(direction, 0)
            fate = self._fate(direction, number) if self._model.active else 0
            if fate == ASK:
                return False
            counted[direction] = counted.get(direction, 0) + 1
            (length,) = _HEADER.unpack_from(self._pool, at)
            taken.append((direction, number, at, length, fate))
        self._send(taken, now_ns, unix_ns)
        self._port.give_back(arrived.buffer)
        return True

    def _direction(self, slot: int, at: int) -> int:
        """Its flow's direction, or -1 if that, or a mark, is unusual."""
        pool = self._pool
        if pool[at + self._flows.tos_at.item(slot)] or self._flows.ttl_at.item(slot):
            return -1
        name_at = at + layout.NAME_AT
        if slot < self._memory.rows:
            if len(self._target) == 8:
                return 2 * slot + DOWN if pool[name_at : name_at + 8] == self._target else -1
            same = (
                pool[name_at : name_at + 4] == self._target[:4]
                and pool[name_at + 8 : name_at + 24] == self._target[8:24]
            )
            return 2 * slot + DOWN if same else -1
        if self._fronts[slot - self._memory.rows].six:
            key = bytes(pool[name_at : name_at + 4]) + bytes(pool[name_at + 8 : name_at + 28])
        else:
            key = bytes(pool[name_at : name_at + 8])
        return 2 * self._table.slot_of.get(key, -1) + UP

    def _fate(self, direction: int, number: int) -> int:
        first, fates = self._foreseen.get(direction, (0, b""))
        if not first <= number < first + len(fates):
            first, fates = number, self._model.foresee(direction, number, _FORESEEN)
            self._foreseen[direction] = first, fates
        return fates[number - first]

    def _send(self, taken: list[tuple[int, int, int, int, int]], now_ns: int, unix_ns: int) -> None:
        left: list[bool] = []
        for direction, _, at, length, fate in taken:
            if fate == LOST:
                left.append(False)
                continue
            start = at + layout.PAYLOAD_AT
            data = self._pool[start : start + length]
            try:
                if direction & 1:
                    self._answer(direction >> 1, data)
                else:
                    self._flows.sockets[direction >> 1].send(data, socket.MSG_DONTWAIT)
                left.append(True)
            except OSError:
                left.append(self._sender.send_one(direction, bytes(data), 0))
        memory = self._memory
        sums, width = memory.sums, memory.width
        memory.open_sums()
        for (direction, number, at, length, fate), has_left in zip(taken, left, strict=True):
            sums[Sum.TAKEN * width + direction] += 1
            sums[Sum.BYTES_TAKEN * width + direction] += length
            sums[Sum.HEARD_NS * width + direction] = now_ns
            cause = 0
            if has_left:
                sums[Sum.LEFT * width + direction] += 1
                sums[Sum.BYTES_LEFT * width + direction] += length
            else:
                cause = Sum.LINK if fate == LOST else Sum.KERNEL
                sums[cause * width + direction] += 1
            if direction & 1 and self._state[direction >> 1] != State.BOTH:
                self._state[direction >> 1] = State.BOTH
            if self._model.active and has_left:
                self._accounts.arrive_one(direction, number)
            self._record(direction, number, at, length, cause, now_ns, unix_ns)
        memory.close_sums()

    def _answer(self, slot: int, data: memoryview) -> None:
        address = self._client.get(slot)
        if address is None:
            address = self._client[slot] = self._sender.client_address(slot)
        front = self._fronts[int(self._memory.flows["front"][slot])]
        front.sock.sendto(data, socket.MSG_DONTWAIT, address)

    def _record(self, direction: int, number: int, at: int, length: int, cause: int, now_ns: int, unix_ns: int) -> None:
        seconds, nanoseconds = _STAMP.unpack_from(self._pool, at + layout.STAMP_AT)
        stamp_ns = seconds * 1_000_000_000 + nanoseconds
        start = at + layout.PAYLOAD_AT
        _RECORD.pack_into(
            self._history,
            self._memory.at_history + (direction * HISTORY + number % HISTORY) * RECORD.itemsize,
            number & 0xFFFF_FFFF,
            Fate.LOST if cause else Fate.FORWARDED,
            cause << CAUSE_SHIFT,
            length,
            stamp_ns,
            min(max(0, unix_ns - stamp_ns) // 1000, 0xFFFF_FFFF),
            bytes(self._pool[start : start + min(length, PAYLOAD_BYTES)]) if self._keep_payload else b"",
        )
