"""The ledger's columns and the sums over them.

All numbers of a client up to its highest are either received, or holes, or lost. Only what is not simply received is
counted; `received` follows, so the sums cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from udprism.columns.types import NS_PER_US, F64Column, I32Column, I64Column, U32Column
from udprism.ledger.delays import Delays
from udprism.ledger.fates import Cause
from udprism.ledger.numbers import SEQUENCES
from udprism.ledger.window import Window, cause_of

Index: TypeAlias = I32Column | I64Column | slice

CAUSE_WORDS = {
    "link": Cause.LINK,
    "sender_kernel": Cause.SENDER_KERNEL,
    "receiver_kernel": Cause.RECEIVER_KERNEL,
    "unexplained": Cause.UNEXPLAINED,
    "unknown_path": Cause.UNKNOWN_PATH,
    "path": Cause.PATH,
    "awaiting": Cause.AWAITING,
}
_COUNTED = ("late", "reordered", "duplicates", "corrupt")


class Accounts:
    """All columns are [capacity + 1]; the last row, `departed`, is the account of all clients that were removed. Pool
    thread only.

    session: uint64, the id of the session whose numbers these are; 0 none. highest: the highest number of this session
    whose fate is known, extended; -1 none. jumps: how often a sender skipped, or went back by, more than the window.
    beyond_window: datagrams too far from the highest number to tell what they are; they do not count as received.
    unsettled: numbers that are no longer in the window and not declared yet. open_past: those of them that belong to
    earlier sessions and may still come. drops_used: drops by the kernel that explain a loss already. shared_clock: both
    ends read one clock. in_process: the sender is in this process and tells what it did not send. told: its node tells
    that, see `told`. measured: a measured session has begun.
    """

    def __init__(self, capacity: int, window: Window) -> None:
        self.window = window
        self.departed = capacity
        rows = capacity + 1
        self.session = np.zeros(rows, np.uint64)
        self.highest = np.full(rows, -1, np.int64)
        self.lost = np.zeros(rows, np.int64)
        self.late = np.zeros(rows, np.int64)
        self.reordered = np.zeros(rows, np.int64)
        self.duplicates = np.zeros(rows, np.int64)
        self.corrupt = np.zeros(rows, np.int64)
        self.beyond_window = np.zeros(rows, np.int64)
        self.jumps = np.zeros(rows, np.int64)
        self.unsettled = np.zeros(rows, np.int64)
        self.open_past = np.zeros(rows, np.int64)
        self.drops_used = np.zeros(rows, np.int64)
        self.lost_by_cause = np.zeros((len(Cause), rows), np.int64)
        self.shared_clock = np.zeros(rows, np.bool_)
        self.in_process = np.zeros(rows, np.bool_)
        self.told = np.zeros(rows, np.bool_)
        self.measured = np.zeros(rows, np.bool_)
        self.plain = np.zeros(rows, np.int64)
        """Arrivals on plain streams."""
        self.base = np.zeros(rows, np.int64)
        """This session's first number."""
        self.offset = np.zeros(rows, np.int64)
        """How many numbers earlier sessions had, less `base`."""
        self.issued = np.zeros(rows, np.int64)
        """How many numbers this session was issued, if the sender reports it."""
        self.delays = Delays(rows, self.shared_clock)
        self.high = 0
        """Slots at and beyond this one were never used."""
        self._departed_plain = 0
        """What removed clients received that only ever had plain streams."""
        self._reported_before = np.zeros((5, rows), np.int64)
        # Single values are read and written through memoryviews: three times as fast as through the arrays.
        self.highest_at = self.highest.data
        self.lost_at = self.lost.data
        self.plain_at = self.plain.data
        self.unsettled_at = self.unsettled.data
        self.offset_at = self.offset.data
        self.base_at = self.base.data
        self.issued_at = self.issued.data
        self.in_process_at = self.in_process.data
        self.by_cause_at = [row.data for row in self.lost_by_cause]

    @property
    def _counts(self) -> tuple[I64Column, ...]:
        """What adds up over clients."""
        return (
            self.lost, self.late, self.reordered, self.duplicates, self.corrupt, self.beyond_window, self.jumps,
            self.unsettled, self.open_past, self.plain, self.offset,
        )  # fmt: skip

    def clear(self, slots: I32Column) -> None:
        """New clients in these slots: everything zero."""
        self.high = max(self.high, int(slots.max(initial=-1)) + 1)
        for counts in self._counts:
            counts[slots] = 0
        self.session[slots] = self.base[slots] = self.issued[slots] = self.drops_used[slots] = 0
        self.shared_clock[slots] = self.in_process[slots] = self.told[slots] = self.measured[slots] = False
        self.highest[slots] = -1
        self.lost_by_cause[:, slots] = 0
        self._reported_before[:, slots] = 0
        self.delays.reset(slots)

    def add_to_departed(self, slots: I32Column) -> None:
        """These clients, whose sessions have ended, are removed: their sums go on in the last row.

        What was open of their sessions has to be there already.
        """
        measured = slots[self.measured[slots]]
        self._departed_plain += int(self.plain[slots].sum() - self.plain[measured].sum())
        for counts in self._counts:
            counts[self.departed] += counts[measured].sum()
        self.lost_by_cause[:, self.departed] += self.lost_by_cause[:, measured].sum(axis=1)
        self.measured[self.departed] |= len(measured) > 0
        self.in_process[self.departed] |= self.in_process[measured].any()
        self.told[self.departed] |= self.told[measured].any()

    # -- what losses are put down to

    def forget_cause(self, slot: int, state: int) -> None:
        """A number in a lost state has another cause, or is not lost after all."""
        cause = cause_of(state)
        self.by_cause_at[cause][slot] -= 1
        if cause == Cause.RECEIVER_KERNEL:
            self.drops_used[slot] -= 1

    def explain_unsettled(self, slot: int, cause: int) -> None:
        """A number that has left the window: it waits to be declared, or was declared without a cause."""
        if self.unsettled_at[slot] > self.open_past[slot]:
            self.unsettled_at[slot] -= 1
            self.lost_at[slot] += 1
            self.by_cause_at[cause][slot] += 1
        else:
            without = Cause.AWAITING if self.told[slot] else Cause.UNEXPLAINED
            if self.by_cause_at[without][slot] > 0:
                self.by_cause_at[without][slot] -= 1
                self.by_cause_at[cause][slot] += 1

    def unused_drops(self, slots: I64Column, receiver_drops: Callable[[I32Column], I64Column]) -> I64Column:
        """int64[k]: how many losses the kernel's drops of these clients' sockets can still explain.

        receiver_drops: what a socket's kernel has dropped so far, int64[k].
        """
        drops = receiver_drops(slots.astype(np.int32))
        used = self.drops_used[slots]
        used = np.where((used < 0) | (used > drops), 0, used)  # a new socket counts from 0
        self.drops_used[slots] = used
        return drops - used

    # -- columns that follow from others

    @property
    def received(self) -> I64Column:
        """int64[capacity], a copy: each number counts once; on a plain stream every datagram does."""
        return self._whole(self.received_of(slice(0, self.high)))

    @property
    def sent(self) -> I64Column:
        """int64[capacity], a copy: numbers issued, as far as is known, and what came on plain streams."""
        return self._whole(self.sent_of(slice(0, self.high)))

    def _whole(self, used: I64Column) -> I64Column:
        column = np.zeros(self.departed, np.int64)
        column[: len(used)] = used
        return column

    @property
    def jitter_ns(self) -> F64Column:
        """float64[capacity]: interarrival jitter, RFC 3550 section 6.4.1."""
        self.delays.settle()
        return self.delays.jitter_ns

    @property
    def negative_delays(self) -> I64Column:
        """int64[capacity]: datagrams stamped later than they arrived though the clock is shared."""
        self.delays.settle()
        return self.delays.negative

    def received_of(self, slots: Index) -> I64Column:
        """int64[k]: datagrams received, each number once."""
        known = self.plain[slots] + self.offset[slots] + self.highest[slots] + 1
        received: I64Column = known - self.lost[slots] - self.window.holes[slots] - self.unsettled[slots]
        return received

    def sent_of(self, slots: Index) -> I64Column:
        """int64[k]: datagrams sent, as far as is known. What arrived on a plain stream counts as sent: nothing else is
        known of it, and the sums continue if a measured stream follows."""
        issued = np.maximum(self.issued[slots], self.highest[slots] + 1)
        sent: I64Column = self.plain[slots] + self.offset[slots] + issued
        return sent

    # -- what is shown

    def next_sequence(self, slot: int) -> int:
        """The number after the last one that was sent, as far as is known; on a plain stream of the next arrival."""
        if not self.measured[slot]:
            return int(self.plain[slot])
        return max(int(self.issued[slot]), int(self.highest[slot]) + 1)

    def loss_ratio(self, slots: Index) -> F64Column:
        """float64[k]: lost / (lost + received); NaN if nothing is known."""
        lost = self.lost[slots]
        decided = lost + self.received_of(slots)
        known = self.measured[slots] & (decided > 0)
        ratio: F64Column = np.where(known, lost / np.maximum(decided, 1), np.nan)
        return ratio

    def mark_report(self, slots: I32Column) -> None:
        """A session begins: its reports count from here."""
        self._reported_before[:, slots] = self._figures(slots)

    def report(self, slots: I32Column) -> tuple[U32Column, ...]:
        """This session's figures in the order of `wire.Report`: highest, received, lost, reordered, duplicates, late,
        jitter in µs (as of the last `expire` or later). uint32[k] each."""
        figures = np.maximum(self._figures(slots) - self._reported_before[:, slots], 0)
        jitter_us = np.minimum(self.delays.jitter_ns[slots] / NS_PER_US, SEQUENCES - 1).astype(np.int64)
        columns = (np.maximum(self.highest[slots], 0), *figures, jitter_us)
        return tuple((column % SEQUENCES).astype(np.uint32) for column in columns)

    def _figures(self, slots: I32Column) -> npt.NDArray[np.int64]:
        return np.stack(
            (
                self.received_of(slots),
                self.lost[slots],
                self.reordered[slots],
                self.duplicates[slots],
                self.late[slots],
            )
        )

    def body(self, slot: int) -> dict[str, Any]:
        """One client's ledger; null if it cannot be known."""
        return self.bodies(np.array([slot]))[0]

    def bodies(self, slots: I32Column | I64Column) -> list[dict[str, Any]]:
        """Each client's ledger; null if it cannot be known."""
        columns = {name: column.tolist() for name, column in self._sums(slots).items()}
        causes = {word: column.tolist() for word, column in self._causes(slots).items()}
        measured, told = self.measured[slots].tolist(), (self.in_process | self.told)[slots].tolist()
        bodies = []
        for row, slot in enumerate(slots.tolist()):
            sums = {name: column[row] for name, column in columns.items()}
            by_cause = {word: column[row] for word, column in causes.items()}
            if not measured[row]:
                sums = dict.fromkeys(sums) | {"received": int(self.plain[slot])}
                by_cause = dict.fromkeys(by_cause)
            elif not told[row]:
                sums, by_cause = _without_unknown(sums, by_cause)
            bodies.append(sums | {"lost_by_cause": by_cause})
        return bodies

    def totals(self) -> dict[str, Any]:
        """The ledger of all measured clients. `departed` is that of those that were removed, a ledger of its own.

        `received_plain` stands beside the sums: what clients received that only ever had plain streams.
        """
        measured = self.measured[: self.high]
        plain = int(self.plain[: self.high][~measured].sum())
        departed = self._body(np.array([self.departed])) | {"received_plain": self._departed_plain}
        return self._body(np.flatnonzero(measured)) | {"received_plain": plain, "departed": departed}

    def ever(self) -> dict[str, int]:
        """Datagrams of all clients that there are or were, and those of clients that were removed: none ever falls.

        declared_lost: each that was ever called lost, those among them that came after all (`late`).
        """
        rows = np.append(np.arange(self.high), self.departed)
        late = int(self.late[rows].sum())
        return {
            "received": int(self.received_of(rows).sum()) + self._departed_plain,
            "declared_lost": int(self.lost[rows].sum()) + late,
            "late": late,
            "departed_sent": int(self.sent_of(rows[-1:])[0]) + self._departed_plain,
            "departed_received": int(self.received_of(rows[-1:])[0]) + self._departed_plain,
            "departed_lost": int(self.lost[self.departed]),
        }

    def _body(self, slots: I64Column) -> dict[str, Any]:
        sums: dict[str, int | None] = {name: int(column.sum()) for name, column in self._sums(slots).items()}
        causes: dict[str, int | None] = {word: int(column.sum()) for word, column in self._causes(slots).items()}
        if self.measured[slots].any() and not (self.in_process | self.told)[slots].any():
            sums, causes = _without_unknown(sums, causes)
        return sums | {"lost_by_cause": causes}

    def _sums(self, slots: Index) -> dict[str, I64Column]:
        sent, received, lost = self.sent_of(slots), self.received_of(slots), self.lost[slots]
        counts = {name: getattr(self, name)[slots] for name in _COUNTED}
        return {"sent": sent, "received": received, "lost": lost, "in_flight": sent - received - lost} | counts

    def _causes(self, slots: Index) -> dict[str, I64Column]:
        return {word: self.lost_by_cause[cause, slots] for word, cause in CAUSE_WORDS.items()}

    def anomalies(self, slot: int) -> dict[str, int] | None:
        """Counts of what no honest sender on a healthy path does; None on a stream without numbers."""
        if not self.measured[slot]:
            return None
        names = ("jumps", "beyond_window", "negative_delays")
        return {name: int(getattr(self, name)[slot]) for name in names}

    def delay_bodies(self, slots: I32Column | I64Column) -> list[dict[str, float | None]]:
        """Each client's delays in ms, relative to the smallest where no clock is shared."""
        return self.delays.bodies(slots)


def _without_unknown(
    sums: dict[str, int | None], causes: dict[str, int | None]
) -> tuple[dict[str, int | None], dict[str, int | None]]:
    """If the sender's side is unknown, 0 would be an invention; our own kernel's drops are known."""
    told = ("receiver_kernel", "unknown_path")
    return sums | {"corrupt": None}, {word: count if count or word in told else None for word, count in causes.items()}
