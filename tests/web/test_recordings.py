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
    assert (refused.status_code, refused.json()["field"]) == (422, field)


def test_a_file_that_grows_is_downloaded_as_it_is_now(api: httpx.Client) -> None:
    path = f"/api/recordings/{begin(api)['id']}"
    wait_for(lambda: api.get(path).json()["recorded"]["receiver"] > 20)
    for _ in range(50):
        file = api.get(f"{path}/file")
        assert len(file.content) == int(file.headers["content-length"]) > 260
    assert api.head(f"{path}/file").status_code == 200


def test_one_whose_files_somebody_took_away_can_be_deleted(api: httpx.Client, tmp_path: Path) -> None:
    made = begin(api)
    (tmp_path / "recordings" / made["files"][0]).unlink()
    assert api.get(f"/api/recordings/{made['id']}/file").status_code == 404
    assert api.delete(f"/api/recordings/{made['id']}").status_code == 204
    assert api.get("/api/recordings").json()["total"] == 0


def test_what_is_no_file_of_ours_is_not_served(api: httpx.Client, tmp_path: Path) -> None:
    begin(api)
    folder = tmp_path / "recordings"
    (folder / "rec-aaaaaaaaaaaa-001.pcapng").mkdir()
    (folder / "rec-bbbbbbbbbbbb-001.pcapng").symlink_to(tmp_path / "nothing")
    for name in ("rec-aaaaaaaaaaaa", "rec-bbbbbbbbbbbb"):
        assert api.get(f"/api/recordings/{name}/file").status_code == 404
    assert api.get("/api/recordings").json()["total"] == 1


def test_a_small_bound_is_enough_for_fewer_files(api: httpx.Client) -> None:
    assert begin(api, max_bytes=1 << 20)["state"] == "running"


def test_without_a_body_everything_is_recorded(api: httpx.Client) -> None:
    made = api.post("/api/recordings")
    assert made.status_code == 201, made.text
    assert (made.json()["flows"], made.json()["format"]) == ("all", "pcapng")


def test_no_more_than_four_are_written_at_once(api: httpx.Client) -> None:
    for _ in range(4):
        begin(api)
    assert api.post("/api/recordings", json={}).status_code == 409
    text = api.get("/metrics").text
    assert "udprism_recordings_running 4.0" in text
