"""Rates and losses over the last seconds, sampled four times per second."""

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
_FLAGS = (FLAG_LOST, FLAG_REORDERED, FLAG_DUPLICATE, FLAG_CORRUPT)
_LOSS_SAMPLES = 10
_SAMPLES_PER_LOSS_SAMPLE = 4
_FLAG_SAMPLES = 4
_WINDOWS = ((1, 8), (4, 10), (40, 12))
"""(every how many samples, how many are kept): 2 s, 10 s and 2 min."""
_DATAGRAMS_IN_A_WINDOW = 4
"""A rate from fewer would jump up and down: slower streams are looked at for longer."""
_STEADY_NS = 9 * NS_PER_S


class _Window:
    """Totals modulo 2**32 at earlier samples, as a ring: only differences are used."""

    def __init__(self, capacity: int, every: int, depth: int) -> None:
        self._every = every
        self._received = np.zeros((depth, capacity), np.uint32)
        self._sampled_ns = np.zeros(depth, np.int64)

    @property
    def length_s(self) -> float:
        return self._every * len(self._sampled_ns) / SAMPLES_HZ

    def begin(self, slots: I32Column | I64Column, received: U32Column) -> None:
        self._received[:, slots] = received

    def rate_hz(self, number: int, now_ns: int, begun_ns: I64Column, received: U32Column) -> F64Column:
        """Datagrams/s since the oldest sample, or since the client began. number: samples so far."""
        place = number // self._every % len(self._sampled_ns)
        since_ns = np.maximum(begun_ns, self._sampled_ns[place])
        length_s: F64Column = (now_ns - since_ns) / NS_PER_S
        count = (received - self._received[place, : len(received)]).astype(np.float64)
        return np.where(length_s > 0, count / np.maximum(length_s, 1e-9), 0.0)

    def keep(self, number: int, now_ns: int, received: U32Column) -> None:
        if number % self._every == self._every - 1:
            place = number // self._every % len(self._sampled_ns)
            self._received[place, : len(received)] = received
            self._sampled_ns[place] = now_ns


class Rates:
    """Columns [capacity]. Pool thread only.

    rate_hz: float64, datagrams received once, over the last 2 s; over 10 s or 2 min if fewer than four are asked for
    in that time. loss_recent: float64, lost / (lost + received) over the last 10 s, NaN if nothing is known.
    sent_recent_hz: float64, numbers that were received or lost over the last 10 s; NaN until a measured stream is that
    old. flags: uint8, FLAG_… of what happened in the last second.
    """

    def __init__(self, capacity: int) -> None:
        self.rate_hz = np.zeros(capacity)
        self.loss_recent = np.full(capacity, np.nan)
        self.flags = np.zeros(capacity, np.uint8)
        self.sent_recent_hz = np.full(capacity, np.nan)
        self._windows = [_Window(capacity, every, depth) for every, depth in _WINDOWS]
        self._slow_received = np.zeros((_LOSS_SAMPLES, capacity), np.uint32)
        self._slow_lost = np.zeros((_LOSS_SAMPLES, capacity), np.uint32)
        self._events = np.zeros((len(_FLAGS), capacity), np.uint32)
        self._quiet = np.full((len(_FLAGS), capacity), _FLAG_SAMPLES, np.uint8)
        self._slow_sampled_ns = np.zeros(_LOSS_SAMPLES, np.int64)
        self._begun_ns = np.full(capacity, -1, np.int64)
        self._samples = 0

    def reset(self, slots: I32Column) -> None:
        """New clients in these slots: their ledgers are at zero."""
        self.rate_hz[slots] = 0
        self.loss_recent[slots] = np.nan
        self.flags[slots] = 0
        self.sent_recent_hz[slots] = np.nan
        for ring in (self._slow_received, self._slow_lost, self._events):
            ring[:, slots] = 0
        self._quiet[:, slots] = _FLAG_SAMPLES
        self._begun_ns[slots] = -1

    def sample(self, now_ns: int, ledger: Ledger, high: int, asked_hz: F64Column) -> None:
        """Take a sample of slots 0 … high - 1. asked_hz: float64[at least high], the rate that each asked for."""
        used = slice(0, high)
        received = ledger.received_of(used).astype(np.uint32)
        lost = ledger.lost[used].astype(np.uint32)
        self._sample_rate(now_ns, received, asked_hz[used])
        self._sample_loss(now_ns, ledger, received, lost)
        self._sample_flags(ledger, lost, used)
        self._samples += 1

    def _sample_loss(self, now_ns: int, ledger: Ledger, received: U32Column, lost: U32Column) -> None:
        used = slice(0, len(received))
        place = (self._samples // _SAMPLES_PER_LOSS_SAMPLE) % _LOSS_SAMPLES
        new_lost = np.maximum((lost - self._slow_lost[place, used]).astype(np.int32), 0)
        known = (received - self._slow_received[place, used]).astype(np.int32) + new_lost
        measured = ledger.measured[used]
        self.loss_recent[used] = np.where(measured & (known > 0), new_lost / np.maximum(known, 1), np.nan)
        length_ns = now_ns - np.maximum(self._begun_ns[used], self._slow_sampled_ns[place])
        steady = measured & (length_ns >= _STEADY_NS)
        self.sent_recent_hz[used] = np.where(steady, known * float(NS_PER_S) / np.maximum(length_ns, 1), np.nan)
        if self._samples % _SAMPLES_PER_LOSS_SAMPLE == _SAMPLES_PER_LOSS_SAMPLE - 1:
            self._slow_lost[place, used] = lost
            self._slow_received[place, used] = received
            self._slow_sampled_ns[place] = now_ns

    def _sample_rate(self, now_ns: int, received: U32Column, asked_hz: F64Column) -> None:
        begun_ns = self._begun_ns[: len(received)]
        newcomers = np.flatnonzero(begun_ns < 0)
        begun_ns[newcomers] = now_ns
        rate_hz = np.zeros(len(received))
        undecided = np.ones(len(received), np.bool_)
        for window in self._windows:
            window.begin(newcomers, received[newcomers])
            enough = (asked_hz <= 0) | (asked_hz * window.length_s >= _DATAGRAMS_IN_A_WINDOW)
            fits = undecided & enough if window is not self._windows[-1] else undecided
            if fits.any():
                rate_hz = np.where(fits, window.rate_hz(self._samples, now_ns, begun_ns, received), rate_hz)
                undecided &= ~fits
            window.keep(self._samples, now_ns, received)
        self.rate_hz[: len(received)] = rate_hz

    def _sample_flags(self, ledger: Ledger, lost: U32Column, used: slice) -> None:
        flags: U8Column = np.zeros(used.stop, np.uint8)
        totals: tuple[I64Column | U32Column, ...] = (
            lost,
            ledger.reordered[used],
            ledger.duplicates[used],
            ledger.corrupt[used],
        )
        for row, (flag, total) in enumerate(zip(_FLAGS, totals, strict=True)):
            now = total.astype(np.uint32)
            happened = (now - self._events[row, used]).astype(np.int32) > 0
            quiet = self._quiet[row, used]
            quiet[:] = np.where(happened, 0, np.minimum(quiet + 1, _FLAG_SAMPLES))
            flags |= (quiet < _FLAG_SAMPLES).astype(np.uint8) * np.uint8(flag)
            self._events[row, used] = now
        self.flags[used] = flags
