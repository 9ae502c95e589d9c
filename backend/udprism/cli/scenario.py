"""`udprism run`: play a scenario without a page, and judge it."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer

from udprism.cli.flags import read_settings
from udprism.errors import RequestError, UdprismError
from udprism.node.bridge import Bridge
from udprism.node.scenario import (
    COUNTS,
    DELAYS,
    EVERYBODY,
    RATIOS,
    Outcome,
    Results,
    Scenario,
    Step,
    evaluate,
    is_kept,
    kept_in_words,
    kept_ratio,
)

EXIT_NOT_MET = 1
EXIT_USAGE = 2
EXIT_VOID = 4
"""The sender did not keep its schedule: what was measured is not what was asked for."""
EXIT_BUG = 70
EXIT_INTERRUPTED = 130

_ROWS_SHOWN = 10
_COLUMNS = (
    "sent",
    "received",
    "lost",
    "loss_ratio",
    "reordered",
    "duplicates",
    "corrupt",
    "p50_delay_ms",
    "p99_delay_ms",
)


def shipped() -> dict[str, str]:
    """The texts of the scenarios that come with the program, by name."""
    files = resources.files("udprism").joinpath("scenarios").iterdir()
    return {
        file.name.removesuffix(".toml"): file.read_text(encoding="utf-8")
        for file in files
        if file.name.endswith(".toml")
    }


def run(
    scenario: Annotated[
        str, typer.Argument(metavar="SCENARIO", help=f"A TOML file or a shipped one: {', '.join(sorted(shipped()))}.")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", envvar="UDPRISM_JSON", help="Print one JSON object instead of the table.")
    ] = False,
) -> None:
    """Play a scenario without a page, print a table and a verdict.

    Exits with 1 if an expectation fails, and with 4, without a verdict, if this machine did not keep the schedule.
    """
    plan = _read(scenario)
    settings = read_settings(
        udp="127.0.0.1:0",
        clients=0,
        ephemeral=True,
        engine="batch",  # the environment may be that of a `serve` with the other one, which knows no links
        max_clients=len(plan.clients),
        max_sessions=len(plan.clients) + 16,
    )
    gave_up = threading.Event()
    bridge = Bridge(settings, given_up=lambda error: gave_up.set(), delays_over_all_links=True)
    progress = Progress(plan, sys.stderr.isatty())
    try:
        bridge.start()
        results, kept = asyncio.run(play(bridge, plan, progress, gave_up))
    except KeyboardInterrupt:
        progress.say("interrupted: no verdict")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    finally:
        bridge.stop()
    if results is None:
        progress.say("the UDP side gave up: no verdict")
        raise typer.Exit(EXIT_BUG)
    outcomes = evaluate(plan, results)
    print(json.dumps(report(plan, results, outcomes, kept)) if as_json else table(plan, results, outcomes, kept))
    if not is_kept(kept):
        progress.say(f"{kept_in_words(kept)}: no verdict")
        raise typer.Exit(EXIT_VOID)
    if not all(outcome.met for outcome in outcomes):
        raise typer.Exit(EXIT_NOT_MET)


def _read(name: str) -> Scenario:
    path = Path(name)
    try:
        if not path.exists() and name in (texts := shipped()):
            return Scenario.from_toml(texts[name])
        return Scenario.from_toml(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UdprismError(f"cannot read {name}: {reason}") from None
    except RequestError as error:
        where = f" {error.field}:" if error.field else ""
        raise UdprismError(f"{name}:{where} {error.detail}") from None


class Progress:
    """What is going on, on standard error: on a terminal one line that changes, elsewhere a line every five seconds."""

    def __init__(self, scenario: Scenario, terminal: bool) -> None:
        self._scenario = scenario
        self._terminal = terminal
        self._open = False

    def say(self, text: str) -> None:
        """One line that stays."""
        print(("\r\x1b[K" if self._open else "") + text, file=sys.stderr, flush=True)
        self._open = False

    def step(self, step: Step) -> None:
        """A link was set."""
        whom = ", ".join(step.clients[:3]) + (" and others" if len(step.clients) > 3 else "")
        self.say(f"{step.at_s:7.1f} s  {step.what} for {whom or 'all'}")

    def second(self, number: int, ledger: dict[str, Any]) -> None:
        """A second has passed."""
        text = f"{number:5d}   s  of {self._scenario.duration_s:g}: {_counts(ledger)}"
        if self._terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
            self._open = True
        elif number % 5 == 0:
            self.say(text)


def _counts(ledger: dict[str, Any]) -> str:
    return ", ".join(f"{ledger[name]:,} {name}" for name in ("sent", "received", "lost"))


async def play(
    bridge: Bridge, scenario: Scenario, progress: Progress, gave_up: threading.Event
) -> tuple[dict[str, dict[str, float | None]] | None, float | None]:
    """Drive a bridge without clients through a scenario. Returns the measures, and how much of the schedule was kept.

    The measures are None if the UDP side gave up.

    Steps at second 0 hold from the first datagram on; the clock starts when all clients are there. What is in flight
    at the end counts as neither received nor lost.
    """
    count = len(scenario.clients)
    progress.say(
        f"{scenario.title}: {count} x {scenario.rate_hz:g}/s for {scenario.duration_s:g} s, seed {scenario.seed}"
    )
    steps = list(scenario.timeline)
    while steps and steps[0].at_s == 0 and not steps[0].clients:
        await _apply(bridge, steps.pop(0), {}, progress)
    bodies = await bridge.clients.add(None, None, scenario.rate_hz, 1, "measured", count)
    ids = {body["name"]: body["id"] for body in bodies}
    start_s = time.monotonic()
    second = 0
    while not gave_up.is_set():
        now_s = time.monotonic() - start_s
        while steps and steps[0].at_s <= now_s:
            await _apply(bridge, steps.pop(0), ids, progress)
        if now_s >= scenario.duration_s:
            return await measure(bridge), kept_ratio(*await bridge.schedule())
        if now_s >= second + 1:
            second = int(now_s)
            progress.second(second, await bridge.ledger())
        due_s = min(second + 1, scenario.duration_s, steps[0].at_s if steps else scenario.duration_s)
        await asyncio.sleep(max(0.0, start_s + due_s - time.monotonic()))
    return None, None


async def _apply(bridge: Bridge, step: Step, ids: dict[str, str], progress: Progress) -> None:
    progress.step(step)
    if not step.clients:
        await bridge.links.put_default(step.link.to_body())
    else:
        await bridge.links.put_many([ids[name] for name in step.clients], step.link.to_body())


async def measure(bridge: Bridge) -> dict[str, dict[str, float | None]]:
    """Every measure of everybody and of each client, all of the same moment."""
    bodies, _ = await bridge.clients.page(0, bridge.settings.max_clients)
    results = {body["name"]: _measures(body) for body in bodies}
    return {EVERYBODY: _together(list(results.values())), **results}


def _measures(body: dict[str, Any]) -> dict[str, float | None]:
    ledger = body["ledger"]
    counts: dict[str, float | None] = {name: (ledger | ledger["lost_by_cause"])[name] for name in COUNTS}
    delays = {f"{name}_delay_ms": body["delay_ms"][name] for name in ("min", "p50", "p95", "p99", "max")}
    return counts | _ratios(counts) | delays | {"jitter_ms": body["jitter_ms"]}


def _together(rows: list[dict[str, float | None]]) -> dict[str, float | None]:
    def over(names: tuple[str, ...], join: Callable[[list[float]], float]) -> dict[str, float | None]:
        known = {name: [value for row in rows if (value := row[name]) is not None] for name in names}
        return {name: join(values) if values else None for name, values in known.items()}

    counts = over(COUNTS, sum)
    return counts | _ratios(counts) | over(DELAYS, max)


def _ratios(counts: dict[str, float | None]) -> dict[str, float | None]:
    received, lost = counts["received"], counts["lost"]
    known = 0.0 if received is None or lost is None else received + lost
    parts = {name: counts[count] for name, count in RATIOS.items()}
    return {name: part / known if known and part is not None else None for name, part in parts.items()}


def report(scenario: Scenario, results: Results, outcomes: list[Outcome], kept: float | None = None) -> dict[str, Any]:
    """The JSON object of `--json`. Where the schedule was not kept, nothing is met or failed: `met` is null."""
    is_void = not is_kept(kept)
    return {
        "title": scenario.title,
        "seed": scenario.seed,
        "rate_hz": scenario.rate_hz,
        "duration_s": scenario.duration_s,
        "schedule_kept_ratio": kept,
        "met": None if is_void else all(outcome.met for outcome in outcomes),
        "expectations": [
            {
                "text": outcome.expectation.text,
                "measured": outcome.measured,
                "met": None if is_void else outcome.met,
            }
            for outcome in outcomes
        ],
        "all": results[EVERYBODY],
        "clients": {name: results[name] for name in scenario.clients},
    }


def table(scenario: Scenario, results: Results, outcomes: list[Outcome], kept: float | None = None) -> str:
    """For people: everybody, the clients that lost most, and what became of each expectation."""
    named = {outcome.expectation.subject for outcome in outcomes} | {
        name for step in scenario.timeline for name in step.clients
    }
    worst = sorted(scenario.clients, key=lambda name: (name not in named, -(results[name]["loss_ratio"] or 0)))
    rows = [EVERYBODY, *worst[:_ROWS_SHOWN]]
    cells = [["", *(_heading(column) for column in _COLUMNS)]]
    cells += [[name, *(_shown(column, results[name][column]) for column in _COLUMNS)] for name in rows]
    widths = [max(len(row[place]) for row in cells) for place in range(len(cells[0]))]
    lines = ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in cells]
    if len(scenario.clients) > _ROWS_SHOWN:
        lines.append(f"… and {len(scenario.clients) - _ROWS_SHOWN} more clients (--json has them all)")
    lines.append("")
    is_void = not is_kept(kept)
    for outcome in outcomes:
        measured = _shown(outcome.expectation.measure, outcome.measured)
        verdict = "void   " if is_void else "met   " if outcome.met else "NOT met"
        lines.append(f"{verdict}  {outcome.expectation.text}   (measured {measured})")
    failed = sum(not outcome.met for outcome in outcomes)
    if is_void:
        lines.append(f"No verdict: {kept_in_words(kept)}. This machine had too much to do; run it again.")
    elif not outcomes:
        lines.append("Nothing was expected.")
    elif failed:
        lines.append(f"{failed} of {len(outcomes)} expectations failed.")
    else:
        lines.append(f"All {len(outcomes)} expectations are met.")
    return "\n".join(lines)


def _heading(column: str) -> str:
    return column.replace("_ratio", "").replace("_delay_ms", " ms")


def _shown(measure: str, value: float | None) -> str:
    if value is None:
        return "unknown"
    if measure in RATIOS:
        return f"{value:.2%}"
    return f"{value:.1f}" if measure in DELAYS else f"{value:,.0f}"
