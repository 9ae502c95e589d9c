"""Small ledgers, and ways to feed and to check them."""

from __future__ import annotations

import numpy as np

from udprism.columns.types import NS_PER_MS, NS_PER_S, I32Column, I64Column
from udprism.ledger.ledger import BatchResult, Ledger
from udprism.ledger.window import HELD_DAMAGED, LOST, RECEIVED

WINDOW = 64
START_NS = 1_000 * NS_PER_S
UNIX_NS = 1_700_000_000 * NS_PER_S


def no_drops(slots: I32Column) -> I64Column:
    return np.zeros(len(slots), np.int64)


def slots_of(*slots: int) -> I32Column:
    return np.array(slots, np.int32)


def ledger_of(
    clients: int = 1,
    *,
    window: int = WINDOW,
    loss_after_arrivals: int = 16,
    in_process: bool = False,
    shared_clock: bool = True,
) -> Ledger:
    ledger = Ledger(clients, window=window, loss_after_ns=NS_PER_S, loss_after_arrivals=loss_after_arrivals)
    slots = np.arange(clients, dtype=np.int32)
    ledger.reset(slots)
    ledger.begin_session(slots, np.full(clients, in_process), np.full(clients, shared_clock))
    return ledger


def take(
    ledger: Ledger, *numbers: int, slot: int = 0, now_ns: int = START_NS, transit_ns: int = NS_PER_MS
) -> BatchResult:
    """One client's datagrams as one batch."""
    count = len(numbers)
    received = np.full(count, UNIX_NS + now_ns)
    return ledger.update(
        np.full(count, slot, np.int32),
        (np.array(numbers, np.int64) & 0xFFFFFFFF).astype(np.uint32),
        received - transit_ns,
        received,
        now_ns,
    )


def closes(ledger: Ledger, slot: int = 0) -> bool:
    body = ledger.body(slot)
    causes = sum(count for count in body["lost_by_cause"].values() if count is not None)
    whole = body["sent"] == body["received"] + body["lost"] + body["in_flight"]
    return whole and body["lost"] == causes and body["in_flight"] >= 0


def declared(ledger: Ledger, now_ns: int, hold_ns: int = 0) -> list[tuple[int, int, int]]:
    """(slot, number, cause) of what `expire` declares."""
    slot, number, cause = ledger.expire(now_ns, no_drops, hold_ns)
    return list(zip(slot.tolist(), number.tolist(), cause.tolist(), strict=True))


def counts_agree(ledger: Ledger) -> bool:
    """Whether what the window says of its rings is what is in them."""
    window = ledger.window
    every = np.arange(window.width)
    for slot in range(len(ledger.highest)):
        states = window.states(np.full(window.width, slot), every)
        holes = np.count_nonzero((states > RECEIVED) & (states < LOST))
        held = np.count_nonzero(states >= HELD_DAMAGED)
        counts = window.exceptions[slot] & 0xFFFF, window.holes[slot], window.held[slot]
        if counts != (np.count_nonzero(states), holes, held):
            return False
    return True
