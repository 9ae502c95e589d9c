"""What one datagram costs in the ledger, the history and the newest values, by the size of a batch.

`python tests/bench/ledger_cost.py`: CPU time of this thread, 10,000 clients, 100,000 datagrams a second of played time.
"""

from __future__ import annotations

import sys
import time
from typing import NamedTuple

import numpy as np

from udprism.columns.types import NS_PER_MS, NS_PER_S, I32Column, I64Column, U32Column
from udprism.ledger.history import History
from udprism.ledger.latest import Latest
from udprism.ledger.ledger import Ledger

CLIENTS = 10_000
BATCHES = (1, 50, 200, 500, 2000)
LOSSES = (0.0, 0.02, 0.1)
DATAGRAM_NS = 10_000
EXPIRE_NS = 125 * NS_PER_MS
UNIX_NS = 1_700_000_000 * NS_PER_S


class Cost(NamedTuple):
    """Nanoseconds of CPU a datagram."""

    ledger: float
    history: float
    latest: float
    expire: float

    @property
    def hot_path(self) -> float:
        return self.ledger + self.history + self.latest


def no_drops(slots: I32Column) -> I64Column:
    return np.zeros(len(slots), np.int64)


def cost_of(batch: int, loss_ratio: float, datagrams: int) -> Cost:
    rng = np.random.default_rng(1)
    ledger = Ledger(CLIENTS, loss_after_ns=NS_PER_S, loss_after_arrivals=64)
    history, latest = History(CLIENTS), Latest(CLIENTS)
    everyone = np.arange(CLIENTS, dtype=np.int32)
    for one in (ledger, history, latest):
        one.reset(everyone)
    ledger.begin_session(everyone, np.ones(CLIENTS, np.bool_), np.ones(CLIENTS, np.bool_))
    sequence = np.zeros(CLIENTS, np.int64)
    rows, length = np.zeros((batch, 64), np.uint8), np.full(batch, 23, np.int32)
    spent = np.zeros(4)
    now_ns, next_expire_ns, done = 1_000 * NS_PER_S, 0, 0
    while done < datagrams:
        slot = rng.choice(CLIENTS, batch, replace=False).astype(np.int32)
        number: U32Column = sequence[slot].astype(np.uint32)
        sequence[slot] += 1
        kept = rng.random(batch) >= loss_ratio
        slot, number = slot[kept], number[kept]
        count = len(slot)
        sent = np.full(count, UNIX_NS + now_ns)
        received = sent + rng.integers(50_000, 300_000, count)
        instants = [time.thread_time_ns()]
        outcome = ledger.update(slot, number, sent, received, now_ns)
        instants.append(time.thread_time_ns())
        history.record(slot, outcome.extended, received, length[:count], rows[:count], rows[:count, :3], outcome.flags)
        instants.append(time.thread_time_ns())
        latest.update(slot, rows[:count, :3], received, outcome.flags)
        instants.append(time.thread_time_ns())
        if now_ns >= next_expire_ns:
            ledger.expire(now_ns, no_drops, 0)
            next_expire_ns = now_ns + EXPIRE_NS
        instants.append(time.thread_time_ns())
        spent += np.diff(instants)
        now_ns += batch * DATAGRAM_NS
        done += count
    return Cost(*(spent / done))


def main() -> None:
    print("loss   batch    ledger  history  latest  together    expire  µs/batch   (µs a datagram)")
    for loss_ratio in LOSSES:
        for batch in BATCHES:
            if batch == 1 and loss_ratio:
                continue
            cost = cost_of(batch, loss_ratio, 20_000 if batch == 1 else 300_000)
            figures = [cost.ledger, cost.history, cost.latest, cost.hot_path, cost.expire]
            print(
                f"{loss_ratio:4.0%} {batch:7d} " + " ".join(f"{figure / 1000:9.3f}" for figure in figures),
                f"{cost.hot_path * batch / 1000:9.1f}",
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
