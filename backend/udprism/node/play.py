"""Plays a scenario in a bridge, and measures it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import resources
from typing import Any, Protocol

from udprism.node.bodies.json import Json
from udprism.node.clients import Clients
from udprism.node.links import Links
from udprism.node.scenario import (
    COUNTS,
    DELAYS,
    EVERYBODY,
    RATIOS,
    Outcome,
    Results,
    Scenario,
    Step,
    is_kept,
    kept_ratio,
)


def shipped() -> dict[str, str]:
    """The texts of the shipped scenarios, by name."""
    files = resources.files("udprism").joinpath("scenarios").iterdir()
    return {
        file.name.removesuffix(".toml"): file.read_text(encoding="utf-8")
        for file in files
        if file.name.endswith(".toml")
    }


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a scenario is played. alone: no other clients exist, so that the default link serves for all."""

    clients: Clients
    links: Links
    schedule: Callable[[], Awaitable[tuple[int, int]]]
    alone: bool


class Watcher(Protocol):
    """Is notified of progress, on the event loop."""

    @property
    def ended(self) -> bool:
        """Whether to end early."""

    def began(self, ids: dict[str, str]) -> None:
        """The clients are there: ids by the scenario's names."""

    def step(self, step: Step) -> None:
        """This link is being set."""

    async def second(self, number: int) -> None:
        """A second has passed."""


@dataclass(frozen=True, slots=True)
class Played:
    """What was measured, and how much of its schedule the sender kept."""

    results: Results
    kept: float | None


async def play(stage: Stage, scenario: Scenario, watcher: Watcher, name: str | None = None) -> Played | None:
    """Add the clients, set links on schedule, measure. None: it was ended early.

    Alone, steps at second 0 hold from the first datagram on. Beside other clients they are the clients' own links, and
    a datagram or two may leave before. What is in flight at the end counts as neither received nor lost.
    """
    steps = list(scenario.timeline)
    while stage.alone and steps and steps[0].at_s == 0 and not steps[0].clients:
        await _apply(stage, steps.pop(0), {}, watcher)
    made_before, skipped_before = await stage.schedule()
    bodies = await stage.clients.add(name, None, scenario.rate_hz, 1, "measured", len(scenario.clients))
    ids = {one: body["id"] for one, body in zip(scenario.clients, bodies, strict=True)}
    watcher.began(ids)
    start_s = time.monotonic()
    second = 0
    while not watcher.ended:
        now_s = time.monotonic() - start_s
        while steps and steps[0].at_s <= now_s:
            await _apply(stage, steps.pop(0), ids, watcher)
        if now_s >= scenario.duration_s:
            results = await measure(stage.clients, ids)
            made, skipped = await stage.schedule()
            return Played(results, kept_ratio(made - made_before, skipped - skipped_before))
        if now_s >= second + 1:
            second = int(now_s)
            await watcher.second(second)
        due_s = min(second + 1, scenario.duration_s, steps[0].at_s if steps else scenario.duration_s)
        await asyncio.sleep(max(0.0, start_s + due_s - time.monotonic()))
    return None


async def _apply(stage: Stage, step: Step, ids: dict[str, str], watcher: Watcher) -> None:
    watcher.step(step)
    if stage.alone and not step.clients:
        await stage.links.put_default(step.link.to_body())
        return
    whom = [ids[name] for name in step.clients] if step.clients else list(ids.values())
    await stage.links.put_many(whom, step.link.to_body(), keep_delays=True)


async def measure(clients: Clients, ids: dict[str, str]) -> dict[str, dict[str, float | None]]:
    """Every measure of all clients and of each one, all taken at the same moment. Raises: RequestError (404)."""
    bodies = await clients.several(list(ids.values()))
    results = {name: _measures(body) for name, body in zip(ids, bodies, strict=True)}
    return {EVERYBODY: _together(list(results.values())), **results}


def _measures(body: Json) -> dict[str, float | None]:
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


def verdict(scenario: Scenario, results: Results, outcomes: list[Outcome], kept: float | None = None) -> dict[str, Any]:
    """A run as one JSON object. If the schedule was not kept, nothing is met or failed: `met` is null."""
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
