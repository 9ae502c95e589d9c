"""What those who watch the process are told."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from udprism.web import metrics
from web.fake_bridge import FakeBridge
from web.running import Running, running


@pytest.fixture(scope="module")
def here() -> Iterator[Running]:
    with running(FakeBridge(first_clients=3)) as served:
        yield served


@pytest.fixture
def api(here: Running) -> Iterator[httpx.Client]:
    here.bridge.down = here.bridge.disk_full = False
    with here.client() as client:
        yield client


def test_ready_names_each_check_with_its_reason(api: httpx.Client) -> None:
    answer = api.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["ready"] is True
    assert [check["name"] for check in answer.json()["checks"]] == ["server", "pool", "store"]


def test_dead_thread_makes_it_not_ready_but_alive(here: Running, api: httpx.Client) -> None:
    here.bridge.down = True
    answer = api.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["ready"] is False
    assert {"name": "pool", "ok": False, "detail": "no heartbeat", "fatal": True} in answer.json()["checks"]
    assert api.get("/livez").status_code == 200


def test_full_disk_is_said_and_stops_nothing(here: Running, api: httpx.Client) -> None:
    here.bridge.disk_full = True
    answer = api.get("/readyz")
    assert answer.status_code == 200
    assert [check["ok"] for check in answer.json()["checks"]] == [True, True, False]


LINE = re.compile(r'[a-z_]+(\{[a-z]+="(?:[^"\\\n]|\\["\\n])*"\})? -?[0-9]+(\.[0-9]+(e-?[0-9]+)?)?')


def test_metrics_are_in_the_format_that_prometheus_reads(api: httpx.Client) -> None:
    answer = api.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    typed = set()
    for line in answer.text.splitlines():
        if line.startswith("# TYPE "):
            typed.add(line.split()[2])
        elif not line.startswith("# HELP "):
            assert LINE.fullmatch(line), line
            assert re.split(r"[ {]", line)[0] in typed
    assert answer.text.endswith("\n")
    for family in ("udprism_viewers", "udprism_connections_cut_total", "udprism_frames_total", "udprism_info"):
        assert family in typed


def test_reasons_are_there_from_the_start_so_that_a_first_event_is_a_step(api: httpx.Client) -> None:
    text = api.get("/metrics").text
    for reason in ("slow", "headers", "request", "stalled", "pings", "fragments", "messages"):
        assert f'udprism_connections_cut_total{{reason="{reason}"}} 0\n' in text


def test_metrics_name_no_client(here: Running, api: httpx.Client) -> None:
    text = api.get("/metrics").text
    for client in api.get("/api/clients").json()["clients"]:
        assert client["name"] not in text
        assert client["id"] not in text


def test_counter_is_told_from_gauge_by_its_name() -> None:
    assert metrics.exposition({"bytes_total": 5, "bytes": 2.5}) == (
        "# HELP udprism_bytes bytes\n# TYPE udprism_bytes gauge\nudprism_bytes 2.5\n"
        "# HELP udprism_bytes_total bytes total\n# TYPE udprism_bytes_total counter\nudprism_bytes_total 5\n"
    )


def test_label_cannot_break_out_of_its_quotes() -> None:
    assert metrics.exposition({"drops_total": {'a"} 1\n\\': 2}}).splitlines()[2] == (
        'udprism_drops_total{reason="a\\"} 1\\n\\\\"} 2'
    )


@pytest.mark.parametrize("name", ["", "Drops", "drops-total", "1st", "a b", "a\n"])
def test_name_that_prometheus_would_not_read_is_a_bug(name: str) -> None:
    with pytest.raises(ValueError, match="metric"):
        metrics.exposition({name: 1})
