"""A relay's flows, sums and history, as columns in memory that the program reads.

One writer (the process), any number of readers. The writer makes the generation odd while sums are open; a reader
keeps its copy only if the generation was the same even number before and after. So every copy closes: of each direction
of each flow, taken = left + link + queue + kernel + held.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from udprism.columns.types import I64Column
from udprism.errors import RelayError

_T = TypeVar("_T")

HISTORY = 256
PAYLOAD_BYTES = 24
ADDRESS_BYTES = 28  # sizeof(struct sockaddr_in6), the larger of the two
_READ_WITHIN_S = 2.0
UP, DOWN = 0, 1
DIRECTIONS = ("up", "down")


class Sum(IntEnum):
    """Rows of the ledger; its columns are directions: 2 × flow + UP or DOWN.

    TAKEN: read from our socket. LEFT: the kernel took it, without the copies that we made. LINK, QUEUE, KERNEL: lost,
    by cause. HELD: waits for its time. DUPLICATED, CORRUPTED: by us. REFUSED: of those that left, the destination's
    machine reported that nothing listens there.
    """

    TAKEN = 0
    LEFT = 1
    LINK = 2
    QUEUE = 3
    KERNEL = 4
    HELD = 5
    DUPLICATED = 6
    CORRUPTED = 7
    REFUSED = 8
    BYTES_TAKEN = 9
    BYTES_LEFT = 10
    HEARD_NS = 11
    IPERF3_LOST = 12
    IPERF3_OUT_OF_ORDER = 13
    HIGHEST = 14


class Count(IntEnum):
    """Counters of the relay as a whole."""

    FLOWS_BEGUN = 0
    FLOWS_ENDED_IDLE = 1
    FLOWS_ENDED_FOR_ROOM = 2
    TURNED_AWAY_FULL = 3
    TURNED_AWAY_RATE = 4
    TURNED_AWAY_NETWORK = 5
    TURNED_AWAY_SOCKET = 6
    STRANGERS = 7
    WITHHELD = 8
    REBINDS = 9
    HELD_OVERFLOW = 10
    TOO_BIG = 11


class State(IntEnum):
    """A flow's state."""

    FREE = 0
    ONE_WAY = 1
    BOTH = 2
    REFUSED = 3


class Fate(IntEnum):
    """The fate of a datagram in the history."""

    NONE = 0
    FORWARDED = 1
    LOST = 2
    HELD = 3


class Flag(IntEnum):
    """Beside a fate, in the lower bits."""

    DUPLICATED = 1
    CORRUPTED = 2
    REFUSED = 4


CAUSE_SHIFT = 4
"""The upper four bits of a record's flags are the row of `Sum` that its loss was counted in."""

FLOW = np.dtype(
    [
        ("ordinal", np.int64),
        ("born_ns", np.int64),
        ("state", np.uint8),
        ("proven", np.uint8),
        ("front", np.uint16),
        ("local_port", np.uint16),
        ("far_port", np.uint16),
        ("client", np.uint8, (ADDRESS_BYTES,)),
        ("asked", np.uint8, (ADDRESS_BYTES,)),
    ],
    align=True,
)
"""One flow: `client` is its struct sockaddr, `asked` the address that it sent to (0 unless it listens on all)."""

RECORD = np.dtype(
    [
        ("number", np.uint32),
        ("fate", np.uint8),
        ("flags", np.uint8),
        ("size_bytes", np.uint16),
        ("taken_unix_ns", np.int64),
        ("delay_us", np.uint32),
        ("payload", np.uint8, (PAYLOAD_BYTES,)),
    ]
)
"""One datagram of the history, in the place number modulo HISTORY."""
RECORD_FORMAT = "=IBBHqI24s"


class Snapshot(NamedTuple):
    """One moment. Rows 0 are the sums of the flows that ended, the others one flow each; FREE ones mean nothing.

    ledger: int64[len(Sum), 2 × rows]; flows: FLOW[rows]; counts: int64[len(Count)]; rule_hits: int64[MAX_RULES].
    """

    ledger: npt.NDArray[np.int64]
    flows: npt.NDArray[np.void]
    counts: I64Column
    rule_hits: I64Column

    @classmethod
    def of_the_ended(cls, ledger: list[list[int]], counts: list[int]) -> Snapshot:
        """One without flows. ledger: the columns of row 0."""
        no_hits = np.zeros(MAX_RULES, np.int64)
        return cls(np.array(ledger, np.int64), np.zeros(1, FLOW), np.array(counts, np.int64), no_hits)


MAX_RULES = 64
_HEADER_BYTES = 4096
_HIGH_AT, _COUNTS_AT, _RULES_AT = 8, 64, 1024


