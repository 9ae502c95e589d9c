"""What an in-process sender reports about its own sends, so that no loss stays unexplained.

The server's thread writes, the pool's thread reads. A client in the same process learns from it how many sequence
numbers were issued, and which of them never left and why; against a server elsewhere there is no send log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np

from udprism.columns.types import NEVER_NS, Address, BoolColumn, I32Column, I64Column, U8Column, U32Column

CORRUPT = 255
"""In place of a Cause: the datagram left, but its payload was changed on purpose."""


class FateReport(NamedTuple):
    """Datagrams that did not leave as they were made. All columns have one length."""

    session_slot: I32Column
    session_id: U32Column
    sequence: I64Column
    cause: U8Column

    def part(self, which: BoolColumn | slice) -> FateReport:
        """A part of them."""
        return FateReport(self.session_slot[which], self.session_id[which], self.sequence[which], self.cause[which])

    @classmethod
    def of(cls, slot: I32Column, session_id: U32Column, sequence: I64Column, cause: int) -> FateReport:
        """All of one cause."""
        return cls(slot.copy(), session_id, sequence.copy(), np.full(len(slot), cause, np.uint8))


class Listener(Protocol):
    """Receives every report as it is made, on the server's thread."""

    def report(self, report: FateReport) -> None: ...


class SendLog:
    """Fates on their way from the server to the in-process ledger, bounded.

    session_id: uint32[capacity] and next_sequence: int64[capacity] are the session table's own columns: an aligned
    64-bit read is whole, and a sequence number is issued before its datagram is sent, so a reader never sees
    fewer sent than received.
    """

    def __init__(
        self,
        session_id: U32Column,
        next_sequence: I64Column,
        slot_of_id: Mapping[int, int],
        slot_of_address: Mapping[Address, int],
        ended: Mapping[int, int],
        max_reports: int,
        listener: Listener | None = None,
    ) -> None:
        self.session_id = session_id
        self.next_sequence = next_sequence
        self.slot_of_id = slot_of_id
        self.slot_of_address = slot_of_address
        self.ended = ended
        """How many numbers sessions were issued that are over, by session id; see `SessionTable`."""
        self.hold_ns = 0
        """The longest time for which the link model may hold a datagram back now."""
        self.next_release_ns = NEVER_NS
        """All that the link model held back until then has left; in the past if the sender is behind."""
        self.forgotten = 0
        """Reports discarded because they were not read in time; their losses show as unexplained."""
        self._reports: deque[FateReport] = deque(maxlen=max_reports)
        self._listener = listener

    def report(self, report: FateReport) -> None:
        """Server thread only."""
        if len(self._reports) == self._reports.maxlen:
            self.forgotten += 1
        self._reports.append(report)
        if self._listener is not None:
            self._listener.report(report)

    def take(self) -> list[FateReport]:
        """All reports since the last call, oldest first. Pool thread only."""
        return [self._reports.popleft() for _ in range(len(self._reports))]
