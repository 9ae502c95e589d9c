"""The impairment model, for many sessions at once.

What happens to a datagram is a function of the link's seed, the client's key and the sequence number: words of a
counter-based generator, never a shared stream whose order depends on timing. The exceptions are the rate's queue and
keep_order, which by their nature depend on when the datagrams were sent; they advance in sequence order only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag

import numpy as np

from udprism.columns.turns import Turns
from udprism.columns.types import NS_PER_MS, BoolColumn, I32Column, I64Column, U8Column, U64Column
from udprism.link.bottleneck import Bottleneck
from udprism.link.bursts import Bursts
from udprism.link.jitter import DISTRIBUTIONS, deviation
from udprism.link.link import Link
from udprism.link.philox import WORD_RANGE, philox

IPV4_AND_UDP_BYTES = 28
"""What rate_kbit_s and mtu_bytes add to a datagram's length by default."""


class Part(IntEnum):
    """What of a link drops a datagram. ROOM and RULE are for those who hold datagrams, or have rules besides."""

    NONE = 0
    LOSS = 1
    BURST = 2
    BLACKOUT = 3
    QUEUE = 4
    ROOM = 5
    RULE = 6
    MTU = 7


class _Need(IntFlag):
    """What a slot's link needs to have worked out."""

    LOSS = 1
    BURST = 2
    DELAY = 4
    JITTER = 8
    KEEP_ORDER = 16
    REORDER = 32
    DUPLICATE = 64
    CORRUPT = 128
    RATE = 256
    BLACKOUT = 512
    MTU = 1024


_HOLDS = _Need.DELAY | _Need.JITTER | _Need.RATE

PASSES, LOST, ASK = 0, 1, 2

