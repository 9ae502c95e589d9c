"""A receiver under hostile datagrams: every one is counted once, and nothing else changes; many more by hand.

`python -m tests.fuzz.test_receiver RUNS` from the root hands so many datagrams of each format to a receiver.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pytest

from fuzz.formats import hostile
from udprism.columns.arrivals import Arrivals
from udprism.columns.types import NS_PER_MS, NS_PER_S, I32Column, Rows
from udprism.ledger.heard import HeardFlows
from udprism.ledger.history import History
from udprism.ledger.ledger import Ledger
from udprism.node.bodies.receivers import flow_body, picture_body
from udprism.node.heard_view import roster, snapshot
from udprism.udp.endpoints.receiver import ReceiverEndpoint
from udprism.udp.peers import Peers
from udprism.udp.sockets import sockaddr_row
from udprism.wire.formats import FORMATS

WIDTH, BATCH, CAPACITY, SOURCES = 2048, 400, 96, 12
START_NS = 1_700_000_000 * NS_PER_S


def wide(rows: Rows) -> Rows:
    """The rows as wide as a receiver's, with rubbish behind."""
    wider = np.full((len(rows), WIDTH), 0x5A, np.uint8)
    wider[:, : rows.shape[1]] = rows[:, :WIDTH]
    return wider


def run(name: str, datagrams: int, seed: int) -> ReceiverEndpoint:
    """So many hostile datagrams from a dozen senders; checks what holds after each batch."""
    rng = np.random.default_rng(seed)
    ledger = Ledger(CAPACITY, window=256, loss_after_ns=NS_PER_S, loss_after_arrivals=64)
    flows = HeardFlows(CAPACITY, ledger, History(CAPACITY, 256), width=WIDTH, silent_after_ns=2 * NS_PER_S)
    sources = np.array([sockaddr_row(("127.0.0.1", 5000 + port), socket.AF_INET) for port in range(SOURCES)])
    ids = iter(map(str, range(1 << 60)))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        endpoint = ReceiverEndpoint("p", FORMATS[name], sock, flows, Peers(CAPACITY, rng), ids.__next__, list)
        endpoint.heard_as(sock, 0)
        now_ns = 0
        for batch in range(datagrams // BATCH):
            now_ns += int(rng.integers(1, 400)) * NS_PER_MS
            rows, length = hostile(rng, name, BATCH)
            endpoint.take(arrivals(rng, rows, length, sources, now_ns), now_ns)
            if batch % 4 == 0:
                flows.sweep(now_ns, START_NS + now_ns)
            check(endpoint, flows, now_ns, closely=batch % 16 == 0)
    return endpoint


def arrivals(rng: np.random.Generator, rows: Rows, length: I32Column, sources: Rows, now_ns: int) -> Arrivals:
    count = len(rows)
    stamp = START_NS + now_ns + np.sort(rng.integers(-NS_PER_MS, NS_PER_MS, count))
    return Arrivals(np.zeros(count, np.int32), stamp, length, wide(rows), sources[rng.integers(0, len(sources), count)])


def check(endpoint: ReceiverEndpoint, flows: HeardFlows, now_ns: int, *, closely: bool) -> None:
    """Each datagram is in one sum; each believed flow's ledger closes; all that is shown can be made."""
    assert endpoint.datagrams == sum(endpoint.drops.values()) + endpoint.controls + flows.datagrams
    assert len(flows.flows) <= CAPACITY
    if not closely:
        return
    for slot in list(flows.flows)[:20]:
        body = flow_body(flows, slot, now_ns)
        ledger = body["ledger"]
        if ledger["lost"] is not None:
            assert ledger["sent"] == ledger["received"] + ledger["lost"] + ledger["in_flight"], body
            assert min(ledger["sent"], ledger["received"], ledger["lost"], ledger["in_flight"]) >= 0
        assert body["name"].isprintable()
        assert len(flows.datagrams_kept(slot, 256)) <= 256
    for slot in list(flows.flows)[:3]:
        picture_body(flows, slot, now_ns)
    view = snapshot(flows, list(flows.flows)[:5], now_ns, START_NS + now_ns)
    assert len(view.state) == flows.high
    assert len(roster(flows, 0, 0).upsert) == len(flows.flows)


@pytest.mark.parametrize("name", FORMATS)
def test_every_hostile_datagram_is_counted_once_and_changes_nothing_else(name: str) -> None:
    endpoint = run(name, 16_000, seed=9)
    assert endpoint.datagrams == 16_000
    assert endpoint._flows.datagrams > 1_000


if __name__ == "__main__":
    for form in FORMATS:
        done = run(form, int(sys.argv[1]), seed=1)
        print(f"{form}: {done.datagrams:,} datagrams hold, {done._flows.datagrams:,} of flows", flush=True)
