"""The ledger once more, plain and slow: one client, one datagram at a time, sets and lists. Tests compare with it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from udprism.ledger.fates import BEYOND, DUPLICATE, LATE, NEW, REORDERED, Cause

TICK_NS = 1 << 24


@dataclass
class Hole:
    """A number that did not come. `received_before`: how many had been received when it showed."""

    due_tick: int
    received_before: int


@dataclass
class PlainLedger:
    """What one client's ledger must say. Everything is counted directly; nothing follows from anything."""

    window: int
    loss_after_ns: int
    loss_after_arrivals: int
    in_process: bool
    highest: int = -1
    base: int = 0
    suspect: int | None = None
    received: int = 0
    plain: int = 0
    """Arrivals that have no number."""
    duplicates: int = 0
    reordered: int = 0
    late: int = 0
    beyond: int = 0
    jumps: int = 0
    arrived: set[int] = field(default_factory=set)
    holes: dict[int, Hole] = field(default_factory=dict)
    lost: dict[int, Cause] = field(default_factory=dict)
    pushed_out: int = 0
    settled: Counter[Cause] = field(default_factory=Counter)
    transits: list[int] = field(default_factory=list)
    jitter_ns: float = 0.0

    @property
    def lost_by_cause(self) -> dict[Cause, int]:
        causes = self.settled + Counter(self.lost.values())
        return {cause: causes[cause] for cause in Cause if cause}

    def take(self, sequence: int, transit_ns: int, now_ns: int) -> tuple[int, int]:
        """One arrival: its extended number and its flags."""
        number, flags = self._judge(sequence, now_ns)
        if flags != BEYOND:
            if self.transits:
                self.jitter_ns += (abs(transit_ns - self.transits[-1]) - self.jitter_ns) / 16
            self.transits.append(transit_ns)
        return number, flags

    def _judge(self, sequence: int, now_ns: int) -> tuple[int, int]:
        if self.highest < 0 and sequence > self.window and not self.in_process:
            self.base, self.highest = sequence, sequence - 1
        number = nearest(sequence, self.highest)
        ahead = number - self.highest
        if not self.in_process and not -self.window < ahead <= self.window:
            return self._judge_far(sequence, number, now_ns)
        if ahead <= -self.window or number < self.base:
            self.beyond += 1
            return number, BEYOND
        self.suspect = None
        if number > self.highest:
            self._raise_to(number, now_ns)
            self._receive(number)
            return number, NEW
        if number in self.arrived:
            self.duplicates += 1
            return number, DUPLICATE
        flags = NEW
        if any(higher in self.arrived for higher in range(number + 1, self.highest + 1)):
            self.reordered += 1
            flags |= REORDERED
        if number in self.lost:
            del self.lost[number]
            self.late += 1
            flags |= LATE
        self.holes.pop(number, None)
        self._receive(number)
        return number, flags

    def _judge_far(self, sequence: int, number: int, now_ns: int) -> tuple[int, int]:
        if self.suspect is not None and 0 < nearest(sequence, self.suspect) - self.suspect <= self.window // 2:
            first = nearest(self.suspect, self.highest)
            self.jumps += 1
            self.beyond -= 1
            if first > self.highest:
                self._raise_to(first, now_ns)
            else:
                self.pushed_out += len(self.holes)
                self.holes.clear()
                self.settled.update(self.lost.values())
                self.lost.clear()
                self.arrived.clear()
                self.base = self.highest = self.suspect
            self._receive(self.highest)
            self.suspect = None
            return self._judge(sequence, now_ns)
        self.suspect = sequence
        self.beyond += 1
        return number, BEYOND

    def begin(self) -> None:
        """Numbers restart at 0, of a session without an id: what is open is lost at the next `expire`."""
        self.pushed_out += len(self.holes)
        self.settled.update(self.lost.values())
        for known in (self.holes, self.lost, self.arrived, self.transits):
            known.clear()
        self.base, self.highest, self.suspect = 0, -1, None

    def _receive(self, number: int) -> None:
        self.received += 1
        self.arrived.add(number)

    def _raise_to(self, number: int, now_ns: int) -> None:
        due_tick = (now_ns + self.loss_after_ns) // TICK_NS
        first = max(self.highest + 1, number - self.window + 1)
        self.pushed_out += first - self.highest - 1
        for hole in range(first, number):
            self.holes[hole] = Hole(due_tick, self.received + self.plain)
        self.highest = number
        for old in [old for old in self.holes if old <= number - self.window]:
            del self.holes[old]
            self.pushed_out += 1
        for old in [old for old in self.lost if old <= number - self.window]:
            self.settled[self.lost.pop(old)] += 1

    def expire(self, now_ns: int) -> list[tuple[int, Cause]]:
        """Declare what is overdue, without a witness and without drops by the kernel."""
        cause = Cause.UNEXPLAINED if self.in_process else Cause.UNKNOWN_PATH
        self.settled[cause] += self.pushed_out
        self.pushed_out = 0
        due = [
            number
            for number, hole in sorted(self.holes.items())
            if now_ns // TICK_NS > hole.due_tick
            or self.received + self.plain - hole.received_before >= self.loss_after_arrivals
        ]
        for number in due:
            del self.holes[number]
            self.lost[number] = cause
        return [(number, cause) for number in due]


def nearest(sequence: int, highest: int) -> int:
    """The number nearest to `highest` that is `sequence` modulo 2**32; of two, the lower one."""
    candidates = [sequence + (highest // 2**32 + turn) * 2**32 for turn in (-1, 0, 1)]
    return min(candidates, key=lambda number: (abs(number - highest), number))
