"""/api/relays over real HTTP, with real relays behind it."""

from __future__ import annotations

import csv
import io
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from web.fake_bridge import FakeBridge
from web.running import ephemeral, running, wait_for

L = {
    "in", "out", "lost", "held", "duplicated", "corrupted", "refused", "bytes_in", "bytes_out", "lost_by_cause",
    "as_rfc3550", "as_iperf3",
}  # fmt: skip


@pytest.fixture
def api() -> Iterator[httpx.Client]:
    bridge = FakeBridge(ephemeral())
    with running(bridge) as served, served.client() as client:
        yield client
        bridge.relays.stop()


@pytest.fixture
def target() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(20)
        yield sock


@pytest.fixture
def relay(api: httpx.Client, target: socket.socket) -> Iterator[dict[str, Any]]:
    made = api.post("/api/relays", json={"target": address_of(target)})
    assert made.status_code == 201, made.text
    body: dict[str, Any] = made.json()
    yield body
    assert api.delete(f"/api/relays/{body['id']}").status_code in (204, 404)


@pytest.fixture
def client(relay: dict[str, Any]) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        host, port = relay["listen"].split(":")
        sock.connect((host, int(port)))
        yield sock


def address_of(sock: socket.socket) -> str:
    host, port = sock.getsockname()
    return f"{host}:{port}"


def get(api: httpx.Client, path: str) -> Any:
    answer = api.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer: httpx.Response, status: int, field: str | None) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["field"] == field


def talk(client: socket.socket, target: socket.socket, count: int) -> None:
    for number in range(count):
        client.send(b"%d" % number)
        data, source = target.recvfrom(100)
        target.sendto(data, source)
        assert client.recv(100) == data


