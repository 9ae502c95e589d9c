"""Scenarios that run on the page: their state, their steps and the outcomes of their expectations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

Measures = Mapping[str, float | None]
RunState = Literal["running", "finished", "stopped", "failed"]


class RunStep(TypedDict):
    """`to` has the scenario's names of clients; empty: all of them. `done_at`: Unix time in seconds, null before."""

    at_s: float
    what: str
    to: list[str]
    link: dict[str, object]
    done_at: float | None


class RunExpectation(TypedDict):
    """`met` is provisional while the scenario runs, and null if nothing is known or the schedule was not kept."""

    text: str
    measured: float | None
    met: bool | None


class RunBody(TypedDict):
    """`names` are the scenario's names of `client_ids`, in the same order. Times are Unix seconds."""

    id: str
    title: str
    seed: int
    rate_hz: float
    duration_s: float
    state: RunState
    detail: str | None
    started_at: float
    elapsed_s: float
    schedule_kept_ratio: float | None
    met: bool | None
    steps: list[RunStep]
    expectations: list[RunExpectation]
    all: Measures | None
    client_ids: list[str]
    names: list[str]


class ShippedScenario(TypedDict):
    """`text` is TOML."""

    name: str
    title: str
    text: str


class ScenarioList(TypedDict):
    """`GET /api/scenarios`: runs, newest first, and the shipped scenarios."""

    scenarios: list[RunBody]
    total: int
    shipped: list[ShippedScenario]
