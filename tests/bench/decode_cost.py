"""What it costs to decode one datagram of each format, beside one of our own, by the size of a batch.

`python tests/bench/decode_cost.py`: nanoseconds of this thread's wall time, the fastest twentieth of many runs, because
whatever else the machine does only ever adds to it. Rows are as wide as a receiver's that keeps whole datagrams.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from udprism.columns.types import I32Column, Rows
from udprism.wire import measured
from udprism.wire.format import Sending
from udprism.wire.formats import FORMATS

BATCHES = (1, 50, 500)
RUNS = 3_000
ROW_BYTES = 2_048
PIXELS = 170


def cost_ns(decode: Callable[[], object], batch: int) -> float:
    """A datagram's."""
    taken = np.empty(RUNS)
    for run in range(RUNS):
        begun_ns = time.perf_counter_ns()
        decode()
        taken[run] = time.perf_counter_ns() - begun_ns
    return float(np.percentile(taken, 5)) / batch


def rows_of(name: str, batch: int) -> tuple[Rows, I32Column]:
    """A batch of datagrams as this program sends them; of a format that it does not send, of zeros."""
    rows, length = np.zeros((batch, ROW_BYTES), np.uint8), np.full(batch, 23, np.int32)
    encoder = FORMATS[name].encoder(Sending(PIXELS, bytes(range(16))))
    if encoder is not None:
        number = 1 + np.arange(batch, dtype=np.uint32) % 15
        rgb = np.random.default_rng(1).integers(0, 256, (batch, PIXELS, 3), np.uint8)
        length = encoder.encode(rows, np.zeros(batch, np.int32), number, np.full(batch, 10**18), rgb)
    assert FORMATS[name].decode(rows, length).all_valid
    return rows, length


def ours(batch: int) -> float:
    rows, length = np.zeros((batch, ROW_BYTES), np.uint8), np.full(batch, 23, np.int32)
    pixel = np.zeros((batch, 1, 3), np.uint8)
    measured.encode_colours(rows, np.full(batch, 7, np.uint32), np.arange(batch), 5, pixel)
    return cost_ns(lambda: measured.decode_colours(rows, length), batch)


def of_format(name: str, batch: int) -> float:
    rows, length = rows_of(name, batch)
    return cost_ns(lambda: FORMATS[name].decode(rows, length), batch)


def main() -> None:
    print(f"{'ns a datagram':14}" + "".join(f"{f'batches of {batch}':>24}" for batch in BATCHES))
    baseline = [ours(batch) for batch in BATCHES]
    print(f"{'measured':14}" + "".join(f"{cost:16.0f}        " for cost in baseline))
    for name in FORMATS:
        costs = [of_format(name, batch) for batch in BATCHES]
        cells = (f"{cost:16.0f} {cost / base:5.2f} ×" for cost, base in zip(costs, baseline, strict=True))
        print(f"{name:14}" + "".join(cells))


if __name__ == "__main__":
    main()
