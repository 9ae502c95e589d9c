"""The flows that receivers hear, one slot each: who sends them, and everything known about their datagrams."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np

from udprism.columns.arrivals import Arrivals
from udprism.columns.runs import runs_of
from udprism.columns.types import NEVER_NS, NS_PER_S, BoolColumn, I32Column, I64Column, U8Column
from udprism.ledger.counting import Counting
from udprism.ledger.delays import BUCKETS
from udprism.ledger.fates import NEW
from udprism.ledger.frames import Frames, digests
from udprism.ledger.history import History
from udprism.ledger.latest import Latest
from udprism.ledger.ledger import Ledger
from udprism.ledger.media import MediaJitter
from udprism.ledger.newest import Newest
from udprism.ledger.pictures import Pictures
from udprism.ledger.rates import Rates
from udprism.ledger.timeline import Timeline, Totals
from udprism.wire.format import Decoded, Format, Mark

HELD_AFTER_NS: Final = 2 * NS_PER_S
"""A picture that is still sent but has not changed for this long is held."""
_SILENT_PERIODS: Final = 3
_LONGEST_PERIOD_NS: Final = 15 * NS_PER_S
_REMOVALS_KEPT: Final = 4096
_NO_COLOUR: Final = 128
"""Grey, for datagrams that have no colour."""


class FlowState(IntEnum):
    """A flow's state, on the page's scale, in which hosted clients have 1 to 6."""

    FREE = 0
    LIVE = 2
    SILENT = 3
    """Nothing arrived for two seconds, and for three times as long as its repeats usually take."""
    HELD = 7
    """Datagrams arrive, and their content has been the same for two seconds."""
    ENDED = 8
    """Its sender ended it, and has sent nothing since."""

    @property
    def word(self) -> str:
        """`live`, `silent`, `held`, `ended`."""
        return self.name.lower()


@dataclass(slots=True)
class Heard:
    """One flow. source, to: addresses as text. ends: goodbyes, each counted once however often it was repeated."""

    id: str
    receiver_id: str
    form: Format
    name: str
    source: str
    to: str
    begun_ns: int
    ends: int = 0


class HeardFlows:
    """The table and its columns, [capacity]. One thread only, the loop's.

    state: uint8, FlowState. last_ns: int64, monotonic, the newest datagram; 0 none. coloured: bool, whether any
    datagram had a colour.
    """

    def __init__(
        self,
        capacity: int,
        ledger: Ledger,
        history: History,
        *,
        width: int,
        silent_after_ns: int,
        begun_ns: int = 0,
        keeps_timeline: bool = True,
    ) -> None:
        """begun_ns: now, monotonic. keeps_timeline: whether each flow has figures over time."""
        self.capacity = capacity
        self.flows: dict[int, Heard] = {}
        self.slot_of_id: dict[str, int] = {}
        self.state = np.zeros(capacity, np.uint8)
        self.last_ns = np.zeros(capacity, np.int64)
        self.coloured = np.zeros(capacity, np.bool_)
        self.high = 0
        self.roster_version = 0
        self.changed_in = np.zeros(capacity, np.int64)
        self.removals: deque[tuple[int, int]] = deque(maxlen=_REMOVALS_KEPT)
        self.ledger, self.history = ledger, history
        self.rates, self.latest = Rates(capacity), Latest(capacity)
        self.frames, self.newest = Frames(capacity), Newest(capacity, width)
        self.pictures = Pictures(self.newest)
        self.media = MediaJitter(capacity)
        self.timeline = Timeline(capacity, begun_ns, self._totals_of, keep_flows=keeps_timeline)
        self.datagrams = 0
        """Of all flows, those that are gone included."""
        self._silent_after_ns = silent_after_ns
        self._free: list[int] = []
        self.counting = Counting(capacity)
        self._next_number = np.zeros(capacity, np.int64)
        """Of the history: the first that nothing has had."""
        self._base = np.zeros(capacity + 1, np.int64)
        """Where a believed flow's sequence 0 is in the history."""
        self._asked_hz = np.zeros(capacity)
        self._row_of = np.zeros(capacity, np.int32)

    # -- who there is

    @property
    def is_full(self) -> bool:
        """Whether no more flow fits."""
        return len(self.flows) >= self.capacity

    def add(self, flow: Heard, now_ns: int) -> int:
        """Begin a flow; returns its slot. There must be room."""
        slot = heapq.heappop(self._free) if self._free else self.high
        self.high = max(self.high, slot + 1)
        column = np.array([slot], np.int32)
        for part in (self.ledger, self.history, self.rates, self.latest, self.newest, self.media):
            part.reset(column)
        self.frames.reset(column, now_ns)
        self.counting.begin(slot, flow.form.numbering)
        self.timeline.reset(column, now_ns)
        self._next_number[slot] = 0
        self.coloured[slot] = False
        self.flows[slot] = flow
        self.slot_of_id[flow.id] = slot
        self.state[slot], self.last_ns[slot] = FlowState.LIVE, now_ns
        self._touch(slot)
        return slot

    def remove(self, slot: int) -> None:
        """Forget a flow."""
        del self.slot_of_id[self.flows.pop(slot).id]
        self.state[slot] = FlowState.FREE
        self.pictures.forget(slot)
        self.latest.reset(np.array([slot], np.int32))
        self.ledger.reset(np.array([slot], np.int32))
        heapq.heappush(self._free, slot)
        self._touch(slot)
        self.removals.append((self.roster_version, slot))

    def _touch(self, slot: int) -> None:
        self.roster_version += 1
        self.changed_in[slot] = self.roster_version

    # -- what comes

    def account(self, slot: I32Column, arrivals: Arrivals, decoded: Decoded, payload_at: int, now_ns: int) -> U8Column:
        """One batch of datagrams, all valid, in order of arrival; a flow may come several times. Returns flags."""
        length, rows, stamp = arrivals.length, arrivals.rows, arrivals.received_unix_ns
        rank = self._rank(slot)
        rgb: U8Column = decoded.rgb
        if decoded.coloured.all():
            self.coloured[slot] = True
        else:
            self.coloured[slot[decoded.coloured]] = True
            last = np.where(self.coloured[slot, None], self.latest.rgba[slot, :3], np.uint8(_NO_COLOUR))
            rgb = np.where(decoded.coloured[:, None], rgb, last)
        number, flags, is_kept = self._number(slot, rank, decoded, stamp, now_ns)
        self.history.record(slot, number, stamp, length, rows, rgb, flags if is_kept.all() else flags * is_kept)
        self.latest.update(slot, rgb, stamp, flags)
        has_levels = (decoded.marks & np.uint16(Mark.NO_LEVELS | Mark.ENDS)) == 0
        self.frames.update(
            slot,
            stamp,
            length,
            digests(rows, length, payload_at),
            decoded.part,
            decoded.marks,
            has_levels,
            once=isinstance(rank, int),
        )
        self.newest.record(slot, rank, length, rows)
        if decoded.media_ticks is not None and decoded.media_hz is not None:
            self.media.update(slot, stamp, decoded.media_ticks, decoded.media_hz)
        if self.pictures.any:
            self.pictures.feed(slot, rows, length)
        self.datagrams += len(slot)
        self.last_ns[slot] = now_ns
        self._follow_ends(slot, decoded)
        return flags

    def _number(
        self, slot: I32Column, rank: I64Column | int, decoded: Decoded, stamp: I64Column, now_ns: int
    ) -> tuple[I64Column, U8Column, BoolColumn]:
        """Each row's number in the history, its flags, and whether the history keeps it at all.

        A believed flow's history has one place per number: a row without one of its own is counted and shown, no more.
        """
        was_believed = self.counting.believed[slot]
        sequence, counts, begun = self.counting.count(slot, decoded, once=isinstance(rank, int))
        number, flags = self._next_number[slot] + rank, np.full(len(slot), NEW, np.uint8)
        plain = np.flatnonzero(~counts)
        if len(plain):
            np.add.at(self.ledger.plain, slot[plain], 1)
        if not was_believed.any():
            np.add.at(self._next_number, slot, 1)
            self._begin_sequences(begun)
            return number, flags, ~was_believed
        np.add.at(self._next_number, slot[~was_believed], 1)
        self._begin_sequences(begun)
        rows = np.flatnonzero(counts)
        if len(rows):
            mine = slot[rows]
            outcome = self.ledger.update(mine, sequence[rows].astype(np.uint32), stamp[rows], stamp[rows], now_ns)
            number[rows] = self._base[mine] + outcome.extended
            flags[rows] = outcome.flags
            np.maximum.at(self._next_number, mine, number[rows] + 1)
        return number, flags, counts | ~was_believed

    def _begin_sequences(self, slots: I32Column) -> None:
        """These flows' next sequence is 0, in a place of the history that nothing has had."""
        if len(slots):
            nobody = np.zeros(len(slots), np.bool_)
            self.ledger.begin_session(slots, nobody, nobody)
            self._base[slots] = self._next_number[slots]

    def _rank(self, slot: I32Column) -> I64Column | int:
        rows = np.arange(len(slot), dtype=np.int32)
        self._row_of[slot] = rows
        if (self._row_of[slot] == rows).all():
            return 0
        order = np.argsort(slot, kind="stable")
        rank = np.empty(len(slot), np.int64)
        rank[order] = runs_of(slot[order]).rank()
        return rank

    def _follow_ends(self, slot: I32Column, decoded: Decoded) -> None:
        ends = (decoded.marks & np.uint16(Mark.ENDS)) != 0
        if not ends.any():
            if (self.state[slot] >= FlowState.SILENT).any():
                silent = slot[self.state[slot] == FlowState.SILENT]
                over = slot[self.state[slot] == FlowState.ENDED]
                self.state[silent] = self.state[over] = FlowState.LIVE
            return
        for one, ended in zip(slot.tolist(), ends.tolist(), strict=True):
            if not ended:
                self.state[one] = FlowState.LIVE
            elif self.state[one] != FlowState.ENDED:
                self.state[one] = FlowState.ENDED
                self.flows[one].ends += 1

    # -- what time brings

    def sweep(self, now_ns: int, unix_ns: int, *, has_read_all: bool = True) -> None:
        """Losses, rates and states; four times per second. has_read_all: nothing that came before now is unread."""
        high = self.high
        if has_read_all:
            declared = self.ledger.expire(now_ns, _no_drops, 0)
            if len(declared.slot):
                self.history.mark_lost(declared.slot, self._base[declared.slot] + declared.extended, declared.cause)
        self.rates.sample(now_ns, self.ledger, high, self._asked_hz)
        self.frames.sample(now_ns, high)
        self.pictures.forget_unwatched(now_ns)
        self.timeline.sample(now_ns, high)
        if not high:
            return
        state, frames = self.state[:high], self.frames
        period_ns = np.nan_to_num(frames.repeats_after_ns(np.arange(high)))
        patience_ns = np.maximum(
            self._silent_after_ns, np.minimum(_SILENT_PERIODS * period_ns, float(_LONGEST_PERIOD_NS))
        )
        silent = now_ns - self.last_ns[:high] > patience_ns
        held = (frames.changed_ns[:high] > 0) & (unix_ns - frames.changed_ns[:high] > HELD_AFTER_NS)
        held &= frames.repeats[:high] > 0
        settled = (state != FlowState.FREE) & (state != FlowState.ENDED)
        following = np.where(silent, FlowState.SILENT, np.where(held, FlowState.HELD, FlowState.LIVE))
        state[settled] = following[settled]
        quiet = np.flatnonzero((state == FlowState.SILENT) | (state == FlowState.ENDED)).astype(np.int32)
        self.counting.interrupted(quiet)
        self.media.interrupted(quiet)

    def _totals_of(self, slots: I32Column | I64Column) -> Totals:
        """Of received datagrams, and of what believed senders lost; how long they took cannot be known."""
        nothing = np.zeros((len(slots), BUCKETS), np.uint32)
        return Totals(
            self.ledger.received_of(slots),
            self.ledger.lost_by_cause[1:, slots],
            nothing,
            np.zeros(len(slots), np.uint32),
            self.media.ms(slots),
        )

    def datagrams_kept(self, slot: int, limit: int) -> list[dict[str, Any]]:
        """A flow's last datagrams as bodies, newest last."""
        return self.history.rows(slot, limit, int(self._next_number[slot]))

    def idlest(self) -> int:
        """The slot of the flow that has been silent for longest. There must be one."""
        used = self.state[: self.high] != FlowState.FREE
        return int(np.where(used, self.last_ns[: self.high], NEVER_NS).argmin())

    def silent_since(self, before_ns: int) -> list[int]:
        """Slots of the flows whose newest datagram came before this monotonic instant."""
        used = self.state[: self.high] != FlowState.FREE
        return [int(slot) for slot in np.flatnonzero(used & (self.last_ns[: self.high] < before_ns))]


def _no_drops(slots: I32Column) -> I64Column:
    """The kernel drops by socket, and many flows share one: which of them lost what cannot be known."""
    return np.zeros(len(slots), np.int64)
