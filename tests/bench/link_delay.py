"""Whether a link on all clients adds the delay that was asked for, and whether the server keeps its schedule under it.

`python tests/bench/link_delay.py --help` tells its options. It runs the whole product, in turn without the link and
with it. Delays are single datagrams' of a sample of the clients: the kernel's stamp at arrival less the sending time in
the datagram, not a histogram's. The delay that was added is one less the median without the link; its error is by how
much it differs from the delay that was asked for. To compare it with: how much later than it asked for a process that
only sleeps, a millisecond at a time, is woken up beside it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
import urllib.request
from collections.abc import Sequence
from typing import Any

from udprism.cli.product import Product, running

SAMPLE = 200
SETTLE_S = 2.0
LOOK_EVERY_S = 0.2
RATIOS = (0.5, 0.95, 0.99, 1.0)

Figures = dict[str, Any]


def percentiles(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    return [round(ordered[max(0, math.ceil(ratio * len(ordered)) - 1)], 3) for ratio in RATIOS]


def metrics(product: Product) -> dict[str, float]:
    with urllib.request.urlopen(product.url + "metrics") as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


def sleep(seconds: float) -> list[float]:
    """Sleep for so long, in milliseconds; by how much each of these was longer."""
    late_ms: list[float] = []
    end_s = time.monotonic() + seconds
    while (now_s := time.monotonic()) < end_s:
        time.sleep(0.001)
        late_ms.append(1000 * (time.monotonic() - now_s - 0.001))
    return late_ms


def phase(product: Product, ids: list[str], seconds: float) -> Figures:
    """The figures of some seconds, once what was there before has settled."""
    time.sleep(SETTLE_S)
    before, cpu_before, begun_s, begun_ns = metrics(product), product.cpu_s() or {}, time.monotonic(), time.time_ns()
    lags_ms: list[float] = []
    sleeps_ms: list[float] = []
    while time.monotonic() < begun_s + seconds:
        sleeps_ms += sleep(LOOK_EVERY_S)
        lags_ms.append(1000 * metrics(product)["udprism_schedule_lag_seconds"])
    after, cpu_after, took_s, ended_ns = (
        metrics(product), product.cpu_s() or {}, time.monotonic() - begun_s, time.time_ns(),
    )  # fmt: skip
    grown = {name: after[name] - before[name] for name in after if name in before}
    received = grown["udprism_datagrams_received_total"]
    delays_ms = [
        row["delay_ms"]
        for one in ids
        for row in product.ask("GET", f"/api/clients/{one}/datagrams?limit=256")["datagrams"]
        if row["sent_at_ns"] and begun_ns < row["sent_at_ns"] < ended_ns
    ]
    return {
        "sent_per_s": round(grown["udprism_datagrams_sent_total"] / took_s),
        "received_per_s": round(received / took_s),
        "skipped_ticks": grown["udprism_skipped_ticks_total"],
        "schedule_lag_ms": {"median": percentiles(lags_ms)[0], "worst": max(lags_ms)},
        "datagrams_a_batch": round(received / grown["udprism_pool_batches_total"]),
        "cpu_us_a_datagram": {
            name: round(1e6 * (cpu_after[name] - cpu_before.get(name, 0)) / received, 2) for name in cpu_after
        },
        "a_sleep_is_late_ms": percentiles(sleeps_ms),
        "delays_ms": delays_ms,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--rate-hz", type=float, default=10.0)
    parser.add_argument("--delay-ms", type=float, default=50.0)
    parser.add_argument("--loss-ratio", type=float, default=0.02)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    with running("batch", asked.clients, asked.rate_hz) as product:
        made = product.ask("POST", "/api/clients", {"count": asked.clients, "rate_hz": asked.rate_hz})["clients"]
        ids = [one["id"] for one in made][:: max(1, asked.clients // SAMPLE)]
        for _ in range(asked.rounds):
            product.ask("DELETE", "/api/links/default")
            off = phase(product, ids, asked.seconds)
            product.ask("PUT", "/api/links/default", {"delay_ms": asked.delay_ms, "loss_ratio": asked.loss_ratio})
            on = phase(product, ids, asked.seconds)
            ledger = product.ask("GET", "/api/ledger")
            base_ms = percentiles(off["delays_ms"])[0]
            error_ms = [abs(delay_ms - base_ms - asked.delay_ms) for delay_ms in on["delays_ms"]]
            for name, figures in (("without", off), ("with", on)):
                delays_ms = figures.pop("delays_ms")
                print(f"{name:8}", json.dumps(figures | {"delay_ms": percentiles(delays_ms), "sample": len(delays_ms)}))
            print(
                f"error    p50, p95, p99, worst {percentiles(error_ms)} ms; lost {ledger['lost_by_cause']}; "
                f"load {os.getloadavg()[0]:.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
