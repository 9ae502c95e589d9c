"""What a receiver does with one datagram of each format, beside what hosted clients do with one of ours.

`python tests/bench/receiver_cost.py`: nanoseconds of this thread's wall time from a batch of columns to all that is
known of it (decoded, its flow found, ledger, history, newest value, frames), the fastest twentieth of many runs. The
socket is left out: it is the same for both. Rows are 2,048 bytes wide, as a receiver's are; ours are 64.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import numpy as np

from udprism.columns.arrivals import Arrivals
from udprism.columns.types import NS_PER_MS, NS_PER_S
from udprism.ledger.fates import NEW
from udprism.ledger.heard import HeardFlows
from udprism.ledger.history import History
from udprism.ledger.latest import Latest
from udprism.ledger.ledger import Ledger
from udprism.udp.endpoints.receiver import ReceiverEndpoint
from udprism.udp.peers import Peers
from udprism.udp.sockets import sockaddr_row
from udprism.wire import measured
from udprism.wire.format import Sending
from udprism.wire.formats import FORMATS

BATCH = 500
FLOWS = 1_000
RUNS = 600
WARM = 4 * FLOWS // BATCH
START_NS = 1_700_000_000 * NS_PER_S


def cost_ns(turns: list[Callable[[], object]]) -> float:
    """A datagram's, of these batches one after another."""
    taken = np.empty(len(turns))
    for place, turn in enumerate(turns):
        begun_ns = time.perf_counter_ns()
        turn()
        taken[place] = time.perf_counter_ns() - begun_ns
    return float(np.percentile(taken[WARM:], 5)) / BATCH


def slots_of(turn: int) -> np.ndarray:
    return ((turn * BATCH + np.arange(BATCH)) % FLOWS).astype(np.int32)


def ours() -> float:
    """A datagram of a hosted client's, in order: what the pool's intake does with it."""
    ledger = Ledger(FLOWS, window=256, loss_after_ns=NS_PER_S, loss_after_arrivals=64)
    history, latest = History(FLOWS, 256), Latest(FLOWS)
    every = np.arange(FLOWS, dtype=np.int32)
    ledger.begin_session(every, np.zeros(FLOWS, np.bool_), np.ones(FLOWS, np.bool_), 7)
    session_id = np.full(FLOWS, 7, np.uint32)
    pixel = np.zeros((BATCH, 1, 3), np.uint8)

    def turn(number: int) -> Callable[[], object]:
        slot, count = slots_of(number), number * BATCH // FLOWS
        rows, length = np.zeros((BATCH, 64), np.uint8), np.full(BATCH, 23, np.int32)
        stamp = np.full(BATCH, START_NS + number * NS_PER_MS)
        measured.encode_colours(rows, session_id[slot], np.full(BATCH, count), START_NS, pixel)

        def take() -> None:
            decoded = measured.decode_colours(rows, length)
            assert (decoded.session_id == session_id[slot]).all()
            outcome = ledger.update(slot, decoded.sequence, decoded.sent_at_unix_ns, stamp, number * NS_PER_MS)
            history.record(slot, outcome.extended, stamp, length, rows, decoded.rgb, outcome.flags)
            latest.update(slot, decoded.rgb, stamp, outcome.flags)
            assert outcome.flags[0] == NEW

        return take

    return cost_ns([turn(number) for number in range(RUNS)])


def of_format(name: str) -> float:
    """A datagram of 170 pixels from one of 1,000 senders, each in order."""
    form = FORMATS[name]
    ledger = Ledger(FLOWS, window=256, loss_after_ns=NS_PER_S, loss_after_arrivals=64)
    flows = HeardFlows(FLOWS, ledger, History(FLOWS, 256), width=2048, silent_after_ns=NS_PER_S)
    encoder = form.encoder(Sending(170, bytes(range(16))))
    names = iter(map(str, range(10**9)))
    sources = np.array([sockaddr_row(("127.0.0.1", 10_000 + port), socket.AF_INET) for port in range(FLOWS)])
    rng = np.random.default_rng(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        endpoint = ReceiverEndpoint("bench", form, sock, flows, Peers(FLOWS, rng), names.__next__, list)
        endpoint.slot = 0

        def turn(number: int) -> Callable[[], object]:
            slot, count = slots_of(number), number * BATCH // FLOWS
            rows, length = np.zeros((BATCH, 2048), np.uint8), np.full(BATCH, 638, np.int32)
            if encoder is not None:
                modulus, first = form.numbering
                wire = np.full(BATCH, first + count % modulus if modulus else 0, np.uint32)
                rgb = rng.integers(0, 256, (1, 170, 3), np.uint8)
                every = np.broadcast_to(rgb, (BATCH, 170, 3))
                length = encoder.encode(rows, np.zeros(BATCH, np.int32), wire, np.zeros(BATCH, np.int64), every)
            stamp = np.full(BATCH, START_NS + number * NS_PER_MS)
            arrivals = Arrivals(np.zeros(BATCH, np.int32), stamp, length, rows, sources[slot])
            return lambda: endpoint.take(arrivals, number * NS_PER_MS)

        cost = 0.0
        # In parts, so that the rows of all runs need not be in memory at once.
        for begin in range(0, RUNS, 60):
            part = cost_ns([turn(number) for number in range(begin, begin + 60)])
            cost = part if not cost else min(cost, part)
        assert flows.datagrams == RUNS * BATCH
        return cost


def main() -> None:
    base = ours()
    print(f"{'ours':10}{base:8.0f} ns a datagram in batches of {BATCH}")
    for name in FORMATS:
        cost = of_format(name)
        print(f"{name:10}{cost:8.0f} {cost / base:6.2f} ×")


if __name__ == "__main__":
    main()
