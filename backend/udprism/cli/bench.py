"""`udprism bench`: how many datagrams per second the whole product carries here, beside its baselines, in one run.

Nothing is left out for it: a real `udprism serve` is driven over REST and watched over its live feed.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from udprism.cli import baselines
from udprism.cli.product import Product, running
from udprism.cli.scenario import EXIT_VOID
from udprism.cli.viewer import BenchViewer
from udprism.node import scenario
from udprism.serving.commands import MAX_RATE_HZ, MIN_RATE_HZ
from udprism.udp.descriptors import raise_limit

Figures = dict[str, Any]

_FIRST_PER_S = {"batch": 50_000.0, "threads": 4_000.0}
_STEP_RATIO, _HALVINGS = 1.4, 2
_MOST_PER_S = 5e6
_SETTLE_S = 1.5
_DECLARED_LOST_AFTER_S = 1.6  # a hole counts as lost after a second
_FIRST_DATAGRAMS_WITHIN_S = 30.0
_KEPT_UP_RATIO, _SOUND_DELIVERED_RATIO, _SOUND_AGE_MS = 0.97, 0.98, 250.0
_THREADS_ENGINE_CLIENTS = 1000
EXIT_BROKE_DOWN = 70
_MODE = {"batch": "measured", "threads": "plain"}
"""The threads engine answers from other ports, as a foreign server does, so its clients end up with plain streams."""


def bench(
    clients: Annotated[int, typer.Option(min=1, max=100_000, help="Hosted clients.")] = 9000,
    rate_hz: Annotated[
        float | None,
        typer.Option(
            min=MIN_RATE_HZ, max=MAX_RATE_HZ, help="Datagrams per second per client; default: raised in steps."
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.5, max=3600, help="Length of each measurement.")] = 5.0,
    viewers: Annotated[int, typer.Option(min=1, max=200, help="Viewers of the live feed.")] = 1,
    with_baselines: Annotated[
        bool, typer.Option("--baselines/--no-baselines", help="Measure the baselines as well.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Measure how many datagrams this machine carries.

    Ends with exit code 4 if --rate-hz is more than this machine can send: the figures are those of a lower rate.
    """
    raise_limit()  # for what is started, too
    try:
        result = measure("batch", clients, rate_hz, seconds, viewers)
    except (OSError, RuntimeError) as error:
        _say(f"udprism bench: the product broke down: {error}")
        raise typer.Exit(EXIT_BROKE_DOWN) from None
    result["machine"] = {
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }
    result["baselines"] = dict(_baselines(clients, rate_hz, seconds)) if with_baselines else {}
    print(json.dumps(result) if as_json else table(result))
    if rate_hz is not None and not scenario.is_kept(result["schedule_kept_ratio"]):
        raise typer.Exit(EXIT_VOID)


def measure(engine: str, clients: int, rate_hz: float | None, seconds: float, viewers: int) -> Figures:
    """The product's figures at this rate; or of the step that delivered most without a loss and without an old picture.

    All steps are under "steps". One that did not keep up may be the best: where a rate is beyond the machine, the
    schedule skips ticks, and counts them, rather than lose a datagram. One under which the program broke down ends the
    search, as one thread per client does. Raises: OSError or RuntimeError if the first did.
    """
    steps: list[Figures] = []
    for per_s in [clients * rate_hz] if rate_hz else rates(steps, clients, _FIRST_PER_S[engine]):
        try:
            with running(engine, clients, per_s / clients) as product:
                steps.append(_step(product, clients, per_s / clients, seconds, viewers, _MODE[engine]))
        except (OSError, RuntimeError) as error:
            if not steps:
                raise
            _say(f"engine {engine}, requested {per_s:9,.0f}/s: it broke down ({error})")
            break
        _say(f"engine {engine}, requested {per_s:9,.0f}/s: {_in_words(steps[-1])}")
    best = max(steps, key=lambda step: (step["sound"], step["delivered_per_s"]))
    return {"engine": engine, "clients": clients, "seconds": seconds, "viewers": viewers} | best | {"steps": steps}


def rates(steps: list[Figures], clients: int, first_per_s: float) -> Iterator[float]:
    """Datagrams per second to try next: raised until two in a row are too much, then halfway back towards the limit.

    Two, because another program's moment may spoil one, and because beyond the limit what is delivered may still grow.
    """
    most = min(_MOST_PER_S, clients * MAX_RATE_HZ)
    good, bad = 0.0, math.inf
    per_s, misses = min(first_per_s, most), 0
    while misses < 2:
        yield per_s
        if steps[-1]["keeps_up"]:
            good, bad, misses = per_s, math.inf, 0
        else:
            bad, misses = min(bad, per_s), misses + 1
        if per_s >= most:
            break
        per_s = min(per_s * _STEP_RATIO, most)
    for _ in range(_HALVINGS if bad < math.inf else 0):
        per_s = (good + bad) / 2
        yield per_s
        good, bad = (per_s, bad) if steps[-1]["keeps_up"] else (good, per_s)


