"""What the product costs, row by row, as README's table has it: each row a command that anybody can run again.

    python tests/bench/table.py carried|memory|resident|idle|ready|first|recording|link … [--rounds 5] [--busy] [--json]

Ratios are of pairs within one round; every figure is the median of the rounds, beside its lowest and highest. The load
of the machine is said, because it is in every figure.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from udprism.cli import baselines, bench
from udprism.cli.product import Product, running
from udprism.udp.descriptors import raise_limit

MANY = 9000
MORE_THAN_ANYBODY_CARRIES_PER_S = 2e6
LINK = {"loss_ratio": 0.02, "delay_ms": 50, "seed": 7}
LINKED_CLIENTS, LINKED_HZ = 1000, 20.0
RECORDED_CLIENTS, RECORDED_HZ = 4000, 100.0  # more than anybody carries
FULL_HISTORY_S = 26.0  # 256 datagrams at 10 Hz
Row = Callable[[], float]


def cpu_ns(product: Product) -> int:
    """Processor time so far of the product's threads and of its link's process, to the nanosecond."""
    spent = 0
    for task in Path(f"/proc/{product.pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            spent += int((task / "schedstat").read_text().split()[0])
            for child in (task / "children").read_text().split():
                threads = Path(f"/proc/{child}/task").iterdir()
                spent += sum(int((one / "schedstat").read_text().split()[0]) for one in threads)
    return spent


def received(product: Product) -> int:
    return int(product.ask("GET", "/api/ledger")["received"])


def wait_for_all(product: Product, clients: int) -> None:
    while product.ask("GET", "/api/clients?state=live&limit=1")["total"] < clients:
        time.sleep(0.1)


@contextlib.contextmanager
def one_core_busy() -> Iterator[None]:
    """Another program that wants all of a core."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


def carried() -> float:
    """What the product delivers, divided by what the C program delivers just before and just after."""
    before = baselines.kernel_limit(MANY, None, 2.0)["delivered_per_s"]
    product = bench.measure("batch", MANY, MORE_THAN_ANYBODY_CARRIES_PER_S / MANY, 2.0, 1)["delivered_per_s"]
    after = baselines.kernel_limit(MANY, None, 2.0)["delivered_per_s"]
    return float(2 * product / (before + after))


def memory(history_over_time: bool, clients: int = 2000) -> float:
    """KiB per client whose history of datagrams is full."""
    settings = {"UDPRISM_HISTORY_OVER_TIME": str(history_over_time)}
    with running("batch", clients, 10.0, settings) as product:
        before = product.rss_bytes()
        product.ask("POST", "/api/clients", {"count": clients, "rate_hz": 10, "mode": "measured"})
        wait_for_all(product, clients)
        while received(product) < 10 * FULL_HISTORY_S * clients:
            time.sleep(0.5)
        after = product.rss_bytes()
    assert before is not None
    assert after is not None
    return (after - before) / clients / 1024


def resident() -> float:
    """MiB without clients."""
    with running("batch", 0, 10.0) as product:
        product.ask("GET", "/api/ledger")
        return (product.rss_bytes() or 0) / 2**20


def idle() -> float:
    """Percent of a core, with ten clients at one datagram per second."""
    with running("batch", 10, 1.0) as product:
        product.ask("POST", "/api/clients", {"count": 10, "rate_hz": 1})
        wait_for_all(product, 10)
        begun_s, before_ns = time.monotonic(), cpu_ns(product)
        time.sleep(20)
        return (cpu_ns(product) - before_ns) / (time.monotonic() - begun_s) / 1e7


def ready() -> float:
    """Seconds from the start of the program to the address of its page."""
    begun_s = time.monotonic()
    with running("batch", 10, 10.0):
        return time.monotonic() - begun_s


def first() -> float:
    """Seconds from the request for 9,000 clients until a viewer has seen a datagram of each."""
    heard_s = bench.measure("batch", MANY, 1.0, 0.5, 1)["all_heard_s"]
    return float("nan") if heard_s is None else float(heard_s)


def link(seconds: float = 4.0) -> float:
    """Processor time per datagram through a link with 2 % loss and 50 ms of delay, divided by that without one."""
    with running("batch", LINKED_CLIENTS, LINKED_HZ) as product:
        product.ask("POST", "/api/clients", {"count": LINKED_CLIENTS, "rate_hz": LINKED_HZ, "mode": "measured"})
        wait_for_all(product, LINKED_CLIENTS)
        without_ns = _cost_ns(product, seconds)
        product.ask("PUT", "/api/links/default", LINK)
        time.sleep(1)  # until what leaves is what entered the link
        return _cost_ns(product, seconds) / without_ns


def recording(seconds: float = 3.0) -> float:
    """Datagrams per second with a recording of all of them, divided by those just before and just after it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running("batch", RECORDED_CLIENTS, RECORDED_HZ, data=Path(folder)) as product,
    ):
        product.ask("POST", "/api/clients", {"count": RECORDED_CLIENTS, "rate_hz": RECORDED_HZ, "mode": "measured"})
        wait_for_all(product, RECORDED_CLIENTS)
        time.sleep(1)
        before = _received_per_s(product, seconds)
        made = product.ask("POST", "/api/recordings", {"max_bytes": 1 << 30, "max_files": 4})
        time.sleep(1)
        during = _received_per_s(product, seconds)
        ended = product.ask("POST", f"/api/recordings/{made['id']}/stop")
        after = _received_per_s(product, seconds)
    print(f"  {before:,.0f}/s, recorded {during:,.0f}/s, {after:,.0f}/s; not recorded: {ended['missed']}", flush=True)
    return 2 * during / (before + after)


def _received_per_s(product: Product, seconds: float) -> float:
    begun_s, before = time.monotonic(), received(product)
    time.sleep(seconds)
    return (received(product) - before) / (time.monotonic() - begun_s)


def _cost_ns(product: Product, seconds: float) -> float:
    before_ns, before = cpu_ns(product), received(product)
    time.sleep(seconds)
    return (cpu_ns(product) - before_ns) / (received(product) - before)


ROWS: dict[str, tuple[str, dict[str, Row]]] = {
    "carried": ("of what the C program carries", {"carried": carried}),
    "memory": (
        "KiB per client",
        {"without history over time": lambda: memory(False), "with it": lambda: memory(True)},
    ),
    "resident": ("MiB without clients", {"resident": resident}),
    "idle": ("% of a core", {"idle": idle}),
    "ready": ("s", {"ready": ready}),
    "first": ("s", {"first datagram of each of 9,000": first}),
    "recording": ("of the throughput without one", {"recording": recording}),
    "link": ("times the cost without a link", {"link": link}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="+", choices=list(ROWS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--busy", action="store_true", help="beside a program that keeps one core busy")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    raise_limit()
    for row in asked.rows:
        unit, figures = ROWS[row]
        for name, figure in figures.items():
            with one_core_busy() if asked.busy else contextlib.nullcontext():
                taken = sorted(figure() for _ in range(asked.rounds))
            said = {"row": name, "unit": unit, "median": statistics.median(taken), "low": taken[0], "high": taken[-1]}
            said |= {"rounds": asked.rounds, "busy": asked.busy, "load": os.getloadavg()[0], "cpus": os.cpu_count()}
            if asked.json:
                print(json.dumps(said), flush=True)
            else:
                spread = f"{said['median']:.3g} {unit} ({taken[0]:.3g} to {taken[-1]:.3g}, {asked.rounds} rounds"
                print(f"{name}: {spread}, load {said['load']:.1f} on {said['cpus']} cores)", flush=True)


if __name__ == "__main__":
    main()
