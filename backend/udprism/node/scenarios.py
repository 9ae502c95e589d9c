"""Scenarios that are started from the page: one at a time, beside whatever else the bridge does."""

from __future__ import annotations

import asyncio
import platform
import secrets
import time
import tomllib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from udprism import __version__
from udprism.columns.types import NS_PER_S
from udprism.errors import RequestError, UdprismError
from udprism.node.bodies.history import HistoryBody
from udprism.node.bodies.json import Json, as_json
from udprism.node.bodies.scenarios import RunBody, RunState, ShippedScenario
from udprism.node.events import changed_by
from udprism.node.play import Stage, measure, play, shipped, verdict
from udprism.node.report import report_html
from udprism.node.scenario import EVERYBODY, Results, Scenario, Step, evaluate, is_kept

MAX_RUNS: Final = 20
"""Kept; the oldest that has ended is forgotten, and its clients are removed, for the next."""
_MEASURE_EVERY_S: Final = 1
_MANY: Final = 500
_MEASURE_MANY_EVERY_S: Final = 10
"""Of more clients than _MANY: their bodies take the event loop's time."""

History = Callable[[str | None, int, int, float | None], Awaitable[HistoryBody]]
Note = Callable[[str, str, str | None], None]


@dataclass
class Run:
    """One run. It watches its own play."""

    id: str
    scenario: Scenario
    stage: Stage
    note: Note
    started_unix_ns: int = field(default_factory=time.time_ns)
    ended_unix_ns: int | None = None
    state: RunState = "running"
    detail: str | None = None
    ids: dict[str, str] = field(default_factory=dict)
    done_at: dict[int, float] = field(default_factory=dict)
    results: Results | None = None
    kept: float | None = None
    ended: bool = False
    task: asyncio.Task[None] | None = None

    def began(self, ids: dict[str, str]) -> None:
        """The clients are there."""
        self.ids = ids
        self.started_unix_ns = time.time_ns()
        self.note("scenario", f"{self.scenario.title} began", None)

    def step(self, step: Step) -> None:
        """A link is being set."""
        self.done_at[len(self.done_at)] = time.time_ns() / NS_PER_S
        self.note("scenario", f"{self.scenario.title}: {step.what} for {', '.join(step.clients[:3]) or 'all'}", None)

    async def second(self, number: int) -> None:
        """A second has passed."""
        every_s = _MEASURE_EVERY_S if len(self.ids) <= _MANY else _MEASURE_MANY_EVERY_S
        if number % every_s == 0:
            self.results = await measure(self.stage.clients, self.ids)

    async def play(self) -> None:
        """Run it to its end, whatever that is."""
        changed_by.set(f"the scenario {self.scenario.title}")  # this task's context alone
        try:
            played = await play(self.stage, self.scenario, self, f"run-{self.id.removeprefix('r-')}")
        except UdprismError as error:  # its clients were removed, or there is no room for them
            self.state, self.detail = "failed", str(error)
        else:
            if played is None:
                self.state = "stopped"
            else:
                self.state, self.results, self.kept = "finished", played.results, played.kept
        self.ended_unix_ns = time.time_ns()
        self.note("scenario", f"{self.scenario.title}: {self.state}", None)

    def body(self) -> RunBody:
        """Its progress, or its result."""
        scenario, results = self.scenario, self.results
        outcomes = [] if results is None else evaluate(scenario, results)
        known = self.state == "running" or (self.state == "finished" and is_kept(self.kept))
        until_ns = self.ended_unix_ns or time.time_ns()
        return {
            "id": self.id,
            "title": scenario.title,
            "seed": scenario.seed,
            "rate_hz": scenario.rate_hz,
            "duration_s": scenario.duration_s,
            "state": self.state,
            "detail": self.detail,
            "started_at": self.started_unix_ns / NS_PER_S,
            "elapsed_s": min(scenario.duration_s, (until_ns - self.started_unix_ns) / NS_PER_S),
            "schedule_kept_ratio": self.kept,
            "met": all(outcome.met for outcome in outcomes) if known and self.state == "finished" else None,
            "steps": [
                {
                    "at_s": step.at_s,
                    "what": step.what,
                    "to": list(step.clients),
                    "link": step.link.to_body(),
                    "done_at": self.done_at.get(place),
                }
                for place, step in enumerate(scenario.timeline)
            ],
            "expectations": [
                {
                    "text": one.text,
                    "measured": outcomes[place].measured if outcomes else None,
                    "met": outcomes[place].met if outcomes and known else None,
                }
                for place, one in enumerate(scenario.expectations)
            ],
            "all": None if results is None else results[EVERYBODY],
            "client_ids": list(self.ids.values()),
            "names": list(self.ids),
        }


