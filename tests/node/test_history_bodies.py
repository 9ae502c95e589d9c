"""Time series as bodies."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from udprism.columns.types import NS_PER_S
from udprism.ledger.timeline import STEP, Steps
from udprism.node.bodies.history import MAX_STEPS, history_body, history_csv
from udprism.node.events import Event

BEGIN_S = 1_700_000_000


def steps_at(*ends_s: float, received: int = 10) -> Steps:
    steps = np.zeros(len(ends_s), STEP)
    steps["length_s"] = 1
    steps["received"] = received
    steps["delay_ms"] = np.nan
    steps["delay_ms"][:, 0] = 1.2345
    steps["jitter_ms"] = np.nan
    steps["lost"][:, 0] = 3
    return Steps(1.0, np.array([(BEGIN_S + end) * NS_PER_S for end in ends_s], np.int64), steps)


def test_steps_lie_on_a_grid_and_a_missed_one_is_null() -> None:
    body = history_body(steps_at(1, 2, 4), None, [])
    assert body["from"] == BEGIN_S
    assert body["columns"]["rate_hz"] == [10, 10, None, 10]
    assert body["columns"]["lost_by_cause"]["link"] == [3, 3, None, 3]
    assert body["columns"]["jitter_ms"] == [None] * 4


def test_a_percentile_has_as_many_digits_as_are_known() -> None:
    body = history_body(steps_at(1), "c-1", [])
    assert body["columns"]["delay_ms"] == {"p50": [pytest.approx(1.23, abs=0.006)], "p95": [None], "p99": [None]}
    (value,) = body["columns"]["delay_ms"]["p50"]
    assert len(str(value)) <= 5


def test_nothing_is_an_empty_body() -> None:
    body = history_body(steps_at(), None, [])
    assert (body["from"], body["columns"]["rate_hz"]) == (0.0, [])


def test_a_body_is_bounded_and_keeps_the_newest() -> None:
    body = history_body(steps_at(*range(1, MAX_STEPS + 11)), None, [])
    assert len(body["columns"]["rate_hz"]) == MAX_STEPS
    assert body["from"] == BEGIN_S + 10


def test_events_stand_beside_the_columns() -> None:
    body = history_body(steps_at(1), None, [Event(BEGIN_S * NS_PER_S, "link", "link set", None)])
    assert body["events"] == [{"at": float(BEGIN_S), "kind": "link", "text": "link set", "flow": None}]


def test_csv_has_a_row_per_step_and_nothing_for_what_is_unknown() -> None:
    rows = list(csv.DictReader(io.StringIO(history_csv(history_body(steps_at(1, 3), None, [])))))
    assert [row["rate_hz"] for row in rows] == ["10", "", "10"]
    assert rows[0]["begins_unix_s"] == f"{BEGIN_S}.000"
    assert rows[0]["lost_link"] == "3"
    assert rows[0]["jitter_ms"] == ""