def _step(product: Product, clients: int, rate_hz: float, seconds: float, viewers: int, mode: str) -> Figures:
    """One rate: new clients, some time to settle, and the measurement."""
    idle_bytes = product.rss_bytes()
    with BenchViewer(product.url) as viewer, _crowd(product.url, viewers - 1):
        begun_s = time.monotonic()
        product.ask("POST", "/api/clients", {"count": clients, "rate_hz": rate_hz, "mode": mode})
        added_s = time.monotonic() - begun_s
        while viewer.heard < clients and time.monotonic() < begun_s + _FIRST_DATAGRAMS_WITHIN_S:
            time.sleep(0.02)
        all_heard_s = time.monotonic() - begun_s if viewer.heard >= clients else None
        time.sleep(_SETTLE_S)
        viewer.reset()
        before = _Reading(product, viewer)
        time.sleep(seconds)
        after = _Reading(product, viewer)
        ages = {"age_p50_ms": viewer.age_ms(0.5), "age_p99_ms": viewer.age_ms(0.99)}
        time.sleep(_DECLARED_LOST_AFTER_S)
        settled = _Reading(product, viewer)
    figures: Figures = {"rate_hz": rate_hz} | after.since(before) | _lost(before.ledger, settled.ledger) | ages
    if mode == "plain":
        figures["sent_per_s"] = None  # a stream without sequence numbers does not tell
    loaded_bytes = product.rss_bytes()
    per_client = None if idle_bytes is None or loaded_bytes is None else round((loaded_bytes - idle_bytes) / clients)
    figures |= {"rss_idle_bytes": idle_bytes, "rss_bytes_per_client": per_client}
    figures |= {"jitter_p99_us": settled.jitter_p99_us, "added_s": added_s, "all_heard_s": all_heard_s}
    sent_per_s = figures["sent_per_s"] if figures["sent_per_s"] is not None else figures["delivered_per_s"]
    figures["sound"] = (
        figures["lost"] == 0
        and figures["delivered_per_s"] >= _SOUND_DELIVERED_RATIO * sent_per_s
        and (ages["age_p99_ms"] or math.inf) <= _SOUND_AGE_MS
    )
    figures["keeps_up"] = figures["sound"] and sent_per_s >= _KEPT_UP_RATIO * clients * rate_hz
    return figures


class _Reading:
    """All meters at one instant."""

    def __init__(self, product: Product, viewer: BenchViewer) -> None:
        self.ledger: Figures = product.ask("GET", "/api/ledger")
        self.at_s = time.monotonic()
        self.cpu_s = product.cpu_s()
        self.frames = viewer.frames
        self.schedule: Figures = viewer.status.get("schedule", {"lag_ms": None, "skipped_ticks": 0})
        known = sorted(viewer.jitter_ms.tolist())
        self.jitter_p99_us = 1000 * known[int(0.99 * len(known))] if known else None

    def since(self, before: _Reading) -> Figures:
        """Rates and costs between two readings."""
        took_s = self.at_s - before.at_s
        received = _received(self.ledger) - _received(before.ledger)
        sent = self.ledger["sent"] - before.ledger["sent"]
        skipped = self.schedule["skipped_ticks"] - before.schedule["skipped_ticks"]
        figures: Figures = {
            "sent_per_s": sent / took_s,
            "delivered_per_s": received / took_s,
            "in_flight": self.ledger["in_flight"],
            "frames_per_s": (self.frames - before.frames) / took_s,
            "schedule_lag_ms": self.schedule["lag_ms"],
            "skipped_ticks": skipped,
            "schedule_kept_ratio": scenario.kept_ratio(sent or received, skipped),
            "cpu_us_per_datagram": None,
            "cpu_us_by_thread": None,
            "cores": None,
        }
        if self.cpu_s is not None and before.cpu_s is not None:
            spent_s = {name: self.cpu_s[name] - before.cpu_s[name] for name in self.cpu_s}
            figures["cores"] = sum(spent_s.values()) / took_s
            figures["cpu_us_per_datagram"] = sum(spent_s.values()) / max(1, received) * 1e6
            figures["cpu_us_by_thread"] = {name: one / max(1, received) * 1e6 for name, one in spent_s.items()}
        return figures


def _received(ledger: Figures) -> int:
    return int(ledger["received"] + ledger["received_plain"])


def _in_words(figures: Figures) -> str:
    age = "no frame" if figures["age_p99_ms"] is None else f"age p99 {figures['age_p99_ms']:.0f} ms"
    cpu = "" if figures["cpu_us_per_datagram"] is None else f", {figures['cpu_us_per_datagram']:.2f} µs each"
    verdict = "keeps up" if figures["keeps_up"] else "does not keep up"
    if not scenario.is_kept(figures["schedule_kept_ratio"]):
        verdict += f" ({scenario.kept_in_words(figures['schedule_kept_ratio'])})"
    return f"delivered {figures['delivered_per_s']:9,.0f}/s, lost {figures['lost']}, {age}{cpu}: {verdict}"


