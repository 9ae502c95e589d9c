"""Taps: one client's datagrams, each as a value, for scripts and beginners. Rare, so objects are allowed here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from udprism.columns.arrivals import Arrivals
from udprism.columns.types import NS_PER_MS, BoolColumn, I32Column, I64Column, U8Column
from udprism.ledger.fates import DUPLICATE, LATE, REORDERED
from udprism.wire.colours import hex_of, nearest_name
from udprism.wire.measured import ColourBatch


class Tap:
    """Datagrams that wait for one listener, bounded: the oldest are dropped and counted in `dropped`."""

    def __init__(self, client_id: str, slot: int, max_waiting: int, wake: Callable[[], None]) -> None:
        self.client_id = client_id
        self.slot = slot
        self.dropped = 0
        self.ended = False
        self._waiting: deque[dict[str, Any]] = deque(maxlen=max_waiting)
        self._wake = wake

    def push(self, values: list[dict[str, Any]]) -> int:
        """Returns how many were dropped for lack of room. Pool thread only."""
        dropped = max(0, len(self._waiting) + len(values) - (self._waiting.maxlen or 0))
        self.dropped += dropped
        self._waiting.extend(values)
        self._wake()
        return dropped

    def end(self) -> None:
        """The client is gone. Pool thread only."""
        self.ended = True
        self._wake()

    def take(self) -> list[dict[str, Any]]:
        """All that waits, oldest first. The listener's thread only."""
        return [self._waiting.popleft() for _ in range(len(self._waiting))]


class Taps:
    """The open taps, by slot. Pool thread only."""

    def __init__(self) -> None:
        self.dropped = 0
        """Datagrams that listeners were too slow for, including those of closed taps."""
        self._of_slot: dict[int, list[Tap]] = {}
        self._count = 0

    @property
    def any(self) -> bool:
        """Whether anybody listens: without listeners a batch costs nothing here."""
        return self._count > 0

    def open(self, tap: Tap) -> None:
        """Feed this tap from the next batch on. How many there are is bounded by who opens them."""
        self._of_slot.setdefault(tap.slot, []).append(tap)
        self._count += 1

    def close(self, tap: Tap) -> None:
        """Forget a tap; one that is gone already is none."""
        taps = self._of_slot.get(tap.slot, [])
        if tap in taps:
            taps.remove(tap)
            self._count -= 1
            if not taps:
                del self._of_slot[tap.slot]

    def end(self, slot: int) -> None:
        """The slot's client is removed."""
        for tap in self._of_slot.pop(slot, []):
            self._count -= 1
            tap.end()

    def feed(
        self,
        slot: I32Column,
        extended: I64Column,
        flags: U8Column,
        decoded: ColourBatch,
        arrivals: Arrivals,
        shared_clock: BoolColumn,
    ) -> None:
        """One batch of measured rows. flags: uint8[n] of `ledger.BatchResult`; shared_clock: bool, by slot."""
        for one, taps in self._of_slot.items():
            rows = np.flatnonzero(slot == one).tolist()
            if not rows:
                continue
            values = []
            for row in rows:
                sent_unix_ns = int(decoded.sent_at_unix_ns[row])
                received_unix_ns = int(arrivals.received_unix_ns[row])
                value = _value(taps[0].client_id, decoded.rgb[row], received_unix_ns)
                value["sequence"] = int(extended[row])
                value["fate"] = "late" if flags[row] & LATE else "received"
                value["duplicate"] = bool(flags[row] & DUPLICATE)
                value["reordered"] = bool(flags[row] & REORDERED)
                value["sent_at_ns"] = sent_unix_ns
                if shared_clock[one]:
                    value["delay_ms"] = (received_unix_ns - sent_unix_ns) / NS_PER_MS
                values.append(value)
            for tap in taps:
                self.dropped += tap.push(values)

    def feed_plain(self, slot: I32Column, arrivals: Arrivals, rgb: U8Column) -> None:
        """One batch of plain rows: no sequence, no send time, so no delay."""
        for one, taps in self._of_slot.items():
            rows = np.flatnonzero(slot == one).tolist()
            values = [_value(taps[0].client_id, rgb[row], int(arrivals.received_unix_ns[row])) for row in rows]
            for tap in taps:
                if values:
                    self.dropped += tap.push(values)


def _value(client_id: str, rgb: U8Column, received_unix_ns: int) -> dict[str, Any]:
    colour = (int(rgb[0]), int(rgb[1]), int(rgb[2]))
    return {
        "client_id": client_id,
        "sequence": None,
        "fate": "received",
        "duplicate": None,
        "reordered": None,
        "colour": nearest_name(colour),
        "rgb": hex_of(colour),
        "sent_at_ns": None,
        "received_at_ns": received_unix_ns,
        "delay_ms": None,
    }
