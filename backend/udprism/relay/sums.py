"""The body of one direction: sums that close, and the figures that other meters would show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from udprism.columns.types import I64Column
from udprism.ledger.meters import as_rfc3550
from udprism.relay.memory import Snapshot, Sum


@dataclass(frozen=True, slots=True)
class Sums:
    """One direction. in_ = out + lost + held, at every read; `out` without the copies that we made.

    lost_by_cause: only the causes that there were. refused: how many of `out` the destination's machine returned.
    """

    in_: int
    out: int
    held: int
    duplicated: int
    corrupted: int
    refused: int
    bytes_in: int
    bytes_out: int
    lost_by_cause: dict[str, int]
    iperf3_lost: int
    iperf3_out_of_order: int

    @property
    def lost(self) -> int:
        """By the link, its queue, and our kernel."""
        return sum(self.lost_by_cause.values())

    @property
    def rfc3550_lost(self) -> int:
        """What a receiver report would call lost of what came and is not held: a copy makes up for a loss."""
        return as_rfc3550(self.in_ - self.held, self.out, self.duplicated).lost

    def to_body(self) -> dict[str, Any]:
        """As REST shows it."""
        return {
            "in": self.in_,
            "out": self.out,
            "lost": self.lost,
            "held": self.held,
            "duplicated": self.duplicated,
            "corrupted": self.corrupted,
            "refused": self.refused,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "lost_by_cause": {"link": 0, "queue": 0, "kernel": 0} | self.lost_by_cause,
            "as_rfc3550": {"lost": self.rfc3550_lost},
            "as_iperf3": {"lost": self.iperf3_lost, "out_of_order": self.iperf3_out_of_order},
        }


def sums_of(snapshot: Snapshot, row: int, direction: int) -> Sums:
    """One flow's direction; row 0 is the sum of the flows that ended."""
    return _sums(snapshot.ledger[:, 2 * row + direction])


def total_of(snapshot: Snapshot, direction: int) -> Sums:
    """All flows, including those that have ended."""
    return _sums(snapshot.ledger[:, direction::2].sum(axis=1))


def _sums(column: I64Column) -> Sums:
    one = dict(zip(Sum, column.tolist(), strict=True))
    causes = {"link": Sum.LINK, "queue": Sum.QUEUE, "kernel": Sum.KERNEL}
    return Sums(
        in_=one[Sum.TAKEN],
        out=one[Sum.LEFT],
        held=one[Sum.HELD],
        duplicated=one[Sum.DUPLICATED],
        corrupted=one[Sum.CORRUPTED],
        refused=one[Sum.REFUSED],
        bytes_in=one[Sum.BYTES_TAKEN],
        bytes_out=one[Sum.BYTES_LEFT],
        lost_by_cause={name: one[row] for name, row in causes.items() if one[row]},
        iperf3_lost=one[Sum.IPERF3_LOST],
        iperf3_out_of_order=one[Sum.IPERF3_OUT_OF_ORDER],
    )
