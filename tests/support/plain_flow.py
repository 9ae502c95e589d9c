"""A numbered flow once more, plain and slow: what its numbers mean in any modulus, and what its ledger then says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from support.plain_ledger import PlainLedger
from udprism.wire.format import Decoded


class Row(NamedTuple):
    """One datagram. number: as on the wire, None if it bears none. part: where in its frame it begins."""

    number: int | None
    part: int = 0


def decoded(rows: list[Row], *, has_parts: bool = False) -> Decoded:
    """What a format makes of such a batch."""
    count = len(rows)
    return Decoded(
        valid=np.ones(count, np.bool_),
        control=np.zeros(count, np.bool_),
        reason=np.zeros(count, np.uint8),
        key=np.zeros(count, np.uint64),
        number=np.array([row.number or 0 for row in rows], np.uint32),
        numbered=np.array([row.number is not None for row in rows], np.bool_),
        part=np.array([row.part for row in rows], np.uint32) if has_parts else None,
        marks=np.zeros(count, np.uint16),
        rgb=np.zeros((count, 3), np.uint8),
        coloured=np.zeros(count, np.bool_),
        all_valid=True,
    )


@dataclass
class PlainCounting:
    """Which numbers are believed, and the sequences that they become."""

    modulus: int
    believed: bool = False
    begins: bool = False
    """Whether this batch's end or a restart in it makes the next sequence 0."""
    interrupted: bool = False
    rows: int = 0
    numbers: int = 0
    highest: int = 0
    last: int = 0
    part: int = 0
    top: int = -1
    streak: int = 0
    astray: int = 0
    anew: int = 0

    def take(self, batch: list[Row]) -> list[int | None]:
        """Each row's sequence; None for one that the ledger does not get."""
        self.begins = False
        found: list[int | None] = []
        for row in batch:
            self.rows += 1
            if row.number is None or (self.numbers and row.number == self.last and row.part > self.part):
                self.part = self.part if row.number is None else row.part
                found.append(None)
                continue
            if not self.numbers or self.interrupted or self._counts_anew(row.number):
                self.begins |= self.believed
                found = [None] * len(found)
                self.highest, self.top, self.anew, self.interrupted = row.number, -1, 0, False
                found.append(None)
            else:
                found.append(self._step(row.number))
            self.last, self.part = row.number, row.part
            self.numbers += 1
        if not self.believed and self.streak >= 32:
            self.believed = self.begins = True
            self.top = -1
        elif self.believed and self.astray >= 64:
            self.believed = False
        return found

    def _ahead(self, number: int) -> int:
        """The shortest way around the cycle."""
        half = self.modulus // 2
        return (number - self.highest + half) % self.modulus - half

    def _counts_anew(self, number: int) -> bool:
        follows = (number - self.last) % self.modulus == 1
        self.anew = self.anew + 1 if self._ahead(number) <= 0 and follows else 0
        return self.anew >= 8

    def _step(self, number: int) -> int | None:
        ahead = self._ahead(number)
        sequence = self.top + ahead
        self.streak = self.streak + 1 if ahead == 1 else 0
        self.astray = 0 if ahead == 1 else self.astray + 1
        if ahead > 0:
            self.highest, self.top = number, sequence
        return sequence if self.believed and sequence >= 0 else None

    @property
    def word(self) -> str:
        """What is said of the sender."""
        if self.believed:
            return "believed"
        silent = self.numbers == 0 and self.rows >= 15
        return "does not count" if self.rows >= 64 or self.astray >= 15 or silent else "not yet known"


@dataclass
class PlainFlow:
    """What a receiver must say of one flow."""

    modulus: int
    window: int
    loss_after_ns: int
    loss_after_arrivals: int
    ledger: PlainLedger = field(init=False)
    counting: PlainCounting = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = PlainLedger(self.window, self.loss_after_ns, self.loss_after_arrivals, False)
        self.counting = PlainCounting(self.modulus)

    def take(self, batch: list[Row], now_ns: int) -> None:
        """One batch, in order of arrival."""
        found = self.counting.take(batch)
        self.ledger.plain += found.count(None)
        if self.counting.begins:
            self.ledger.begin()
        for sequence in found:
            if sequence is not None:
                self.ledger.take(sequence % 2**32, 0, now_ns)
