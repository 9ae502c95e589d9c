"""The link's rules once more, as a walk from datagram to datagram in whole numbers: the twin of `LinkModel`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from udprism.link.jitter import DISTRIBUTIONS, deviation
from udprism.link.link import Link
from udprism.link.philox import philox

WORDS = 1 << 32
_LOSS, _JITTER, _DUPLICATE, _REORDER, _BURST, _CORRUPT, _CORRUPT_BIT, _DUPLICATE_JITTER = range(8)


class Fate(NamedTuple):
    """What becomes of one datagram, as in `Verdict`."""

    dropped: bool
    release_ns: int
    duplicate: bool
    duplicate_release_ns: int
    corrupt_bit: int
    queue_full: bool


class PlainLink:
    """One slot's link, judging one datagram at a time, in the order of their numbers from 0."""

    def __init__(self, link: Link, key: int, header_bytes: int = 28) -> None:
        self.link, self.key, self.header_bytes = link, key, header_bytes
        self.bad = False
        self.next_number = 0
        self.free_at_ns = self.last_release_ns = 0

    def words(self, number: int) -> list[int]:
        """The eight random words of a number."""
        words: list[int] = []
        for block in (0, 1):
            low = np.array([(number % WORDS) | block << 32 | (number >> 32) << 40], np.uint64)
            drawn = philox(np.array([self.link.seed], np.uint64), low, np.array([self.key], np.uint64))
            words += [int(word[0]) for word in drawn]
        return words

    def judge(self, number: int, size_bytes: int, now_ns: int) -> Fate:
        """The fate of the datagram of this number; numbers that are left out take their steps all the same."""
        link = self.link
        while self.next_number <= number:
            words = self.words(self.next_number)
            burst = link.burst
            edge = WORDS - round(burst.leave_ratio * WORDS) if self.bad else round(burst.enter_ratio * WORDS)
            self.bad = burst.enter_ratio > 0 and words[_BURST] < edge
            self.next_number += 1
        loss_ratio = link.burst.loss_ratio if self.bad else link.loss_ratio
        dropped = words[_LOSS] < round(loss_ratio * WORDS) or link.blackout
        dropped |= link.mtu_bytes is not None and size_bytes + self.header_bytes > link.mtu_bytes
        overtakes = words[_REORDER] < round(link.reorder_ratio * WORDS)
        leaves_ns, queue_full = now_ns, False
        if link.rate_kbit_s and not overtakes:
            wire_ns = int((size_bytes + self.header_bytes) * (8e6 / link.rate_kbit_s))
            leaves_ns = max(self.free_at_ns, now_ns)
            waiting = -((now_ns - leaves_ns) // wire_ns)
            if not dropped and waiting > link.queue_datagrams:
                queue_full = dropped = True
            elif not dropped:
                self.free_at_ns = leaves_ns + wire_ns
        release_ns = leaves_ns + self.delay_ns(words[_JITTER])
        again_ns = leaves_ns + self.delay_ns(words[_DUPLICATE_JITTER])
        if overtakes:
            release_ns = now_ns
        if link.keep_order:
            release_ns = again_ns = max(release_ns, self.last_release_ns)
            if not dropped:
                self.last_release_ns = release_ns
        duplicate = words[_DUPLICATE] < round(link.duplicate_ratio * WORDS) and not dropped
        corrupt = words[_CORRUPT] < round(link.corrupt_ratio * WORDS) and not dropped and size_bytes > 0
        bit = words[_CORRUPT_BIT] * size_bytes * 8 >> 32 if corrupt else -1
        return Fate(dropped, release_ns, duplicate, again_ns if duplicate else -1, bit, queue_full)

    def delay_ns(self, word: int) -> int:
        """The way's delay, drawn from one word."""
        away = 0
        if self.link.jitter_ms:
            shape = np.array([DISTRIBUTIONS.index(self.link.distribution)], np.uint8)
            away = int(deviation(shape, np.array([word], np.uint64))[0] * (self.link.jitter_ms * 1e6))
        return max(0, round(self.link.delay_ms * 1e6) + away)