def _lost(before: Figures, settled: Figures) -> Figures:
    causes = {
        cause: settled["lost_by_cause"][cause] - before["lost_by_cause"][cause] for cause in before["lost_by_cause"]
    }
    return {"lost": settled["lost"] - before["lost"], "lost_by_cause": causes, "unexplained": causes["unexplained"]}


@contextlib.contextmanager
def _crowd(page_url: str, count: int) -> Iterator[None]:
    """This many more viewers, in a separate process."""
    if not count:
        yield
        return
    command = [sys.executable, "-m", "udprism.cli.viewer", page_url, str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


def _baselines(clients: int, rate_hz: float | None, seconds: float) -> Iterator[tuple[str, Figures]]:
    """(name, figures) of each baseline; of one that breaks down, why. The product's figures hold without it."""
    few = min(clients, _THREADS_ENGINE_CLIENTS)
    runs: dict[str, Callable[[], Figures]] = {
        "kernel_limit": lambda: baselines.kernel_limit(clients, rate_hz, seconds),
        "usual_stack": lambda: baselines.usual_stack(clients, rate_hz, seconds),
        "threads_engine": lambda: measure("threads", few, rate_hz, seconds, 1),
    }
    for name, run in runs.items():
        _say(f"baseline: {name}")
        try:
            yield name, run()
        except (OSError, RuntimeError, subprocess.SubprocessError, ValueError) as error:
            _say(f"baseline: {name} broke down: {error}")
            yield name, {"broke_down": str(error)}


def table(result: Figures) -> str:
    """The figures for people: the product's steps, then all that was run beside it."""
    lines = [" ".join([f"{'':16}", *(f"{heading:>11}" for heading, _, _ in _COLUMNS)])]
    lines += [_line(result["engine"], step) for step in result["steps"]]
    lines += [_line(name, figures) for name, figures in result["baselines"].items()]
    lines.append("")
    lines += _verdicts(result)
    by_thread = result["cpu_us_by_thread"] or {}
    lines.append("µs per datagram by thread: " + ", ".join(f"{name} {each:.2f}" for name, each in by_thread.items()))
    for title, key, form in _FACTS:
        if result.get(key) is not None:
            lines.append(f"{title}: {result[key]:{form}}")
    return "\n".join(lines)


def _verdicts(result: Figures) -> list[str]:
    """What the figures come to: for a search the best rates, for one rate whether it was kept."""
    lines, kept_part = [], result["schedule_kept_ratio"]
    if len(result["steps"]) > 1:
        kept = [step["delivered_per_s"] for step in result["steps"] if step["keeps_up"]]
        if result["sound"]:
            lines.append(f"at its most, none lost: {result['delivered_per_s']:,.0f}/s")
        lines.append(f"with its whole schedule kept: {max(kept):,.0f}/s" if kept else "its whole schedule: never kept")
    elif not scenario.is_kept(kept_part):
        lines.append(f"{scenario.kept_in_words(kept_part)}: these are not the figures of the requested rate")
    for name, figures in result["baselines"].items():
        if "broke_down" in figures:
            lines.append(f"{name} broke down: {figures['broke_down']}")
        else:
            lines.append(f"udprism delivers {result['delivered_per_s'] / figures['delivered_per_s']:.2f} times {name}")
    return lines


_COLUMNS = [
    ("Hz", "rate_hz", ".2f"),
    ("sent/s", "sent_per_s", ",.0f"),
    ("delivered/s", "delivered_per_s", ",.0f"),
    ("lost", "lost", ","),
    ("unexplained", "unexplained", ","),
    ("age p50 ms", "age_p50_ms", ".1f"),
    ("age p99 ms", "age_p99_ms", ".1f"),
    ("µs each", "cpu_us_per_datagram", ".2f"),
]
_FACTS = [
    ("clients", "clients", ","),
    ("bytes of memory per client", "rss_bytes_per_client", ","),
    ("bytes of memory without clients", "rss_idle_bytes", ","),
    ("ticks that the schedule skipped", "skipped_ticks", ","),
    ("part of its schedule that the sender kept", "schedule_kept_ratio", ".1%"),
    ("µs of jitter measured, 99 of 100 clients below", "jitter_p99_us", ".0f"),
    ("s to add all clients", "added_s", ".2f"),
    ("s to the first datagram of each", "all_heard_s", ".2f"),
]


def _line(name: str, figures: Figures) -> str:
    cells = (format(figures[key], form) if figures.get(key) is not None else "–" for _, key, form in _COLUMNS)
    return " ".join([f"{name:16}", *(f"{cell:>11}" for cell in cells)])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