# Which random word decides what: (block, place in the block).
_LOSS, _JITTER, _DUPLICATE, _REORDER = ((0, place) for place in range(4))
_BURST, _CORRUPT, _CORRUPT_BIT, _DUPLICATE_JITTER = ((1, place) for place in range(4))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the link does to n datagrams.

    dropped: bool[n]. release_ns: int64[n], when it leaves; at most now_ns for at once; of a dropped one, when it would
    have left. duplicate: bool[n], it leaves a second time, at duplicate_release_ns: int64[n]. corrupt_bit: int32[n],
    the bit of the datagram that flips, bit k & 7 of byte k >> 3, or -1. queue_full: bool[n], dropped because the
    rate's queue was full, and for no other reason. part: uint8[n], `Part`: what of the link dropped it.
    """

    dropped: BoolColumn
    release_ns: I64Column
    duplicate: BoolColumn
    duplicate_release_ns: I64Column
    corrupt_bit: I32Column
    queue_full: BoolColumn
    part: U8Column


class LinkModel:
    """The links of up to `capacity` slots: sessions, or directions of flows. One thread at a time."""

    def __init__(self, capacity: int) -> None:
        self.active = False
        """Whether any slot has a link that is on."""
        self._need = np.zeros(capacity, np.uint16)
        self._seed = np.zeros(capacity, np.uint64)
        self._client_key = np.zeros(capacity, np.uint64)
        # Ratios are kept in units of 1 / WORD_RANGE, so that 1 is above every word.
        self._loss = np.zeros(capacity, np.uint64)
        self._burst_loss = np.zeros(capacity, np.uint64)
        self._reorder = np.zeros(capacity, np.uint64)
        self._duplicate = np.zeros(capacity, np.uint64)
        self._corrupt = np.zeros(capacity, np.uint64)
        self._payload_at = np.zeros(capacity, np.int64)
        self._largest_bytes = np.zeros(capacity, np.int64)
        """Of a UDP payload, where an MTU is set."""
        self._delay_ns = np.zeros(capacity, np.int64)
        self._jitter_ns = np.zeros(capacity, np.float64)
        self._distribution = np.zeros(capacity, np.uint8)
        self._last_release_ns = np.zeros(capacity, np.int64)
        self._bursts = Bursts(capacity)
        self._bottleneck = Bottleneck(capacity)

    def assign(
        self,
        slots: I32Column,
        link: Link | None,
        client_key: U64Column,
        *,
        payload_at: int | I64Column = 0,
        header_bytes: int | I64Column = IPV4_AND_UDP_BYTES,
    ) -> None:
        """Give these slots a link (None: none) and a client's key each; acts on the next datagram.

        client_key: uint64[n], see `link.client_key`. payload_at: the first byte that corruption may hit, unless the
        link corrupts headers too. header_bytes: of IP and UDP, for the rate and the MTU. Both one for all, or int64[n].
        State (burst, queue, order) begins afresh.
        """
        if link is None or link.is_off:
            link = Link()  # not only no need: what another slot of a batch needs is read for all of the batch
        self._need[slots] = _need_of(link)
        self._client_key[slots] = client_key
        self._payload_at[slots] = 0 if link.corrupt_header else payload_at
        self._largest_bytes[slots] = 0 if link.mtu_bytes is None else link.mtu_bytes - header_bytes
        self._set_columns(slots, link)
        self._bursts.restart(slots)
        self._bottleneck.restart(slots, link.rate_kbit_s, link.queue_datagrams, header_bytes)
        self._last_release_ns[slots] = 0
        self.active = bool(self._need.any())

    def _set_columns(self, slots: I32Column, link: Link) -> None:
        self._seed[slots] = link.seed
        self._loss[slots] = _in_words(link.loss_ratio)
        self._burst_loss[slots] = _in_words(link.burst.loss_ratio)
        self._bursts.enter[slots] = _in_words(link.burst.enter_ratio)
        self._bursts.leave[slots] = _in_words(link.burst.leave_ratio)
        self._reorder[slots] = _in_words(link.reorder_ratio)
        self._duplicate[slots] = _in_words(link.duplicate_ratio)
        self._corrupt[slots] = _in_words(link.corrupt_ratio)
        self._delay_ns[slots] = round(link.delay_ms * NS_PER_MS)
        self._jitter_ns[slots] = link.jitter_ms * NS_PER_MS
        self._distribution[slots] = DISTRIBUTIONS.index(link.distribution)

    def delay_ns(self, slots: I32Column) -> I64Column:
        """int64[n]: for how long these slots' links delay a datagram on average, queues left aside."""
        delay_ns: I64Column = self._delay_ns[slots]
        return delay_ns

    def holds(self, slots: I32Column) -> BoolColumn:
        """bool[n]: True if the link may hold datagrams back, and therefore decides the order of all of them."""
        holds: BoolColumn = (self._need[slots] & _HOLDS) != 0
        return holds

    def judge(self, slots: I32Column, sequence: I64Column, size_bytes: I32Column, now_ns: int | I64Column) -> Verdict:
        """The fates of n datagrams that are about to leave.

        slots: int32[n]; a slot may come several times, in sequence order. sequence: int64[n], extended: never wraps.
        size_bytes: int32[n], UDP payload. now_ns: when they enter the link, all at once or int64[n].
        Only what some row's link needs is worked out.
        """
        need = int(np.bitwise_or.reduce(self._need[slots]))
        words = _Words(self, slots, sequence)
        part = self._dropped(need, slots, sequence, size_bytes, words)
        dropped: BoolColumn = part != Part.NONE
        overtakes = np.zeros(len(slots), np.bool_)
        if need & _Need.REORDER:
            overtakes = words.of(_REORDER) < self._reorder[slots]
        enters_ns = leaves_ns = np.full(len(slots), now_ns, np.int64)
        queue_full = np.zeros(len(slots), np.bool_)
        if need & _Need.RATE:
            leaves_ns, queue_full = self._bottleneck.judge(slots, size_bytes, ~overtakes, dropped, enters_ns)
            dropped |= queue_full
            part[queue_full] = Part.QUEUE
        release_ns = self._delayed(need, slots, leaves_ns, words, _JITTER)
        if need & _Need.REORDER:
            release_ns[overtakes] = enters_ns[overtakes]
        if need & _Need.KEEP_ORDER:
            self._keep_order(slots, dropped, release_ns)
        duplicate, duplicate_release_ns = np.zeros(len(slots), np.bool_), release_ns
        if need & _Need.DUPLICATE:
            duplicate = (words.of(_DUPLICATE) < self._duplicate[slots]) & ~dropped
            duplicate_release_ns = self._delayed(need, slots, leaves_ns, words, _DUPLICATE_JITTER)
            if need & _Need.KEEP_ORDER:
                kept = (self._need[slots] & _Need.KEEP_ORDER) != 0
                duplicate_release_ns[kept] = release_ns[kept]
        corrupt_bit = np.full(len(slots), -1, np.int32)
        if need & _Need.CORRUPT:
            self._corrupt_some(slots, size_bytes, dropped, words, corrupt_bit)
        return Verdict(dropped, release_ns, duplicate, duplicate_release_ns, corrupt_bit, queue_full, part)

    def foresee(self, slot: int, first: int, count: int) -> bytes:
        """What becomes of `count` numbers from `first` on: PASSES (at once and whole), LOST, or ASK (`judge`).

        For a way that takes datagrams one by one: a call of `judge` costs as much for one as for many, and fates that
        depend on numbers alone can be asked ahead. Changes nothing.
        """
        need = int(self._need[slot])
        if need & ~(_Need.LOSS | _Need.BURST | _Need.DUPLICATE | _Need.CORRUPT | _Need.BLACKOUT):
            return bytes([ASK]) * count
        slots = np.full(count, slot, np.int32)
        state = self._bursts.state(slot)
        verdict = self.judge(slots, np.arange(first, first + count), np.ones(count, np.int32), 0)
        self._bursts.restore(slot, state)
        fates = np.where(verdict.dropped, LOST, np.where(verdict.duplicate | (verdict.corrupt_bit >= 0), ASK, PASSES))
        return fates.astype(np.uint8).tobytes()

    def _dropped(
        self, need: int, slots: I32Column, sequence: I64Column, size_bytes: I32Column, words: _Words
    ) -> U8Column:
        """uint8[n], Part: lost at random or in a burst, too large, or in a blackout."""
        part = np.zeros(len(slots), np.uint8)
        if need & (_Need.LOSS | _Need.BURST):
            loss, by = self._loss[slots], np.full(len(slots), Part.LOSS, np.uint8)
            if need & _Need.BURST:
                turns = Turns(slots, (self._need[slots] & _Need.BURST) != 0)
                rows = turns.rows
                bad = self._bursts.advance(turns, sequence[rows], words.of(_BURST)[rows], self._burst_words)
                loss[rows] = np.where(bad, self._burst_loss[slots[rows]], loss[rows])
                by[rows[bad]] = Part.BURST
            part = np.where(words.of(_LOSS) < loss, by, Part.NONE).astype(np.uint8)
        if need & _Need.MTU:
            part[((self._need[slots] & _Need.MTU) != 0) & (size_bytes > self._largest_bytes[slots])] = Part.MTU
        if need & _Need.BLACKOUT:
            part[(self._need[slots] & _Need.BLACKOUT) != 0] = Part.BLACKOUT
        return part

    def _delayed(
        self, need: int, slots: I32Column, leaves_ns: I64Column, words: _Words, which: tuple[int, int]
    ) -> I64Column:
        """int64[n]: leaves_ns and the way's delay; a delay that jitter takes below zero is zero."""
        if need & _Need.JITTER:
            away = deviation(self._distribution[slots], words.of(which)) * self._jitter_ns[slots]
            return leaves_ns + np.maximum(self._delay_ns[slots] + away.astype(np.int64), 0)
        if need & _Need.DELAY:
            return leaves_ns + self._delay_ns[slots]
        return leaves_ns.copy()

    def _keep_order(self, slots: I32Column, dropped: BoolColumn, release_ns: I64Column) -> None:
        """Raise release_ns, in place, so that no row leaves before an earlier one of its slot."""
        turns = Turns(slots, (self._need[slots] & _Need.KEEP_ORDER) != 0)
        rows = turns.rows
        last_ns = self._last_release_ns[turns.slots]
        floor_ns = turns.spread(last_ns)
        latest_ns = turns.max_until(np.where(dropped[rows], floor_ns, np.maximum(release_ns[rows], floor_ns)))
        release_ns[rows] = np.maximum(release_ns[rows], turns.before(latest_ns, last_ns))
        self._last_release_ns[turns.slots] = latest_ns[turns.last()]

    def _corrupt_some(
        self, slots: I32Column, size_bytes: I32Column, dropped: BoolColumn, words: _Words, corrupt_bit: I32Column
    ) -> None:
        """Choose a bit of each row that is to be corrupted, in place. What ends before payload_at is all payload."""
        hit = np.flatnonzero((words.of(_CORRUPT) < self._corrupt[slots]) & ~dropped & (size_bytes > 0))
        size, payload_at = size_bytes[hit].astype(np.int64), self._payload_at[slots[hit]]
        first_bit = 8 * np.where(size > payload_at, payload_at, 0)
        position = words.of(_CORRUPT_BIT)[hit].astype(np.int64)
        corrupt_bit[hit] = first_bit + (position * (size * 8 - first_bit) >> 32)

    def _draw(self, block: int, slots: I32Column, sequence: I64Column) -> U64Column:
        """uint64[4, n]: the words of one block."""
        number = sequence.astype(np.uint64)
        low = (number & np.uint64(WORD_RANGE - 1)) | np.uint64(block << 32) | (number >> np.uint64(32) << np.uint64(40))
        return philox(self._seed[slots], low, self._client_key[slots])

    def _burst_words(self, slots: I32Column, sequence: I64Column) -> U64Column:
        block, word = _BURST
        words: U64Column = self._draw(block, slots, sequence)[word]
        return words


