"""The fake offers what the real bridge offers, so that a test with the one says something of the other."""

from __future__ import annotations

import asyncio
import inspect
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from udprism import web
from udprism.node.bridge import Bridge
from udprism.node.clients import Clients
from udprism.node.flows import Flows
from udprism.node.links import Links
from udprism.node.sessions import Sessions
from udprism.serving.clients import State
from udprism.web.answers import DATAGRAM_FIELDS
from web.fake_bridge import FakeBridge, FakeFlows, FakeLinks, FakeSessions
from web.fake_clients import FakeClients
from web.running import DEADLINE_S, Clock, ephemeral

SUBJECTS: tuple[tuple[type, type], ...] = (
    (Bridge, FakeBridge),
    (Clients, FakeClients),
    (Sessions, FakeSessions),
    (Links, FakeLinks),
    (Flows, FakeFlows),
)
OFFERED = [
    (real, fake, name)
    for real, fake in SUBJECTS
    for name, value in vars(fake).items()
    if name in vars(real) and inspect.isfunction(value) and name[0] != "_"
]


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda pair: pair[0].__name__)
def test_fake_offers_all_that_the_web_calls(subject: tuple[type, type]) -> None:
    real, fake = subject
    attribute = "bridge" if real is Bridge else real.__name__.lower()
    source = "".join(path.read_text() for path in Path(web.__path__[0]).glob("**/*.py"))
    called = set(re.findall(rf"\b_?{attribute}\.(\w+)\(", source)) & vars(real).keys()
    assert called
    assert called <= vars(fake).keys()


@pytest.mark.parametrize(("real", "fake", "name"), OFFERED)
def test_fake_is_called_as_the_real_one_is(real: type, fake: type, name: str) -> None:
    ours, theirs = getattr(fake, name), getattr(real, name)
    assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(theirs)
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)


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
        (client,) = await bridge.clients.add()
        return {
            "client": client,
            "ledger": await bridge.ledger(),
            "status": await bridge.status(),
            "links": await bridge.links.summary(),
            "check": bridge.checks()[0],
            "link": await bridge.links.put_default({"loss_ratio": 0.5}),
        }

    return asyncio.run(ask())


def streaming_bodies_of(bridge: Any) -> dict[str, Any]:
    """A datagram and a session of the clients that are there."""

    async def ask() -> dict[str, Any]:
        (client, *_), _ = await bridge.clients.page(0, 1)
        datagrams: list[dict[str, Any]] = []
        until_s = time.monotonic() + DEADLINE_S
        while not datagrams:
            assert time.monotonic() < until_s, "no datagram came"
            await asyncio.sleep(0.01)
            datagrams = await bridge.clients.datagrams(client["id"], 10)
        sessions, _ = await bridge.sessions.page()
        with bridge.clients.tap(client["id"]) as tap:
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