class Scenarios:
    """The runs of one bridge. Coroutines on its event loop."""

    def __init__(
        self, stage: Stage, history: History, note: Note, given_up: Callable[[BaseException | None], None]
    ) -> None:
        self._stage = stage
        self._given_up = given_up
        self._history = history
        self._note = note
        self._runs: dict[str, Run] = {}

    def shipped(self) -> list[ShippedScenario]:
        """The shipped scenarios, by name."""
        texts = sorted(shipped().items())
        return [{"name": name, "title": tomllib.loads(text)["title"], "text": text} for name, text in texts]

    def every(self) -> list[Json]:
        """All runs, newest first."""
        return [as_json(run.body()) for run in reversed(self._runs.values())]

    def get(self, run_id: str) -> Json:
        """One run's body. Raises: RequestError (404)."""
        return as_json(self._require(run_id).body())

    async def start(self, text: str) -> Json:
        """Begin a scenario's run. Raises: RequestError (409 if one is running, 422)."""
        scenario = Scenario.from_toml(text)
        running = next((run.id for run in self._runs.values() if run.state == "running"), None)
        if running is not None:
            raise RequestError(f"{running} is still running: wait for it, or stop it", kind="scenario-runs")
        run = Run(f"r-{secrets.token_hex(3)}", scenario, self._stage, self._note)
        self._runs[run.id] = run
        run.task = asyncio.create_task(run.play())
        run.task.add_done_callback(self._examine)
        while len(self._runs) > MAX_RUNS:
            await self.remove(next(iter(self._runs)))
        return as_json(run.body())

    def _examine(self, task: asyncio.Task[None]) -> None:
        """A bug in here must not end in silence."""
        if not task.cancelled() and task.exception() is not None:
            self._given_up(task.exception())

    async def stop(self, run_id: str) -> Json:
        """End a run before its time: its clients stay, there is no verdict. Raises: RequestError (404)."""
        run = self._require(run_id)
        await _end(run)
        return as_json(run.body())

    async def remove(self, run_id: str) -> None:
        """Stop it if it runs, remove its clients, and forget it. Raises: RequestError (404, 507)."""
        run = self._require(run_id)
        await _end(run)
        for client_id in run.ids.values():
            try:
                await self._stage.clients.remove(client_id)
            except RequestError as error:
                if error.kind != "not-found":  # it has been removed already
                    raise
        self._runs.pop(run_id, None)

    async def report(self, run_id: str) -> str:
        """One HTML file. Raises: RequestError (404; 409 while there is nothing to tell)."""
        run = self._require(run_id)
        if run.results is None:
            raise RequestError("nothing has been measured yet", kind="scenario-runs")
        outcomes = evaluate(run.scenario, run.results)
        told: dict[str, Any] = verdict(run.scenario, run.results, outcomes, run.kept)
        body = run.body()
        told |= {"met": body["met"], "expectations": body["expectations"]}
        history = await self._history(None, run.started_unix_ns, run.ended_unix_ns or time.time_ns(), None)
        return report_html(run.scenario, told, run.results, history, machine())

    def _require(self, run_id: str) -> Run:
        run = self._runs.get(run_id)
        if run is None:
            raise RequestError(f"no run {run_id!r:.40}", field="id", kind="not-found")
        return run


def machine() -> dict[str, str]:
    """What a report says of the program and the machine."""
    return {
        "udprism": __version__,
        "Python": platform.python_version(),
        "Machine": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Curves": "of all clients of this program during the run",
    }


async def _end(run: Run) -> None:
    if run.task is not None and not run.task.done():
        run.ended = True
        while not run.task.done():  # within the second that it sleeps at most
            await asyncio.sleep(0.02)
