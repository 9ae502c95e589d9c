"""Every flow of a running program: what arrives at its clients, and what departs to its sessions."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any

import pytest

from udprism.columns.types import format_address
from udprism.errors import RequestError
from udprism.node.bodies import relay_flows
from udprism.node.bridge import Bridge
from udprism.settings import Settings

DEADLINE_S = 20.0
ALL = (None, None, None, 0, 1000)


def run(scene: Callable[[Bridge], Coroutine[Any, Any, None]]) -> None:
    bridge = Bridge(Settings(udp="127.0.0.1:0", clients=0, max_clients=50, rate_hz=50))
    bridge.start()
    try:
        asyncio.run(scene(bridge))
    finally:
        bridge.stop()


async def until_flows(bridge: Bridge, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            flows, total = await bridge.flows.page(*ALL)
            if total == count and all(flow["format"] for flow in flows):
                return flows
            await asyncio.sleep(0.01)


def test_a_hosted_client_of_our_own_server_is_one_flow_in_and_one_out() -> None:
    async def scene(bridge: Bridge) -> None:
        (client,) = await bridge.clients.add(name="anna")
        arrives, departs = await until_flows(bridge, 2)
        server = format_address(bridge.udp_address)
        assert (arrives["id"], arrives["kind"], arrives["direction"]) == (client["id"], "client", "in")
        assert (arrives["from"], arrives["to"]) == (server, client["local_address"])
        assert (departs["kind"], departs["direction"]) == ("session", "out")
        assert (departs["from"], departs["to"]) == (server, client["local_address"])
        assert arrives["numbering"] == departs["numbering"] == "own"
        assert await bridge.flows.get(departs["id"]) | {"ledger": None, "last_colour": None} == departs | {
            "ledger": None,
            "last_colour": None,
        }
        async with asyncio.timeout(DEADLINE_S):
            while not (await bridge.flows.get(arrives["id"]))["ledger"]["received"]:
                await asyncio.sleep(0.01)
        rows = await bridge.flows.datagrams(arrives["id"], 10)
        assert rows[0]["fate"] == "received"

    run(scene)


def test_what_departs_is_passed_on_or_lost_by_a_cause() -> None:
    async def scene(bridge: Bridge) -> None:
        await bridge.links.put_default({"loss_ratio": 0.5})
        await bridge.clients.add(rate_hz=500)
        async with asyncio.timeout(DEADLINE_S):
            while True:
                flows, _ = await bridge.flows.page("session", None, None, 0, 10)
                if flows and flows[0]["ledger"]["lost"] > 20:
                    break
                await asyncio.sleep(0.01)
        ledger = flows[0]["ledger"]
        assert ledger["offered"] == ledger["passed_on"] + ledger["lost"]
        assert ledger["lost"] == sum(ledger["lost_by_cause"].values())
        assert ledger["passed_on"] > 0

    run(scene)


def test_flows_are_chosen_by_kind_format_and_words_and_come_in_pages() -> None:
    async def scene(bridge: Bridge) -> None:
        for name in ("anna", "bert"):
            await bridge.clients.add(name=name)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as raw:
            raw.connect(bridge.udp_address)
            raw.send(b"connect")
            every = await until_flows(bridge, 5)
            assert [flow["name"] for flow in every[:2]] == ["anna", "bert"]
            pages = [(await bridge.flows.page(None, None, None, offset, 2))[0] for offset in (0, 2, 4)]
            assert [flow["id"] for page in pages for flow in page] == [flow["id"] for flow in every]
            (plain,), total = await bridge.flows.page(None, "plain", None, 0, 10)
            assert (total, plain["kind"], plain["numbering"]) == (1, "session", None)
            assert plain["to"] == format_address(raw.getsockname())
            assert (await bridge.flows.page("client", "measured", None, 0, 10))[1] == 2
            assert [flow["kind"] for flow in (await bridge.flows.page(None, None, "anna", 0, 10))[0]] == [
                "client",
                "session",
            ]

    run(scene)


def test_a_flow_that_is_not_there_and_datagrams_that_are_not_kept_are_named() -> None:
    async def scene(bridge: Bridge) -> None:
        await bridge.clients.add()
        _, departs = await until_flows(bridge, 2)
        for asked in (bridge.flows.get("nobody"), bridge.flows.get("s-00000000"), bridge.flows.datagrams("nobody", 1)):
            with pytest.raises(RequestError) as unknown:
                await asked
            assert unknown.value.kind == "not-found"
        with pytest.raises(RequestError) as none_kept:
            await bridge.flows.datagrams(departs["id"], 1)
        assert none_kept.value.kind == "no-datagrams"

    run(scene)


def test_a_relays_conversation_is_two_flows_that_it_carries() -> None:
    async def scene(bridge: Bridge) -> None:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        ):
            target.bind(("127.0.0.1", 0))
            target.settimeout(DEADLINE_S)
            client.settimeout(DEADLINE_S)
            relay = await bridge.relays.add({"target": format_address(target.getsockname()), "name": "way"})
            host, _, port = relay["listen"].rpartition(":")
            client.connect((host, int(port)))

            def talk() -> None:
                client.send(b"there")
                _, source = target.recvfrom(100)
                target.sendto(b"and back", source)
                client.recv(100)

            await asyncio.to_thread(talk)
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    flows, total = await bridge.flows.page("relay", None, None, 0, 10)
                    if total == 2 and flows[1]["ledger"]["out"]:
                        break
                    await asyncio.sleep(0.01)
            up, down = flows
            assert (up["from"], down["to"]) == (format_address(client.getsockname()),) * 2
            assert (up["to"], down["from"]) == (format_address(target.getsockname()),) * 2
            assert (up["name"], up["format"], up["numbering"]) == ("way", "opaque", None)
            assert (up["ledger"]["in"], up["ledger"]["out"], up["ledger"]["lost"]) == (1, 1, 0)
            assert (await bridge.flows.get(up["id"]))["to"] == up["to"]
            assert [row["fate"] for row in await bridge.flows.datagrams(down["id"], 10)] == ["forwarded"]
            assert (await bridge.flows.page(None, "opaque", "nothing like it", 0, 10)) == ([], 0)
            async with asyncio.timeout(DEADLINE_S):
                while not any((await bridge.history(down["id"], 0, time.time_ns(), 1.0))["columns"]["rate_hz"]):
                    await asyncio.to_thread(talk)
                    await asyncio.sleep(0.1)
            for ask in (bridge.flows.get, lambda flow: bridge.history(flow, 0, time.time_ns(), None)):
                with pytest.raises(RequestError, match="no flow"):
                    await ask(f"{relay['id']}-999-up")

    run(scene)


def test_relayed_flows_come_in_pages_over_all_relays_and_no_other_bodies_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[int] = []
    body = relay_flows._flow

    def counted(*of: Any) -> Any:
        made.append(of[3])
        return body(*of)

    monkeypatch.setattr(relay_flows, "_flow", counted)

    async def scene(bridge: Bridge) -> None:
        with ExitStack() as opened:
            target = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            target.bind(("127.0.0.1", 0))
            for clients in (3, 2):
                relay = await bridge.relays.add({"target": format_address(target.getsockname())})
                host, _, port = relay["listen"].rpartition(":")
                for _ in range(clients):
                    client = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                    client.sendto(b"there", (host, int(port)))
            async with asyncio.timeout(DEADLINE_S):
                while len(found := (await bridge.flows.page("relay", None, None, 0, 100))[0]) < 10:
                    await asyncio.sleep(0.01)
            ids = [flow["id"] for flow in found]
            for offset, limit in [(0, 1), (1, 1), (1, 4), (5, 2), (6, 3), (3, 100), (9, 1), (10, 5), (0, 0)]:
                made.clear()
                page, total = await bridge.flows.page("relay", None, None, offset, limit)
                assert ([flow["id"] for flow in page], total) == (ids[offset : offset + limit], 10)
                assert len(made) <= limit // 2 + 2
            made.clear()
            assert (await bridge.flows.get(ids[7]))["id"] == ids[7]
            assert len(made) == 1
            assert (await bridge.flows.page("relay", None, ids[8].rpartition("-")[0], 0, 10))[1] == 2

    run(scene)
