"""`udprism run`: play a scenario without a page, and judge it."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from udprism.cli.flags import read_settings
from udprism.errors import RequestError, UdprismError
from udprism.node.bridge import Bridge
from udprism.node.play import Played, Stage, play, shipped, verdict
from udprism.node.report import report_html
from udprism.node.scenario import (
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
)
from udprism.node.scenarios import machine

EXIT_NOT_MET = 1
EXIT_USAGE = 2
EXIT_VOID = 4
"""The sender did not keep its schedule: the figures are not those of the requested rate."""
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


def run(
    scenario: Annotated[
        str, typer.Argument(metavar="SCENARIO", help=f"A TOML file or a shipped one: {', '.join(sorted(shipped()))}.")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", envvar="UDPRISM_JSON", help="Print one JSON object instead of the table.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Also write the run as one HTML file.")
    ] = None,
) -> None:
    """Play a scenario and print a table and a verdict.

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
    progress = Progress(plan, bridge, gave_up, sys.stderr.isatty())
    progress.say(f"{plan.title}: {len(plan.clients)} x {plan.rate_hz:g}/s for {plan.duration_s:g} s, seed {plan.seed}")
    try:
        bridge.start()
        played = asyncio.run(_play(bridge, plan, progress, report))
    except KeyboardInterrupt:
        progress.say("interrupted: no verdict")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    finally:
        bridge.stop()
    if played is None:
        progress.say("the UDP side gave up: no verdict")
        raise typer.Exit(EXIT_BUG)
    results, kept = played.results, played.kept
    outcomes = evaluate(plan, results)
    print(json.dumps(verdict(plan, results, outcomes, kept)) if as_json else table(plan, results, outcomes, kept))
    if not is_kept(kept):
        progress.say(f"{kept_in_words(kept)}: no verdict")
        raise typer.Exit(EXIT_VOID)
    if not all(outcome.met for outcome in outcomes):
        raise typer.Exit(EXIT_NOT_MET)


async def _play(bridge: Bridge, plan: Scenario, progress: Progress, report: Path | None) -> Played | None:
    """Also writes the report. Raises: UdprismError if it cannot be written."""
    began_ns = time.time_ns()
    played = await play(Stage(bridge.clients, bridge.links, bridge.schedule, alone=True), plan, progress)
    if report is not None and played is not None:
        told = verdict(plan, played.results, evaluate(plan, played.results), played.kept)
        history = await bridge.history(None, began_ns, time.time_ns(), None)
        try:
            report.write_text(report_html(plan, told, played.results, history, machine()), encoding="utf-8")
        except OSError as error:
            raise UdprismError(f"cannot write {report}: {error.strerror}") from None
    return played


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
    """Progress on standard error: on a terminal one line that changes, otherwise a line every five seconds."""

    def __init__(self, scenario: Scenario, bridge: Bridge, gave_up: threading.Event, terminal: bool) -> None:
        self._scenario = scenario
        self._bridge = bridge
        self._gave_up = gave_up
        self._terminal = terminal
        self._open = False

    @property
    def ended(self) -> bool:
        """Whether the UDP side gave up."""
        return self._gave_up.is_set()

    def began(self, ids: dict[str, str]) -> None:
        """The clients are there."""

    def say(self, text: str) -> None:
        """One line that stays."""
        print(("\r\x1b[K" if self._open else "") + text, file=sys.stderr, flush=True)
        self._open = False

    def step(self, step: Step) -> None:
        """A link was set."""
        whom = ", ".join(step.clients[:3]) + (" and others" if len(step.clients) > 3 else "")
        self.say(f"{step.at_s:7.1f} s  {step.what} for {whom or 'all'}")

    async def second(self, number: int) -> None:
        """A second has passed."""
        ledger = await self._bridge.ledger()
        text = f"{number:5d}   s  of {self._scenario.duration_s:g}: {_counts(ledger)}"
        if self._terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
            self._open = True
        elif number % 5 == 0:
            self.say(text)


def _counts(ledger: dict[str, Any]) -> str:
    return ", ".join(f"{ledger[name]:,} {name}" for name in ("sent", "received", "lost"))


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
        lines.append("The scenario has no expectations.")
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
