"""What the link model costs a datagram, each impairment beside loss alone, for one bulk flow and for many.

    python tests/bench/link_cost.py [--rounds 9] [--json]

Times in µs a datagram, of batches of 512; the ratio is to loss alone, in pairs of one round, in the median.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np

from udprism.link.link import Link
from udprism.link.model import LinkModel

BATCH, BATCHES = 512, 40
LINKS: dict[str, dict[str, object]] = {
    "loss": {"loss_ratio": 0.02},
    "burst": {"loss_ratio": 0.02, "burst": {"enter_ratio": 0.01, "leave_ratio": 0.2}},
    "rate": {"loss_ratio": 0.02, "rate_kbit_s": 1_000_000},
    "rate, queue full": {"loss_ratio": 0.02, "rate_kbit_s": 10_000, "queue_datagrams": 20},
    "keep_order": {"loss_ratio": 0.02, "delay_ms": 20, "jitter_ms": 5, "keep_order": True},
    "delay, jitter": {"loss_ratio": 0.02, "delay_ms": 20, "jitter_ms": 5},
    "burst, rate, keep_order": {
        "loss_ratio": 0.02,
        "burst": {"enter_ratio": 0.01, "leave_ratio": 0.2},
        "rate_kbit_s": 1_000_000,
        "keep_order": True,
    },
}


def cost_us(body: dict[str, object], flows: int) -> float:
    """µs of this thread's processor time a datagram."""
    model = LinkModel(flows)
    model.assign(np.arange(flows, dtype=np.int32), Link.from_body(body), np.arange(flows, dtype=np.uint64))
    size, spent_ns = np.full(BATCH, 100, np.int32), 0
    sent = np.zeros(flows, np.int64)
    for number in range(BATCHES):
        slots = ((np.arange(BATCH) + number * BATCH) % flows).astype(np.int32)
        sequence = sent[slots] + np.arange(BATCH) // flows
        np.add.at(sent, slots, 1)
        enters_ns = number * 5_000_000 + np.arange(BATCH) * 10_000
        begun_ns = time.thread_time_ns()
        model.judge(slots, sequence, size, enters_ns)
        spent_ns += time.thread_time_ns() - begun_ns
    return spent_ns / BATCHES / BATCH / 1e3


def measure(rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """By flows and link: µs a datagram, and how many times loss alone."""
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for flows in (1, 100, 1000):
        taken = [{name: cost_us(body, flows) for name, body in LINKS.items()} for _ in range(rounds)]
        figures[str(flows)] = {
            name: {
                "us": round(statistics.median(one[name] for one in taken), 3),
                "times_loss": round(statistics.median(one[name] / one["loss"] for one in taken), 2),
            }
            for name in LINKS
        }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure(options.rounds)
    if options.json:
        print(json.dumps(figures))
        return
    for flows, rows in figures.items():
        print(f"{flows} flows")
        for name, row in rows.items():
            print(f"  {name:24} {row['us']:7.3f} µs  {row['times_loss']:5.2f} × loss alone")


if __name__ == "__main__":
    main()
