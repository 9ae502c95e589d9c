"""The impairment model, for many sessions at once.

What happens to a datagram is a function of the link's seed, the client's key and the sequence number: words of a
counter-based generator, never a shared stream whose order depends on timing. The exceptions are the rate's queue and
keep_order, which by their nature depend on when the datagrams were sent; they advance in sequence order only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

import numpy as np

from udprism.columns.types import NS_PER_MS, BoolColumn, I32Column, I64Column, U64Column
from udprism.link.bursts import Bursts
from udprism.link.jitter import DISTRIBUTIONS, deviation
from udprism.link.link import Link
from udprism.link.philox import WORD_RANGE, philox
from udprism.link.turns import Turns

IPV4_AND_UDP_BYTES = 28
"""What rate_kbit_s counts on top of a datagram, unless told otherwise."""


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
    the bit of the datagram that flips, bit k & 7 of byte k >> 3, or -1. queue_full: bool[n], dropped because the
    rate's queue was full, and for no other reason.
    """

    dropped: BoolColumn
    release_ns: I64Column
    duplicate: BoolColumn
    duplicate_release_ns: I64Column
    corrupt_bit: I32Column
    queue_full: BoolColumn


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
        self._header_bytes = np.full(capacity, IPV4_AND_UDP_BYTES, np.int64)
        self._delay_ns = np.zeros(capacity, np.int64)
        self._jitter_ns = np.zeros(capacity, np.float64)
        self._distribution = np.zeros(capacity, np.uint8)
        self._ns_per_byte = np.zeros(capacity, np.float64)
        self._queue_datagrams = np.zeros(capacity, np.int64)
        self._free_at_ns = np.zeros(capacity, np.int64)
        self._last_release_ns = np.zeros(capacity, np.int64)
        self._bursts = Bursts(capacity)

    def assign(
        self,
        slots: I32Column,
        link: Link | None,
        client_key: U64Column,
        *,
        payload_at: int = 0,
        header_bytes: int = IPV4_AND_UDP_BYTES,
    ) -> None:
        """Give these slots a link (None: none) and a client's key each; acts on the next datagram.

        client_key: uint64[n], see `link.client_key`. payload_at: the first byte that corruption may hit, unless the
        link corrupts headers too. header_bytes: of IP and UDP, for the rate. State (burst, queue, order) begins afresh.
        """
        if link is None or link.is_off:
            self._need[slots] = 0
        else:
            self._need[slots] = _need_of(link)
            self._client_key[slots] = client_key
            self._payload_at[slots] = 0 if link.corrupt_header else payload_at
            self._header_bytes[slots] = header_bytes
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
        queue_full = np.zeros(len(slots), np.bool_)
        if need & _Need.RATE:
            leaves_ns = enters_ns.copy()
            self._queue(slots, size_bytes, (self._ns_per_byte[slots] > 0) & ~overtakes, dropped, queue_full, leaves_ns)
            dropped |= queue_full
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
        return Verdict(dropped, release_ns, duplicate, duplicate_release_ns, corrupt_bit, queue_full)

    def _dropped(self, need: int, slots: I32Column, sequence: I64Column, words: _Words) -> BoolColumn:
        """bool[n]: lost at random or in a burst, or in a blackout."""
        dropped = np.zeros(len(slots), np.bool_)
        if need & (_Need.LOSS | _Need.BURST):
            loss = self._loss[slots]
            if need & _Need.BURST:
                turns = Turns(slots, (self._need[slots] & _Need.BURST) != 0)
                rows = turns.rows
                bad = self._bursts.advance(turns, sequence[rows], words.of(_BURST)[rows], self._burst_words)
                loss[rows] = np.where(bad, self._burst_loss[slots[rows]], loss[rows])
            dropped = words.of(_LOSS) < loss
        if need & _Need.BLACKOUT:
            dropped |= (self._need[slots] & _Need.BLACKOUT) != 0
        return dropped

    def _queue(
        self,
        slots: I32Column,
        size_bytes: I32Column,
        limited: BoolColumn,
        dropped: BoolColumn,
        queue_full: BoolColumn,
        leaves_ns: I64Column,
    ) -> None:
        """Let the limited rows leave when their tokens are there; mark those that find the queue full.

        A token bucket as deep as one datagram (the generic cell rate algorithm, ITU-T I.371): each one leaves when the
        one before it has had its time on the wire, and the queue is what has not left yet, in datagrams of this one's
        size. Changes queue_full and leaves_ns in place. What is lost takes no place, but its fate is told in its turn:
        ahead of the queue it would make those that wait in it look overdue. Reordered rows pass it by, as in netem.

        As a scan: the wire is free after `before` ns of work since the last row that found it idle.
        """
        if not limited.any():
            return
        turns = Turns(slots, limited)
        rows, taken = turns.rows, ~dropped[turns.rows]
        mine, enters_ns = slots[rows], leaves_ns[rows]
        wire_ns = ((size_bytes[rows] + self._header_bytes[mine]) * self._ns_per_byte[mine]).astype(np.int64)
        work_ns = np.where(taken, wire_ns, 0)
        before_ns, free_ns = turns.sum_before(work_ns), self._free_at_ns[turns.slots]
        floor_ns = turns.spread(free_ns)
        idle_ns = turns.max_until(np.where(taken, np.maximum(enters_ns - before_ns, floor_ns), floor_ns))
        starts_ns = np.maximum(enters_ns, before_ns + turns.before(idle_ns, free_ns))
        full = taken & (-((enters_ns - starts_ns) // wire_ns) > self._queue_datagrams[mine])
        self._free_at_ns[turns.slots] = (idle_ns + before_ns + work_ns)[turns.last()]
        if full.any():
            for slot, part in turns.each(np.flatnonzero(np.logical_or.reduceat(full, turns.starts))):
                free_at_ns = int(floor_ns[part.start])
                self._walk_queue(
                    slot, free_at_ns, enters_ns[part], wire_ns[part], taken[part], starts_ns[part], full[part]
                )
        queue_full[rows], leaves_ns[rows] = full, starts_ns

    def _walk_queue(
        self,
        slot: int,
        free_at_ns: int,
        enters_ns: I64Column,
        wire_ns: I64Column,
        taken: BoolColumn,
        starts_ns: I64Column,
        full: BoolColumn,
    ) -> None:
        """One slot's rows, row by row: whom the queue turns away depends on whom it turned away before.

        Changes starts_ns and full in place.
        """
        most = int(self._queue_datagrams[slot])
        starts, turned_away = [], []
        for enter_ns, its_wire_ns, is_taken in zip(enters_ns.tolist(), wire_ns.tolist(), taken.tolist(), strict=True):
            start_ns = max(free_at_ns, enter_ns)
            is_full = is_taken and (start_ns - enter_ns + its_wire_ns - 1) // its_wire_ns > most
            if is_taken and not is_full:
                free_at_ns = start_ns + its_wire_ns
            starts.append(start_ns)
            turned_away.append(is_full)
        starts_ns[:], full[:] = starts, turned_away
        self._free_at_ns[slot] = free_at_ns

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
    }
    return sum(need for need, wanted in wants.items() if wanted)


def _in_words(ratio: float) -> int:
    return round(ratio * WORD_RANGE)
