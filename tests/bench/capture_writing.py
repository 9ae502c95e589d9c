"""How many datagrams a second become blocks: `python tests/bench/capture_writing.py`. Processor time, best of five.

Batches of 512, of one length and of lengths mixed at random, all with options, every twentieth with a comment.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import recorded
from udprism.capture import pcap_writer, pcapng_writer
from udprism.capture.frames import make_frames
from udprism.capture.pcapng_writer import Marks
from udprism.capture.weave import Strand

BATCH, BATCHES, ROUNDS = 512, 40, 5
LENGTHS = {"23 bytes": (23,), "23 to 120 bytes": (23, 26, 29, 48, 50, 51, 120), "1472 bytes": (1472,)}
LENGTHS["0 to 1472 bytes"] = tuple(range(1473))


def measure(lengths: tuple[int, ...], kind: str) -> float:
    """Datagrams a second."""
    rng = np.random.default_rng(1)
    width = max(lengths)
    rows = rng.integers(0, 256, (BATCH, width), np.uint8)
    pair = np.frombuffer(recorded.packed(("127.0.0.1", 12345), ("127.0.0.1", 50000)), np.uint8)
    addresses = np.repeat(pair[np.newaxis], BATCH, axis=0)
    time_ns = recorded.BASE_NS + np.arange(BATCH)
    number = np.arange(BATCH)
    marks = Marks(
        (number % 2).astype(np.int32),
        np.ones(BATCH, np.uint32),
        number.astype(np.uint64),
        np.zeros(BATCH, np.uint64),
        (number % 20 == 0).astype(np.int32),
    )
    length = rng.choice(lengths, BATCH).astype(np.int64)
    best = 0.0
    for _ in range(ROUNDS):
        begin = time.process_time_ns()
        for _ in range(BATCHES):
            frames = make_frames(addresses, Strand(rows.reshape(-1), number * width, length), length)
            if kind == "pcapng":
                pcapng_writer.blocks(time_ns, frames, marks, recorded.COMMENTS)
            else:
                pcap_writer.records(time_ns, frames)
        best = max(best, BATCH * BATCHES * 1e9 / (time.process_time_ns() - begin))
    return best


if __name__ == "__main__":
    for name, lengths in LENGTHS.items():
        print(f"{name:16}", *(f"  {kind} {measure(lengths, kind):12,.0f}/s" for kind in ("pcapng", "pcap")))
