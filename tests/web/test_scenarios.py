"""/api/scenarios over real HTTP, with a real bridge behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from udprism.node.bridge import Bridge
from web.running import ephemeral, serving, wait_for

SHORT = """
title = "Two halves"
clients = 2
rate_hz = 50
duration_s = 1.2
expect = ["lost > 0", "sent < 1"]
timeline = [
  { at_s = 0, link = { loss_ratio = 0.5, delay_ms = 5 } },
  { at_s = 0.5, to = "client-002", profile = "perfect" },
]
"""


@pytest.fixture
def api() -> Iterator[httpx.Client]:
    bridge = Bridge(ephemeral(udp="127.0.0.1:0", clients=1, max_clients=5))
    with serving(bridge) as client:
        yield client


def body(api: httpx.Client, run: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = api.get(f"/api/scenarios/{run['id']}").json()
    return told


def start(api: httpx.Client, text: str) -> dict[str, Any]:
    made = api.post("/api/scenarios", json={"text": text})
    assert made.status_code == 201, made.text
    told: dict[str, Any] = made.json()
    return told


def test_a_scenario_runs_beside_other_clients_and_is_judged(api: httpx.Client) -> None:
    run = start(api, SHORT)
    assert (run["state"], run["title"], len(run["steps"])) == ("running", "Two halves", 2)
    again = api.post("/api/scenarios", json={"text": SHORT})
    assert (again.status_code, again.json()["type"].rpartition(":")[2]) == (409, "scenario-runs")
    wait_for(lambda: body(api, run)["state"] == "finished")
    told = body(api, run)
    assert all(step["done_at"] for step in told["steps"])
    assert told["all"]["sent"] == told["all"]["received"] + told["all"]["lost"] + told["all"]["in_flight"]
    if told["schedule_kept_ratio"] >= 0.95:
        assert [one["met"] for one in told["expectations"]] == [True, False]
        assert told["met"] is False
    else:
        assert told["met"] is None
    assert api.get("/api/links/default").status_code == 404, "the link of others is left alone"
    events = api.get("/api/history").json()["events"]
    assert any(event["kind"] == "scenario" for event in events)
    links = [event["text"] for event in events if event["kind"] == "link"]
    assert links
    assert all(text.endswith(", by the scenario Two halves") for text in links)
    assert api.get("/api/clients").json()["total"] == 3
    report = api.get(f"/api/scenarios/{run['id']}/report")
    assert report.headers["content-disposition"].startswith("attachment")
    assert "Two halves" in report.text
    assert api.delete(f"/api/scenarios/{run['id']}").status_code == 204
    assert api.get("/api/clients").json()["total"] == 1
    assert api.get(f"/api/scenarios/{run['id']}").status_code == 404


def test_a_run_is_stopped_without_a_verdict(api: httpx.Client) -> None:
    run = start(api, "duration_s = 600\nexpect = ['lost == 0']")
    wait_for(lambda: bool(body(api, run)["client_ids"]))
    assert api.get(f"/api/scenarios/{run['id']}/report").status_code in (200, 409)
    stopped = api.post(f"/api/scenarios/{run['id']}/stop").json()
    assert (stopped["state"], stopped["met"]) == ("stopped", None)
    assert api.get("/api/scenarios").json()["total"] == 1
    assert api.get("/api/clients").json()["total"] == 2


def test_a_run_whose_clients_find_no_room_says_so(api: httpx.Client) -> None:
    run = start(api, "duration_s = 600\nclients = 100")
    wait_for(lambda: body(api, run)["state"] == "failed")
    assert "limit of 5" in body(api, run)["detail"]


def test_a_wrong_scenario_is_refused_with_the_place(api: httpx.Client) -> None:
    refused = api.post("/api/scenarios", json={"text": "duration_s = 1\nclients = -3"})
    assert (refused.status_code, refused.json()["field"]) == (422, "clients")


def test_the_shipped_ones_are_listed_with_their_texts(api: httpx.Client) -> None:
    shipped = api.get("/api/scenarios").json()["shipped"]
    assert [one["name"] for one in shipped] == ["bufferbloat", "lossy-wifi", "tunnel"]
    assert all("duration_s" in one["text"] and one["title"] for one in shipped)
