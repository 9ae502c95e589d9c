"""/api/receivers over real HTTP, with real sockets behind it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from udprism.node.bridge import Bridge
from web.running import ephemeral, serving, wait_for


@pytest.fixture
def api() -> Iterator[httpx.Client]:
    bridge = Bridge(ephemeral(udp="127.0.0.1:0", clients=0, max_clients=10))
    with serving(bridge) as client:
        yield client


@pytest.fixture
def receiver(api: httpx.Client) -> Iterator[dict[str, Any]]:
    made = api.post("/api/receivers", json={"format": "text", "listen": "127.0.0.1:0", "name": "desk"})
    assert made.status_code == 201, made.text
    body: dict[str, Any] = made.json()
    yield body
    assert api.delete(f"/api/receivers/{body['id']}").status_code in (204, 404)


def send(receiver: dict[str, Any], *datagrams: bytes) -> None:
    host, port = receiver["listen"].rsplit(":", 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for data in datagrams:
            sock.sendto(data, (host, int(port)))


def test_a_receiver_is_made_listed_read_and_removed(api: httpx.Client, receiver: dict[str, Any]) -> None:
    assert (receiver["name"], receiver["format"], receiver["state"]) == ("desk", "text", "live")
    assert not receiver["listen"].endswith(":0")
    assert api.get("/api/receivers").json() == {"receivers": [receiver], "total": 1}
    assert api.get(f"/api/receivers/{receiver['id']}").json() == receiver
    assert api.delete(f"/api/receivers/{receiver['id']}").status_code == 204
    assert api.get(f"/api/receivers/{receiver['id']}").status_code == 404
    assert api.get("/api/receivers").json() == {"receivers": [], "total": 0}
    again = api.post("/api/receivers", json={"format": "text", "listen": receiver["listen"]})
    assert (again.status_code, again.json()["listen"]) == (201, receiver["listen"])


def test_what_is_sent_to_it_is_a_flow_with_a_picture(api: httpx.Client, receiver: dict[str, Any]) -> None:
    send(receiver, b"red", b"left:#010203")

    def flows() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = api.get("/api/flows", params={"kind": "receiver", "format": "text"}).json()[
            "flows"
        ]
        return found

    wait_for(lambda: len(flows()) == 2)
    (left,) = api.get("/api/flows", params={"kind": "receiver", "query": "left"}).json()["flows"]
    assert left["last_colour"]["rgb"] == "#010203"
    assert api.get(f"/api/flows/{left['id']}").json()["receiver_id"] == receiver["id"]
    assert api.get(f"/api/flows/{left['id']}/picture").json()["values_hex"] == "010203"
    assert api.get(f"/api/flows/{left['id']}/datagrams").json()["datagrams"][0]["rgb"] == "#010203"
    assert {flow["id"] for flow in flows()} == set(api.get(f"/api/receivers/{receiver['id']}").json()["flows"])
    figures = api.get("/metrics").text
    assert "udprism_receivers 1" in figures
    assert "udprism_receiver_flows 2" in figures


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "format"),
        ({"format": "morse"}, "format"),
        ({"format": "ddp", "listen": "here"}, "listen"),
        ({"format": "ddp", "listen": "256.1.1.1:4048"}, "listen"),
        ({"format": "ddp", "name": ""}, "name"),
        ({"format": "ddp", "colour": "red"}, "colour"),
    ],
)
def test_what_cannot_be_made_names_the_field(api: httpx.Client, body: dict[str, Any], field: str) -> None:
    answer = api.post("/api/receivers", json=body)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_a_port_that_is_taken_is_a_conflict(api: httpx.Client, receiver: dict[str, Any]) -> None:
    answer = api.post("/api/receivers", json={"format": "text", "listen": receiver["listen"]})
    assert (answer.status_code, answer.json()["field"]) == (409, "listen")
    assert answer.json()["type"].endswith("cannot-bind")


def test_a_flow_without_a_picture_is_not_found(api: httpx.Client) -> None:
    assert api.get("/api/flows/f-nothing/picture").status_code == 404
    assert api.get("/api/flows/c-nothing/picture").status_code == 404
