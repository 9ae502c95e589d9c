"""What became of every datagram, by client and in all; the sums that close.

sent = received + lost + in flight, and lost = the sum over its causes, after every call. Each client has a window of
the last `window` sequence numbers, in columns: which were received, which are holes and since when, which are lost and why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from udprism.core.delays import Delays
from udprism.core.sequence import extend
from udprism.core.types import (
    NS_PER_MS,
    NS_PER_US,
    BoolColumn,
    Cause,
    F64Column,
    I32Column,
    I64Column,
    U8Column,
    U32Column,
)

NEW = 1
DUPLICATE = 2
REORDERED = 4
LATE = 8
BEYOND = 16
"""The sequence number is older than the window: received or lost long ago, nobody knows which."""

_EMPTY = 0
_RECEIVED = 1
_HOLE = 2
_LOST = 8
"""_LOST + a Cause."""
_TICK_NS = 16 * NS_PER_MS
"""A hole's age is kept in 16 bits, in ticks of 16 ms: good for 17 minutes, and looked at eight times a second."""


class Outcome(NamedTuple):
    """What each row of a batch was. extended: int64[n], the sequence number without wrap. flags: uint8[n]."""

    extended: I64Column
    flags: U8Column


class Declared(NamedTuple):
    """Datagrams that are lost now. All columns have one length."""

    slot: I32Column
    extended: I64Column
    cause: U8Column


