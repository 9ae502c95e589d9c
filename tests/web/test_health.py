"""What those who watch the process are told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request

from udprism.node.bridge import Bridge
from udprism.node.joining import join
from udprism.web import metrics
from udprism.web.guard import REASONS
from udprism.web.health import Health
from udprism.web.live.hub import Hub
from udprism.web.metric_definitions import METRICS
from web.fake_bridge import FakeBridge
from web.running import Running, ephemeral, running


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


def families(text: str) -> dict[str, Metric]:
    """As Prometheus' own parser reads them, by name."""
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_metrics_are_in_the_format_that_prometheus_reads(api: httpx.Client) -> None:
    answer = api.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    read = families(answer.text)
    for name in ("udprism_viewers", "udprism_connections_cut", "udprism_frames", "udprism_info", "process_cpu_seconds"):
        assert read[name].samples


def test_scraper_that_prefers_openmetrics_gets_it(api: httpx.Client) -> None:
    answer = api.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert "udprism_viewers" in {family.name for family in openmetrics(answer.text)}
    for odd in ("text/plain; version=none", "application/openmetrics-text; version=x", ";;,"):
        assert api.get("/metrics", headers={"Accept": odd}).status_code == 200


def test_every_metric_says_what_it_means(api: httpx.Client) -> None:
    defined = {one["id"]: one for one in api.get("/api/definitions").json()["definitions"]}
    for name, family in families(api.get("/metrics").text).items():
        if name.startswith("udprism_"):
            definition = defined[f"{name}_total" if family.type == "counter" else name]
            assert family.documentation.startswith(definition["formula"])
            assert len(family.documentation.split()) > 3


def test_all_that_is_counted_has_a_meaning_and_all_that_has_one_is_counted() -> None:
    bridge = Bridge(ephemeral(udp="127.0.0.1:0", clients=0))
    hub = Hub(bridge)
    mesh = join(ephemeral(nats="nats://127.0.0.1"), bridge, None)
    try:
        bridge.start()
        response = asyncio.run(
            Health(bridge, hub, Counter(REASONS), mesh).metrics(Request({"type": "http", "headers": []}))
        )
    finally:
        bridge.stop()
    told = {line.split()[2] for line in bytes(response.body).decode().splitlines() if line.startswith("# TYPE")}
    assert {one.id for one in METRICS} == {name for name in told if name.startswith("udprism_")}


def test_delays_are_a_histogram(api: httpx.Client) -> None:
    family = families(api.get("/metrics").text)["udprism_datagram_delay_seconds"]
    assert family.type == "histogram"
    buckets = [sample.value for sample in family.samples if sample.name.endswith("_bucket")]
    assert buckets == sorted(buckets)
    (count,) = [sample.value for sample in family.samples if sample.name.endswith("_count")]
    assert count == buckets[-1] > 0


def test_reasons_are_there_from_the_start_so_that_a_first_event_is_a_step(api: httpx.Client) -> None:
    text = api.get("/metrics").text
    for reason in REASONS:
        assert f'udprism_connections_cut_total{{reason="{reason}"}} 0.0\n' in text


def test_metrics_name_no_client(here: Running, api: httpx.Client) -> None:
    text = api.get("/metrics").text
    for client in api.get("/api/clients").json()["clients"]:
        assert client["name"] not in text
        assert client["id"] not in text


def test_counter_is_told_from_gauge_by_its_name() -> None:
    read = families(metrics.exposition({"frames_total": 5, "viewers": 2.5})[0].decode())
    assert (read["udprism_frames"].type, read["udprism_frames"].samples[0].value) == ("counter", 5)
    assert (read["udprism_viewers"].type, read["udprism_viewers"].samples[0].value) == ("gauge", 2.5)


def test_label_cannot_break_out_of_its_quotes() -> None:
    text = metrics.exposition({"server_drops_total": {'a"} 1\n\\': 2}})[0].decode()
    (sample,) = families(text)["udprism_server_drops"].samples
    assert (sample.labels, sample.value) == ({"reason": 'a"} 1\n\\'}, 2)


@pytest.mark.parametrize("name", ["", "Drops", "drops-total", "nobody_knows_it"])
def test_metric_that_nothing_explains_is_a_bug(name: str) -> None:
    with pytest.raises(ValueError, match="metric"):
        metrics.exposition({name: 1})
