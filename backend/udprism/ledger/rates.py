"""How fast, and how lossy just now: figures over the last seconds, sampled four times a second."""

from __future__ import annotations

import numpy as np

from udprism.columns.types import NS_PER_S, F64Column, I32Column, I64Column, U8Column, U32Column
from udprism.ledger.ledger import Ledger

SAMPLES_HZ = 4
"""How often the pool samples."""
FLAG_LOST = 1
FLAG_REORDERED = 2
FLAG_DUPLICATE = 4
FLAG_CORRUPT = 8
_RATE_SAMPLES = 8
_LOSS_SAMPLES = 10
_SAMPLES_A_LOSS_SAMPLE = 4
_FLAG_SAMPLES = 4


class Rates:
    """Columns [capacity]. Pool thread only.

    rate_hz: float64, datagrams received once, over the last 2 s. loss_recent: float64, lost / (lost + received) over
    the last 10 s, NaN where nothing is known. flags: uint8, FLAG_… of what happened in the last second.
    """

    def __init__(self, capacity: int) -> None:
        self.rate_hz = np.zeros(capacity)
        self.loss_recent = np.full(capacity, np.nan)
        self.flags = np.zeros(capacity, np.uint8)
        # Totals modulo 2**32 at earlier samples, as rings: only differences are used.
        self._received = np.zeros((_RATE_SAMPLES, capacity), np.uint32)
        self._slow_received = np.zeros((_LOSS_SAMPLES, capacity), np.uint32)
        self._slow_lost = np.zeros((_LOSS_SAMPLES, capacity), np.uint32)
        self._events = np.zeros((4, capacity), np.uint32)
        self._quiet = np.full((4, capacity), _FLAG_SAMPLES, np.uint8)
        self._sampled_ns = np.zeros(_RATE_SAMPLES, np.int64)
        self._begun_ns = np.full(capacity, -1, np.int64)
        self._samples = 0

    def reset(self, slots: I32Column) -> None:
        """New clients in these slots: their ledgers are at zero."""
        self.rate_hz[slots] = 0
        self.loss_recent[slots] = np.nan
        self.flags[slots] = 0
        for ring in (self._received, self._slow_received, self._slow_lost, self._events):
            ring[:, slots] = 0
        self._quiet[:, slots] = _FLAG_SAMPLES
        self._begun_ns[slots] = -1

    def sample(self, now_ns: int, ledger: Ledger, high: int) -> None:
        """Take a sample of slots 0 … high - 1."""
        used = slice(0, high)
        received = ledger.received[used].astype(np.uint32)
        lost = ledger.lost[used].astype(np.uint32)
        self._sample_rate(now_ns, received, used)
        place = (self._samples // _SAMPLES_A_LOSS_SAMPLE) % _LOSS_SAMPLES
        new_lost = np.maximum((lost - self._slow_lost[place, used]).astype(np.int32), 0)
        known = (received - self._slow_received[place, used]).astype(np.int32) + new_lost
        usable = ledger.measured[used] & (known > 0)
        self.loss_recent[used] = np.where(usable, new_lost / np.maximum(known, 1), np.nan)
        if self._samples % _SAMPLES_A_LOSS_SAMPLE == _SAMPLES_A_LOSS_SAMPLE - 1:
            self._slow_lost[place, used] = lost
            self._slow_received[place, used] = received
        self._sample_flags(ledger, lost, used)
        self._samples += 1

    def _sample_rate(self, now_ns: int, received: U32Column, used: slice) -> None:
        place = self._samples % _RATE_SAMPLES
        begun_ns = self._begun_ns[used]
        newcomers = np.flatnonzero(begun_ns < 0)
        begun_ns[newcomers] = now_ns
        self._received[:, newcomers] = received[newcomers]
        since_ns = np.maximum(begun_ns, self._sampled_ns[place])
        length_s: F64Column = (now_ns - since_ns) / NS_PER_S
        count = (received - self._received[place, used]).astype(np.float64)
        self.rate_hz[used] = np.where(length_s > 0, count / np.maximum(length_s, 1e-9), 0.0)
        self._received[place, used] = received
        self._sampled_ns[place] = now_ns

    def _sample_flags(self, ledger: Ledger, lost: U32Column, used: slice) -> None:
        flags: U8Column = np.zeros(used.stop, np.uint8)
        totals: tuple[I64Column | U32Column, ...] = (
            lost,
            ledger.reordered[used],
            ledger.duplicates[used],
            ledger.corrupt[used],
        )
        for row, total in enumerate(totals):
            now = total.astype(np.uint32)
            happened = (now - self._events[row, used]).astype(np.int32) > 0
            quiet = self._quiet[row, used]
            quiet[:] = np.where(happened, 0, np.minimum(quiet + 1, _FLAG_SAMPLES))
            flags |= (quiet < _FLAG_SAMPLES).astype(np.uint8) << row
            self._events[row, used] = now
        self.flags[used] = flags
