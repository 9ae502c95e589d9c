"""The fates of datagrams: a client's ledger, its delays, and the whole."""

from __future__ import annotations

from typing import cast

from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from udprism.ledger.latest import Latest
from udprism.serving.book import ClientColumns

Count = int | None


class Causes(TypedDict):
    """Lost datagrams by cause."""

    link: Count
    sender_kernel: Count
    receiver_kernel: Count
    unexplained: Count
    unknown_path: Count
    path: Count
    awaiting: Count


class Arrived(TypedDict):
    """The fate of every datagram: sent = received + lost + in_flight, and lost is the sum of its causes."""

    sent: Count
    received: Count
    lost: Count
    in_flight: Count
    late: Count
    reordered: Count
    duplicates: Count
    corrupt: Count
    lost_by_cause: Causes


class Ledger(Arrived):
    """The same of a flow that is shown live: its values that viewers got, and those that a newer one replaced."""

    relayed: int
    conflated: int


class Totals(Ledger):
    """A ledger of many clients; what plain streams received stands beside the sums, which cannot hold it."""

    received_plain: int


class WholeLedger(Totals):
    """The ledger of all clients that there are, and beside it that of those that were removed."""

    departed: Totals


class Delays(TypedDict):
    """One-way delays in ms."""

    min: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None


class Anomalies(TypedDict):
    """Counts of what no honest sender on a healthy path does."""

    jumps: int
    beyond_window: int
    negative_delays: int


def relayed(latest: Latest, slot: int) -> dict[str, int]:
    """How many of a flow's values viewers got, and how many a newer one replaced before."""
    return {"relayed": int(latest.relayed[slot]), "conflated": int(latest.conflated[slot])}


def whole_ledger(columns: ClientColumns) -> WholeLedger:
    """The whole ledger, and that of the clients that are gone. Pool thread only."""
    latest, totals = columns.latest, columns.ledger.totals()
    totals["departed"] |= {"relayed": latest.departed_relayed, "conflated": latest.departed_conflated}
    shown = {"relayed": int(latest.relayed.sum()), "conflated": int(latest.conflated.sum())}
    return cast(WholeLedger, totals | shown)