def test_a_relay_that_cannot_be_leaves_no_word_in_the_log(api: httpx.Client, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        assert api.post("/api/relays", json={"target": "127.0.0.1:5055", "listen": listen}).status_code == 409
    itself = api.post("/api/relays", json={"target": listen, "listen": listen})
    assert (itself.status_code, itself.json()["field"]) == (422, "target")
    assert "Traceback" not in capfd.readouterr().err


def test_a_relay_is_begun_with_its_target_alone_and_says_where_it_listens(
    api: httpx.Client, relay: dict[str, Any], target: socket.socket
) -> None:
    assert relay["listen"].startswith("127.0.0.1:")
    assert not relay["listen"].endswith(":0")
    assert (relay["target"], relay["state"], relay["flows"]) == (address_of(target), "live", 0)
    assert set(relay["ledger"]) == {"up", "down"}
    assert set(relay["ledger"]["up"]) == L
    assert relay["ledger"]["up"]["lost_by_cause"] == {"link": 0, "queue": 0, "kernel": 0}
    assert get(api, f"/api/relays/{relay['id']}") == relay
    listed = get(api, "/api/relays")
    assert relay in listed["relays"]
    assert listed["total"] == len(listed["relays"])


def test_flows_are_listed_with_the_sums_of_both_ways(
    api: httpx.Client, relay: dict[str, Any], client: socket.socket, target: socket.socket
) -> None:
    talk(client, target, 10)
    path = f"/api/relays/{relay['id']}"
    wait_for(lambda: get(api, path)["ledger"]["down"]["out"] == 10)
    listed = get(api, f"{path}/flows")
    (flow,) = listed["flows"]
    assert listed["total"] == 1
    assert flow["client_address"] == address_of(client)
    assert flow["state"] == "both"
    assert (flow["up"]["in"], flow["up"]["out"], flow["down"]["out"]) == (10, 10, 10)
    assert flow["client_buffer"] == {"queue_bytes": 0, "drops": 0}
    assert get(api, path)["target_buffer"] == {"queue_bytes": 0, "drops": 0}
    assert get(api, f"{path}/flows?query={address_of(client)}")["total"] == 1
    assert get(api, f"{path}/flows?query=nobody")["total"] == 0
    assert get(api, f"{path}/flows/{flow['id']}")["id"] == flow["id"]
    rebound = api.post(f"{path}/rebind").json()
    assert rebound == {"rebound": 1}
    assert get(api, f"{path}/flows/{flow['id']}")["local_address"] != flow["local_address"]
    talk(client, target, 1)


def test_datagrams_are_told_in_three_forms(
    api: httpx.Client, relay: dict[str, Any], client: socket.socket, target: socket.socket
) -> None:
    talk(client, target, 5)
    (flow,) = get(api, f"/api/relays/{relay['id']}/flows")["flows"]
    path = f"/api/relays/{relay['id']}/flows/{flow['id']}/datagrams"
    wait_for(lambda: len(get(api, f"{path}?direction=down")["datagrams"]) == 5)
    told = get(api, path)["datagrams"]
    assert [one["number"] for one in told] == list(range(5))
    assert {one["fate"] for one in told} == {"forwarded"}
    assert bytes.fromhex(told[3]["payload_hex"]) == b"3"
    rows = list(csv.DictReader(io.StringIO(api.get(f"{path}?format=csv").text)))
    assert [row["number"] for row in rows] == ["0", "1", "2", "3", "4"]
    lines = api.get(f"{path}?format=jsonl&limit=2").text.splitlines()
    assert [json.loads(line)["number"] for line in lines] == [3, 4]


def test_links_are_set_read_and_taken_away_for_each_way_and_each_flow(
    api: httpx.Client, relay: dict[str, Any], client: socket.socket, target: socket.socket
) -> None:
    path = f"/api/relays/{relay['id']}"
    talk(client, target, 1)
    put = api.put(f"{path}/links/up", json={"loss_ratio": 1, "seed": 5})
    assert put.status_code == 200
    assert put.json() == get(api, f"{path}/links/up") == get(api, path)["up"]
    assert get(api, f"{path}/links/down")["loss_ratio"] == 0
    client.send(b"lost")
    wait_for(lambda: get(api, path)["ledger"]["up"]["lost_by_cause"]["link"] == 1)
    (flow,) = get(api, f"{path}/flows")["flows"]
    own = f"{path}/flows/{flow['id']}/links/up"
    assert api.put(own, json={"delay_ms": 1}).status_code == 204
    assert get(api, f"{path}/flows")["flows"][0]["links"]["up"]["delay_ms"] == 1
    talk(client, target, 1)
    assert api.delete(own).status_code == 204
    assert api.delete(f"{path}/links/up").status_code == 204
    assert get(api, f"{path}/links/up")["loss_ratio"] == 0
    talk(client, target, 1)


def test_rules_are_changed_and_their_hits_shown(
    api: httpx.Client, relay: dict[str, Any], client: socket.socket, target: socket.socket
) -> None:
    path = f"/api/relays/{relay['id']}"
    rules = [{"action": "drop", "direction": "up", "nth": 2}]
    assert api.patch(path, json={"rules": rules, "idle_s": 30}).json()["idle_s"] == 30
    for number in range(4):
        client.send(b"%d" % number)
    assert [target.recv(10) for _ in range(3)] == [b"0", b"2", b"3"]
    wait_for(lambda: get(api, path)["rules"][0]["hits"] == 1)


def test_a_reset_begins_anew(api: httpx.Client, target: socket.socket) -> None:
    body = {"target": address_of(target), "up": {"loss_ratio": 0.5, "seed": 4}}
    made = api.post("/api/relays", json=body).json()
    path = f"/api/relays/{made['id']}"
    host, port = made["listen"].split(":")
    runs = []
    for _ in range(2):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            for number in range(40):
                client.sendto(b"%d" % number, (host, int(port)))
            wait_for(lambda: get(api, path)["ledger"]["up"]["in"] == 40)
            out = get(api, path)["ledger"]["up"]["out"]
            runs.append([target.recv(10) for _ in range(out)])
        assert api.post(f"{path}/reset").status_code == 204
        assert (get(api, path)["flows"], get(api, path)["ledger"]["up"]["in"]) == (0, 0)
    assert runs[0] == runs[1]
    assert api.delete(path).status_code == 204
    refused(api.get(path), 404, "id")


def test_one_flow_is_ended(
    api: httpx.Client, relay: dict[str, Any], client: socket.socket, target: socket.socket
) -> None:
    talk(client, target, 2)
    path = f"/api/relays/{relay['id']}"
    (flow,) = get(api, f"{path}/flows")["flows"]
    assert api.delete(f"{path}/flows/{flow['id']}").status_code == 204
    refused(api.delete(f"{path}/flows/{flow['id']}"), 404, "id")
    talk(client, target, 1)
    assert get(api, f"{path}/flows")["flows"][0]["id"] != flow["id"]
    wait_for(lambda: get(api, path)["ledger"]["down"]["out"] == 3)


def test_metrics_count_relays(
    api: httpx.Client, relay: dict[str, Any], client: socket.socket, target: socket.socket
) -> None:
    def metric(name: str) -> float:
        line = next(line for line in api.get("/metrics").text.splitlines() if line.startswith(name + " "))
        return float(line.rsplit(" ", 1)[1])

    before = metric('udprism_relay_datagrams_total{direction="up"}')
    talk(client, target, 3)
    wait_for(lambda: metric('udprism_relay_datagrams_total{direction="up"}') == before + 3)
    assert metric("udprism_relay_flows") >= 1
    api.delete(f"/api/relays/{relay['id']}")
    assert metric('udprism_relay_datagrams_total{direction="up"}') == before + 3


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 422, "target"),
        ({"target": "127.0.0.1:80"}, 422, "target"),
        ({"target": "203.0.113.1:5000"}, 403, "target"),
        ({"target": "224.0.0.1:5000"}, 403, "target"),
        ({"target": "127.0.0.1:5000", "listen": "here:1"}, 422, "listen"),
        ({"target": "127.0.0.1:5000", "listen": "203.0.113.9:5001"}, 409, "listen"),
        ({"target": "127.0.0.1:5000", "up": {"loss_ratio": 2}}, 422, "up.loss_ratio"),
        ({"target": "127.0.0.1:5000", "down": {"reorder_ratio": 0.5}}, 422, "down.reorder_ratio"),
        ({"target": "127.0.0.1:5000", "rules": [{"action": "hold"}]}, 422, "rules.0.hold_ms"),
        ({"target": "127.0.0.1:5000", "max_flows": 0}, 422, "max_flows"),
        ({"target": "127.0.0.1:5000", "idle_s": 0}, 422, "idle_s"),
        ({"target": "127.0.0.1:5000", "allow_from": ["all"]}, 422, "allow_from"),
        ({"target": "127.0.0.1:5000", "surprise": 1}, 422, "surprise"),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(
    api: httpx.Client, body: dict[str, Any], status: int, field: str
) -> None:
    total = get(api, "/api/relays")["total"]
    refused(api.post("/api/relays", json=body), status, field)
    assert get(api, "/api/relays")["total"] == total


def test_a_relay_to_a_relay_is_refused(api: httpx.Client, relay: dict[str, Any]) -> None:
    refused(api.post("/api/relays", json={"target": relay["listen"]}), 422, "target")


def test_a_port_that_is_taken_is_a_conflict(api: httpx.Client, relay: dict[str, Any], target: socket.socket) -> None:
    body = {"target": address_of(target), "listen": relay["listen"]}
    refused(api.post("/api/relays", json=body), 409, "listen")


@pytest.mark.parametrize("path", ["", "/links/up", "/flows", "/flows/x", "/flows/x/datagrams"])
def test_an_unknown_relay_is_not_found(api: httpx.Client, path: str) -> None:
    refused(api.get(f"/api/relays/r-unknown{path}"), 404, "id")
