"""/api/recordings over real HTTP, with a real program behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from udprism.node.bridge import Bridge
from udprism.node.store import Store
from udprism.settings import Settings
from web.running import serving, wait_for

PCAPNG, PCAP_NS = b"\x0a\x0d\x0d\x0a", b"\x4d\x3c\xb2\xa1"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[httpx.Client]:
    settings = Settings(udp="127.0.0.1:0", clients=2, rate_hz=50, loss_after_s=0.2)
    bridge = Bridge(settings, Store.open(tmp_path))
    with serving(bridge) as client:
        yield client


def begin(api: httpx.Client, **asked: Any) -> dict[str, Any]:
    made = api.post("/api/recordings", json=asked)
    assert made.status_code == 201, made.text
    body: dict[str, Any] = made.json()
    return body


def recorded_total(api: httpx.Client) -> float:
    lines = api.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("udprism_recorded_datagrams_total "))


def recordings(api: httpx.Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get("/api/recordings").json()["recordings"]
    return found


@pytest.mark.parametrize(("form", "magic"), [("pcapng", PCAPNG), ("pcap", PCAP_NS)])
def test_a_recording_is_begun_shown_stopped_downloaded_and_deleted(api: httpx.Client, form: str, magic: bytes) -> None:
    made = begin(api, format=form)
    assert (made["state"], made["flows"], made["format"]) == ("running", "all", form)
    path = f"/api/recordings/{made['id']}"
    wait_for(lambda: api.get(path).json()["recorded"]["receiver"] > 20)
    stopped = api.post(f"{path}/stop").json()
    assert stopped["state"] == "ended"
    assert api.get("/api/recordings").json() == {"recordings": [stopped], "total": 1}
    file = api.get(f"{path}/file")
    assert file.content[:4] == magic
    assert len(file.content) == stopped["bytes"]
    assert file.headers["content-disposition"] == f'attachment; filename="{stopped["files"][0]}"'
    assert api.get(f"{path}/file", params={"name": "../state.sqlite"}).status_code == 404
    counted = recorded_total(api)
    assert api.delete(path).status_code == 204
    assert recorded_total(api) == counted > 0  # a counter never falls
    assert api.get(path).status_code == 404
    assert api.get("/api/recordings").json()["total"] == 0


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"format": "har"}, "format"),
        ({"max_bytes": 100}, "max_bytes"),
        ({"max_bytes": 2 << 20, "max_files": 3}, "max_bytes"),
        ({"max_files": 0}, "max_files"),
        ({"flows": []}, "flows"),
        ({"flows": ["c-none"]}, "flows.0"),
    ],
)
def test_what_cannot_be_recorded_is_named(api: httpx.Client, asked: dict[str, Any], field: str) -> None:
    refused = api.post("/api/recordings", json=asked)
    assert refused.status_code == 422
    assert refused.json()["field"].startswith(field)


def test_no_more_than_four_are_written_at_once(api: httpx.Client) -> None:
    for _ in range(4):
        begin(api)
    assert api.post("/api/recordings", json={}).status_code == 409
    text = api.get("/metrics").text
    assert "udprism_recordings_running 4.0" in text
