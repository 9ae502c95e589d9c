"""/api/flows over HTTP, on a fake bridge."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Iterator

import httpx
import pytest

from web.fake_bridge import FakeBridge
from web.running import Clock, ephemeral, running


@pytest.fixture(scope="module")
def api() -> Iterator[httpx.Client]:
    clock = Clock()
    with running(FakeBridge(ephemeral(max_clients=50), unix_ns=clock)) as served:
        asyncio.run(served.bridge.clients.remove_many())
        with served.client() as client:
            client.post("/api/clients", json={"name": "anna", "rate_hz": 100})
            clock.advance(1)
            yield client


def test_flows_are_listed_and_read_one_by_one(api: httpx.Client) -> None:
    body = api.get("/api/flows").json()
    assert body["total"] == 1
    (flow,) = body["flows"]
    assert (flow["name"], flow["kind"], flow["direction"]) == ("anna", "client", "in")
    assert api.get(f"/api/flows/{flow['id']}").json()["id"] == flow["id"]
    assert api.get("/api/flows", params={"kind": "session"}).json() == {"flows": [], "total": 0}


def test_a_flows_datagrams_come_as_json_csv_and_lines(api: httpx.Client) -> None:
    (flow,) = api.get("/api/flows").json()["flows"]
    path = f"/api/flows/{flow['id']}/datagrams"
    datagrams = api.get(path, params={"limit": 5}).json()["datagrams"]
    rows = list(csv.DictReader(io.StringIO(api.get(path, params={"limit": 5, "format": "csv"}).text)))
    lines = api.get(path, params={"limit": 5, "format": "jsonl"}).text.splitlines()
    assert len(datagrams) == len(rows) == len(lines) == 5


@pytest.mark.parametrize(
    "query", [{"kind": "nothing"}, {"format": "morse"}, {"limit": 0}, {"offset": -1}, {"other": 1}]
)
def test_what_cannot_be_asked_for_is_named(api: httpx.Client, query: dict[str, str]) -> None:
    answer = api.get("/api/flows", params=query)
    assert answer.status_code == 422
    assert answer.json()["field"] in query