class Memory:
    """The columns, on either side of the process boundary. Flow 0 is the sum of those that ended."""

    def __init__(self, file: int, max_flows: int) -> None:
        """file: a memfd, see `create`. max_flows: as there."""
        self.rows = max_flows + 1
        at_flows, at_history, total = _layout(self.rows)
        self.map = mmap.mmap(file, total)
        self._words = memoryview(self.map)[:_HEADER_BYTES].cast("q")
        self.counts: I64Column = np.frombuffer(self.map, np.int64, len(Count), _COUNTS_AT)
        self.rule_hits: I64Column = np.frombuffer(self.map, np.int64, MAX_RULES, _RULES_AT)
        self.width = 2 * self.rows
        self.ledger = np.frombuffer(self.map, np.int64, len(Sum) * self.width, _HEADER_BYTES).reshape(len(Sum), -1)
        self.sums = memoryview(self.map)[_HEADER_BYTES : _HEADER_BYTES + self.ledger.nbytes].cast("q")
        """The ledger's words one after another, for the way without NumPy: row × `width` + column."""
        self.flows: npt.NDArray[np.void] = np.frombuffer(self.map, FLOW, self.rows, at_flows)
        self.history: npt.NDArray[np.void] = np.frombuffer(self.map, RECORD, HISTORY * self.width, at_history)
        self.at_history = at_history

    @classmethod
    def create(cls, max_flows: int) -> tuple[int, Memory]:
        """A new memory and its descriptor. Pages are taken as they are written. Raises: OSError."""
        file = os.memfd_create("udprism-relay")
        try:
            os.ftruncate(file, _layout(max_flows + 1)[2])
            return file, cls(file, max_flows)
        except OSError:
            os.close(file)
            raise

    @property
    def high(self) -> int:
        """Rows from here on were never used."""
        return max(1, self._words[_HIGH_AT // 8])

    def reach(self, flow: int) -> None:
        """Writer only: this row is in use."""
        self._words[_HIGH_AT // 8] = max(self.high, flow + 1)

    def open_sums(self) -> None:
        """Writer only: from here to `close_sums` readers wait."""
        self._words[0] |= 1

    def close_sums(self) -> None:
        """Writer only: all that was taken is accounted for."""
        self._words[0] = (self._words[0] | 1) + 1

    def take_over(self) -> None:
        """Once the writer is gone, or before a new one begins: account for what the last one left half done."""
        self.close_sums()
        lost = [Sum.LEFT, Sum.LINK, Sum.QUEUE, Sum.KERNEL]
        self.ledger[Sum.KERNEL] += self.ledger[Sum.TAKEN] - self.ledger[lost].sum(axis=0)
        self.ledger[Sum.HELD] = 0

    @property
    def is_half_done(self) -> bool:
        """Whether sums are open: a writer is at it, or died at it."""
        return bool(self._words[0] & 1)

    def read(self, within_s: float = _READ_WITHIN_S) -> Snapshot:
        """One moment of it all. Raises: RelayError, if the writer has held the sums open for so long."""

        def copy() -> Snapshot:
            high = self.high
            return Snapshot(
                self.ledger[:, : 2 * high].copy(), self.flows[:high].copy(), self.counts.copy(), self.rule_hits.copy()
            )

        return self._consistent(copy, within_s)

    def records(self, flow: int, direction: int) -> npt.NDArray[np.void]:
        """The kept datagrams of one direction, oldest first: RECORD[≤ HISTORY]. Raises: RelayError, as `read`."""
        column = 2 * flow + direction
        here = slice(column * HISTORY, (column + 1) * HISTORY)
        rows, taken = self._consistent(lambda: (self.history[here].copy(), int(self.ledger[Sum.TAKEN, column])))
        numbers = np.arange(max(0, taken - HISTORY), taken)
        rows = rows[numbers % HISTORY]
        known: npt.NDArray[np.void] = rows[(rows["fate"] != Fate.NONE) & (rows["number"] == numbers.astype(np.uint32))]
        return known

    def _consistent(self, copy: Callable[[], _T], within_s: float = _READ_WITHIN_S) -> _T:
        until_s = time.monotonic() + within_s
        while True:
            before = self._words[0]
            if not before & 1:
                taken = copy()
                if self._words[0] == before:
                    return taken
            if time.monotonic() > until_s:
                raise RelayError("the relay's process stopped in the middle of a batch")
            time.sleep(0)

    def clear(self, flow: int) -> None:
        """Writer only: this flow has ended. Its sums stay in those of row 0."""
        for direction in (UP, DOWN):
            column = 2 * flow + direction
            self.ledger[_SUMMED, direction] += self.ledger[_SUMMED, column]
            self.ledger[:, column] = 0
            self.history[column * HISTORY : (column + 1) * HISTORY]["fate"] = Fate.NONE
        self.flows[flow] = np.zeros((), FLOW)


_SUMMED = [row for row in Sum if row not in (Sum.HEARD_NS, Sum.HIGHEST)]


def _layout(rows: int) -> tuple[int, int, int]:
    """Where the flows and the history begin, and where all ends."""
    at_flows = _HEADER_BYTES + _pages(8 * len(Sum) * 2 * rows)
    at_history = at_flows + _pages(FLOW.itemsize * rows)
    return at_flows, at_history, at_history + _pages(RECORD.itemsize * HISTORY * 2 * rows)


def _pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
