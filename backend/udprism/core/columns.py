"""All that is known of hosted clients, a slot each: what the pool writes and the view reads."""

from __future__ import annotations

from typing import NamedTuple

from udprism.core.clients import ClientTable
from udprism.core.history import History
from udprism.core.latest import Latest
from udprism.core.ledger import Ledger
from udprism.core.rates import Rates
from udprism.core.types import I32Column


class ClientColumns(NamedTuple):
    """Pool thread only."""

    table: ClientTable
    ledger: Ledger
    history: History
    rates: Rates
    latest: Latest

    def reset(self, slots: I32Column) -> None:
        """New clients in these slots: nothing is known of them but what the table says."""
        self.ledger.reset(slots)
        self.history.reset(slots)
        self.rates.reset(slots)
        self.latest.reset(slots)
