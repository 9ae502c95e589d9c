"""The impairment model, for many sessions at once.

What happens to a datagram is a function of the link's seed, the client's key and the sequence number: words of a
counter-based generator, never a shared stream whose order depends on timing. The exceptions are the rate's queue and
keep_order, which by their nature depend on when the datagrams were sent; they advance in sequence order only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag

import numpy as np

from udprism.columns.types import NS_PER_MS, BoolColumn, I32Column, I64Column, U64Column
from udprism.link.bursts import Bursts
from udprism.link.jitter import DISTRIBUTIONS, deviation
from udprism.link.link import Link
from udprism.link.philox import WORD_RANGE, philox
from udprism.wire.measured import HEADER_BYTES, MIN_COLOUR_BYTES

IP_AND_UDP_BYTES = 28
"""What rate_kbit_s counts on top of a datagram: the headers of IPv4 and UDP."""


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


_HOLDS = _Need.DELAY | _Need.JITTER | _Need.RATE

# Which random word decides what: (block, place in the block).
_LOSS, _JITTER, _DUPLICATE, _REORDER = ((0, place) for place in range(4))
_BURST, _CORRUPT, _CORRUPT_BIT, _DUPLICATE_JITTER = ((1, place) for place in range(4))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the link does to n datagrams.

    dropped: bool[n]. release_ns: int64[n], when it leaves; at most now_ns for at once; of a dropped one, when it would
    have left. duplicate: bool[n], it leaves a second time, at duplicate_release_ns: int64[n]. corrupt_bit: int32[n],
    the bit of the datagram that flips, bit k & 7 of byte k >> 3, or -1.
    """

    dropped: BoolColumn
    release_ns: I64Column
    duplicate: BoolColumn
    duplicate_release_ns: I64Column
    corrupt_bit: I32Column


