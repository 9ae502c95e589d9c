"""What is really sent has the shapes that OpenAPI promises: every field, and no other."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ConfigDict, TypeAdapter

from udprism.link.link import Link
from udprism.node import bodies
from udprism.node.bodies.links import profiles_body
from udprism.node.bridge import Bridge
from udprism.settings import Settings
from udprism.web import definitions

SHAPES = {name: shape for name, shape in vars(bodies).items() if hasattr(shape, "__required_keys__")}


def hold(shape: Any, body: object) -> None:
    """Fails where a field is missing, too much, or of another type; lists and numbers are as JSON has them."""
    TypeAdapter(_strict(shape)).validate_json(json.dumps(body), strict=True)


def _strict(shape: Any) -> Any:
    for one in SHAPES.values():
        one.__pydantic_config__ = ConfigDict(extra="forbid")
    return shape


@pytest.fixture(scope="module")
def served() -> Iterator[dict[str, Any]]:
    """One of each body, of a bridge that has been at work."""
    bridge = Bridge(Settings(ephemeral=True, udp="127.0.0.1:0", clients=2))
    bridge.start()
    try:
        yield asyncio.run(ask(bridge))
    finally:
        bridge.stop()


async def ask(bridge: Bridge) -> dict[str, Any]:
    """Some datagrams, one loss and one plain client later."""
    await bridge.clients.add(name="plain", mode="plain", rate_hz=100)
    await bridge.links.put_default({"loss_ratio": 0.5, "seed": 1})
    until_s = time.monotonic() + 20
    while (await bridge.ledger())["lost"] < 3:
        assert time.monotonic() < until_s
        await asyncio.sleep(0.02)
    clients, _ = await bridge.clients.page()
    datagrams = [one for client in clients for one in await bridge.clients.datagrams(client["id"], 100)]
    relay = await bridge.relays.add({"target": clients[0]["target"], "rules": [{"action": "drop", "nth": 1}]})
    host, _, port = relay["listen"].rpartition(":")
    flows: list[dict[str, Any]] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        while not flows:
            assert time.monotonic() < until_s
            sock.sendto(b"connect", (host, int(port)))
            await asyncio.sleep(0.02)
            flows, _ = await bridge.relays.flows(relay["id"], None, 0, 10)
    return {
        "Flow": (await bridge.flows.page(None, None, None, 0, 100))[0],
        "RelayBody": [relay, *await bridge.relays.every()],
        "RelayFlow": flows,
        "RelayDatagram": await bridge.relays.datagrams(relay["id"], flows[0]["id"], "up", 10),
        "Client": clients,
        "WholeLedger": [await bridge.ledger()],
        "Datagram": datagrams,
        "Session": (await bridge.sessions.page())[0],
        "Links": [await bridge.links.summary()],
        "Link": [await bridge.links.put_default({}), Link().to_body()],
        "Status": [await bridge.status()],
        "Check": bridge.checks(),
        "Profile": profiles_body()["profiles"],
        "Definitions": [definitions.to_body()],
    }


KINDS = (
    *("Client", "WholeLedger", "Datagram", "Session", "Links", "Link", "Status", "Check", "Profile", "Definitions"),
    *("Flow", "RelayBody", "RelayFlow", "RelayDatagram"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_sent_has_its_shape(served: dict[str, Any], kind: str) -> None:
    assert served[kind]
    for body in served[kind]:
        hold(getattr(bodies, kind), body)


def test_a_field_too_many_and_one_too_few_are_noticed() -> None:
    hold(bodies.Removed, {"removed": 1})
    for wrong in ({}, {"removed": 1, "more": 2}, {"removed": "1"}):
        with pytest.raises(ValueError, match="Removed"):
            hold(bodies.Removed, wrong)


def test_every_shape_says_what_it_is() -> None:
    for name, shape in SHAPES.items():
        assert shape.__doc__, name
