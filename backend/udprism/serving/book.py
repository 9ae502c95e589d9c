"""All columns of hosted clients, a slot each: the pool writes them and the view reads them."""

from __future__ import annotations

from typing import NamedTuple

from udprism.columns.types import I32Column
from udprism.ledger.history import History
from udprism.ledger.latest import Latest
from udprism.ledger.ledger import Ledger
from udprism.ledger.rates import Rates
from udprism.ledger.timeline import Timeline
from udprism.serving.clients import ClientTable


class ClientColumns(NamedTuple):
    """Pool thread only."""

    table: ClientTable
    ledger: Ledger
    history: History
    rates: Rates
    latest: Latest
    timeline: Timeline

    def reset(self, slots: I32Column, now_ns: int) -> None:
        """New clients in these slots: only the table knows anything of them."""
        self.ledger.reset(slots)
        self.history.reset(slots)
        self.rates.reset(slots)
        self.latest.reset(slots)
        self.timeline.reset(slots, now_ns)
