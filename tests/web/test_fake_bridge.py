"""The fake offers what the real bridge offers, so that a test with the one says something of the other."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import Any

import numpy as np
import pytest

from udprism.node.bridge import Bridge
from udprism.serving.clients import State
from udprism.web.api import DATAGRAM_FIELDS
from web.fake_bridge import FakeBridge
from web.running import DEADLINE_S, Clock, ephemeral

CALLED = sorted(name for name, value in vars(FakeBridge).items() if inspect.isfunction(value) and name[0] != "_")


@pytest.mark.parametrize("name", CALLED)
def test_fake_is_called_as_the_bridge_is(name: str) -> None:
    real, fake = getattr(Bridge, name), getattr(FakeBridge, name)
    assert inspect.iscoroutinefunction(real) == inspect.iscoroutinefunction(fake)
    assert list(inspect.signature(real).parameters) == list(inspect.signature(fake).parameters)


def test_fake_has_the_bridges_attributes() -> None:
    fake = FakeBridge()
    real = Bridge(ephemeral(udp="127.0.0.1:0", clients=0))
    real.stop()
    for name in ("settings", "instance_id", "started_unix_ns", "udp_address"):
        assert type(getattr(fake, name)) is type(getattr(real, name))


def differences(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    """The keys that only one of two bodies has, and those of the objects in both."""
    inner = [
        {f"{key}.{name}" for name in differences(one[key], other[key])}
        for key in one.keys() & other.keys()
        if isinstance(one[key], dict) and isinstance(other[key], dict)
    ]
    return (one.keys() ^ other.keys()).union(*inner)


def bodies_of(bridge: Any) -> dict[str, Any]:
    """One of each body that the web passes on."""

    async def ask() -> dict[str, Any]:
        (client,) = await bridge.add_clients(None, None, None, None, None, 1)
        return {
            "client": client,
            "ledger": await bridge.ledger(),
            "status": await bridge.status(),
            "links": await bridge.links(),
            "check": bridge.checks()[0],
            "link": await bridge.put_default_link({"loss_ratio": 0.5}),
        }

    return asyncio.run(ask())


def streaming_bodies_of(bridge: Any) -> dict[str, Any]:
    """A datagram and a session of the clients that are there."""

    async def ask() -> dict[str, Any]:
        (client, *_), _ = await bridge.list_clients(0, 1)
        datagrams: list[dict[str, Any]] = []
        until_s = time.monotonic() + DEADLINE_S
        while not datagrams:
            assert time.monotonic() < until_s, "no datagram came"
            await asyncio.sleep(0.01)
            datagrams = await bridge.datagrams(client["id"], 10)
        sessions, _ = await bridge.sessions()
        with bridge.tap(client["id"]) as tap:
            tapped = await anext(aiter(tap))
        return {"datagram": datagrams[0], "session": sessions[-1], "tapped": tapped}

    return asyncio.run(ask())


def test_fakes_bodies_have_the_keys_of_the_bridges() -> None:
    real = Bridge(ephemeral(udp="127.0.0.1:0", clients=1))
    real.start()
    try:
        expected = bodies_of(real) | streaming_bodies_of(real)
    finally:
        real.stop()
    fake = FakeBridge(first_clients=1)
    found = bodies_of(fake) | streaming_bodies_of(fake)
    assert tuple(expected["datagram"]) == DATAGRAM_FIELDS
    for kind, body in expected.items():
        assert differences(found[kind], body) == set(), kind


def test_fakes_sums_close_at_any_moment() -> None:
    clock = Clock()
    bridge = FakeBridge(ephemeral(), unix_ns=clock, first_clients=40)
    for _ in range(20):
        clock.advance(0.7)
        ledger = asyncio.run(bridge.ledger())
        taken = asyncio.run(bridge.snapshot([]))
        assert ledger["sent"] == ledger["received"] + ledger["lost"]
        assert ledger["received"] == int(taken.version.sum())
    assert set(np.unique(taken.state).tolist()) >= {State.LIVE, State.SILENT, State.REFUSED, State.CONNECTING}