class _Words:
    """The random words of one batch, each block drawn when its first word is asked for."""

    def __init__(self, model: LinkModel, slots: I32Column, sequence: I64Column) -> None:
        self._model = model
        self._slots = slots
        self._sequence = sequence
        self._blocks: dict[int, U64Column] = {}

    def of(self, which: tuple[int, int]) -> U64Column:
        """uint64[n]: the word at (block, place)."""
        block, word = which
        if block not in self._blocks:
            self._blocks[block] = self._model._draw(block, self._slots, self._sequence)
        words: U64Column = self._blocks[block][word]
        return words


def _need_of(link: Link) -> int:
    wants = {
        _Need.LOSS: link.loss_ratio > 0,
        _Need.BURST: link.burst.enter_ratio > 0,
        _Need.DELAY: link.delay_ms > 0,
        _Need.JITTER: link.jitter_ms > 0,
        _Need.KEEP_ORDER: link.keep_order,
        _Need.REORDER: link.reorder_ratio > 0,
        _Need.DUPLICATE: link.duplicate_ratio > 0,
        _Need.CORRUPT: link.corrupt_ratio > 0,
        _Need.RATE: link.rate_kbit_s is not None,
        _Need.BLACKOUT: link.blackout,
        _Need.MTU: link.mtu_bytes is not None,
    }
    return sum(need for need, wanted in wants.items() if wanted)


def _in_words(ratio: float) -> int:
    return round(ratio * WORD_RANGE)
