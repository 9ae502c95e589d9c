"""Reassembles IP fragments: bounded in number, bytes and time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np

from udprism.capture.buffer import Buffer
from udprism.capture.ip import Carried, Fragments
from udprism.capture.packets import Packets
from udprism.capture.skips import Skip, Skips
from udprism.columns.types import NS_PER_S

MAX_PENDING: Final = 1024
MAX_PENDING_BYTES: Final = 4 << 20
PATIENCE_NS: Final = 30 * NS_PER_S
"""As Linux waits for the parts of an IPv4 packet (net.ipv4.ipfrag_time)."""
_MAX_BYTES: Final = 65_535
_UNIT: Final = 8

_Key: TypeAlias = tuple[int, bytes, int]
"""(interface, addresses, identification)"""


@dataclass(slots=True)
class _Partial:
    """The received parts of one datagram."""

    since_ns: int
    parts: dict[int, bytes] = field(default_factory=dict)
    """By offset."""
    packets: int = 0
    received_bytes: int = 0
    total_bytes: int | None = None


class Assembler:
    """One capture's datagrams of which some parts have arrived."""

    def __init__(self, skips: Skips) -> None:
        self._skips = skips
        self._pending: dict[_Key, _Partial] = {}  # oldest first
        self._pending_bytes = 0

    def take(self, buffer: Buffer, packets: Packets, fragments: Fragments, then: bytearray) -> Carried:
        """The datagrams that are whole now, each at the row of its last part.

        Their bytes are appended to `then`, whose first byte has the offset buffer.size.
        """
        row, at, size, kept, addresses = fragments.carried
        columns = (row, at, size, kept, packets.interface[row], packets.time_ns[row], *fragments[1:])
        whole: list[tuple[int, int, int, int]] = []
        for number, one in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
            row_of_one, begin, length, kept_bytes, interface, time_ns, identification, offset, more = one
            if length > kept_bytes:
                self._skips.count[Skip.CUT_SHORT] += 1
                continue
            key = (interface, addresses[number].tobytes(), identification)
            datagram = self._part(key, time_ns, offset, bool(more), buffer.bytes(begin, length))
            if datagram is not None:
                whole.append((row_of_one, buffer.size + len(then), len(datagram), number))
                then += datagram
        done = np.array(whole, np.int64).reshape(-1, 4)
        return Carried(done[:, 0], done[:, 1], done[:, 2], done[:, 2], addresses[done[:, 3]])

    def end(self) -> None:
        """No more packets follow: count the datagrams that were never completed."""
        for key in list(self._pending):
            self._give_up(key)

    def _part(self, key: _Key, now_ns: int, offset: int, more: bool, data: bytes) -> bytes | None:
        """The whole datagram, if this was its last part to come."""
        self._forget_old(now_ns)
        partial = self._pending.setdefault(key, _Partial(now_ns))
        partial.packets += 1
        if partial.parts.get(offset) == data:
            return None  # the same once more
        wrong = offset in partial.parts or offset + len(data) > _MAX_BYTES or (more and len(data) % _UNIT != 0)
        if not more:
            wrong |= partial.total_bytes is not None
            partial.total_bytes = offset + len(data)
        if wrong:
            self._give_up(key)
            return None
        partial.parts[offset] = data
        partial.received_bytes += len(data)
        self._pending_bytes += len(data)
        if partial.total_bytes is None or partial.received_bytes < partial.total_bytes:
            self._bound()
            return None
        return self._joined(key, partial)

    def _joined(self, key: _Key, partial: _Partial) -> bytes | None:
        """All parts in their order; None if they overlap, which no honest sender does (RFC 5722)."""
        expected = 0
        for offset in sorted(partial.parts):
            if offset != expected:
                self._give_up(key)
                return None
            expected += len(partial.parts[offset])
        if expected != partial.total_bytes:
            self._give_up(key)
            return None
        self._remove(key)
        self._skips.count[Skip.FRAGMENT] += partial.packets - 1
        return b"".join(partial.parts[offset] for offset in sorted(partial.parts))

    def _forget_old(self, now_ns: int) -> None:
        while self._pending:
            key, oldest = next(iter(self._pending.items()))
            if now_ns - oldest.since_ns <= PATIENCE_NS:
                return
            self._give_up(key)

    def _bound(self) -> None:
        while len(self._pending) > MAX_PENDING or self._pending_bytes > MAX_PENDING_BYTES:
            self._give_up(next(iter(self._pending)))

    def _give_up(self, key: _Key) -> None:
        self._skips.count[Skip.LOST_FRAGMENT] += self._remove(key).packets

    def _remove(self, key: _Key) -> _Partial:
        partial = self._pending.pop(key)
        self._pending_bytes -= partial.received_bytes
        return partial