class Ledger:
    """Columns [capacity], one row a client. Pool thread only.

    received counts each sequence number once, late ones included. highest: the highest extended sequence number received
    in this session, -1 before the first. jumps: times that a sender skipped more than a window. measured: a stream with
    sequence numbers was heard; in_process: the sender tells by a witness what it sent.
    """

    def __init__(self, capacity: int, *, window: int, loss_after_ns: int, loss_after_arrivals: int) -> None:
        if window & (window - 1) or window < loss_after_arrivals:
            raise ValueError(f"window must be a power of two and at least {loss_after_arrivals}, not {window}")
        self.window = window
        self._loss_after_ns = loss_after_ns
        self._loss_after_arrivals = loss_after_arrivals
        self.received = np.zeros(capacity, np.int64)
        self.lost = np.zeros(capacity, np.int64)
        self.late = np.zeros(capacity, np.int64)
        self.reordered = np.zeros(capacity, np.int64)
        self.duplicates = np.zeros(capacity, np.int64)
        self.corrupt = np.zeros(capacity, np.int64)
        self.beyond_window = np.zeros(capacity, np.int64)
        self.jumps = np.zeros(capacity, np.int64)
        self.lost_by_cause = np.zeros((len(Cause), capacity), np.int64)
        self.highest = np.zeros(capacity, np.int64)
        self.measured = np.zeros(capacity, np.bool_)
        self.in_process = np.zeros(capacity, np.bool_)
        self.delays = Delays(capacity)
        self.open_holes = np.zeros(capacity, np.int32)
        self._frontier = np.zeros(capacity, np.int64)  # the highest number heard of, received or reported
        self._issued = np.zeros(capacity, np.int64)  # numbers taken in this session, as the witness says
        self._sent_before = np.zeros(capacity, np.int64)  # in earlier sessions; minus where this one began
        self._tail = np.zeros(capacity, np.int64)  # numbers below this one were issued by _tail_ns
        self._tail_ns = np.zeros(capacity, np.int64)
        self._drops_settled = np.zeros(capacity, np.int64)  # kernel drops that have found their hole
        self._states = np.zeros((capacity, window), np.uint8)
        self._state = self._states.reshape(-1)
        self._since_tick = np.zeros(capacity * window, np.uint16)
        self._since_arrival = np.zeros(capacity * window, np.uint16)
        self._mark = np.zeros(capacity, np.int32)
        self._counts = (
            self.received,
            self.lost,
            self.late,
            self.reordered,
            self.duplicates,
            self.corrupt,
            self.beyond_window,
            self.jumps,
        )

    @property
    def sent(self) -> I64Column:
        """int64[capacity]: what the witness says was issued, else what the sequence numbers tell."""
        return self._sent_before + np.maximum(self._issued, self._frontier + 1) * self.measured

    def _sent_of(self, slot: I32Column) -> I64Column:
        issued = np.maximum(self._issued[slot], self._frontier[slot] + 1)
        return self._sent_before[slot] + issued * self.measured[slot]

    @property
    def jitter_ns(self) -> F64Column:
        """Interarrival jitter, RFC 3550 section 6.4.1."""
        return self.delays.jitter_ns

    @property
    def shared_clock(self) -> BoolColumn:
        """Whether sender and receiver read the same clock."""
        return self.delays.absolute

    def bytes_per_client(self) -> int:
        """Memory of one client's window and histogram."""
        return self.window * 5 + self.delays.nbytes

    # -- sessions

    def reset(self, slot: I32Column) -> None:
        """A new client in these slots."""
        for column in (*self._counts, self.measured, self.in_process, self._sent_before, self._drops_settled):
            column[slot] = 0
        self.lost_by_cause[:, slot] = 0
        self.delays.reset(slot)
        self._restart(slot)

    def begin_session(self, slot: I32Column, in_process: BoolColumn, shared_clock: BoolColumn) -> None:
        """Sequence numbers start anew; totals go on. What was still in flight of the session before is lost."""
        flying = self.in_flight(slot)
        self.lost[slot] += flying
        for cause in (Cause.UNEXPLAINED, Cause.UNKNOWN_PATH):
            self.lost_by_cause[cause, slot] += flying * (self._unexplained(slot) == cause)
        self._sent_before[slot] = self._sent_of(slot)
        self.measured[slot] = True
        self.in_process[slot] = in_process
        self.delays.begin_session(slot, shared_clock)
        self._restart(slot)

    def _restart(self, slot: I32Column) -> None:
        self.highest[slot] = -1
        self._frontier[slot] = -1
        self._issued[slot] = 0
        self._tail[slot] = 0
        self.open_holes[slot] = 0
        self._states[slot] = _EMPTY

    def in_flight(self, slot: I32Column) -> I64Column:
        """Sent, and neither received nor lost yet: int64[n]."""
        return self._sent_of(slot) * self.measured[slot] - (self.received[slot] + self.lost[slot]) * self.measured[slot]

    def next_sequence(self, slot: int) -> int:
        """The first sequence number of this session that has not been issued, as far as is known."""
        return int(max(self._issued[slot], self._frontier[slot] + 1))

    # -- arrivals

    def update(
        self,
        slot: I32Column,
        sequence: U32Column,
        sent_at_unix_ns: I64Column,
        received_unix_ns: I64Column,
        now_ns: int,
    ) -> Outcome:
        """Account for n arrivals, in their order; the same result as one at a time."""
        count = len(slot)
        order = np.arange(count, dtype=np.int32)
        self._mark[slot] = order
        if (self._mark[slot] == order).all():
            return self._update_each_once(slot, sequence, sent_at_unix_ns, received_unix_ns, now_ns)
        extended = np.zeros(count, np.int64)
        flags = np.zeros(count, np.uint8)
        for rows in _rounds(slot):
            outcome = self._update_each_once(
                slot[rows], sequence[rows], sent_at_unix_ns[rows], received_unix_ns[rows], now_ns
            )
            extended[rows], flags[rows] = outcome
        return Outcome(extended, flags)

    def _update_each_once(
        self,
        slot: I32Column,
        sequence: U32Column,
        sent_at_unix_ns: I64Column,
        received_unix_ns: I64Column,
        now_ns: int,
    ) -> Outcome:
        frontier = self._frontier[slot]
        extended = extend(sequence, frontier)
        place = slot.astype(np.int64) * self.window + (extended & (self.window - 1))
        if (extended == frontier + 1).all() and not self.open_holes[slot].any():
            # The common case by far: everybody's next datagram, and nobody waits for an earlier one.
            self._frontier[slot] = extended
            self.highest[slot] = extended
            self.received[slot] += 1
            self._state[place] = _RECEIVED
            self.delays.update(slot, sent_at_unix_ns, received_unix_ns)
            return Outcome(extended, np.full(len(slot), NEW, np.uint8))
        flags = self._sort_in(slot, extended, place, frontier, now_ns)
        new = np.flatnonzero(flags & NEW)
        if len(new) == len(slot):
            self.delays.update(slot, sent_at_unix_ns, received_unix_ns)
        elif len(new):
            self.delays.update(slot[new], sent_at_unix_ns[new], received_unix_ns[new])
        return Outcome(extended, flags)

    def _sort_in(
        self, slot: I32Column, extended: I64Column, place: I64Column, frontier: I64Column, now_ns: int
    ) -> U8Column:
        """Holes, duplicates, late and reordered datagrams: each slot at most once."""
        self._start_late(slot, extended, frontier)
        ahead = extended > frontier
        state = np.where(ahead, _EMPTY, self._state[place])
        state[extended <= frontier - self.window] = _EMPTY
        duplicate = state == _RECEIVED
        filled = state == _HOLE
        late = state >= _LOST
        beyond = ~ahead & (state == _EMPTY)
        new = ahead | filled | late
        reordered = new & (extended < self.highest[slot])
        if ahead.any():
            self._advance(slot[ahead], extended[ahead], now_ns)
        self._state[place[new]] = _RECEIVED
        self.open_holes[slot] -= filled
        if late.any():
            was = slot[late]
            self.lost[was] -= 1
            self.lost_by_cause[state[late] - _LOST, was] -= 1
            self.late[was] += 1
        self.received[slot] += new
        self.duplicates[slot] += duplicate
        self.reordered[slot] += reordered
        self.beyond_window[slot] += beyond
        self.highest[slot] = np.where(new, np.maximum(self.highest[slot], extended), self.highest[slot])
        flags = new * NEW + duplicate * DUPLICATE + reordered * REORDERED + late * LATE + beyond * BEYOND
        return flags.astype(np.uint8)

    def _start_late(self, slot: I32Column, extended: I64Column, frontier: I64Column) -> None:
        """A stream of another process may be met in its midst: it is accounted for from there on."""
        joined = np.flatnonzero((frontier == -1) & (extended >= self.window) & ~self.in_process[slot])
        if len(joined):
            first = extended[joined]
            frontier[joined] = first - 1
            self._frontier[slot[joined]] = first - 1
            self._sent_before[slot[joined]] -= first

    def _advance(self, slot: I32Column, extended: I64Column, now_ns: int) -> None:
        """Move the frontier; the numbers in between are holes, and what leaves the window unheard of is lost."""
        frontier = self._frontier[slot]
        self._frontier[slot] = extended
        gap = extended - frontier
        inside = np.minimum(gap, self.window)
        skipped = gap - inside
        owner = np.repeat(np.arange(len(slot)), inside)
        offset = np.arange(len(owner)) - np.repeat(np.cumsum(inside) - inside, inside)
        number = extended[owner] - offset
        place = slot[owner].astype(np.int64) * self.window + (number & (self.window - 1))
        evicted = np.bincount(owner, self._state[place] == _HOLE, len(slot)).astype(np.int64)
        self._state[place] = _HOLE
        self._state[place[offset == 0]] = _EMPTY
        self._since_tick[place] = now_ns // _TICK_NS & 0xFFFF
        self._since_arrival[place] = self.received[slot[owner]] & 0xFFFF
        self.open_holes[slot] += (inside - 1 - evicted).astype(np.int32)
        gone = evicted + skipped
        if gone.any():
            self.jumps[slot] += skipped > 0
            self.lost[slot] += gone
            self.lost_by_cause[self._unexplained(slot), slot] += gone

    def _unexplained(self, slot: I32Column) -> U8Column:
        return np.where(self.in_process[slot], Cause.UNEXPLAINED, Cause.UNKNOWN_PATH).astype(np.uint8)

    def update_plain(self, slot: I32Column, received_unix_ns: I64Column) -> I64Column:
        """n arrivals without sequence numbers; answers each one's place among its client's arrivals: int64[n]."""
        number = np.zeros(len(slot), np.int64)
        for rows in _rounds(slot):
            number[rows] = self.received[slot[rows]]
            self.received[slot[rows]] += 1
            self._sent_before[slot[rows]] += 1  # what came was sent: the sums go on should a measured stream follow
        return number

    # -- what the witness says

    def set_sent(self, slot: I32Column, next_sequence: I64Column) -> None:
        """Sequence numbers issued so far in this session."""
        self._issued[slot] = np.maximum(self._issued[slot], next_sequence)

    def report_unsent(self, slot: I32Column, sequence: I64Column, cause: U8Column, now_ns: int) -> None:
        """These never left, and why. A loss that was declared before its report came gets its cause now."""
        for rows in _rounds(slot):
            self._report_each_once(slot[rows], sequence[rows], cause[rows], now_ns)

    def _report_each_once(self, slot: I32Column, sequence: I64Column, cause: U8Column, now_ns: int) -> None:
        ahead = sequence > self._frontier[slot]
        if ahead.any():
            self._advance(slot[ahead], sequence[ahead], now_ns)
        place = slot.astype(np.int64) * self.window + (sequence & (self.window - 1))
        outside = sequence <= self._frontier[slot] - self.window
        state = np.where(outside, _LOST + Cause.UNEXPLAINED, self._state[place])
        unexplained = (state == _LOST + Cause.UNEXPLAINED) & (self.lost_by_cause[Cause.UNEXPLAINED, slot] > 0)
        open_ = ~outside & ((state == _HOLE) | ahead)
        self.open_holes[slot] -= open_ & ~ahead
        self.lost[slot] += open_
        self.lost_by_cause[Cause.UNEXPLAINED, slot] -= unexplained
        named = open_ | unexplained
        self.lost_by_cause[cause[named], slot[named]] += 1
        kept = named & ~outside
        self._state[place[kept]] = _LOST + cause[kept]

    def report_corrupt(self, slot: I32Column, sequence: I64Column) -> BoolColumn:
        """These left with a payload that was changed on purpose. Answers which have not arrived yet: ask again."""
        place = slot.astype(np.int64) * self.window + (sequence & (self.window - 1))
        inside = sequence > self._frontier[slot] - self.window
        ahead = sequence > self._frontier[slot]
        np.add.at(self.corrupt, slot[inside & ~ahead & (self._state[place] == _RECEIVED)], 1)
        return ahead | (inside & (self._state[place] == _HOLE))

    # -- time

    def expire(self, now_ns: int, receiver_drops: Callable[[I32Column], I64Column], hold_ns: int) -> Declared:
        """Declare lost what is overdue. Cheap where nothing is open.

        receiver_drops: the kernel's drop counters of these clients' sockets, asked only for those with a loss to settle.
        hold_ns: for how long the sender's link may still hold a datagram back.
        """
        self._settle_tails(now_ns, self._loss_after_ns + hold_ns)
        slot = np.flatnonzero(self.open_holes).astype(np.int32)
        if not len(slot):
            return Declared(slot, np.zeros(0, np.int64), np.zeros(0, np.uint8))
        which, offset = np.nonzero(self._states[slot] == _HOLE)
        owner = slot[which]
        place = owner.astype(np.int64) * self.window + offset
        age_ticks = ((now_ns // _TICK_NS) & 0xFFFF) - self._since_tick[place].astype(np.int64) & 0xFFFF
        arrivals = (self.received[owner] - self._since_arrival[place]) & 0xFFFF
        overdue = (age_ticks * _TICK_NS > self._loss_after_ns) | (arrivals > self._loss_after_arrivals)
        owner, place, offset = owner[overdue], place[overdue], offset[overdue]
        frontier = self._frontier[owner]
        extended = frontier - ((frontier - offset) & (self.window - 1))
        order = np.lexsort((extended, owner))
        return self._declare(owner[order], extended[order], place[order], receiver_drops)

    def _declare(
        self, slot: I32Column, extended: I64Column, place: I64Column, receiver_drops: Callable[[I32Column], I64Column]
    ) -> Declared:
        cause = self._unexplained(slot)
        owners, first, count = np.unique(slot, return_index=True, return_counts=True)
        if len(owners):
            unsettled = np.maximum(receiver_drops(owners) - self._drops_settled[owners], 0)
            taken = np.minimum(unsettled, count)
            self._drops_settled[owners] += taken
            rank = np.arange(len(slot)) - np.repeat(first, count)
            cause[rank < np.repeat(taken, count)] = Cause.RECEIVER_KERNEL
        np.add.at(self.lost, slot, 1)
        np.add.at(self.lost_by_cause, (cause, slot), 1)
        np.subtract.at(self.open_holes, slot, 1)
        self._state[place] = _LOST + cause
        return Declared(slot, extended, cause)

    def _settle_tails(self, now_ns: int, after_ns: int) -> None:
        """Numbers at the end of a stream have no later arrival that would show the hole: time alone does."""
        waiting = np.flatnonzero(self._issued > self._frontier + 1).astype(np.int32)
        if not len(waiting):
            return
        fresh = self._tail[waiting] <= self._frontier[waiting] + 1
        marked = waiting[fresh]
        self._tail[marked] = self._issued[marked]
        self._tail_ns[marked] = now_ns
        old = waiting[~fresh & (now_ns - self._tail_ns[waiting] > after_ns)]
        if len(old):
            last = self._tail[old] - 1
            # One loss-time ago these were issued: as holes of that age they are settled in this very call.
            self._advance(old, last, now_ns - self._loss_after_ns - 2 * _TICK_NS)
            place = old.astype(np.int64) * self.window + (last & (self.window - 1))
            self._state[place] = _HOLE
            self.open_holes[old] += 1

    # -- figures

    def loss_ratio(self, slot: I32Column) -> F64Column:
        """lost / (received + lost); NaN where nothing is decided yet or the stream has no sequence numbers."""
        decided = (self.received[slot] + self.lost[slot]).astype(np.float64)
        known = self.measured[slot] & (decided > 0)
        return np.where(known, self.lost[slot] / np.where(decided > 0, decided, 1), np.nan)

    def report(self, slot: I32Column) -> tuple[I64Column, ...]:
        """The figures of a REPORT in its order: highest, received, lost, reordered, duplicates, late, jitter in µs."""
        figures = (
            np.maximum(self.highest[slot], 0),
            self.received[slot],
            self.lost[slot],
            self.reordered[slot],
            self.duplicates[slot],
            self.late[slot],
        )
        jitter_us = np.minimum(self.jitter_ns[slot] / NS_PER_US, 0xFFFFFFFF).astype(np.int64)
        return (*(figure & 0xFFFFFFFF for figure in figures), jitter_us)

    def delay_body(self, slot: int) -> dict[str, float | None]:
        """min, p50, p95, p99, max in ms."""
        return self.delays.body(slot)

    def body(self, slot: int) -> dict[str, Any]:
        """One client's ledger; None where it cannot be known."""
        return self._body(np.array([slot], np.int32))

    def totals(self, high: int) -> dict[str, Any]:
        """The ledger of all clients whose stream has sequence numbers; plain streams cannot be accounted for."""
        return self._body(np.flatnonzero(self.measured[:high]).astype(np.int32))

    def _body(self, slot: I32Column) -> dict[str, Any]:
        received = int(self.received[slot].sum())
        if len(slot) == 1 and not self.measured[slot[0]]:
            unknown = dict.fromkeys(("sent", "lost", "in_flight", "late", "reordered", "duplicates", "corrupt"), None)
            return {**unknown, "received": received, "lost_by_cause": dict.fromkeys(_CAUSES)}
        known = bool(self.in_process[slot].all())
        causes = {word: int(self.lost_by_cause[cause, slot].sum()) for word, cause in _CAUSES.items()}
        path = int(self.lost_by_cause[Cause.UNKNOWN_PATH, slot].sum())
        by_cause: dict[str, int | None] = dict(causes)
        if not known and not self.in_process[slot].any():
            by_cause = {word: causes[word] if word == "receiver_kernel" or causes[word] else None for word in causes}
        if path or not known:
            by_cause["unknown_path"] = path
        return {
            "sent": int(self._sent_of(slot).sum()),
            "received": received,
            "lost": int(self.lost[slot].sum()),
            "in_flight": int(self.in_flight(slot).sum()),
            "late": int(self.late[slot].sum()),
            "reordered": int(self.reordered[slot].sum()),
            "duplicates": int(self.duplicates[slot].sum()),
            "corrupt": int(self.corrupt[slot].sum()) if known else None,
            "lost_by_cause": by_cause,
        }


_CAUSES = {
    "link": Cause.LINK,
    "sender_kernel": Cause.SENDER_KERNEL,
    "receiver_kernel": Cause.RECEIVER_KERNEL,
    "unexplained": Cause.UNEXPLAINED,
}


def _rounds(slot: I32Column) -> list[I64Column]:
    """Rows in rounds: round k holds each slot's k-th row, so that within a round no slot comes twice."""
    count = len(slot)
    order = np.argsort(slot, kind="stable")
    grouped = slot[order]
    first = np.ones(count, np.bool_)
    first[1:] = grouped[1:] != grouped[:-1]
    start = np.flatnonzero(first)
    rank = np.arange(count) - np.repeat(start, np.diff(np.append(start, count)))
    most = int(rank.max(initial=0))
    if most == 0:
        return [order]
    by_rank = np.argsort(rank, kind="stable")
    edges = np.searchsorted(rank[by_rank], np.arange(1, most + 1))
    return [np.sort(order[part]) for part in np.split(by_rank, edges)]