class LinkModel:
    """The links of up to `capacity` session slots. One thread at a time."""

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
        self._corrupt_from_bit = np.zeros(capacity, np.int64)
        self._delay_ns = np.zeros(capacity, np.int64)
        self._jitter_ns = np.zeros(capacity, np.float64)
        self._distribution = np.zeros(capacity, np.uint8)
        self._ns_per_byte = np.zeros(capacity, np.float64)
        self._queue_datagrams = np.zeros(capacity, np.int64)
        self._free_at_ns = np.zeros(capacity, np.int64)
        self._last_release_ns = np.zeros(capacity, np.int64)
        self._bursts = Bursts(capacity)

    def assign(self, slots: I32Column, link: Link | None, client_key: U64Column) -> None:
        """Give these slots a link (None: none) and a client's key each; acts on the next datagram.

        client_key: uint64[n], see `link.client_key`. State (burst, queue, order) begins afresh.
        """
        if link is None or link.is_off:
            self._need[slots] = 0
        else:
            self._need[slots] = _need_of(link)
            self._client_key[slots] = client_key
            self._set_columns(slots, link)
            self._bursts.restart(slots)
            self._free_at_ns[slots] = 0
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
        self._corrupt_from_bit[slots] = 0 if link.corrupt_header else HEADER_BYTES * 8
        self._delay_ns[slots] = round(link.delay_ms * NS_PER_MS)
        self._jitter_ns[slots] = link.jitter_ms * NS_PER_MS
        self._distribution[slots] = DISTRIBUTIONS.index(link.distribution)
        self._ns_per_byte[slots] = 8e6 / link.rate_kbit_s if link.rate_kbit_s else 0.0
        self._queue_datagrams[slots] = link.queue_datagrams

    def holds(self, slots: I32Column) -> BoolColumn:
        """bool[n]: whose link holds some datagrams back, so that the order of all of them is its affair."""
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
        dropped = self._dropped(need, slots, sequence, words)
        overtakes = np.zeros(len(slots), np.bool_)
        if need & _Need.REORDER:
            overtakes = words.of(_REORDER) < self._reorder[slots]
        enters_ns = leaves_ns = np.full(len(slots), now_ns, np.int64)
        if need & _Need.RATE:
            leaves_ns = enters_ns.copy()
            self._queue(slots, size_bytes, overtakes, dropped, leaves_ns)
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
        return Verdict(dropped, release_ns, duplicate, duplicate_release_ns, corrupt_bit)

    def _dropped(self, need: int, slots: I32Column, sequence: I64Column, words: _Words) -> BoolColumn:
        """bool[n]: lost at random or in a burst, or in a blackout."""
        dropped = np.zeros(len(slots), np.bool_)
        if need & (_Need.LOSS | _Need.BURST):
            loss = self._loss[slots]
            if need & _Need.BURST:
                in_burst = self._need[slots] & _Need.BURST
                for rows in _rounds(slots, np.flatnonzero(in_burst)):
                    bad = self._bursts.advance(slots[rows], sequence[rows], words.of(_BURST)[rows], self._burst_words)
                    loss[rows] = np.where(bad, self._burst_loss[slots[rows]], loss[rows])
            dropped = words.of(_LOSS) < loss
        if need & _Need.BLACKOUT:
            dropped |= (self._need[slots] & _Need.BLACKOUT) != 0
        return dropped

    def _queue(
        self,
        slots: I32Column,
        size_bytes: I32Column,
        overtakes: BoolColumn,
        dropped: BoolColumn,
        leaves_ns: I64Column,
    ) -> None:
        """Let the limited rows leave when their tokens are there; drop those that find the queue full.

        A token bucket as deep as one datagram (the generic cell rate algorithm, ITU-T I.371): each one leaves when the
        one before it has had its time on the wire, and the queue is what has not left yet, in datagrams of this one's
        size. Changes dropped and leaves_ns in place. What is lost takes no place, but its fate is told in its turn:
        ahead of the queue it would make those that wait in it look overdue. Reordered rows pass it by, as in netem.
        """
        limited = (self._ns_per_byte[slots] > 0) & ~overtakes
        for rows in _rounds(slots, np.flatnonzero(limited)):
            mine = slots[rows]
            wire_ns = ((size_bytes[rows] + IP_AND_UDP_BYTES) * self._ns_per_byte[mine]).astype(np.int64)
            starts_ns = np.maximum(self._free_at_ns[mine], leaves_ns[rows])
            waiting = -((leaves_ns[rows] - starts_ns) // wire_ns)
            leaves_ns[rows] = starts_ns
            dropped[rows] |= waiting > self._queue_datagrams[mine]
            taken = ~dropped[rows]
            self._free_at_ns[mine[taken]] = (starts_ns + wire_ns)[taken]

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
        kept = self._need[slots] & _Need.KEEP_ORDER
        for rows in _rounds(slots, np.flatnonzero(kept)):
            release_ns[rows] = np.maximum(release_ns[rows], self._last_release_ns[slots[rows]])
            left = rows[~dropped[rows]]
            self._last_release_ns[slots[left]] = release_ns[left]

    def _corrupt_some(
        self, slots: I32Column, size_bytes: I32Column, dropped: BoolColumn, words: _Words, corrupt_bit: I32Column
    ) -> None:
        """Choose a bit of each row that is to be corrupted, in place.

        What is shorter than a header and one pixel is a plain colour's name: all of it is payload.
        """
        hit = np.flatnonzero((words.of(_CORRUPT) < self._corrupt[slots]) & ~dropped)
        size = size_bytes[hit].astype(np.int64)
        first_bit = np.where(size < MIN_COLOUR_BYTES, 0, self._corrupt_from_bit[slots[hit]])
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
    }
    return sum(need for need, wanted in wants.items() if wanted)


def _in_words(ratio: float) -> int:
    return round(ratio * WORD_RANGE)


def _rounds(slots: I32Column, rows: I64Column) -> Iterator[I64Column]:
    """Split rows (indices into slots) so that each part has a slot at most once, a slot's rows in their order."""
    order = np.argsort(slots[rows], kind="stable")
    ordered = slots[rows][order]
    place = np.arange(len(rows))
    first = np.ones(len(rows), np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    if first.all():
        yield rows
        return
    rank = place - np.maximum.accumulate(np.where(first, place, 0))
    for turn in range(int(rank.max()) + 1):
        yield rows[order[rank == turn]]
