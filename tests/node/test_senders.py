"""Senders of a running program, heard by its own receivers and by plain sockets: numbers, goodbyes, links, sums."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node.test_receivers import run, until
from udprism.errors import RequestError
from udprism.node.bridge import Bridge
from udprism.node.replays import Asked as ReplayAsked
from udprism.node.store import Store
from udprism.udp.networks import Targets

DEADLINE_S = 20.0


@contextmanager
def target() -> Iterator[tuple[socket.socket, str]]:
    """A socket that takes what is sent, and its address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(DEADLINE_S)
        yield sock, "{}:{}".format(*sock.getsockname())


async def received(sock: socket.socket, count: int) -> list[bytes]:
    """The next datagrams, waited for beside the event loop."""
    return await asyncio.to_thread(lambda: [sock.recv(2048) for _ in range(count)])


@pytest.mark.parametrize(
    ("form", "numbers"),
    [("artnet", [1, 2, 3, 4]), ("e131", [0, 1, 2, 3]), ("ddp", [1, 2, 3, 4]), ("rtp", [0, 1, 2, 3])],
)
def test_a_sender_counts_as_its_format_does_and_its_sums_close(form: str, numbers: list[int]) -> None:
    at = {"artnet": 12, "e131": 111, "ddp": 1, "rtp": 3}[form]

    async def scene(bridge: Bridge) -> None:
        with target() as (sock, address):
            asked = {"format": form, "target": address, "rate_hz": 200, "colours": 3, "pattern": "chase"}
            sender = await bridge.senders.add(asked)
            datagrams = await received(sock, 4)
            assert [data[at] & (15 if form == "ddp" else 255) for data in datagrams] == numbers
            body = await bridge.senders.get(sender["id"])
            ledger = body["ledger"]
            assert ledger["offered"] == ledger["passed_on"] + ledger["lost"] >= 4
            assert body["flows"] == [f"{sender['id']}-0"]
            flow = await bridge.flows.get(body["flows"][0])
            assert (flow["kind"], flow["direction"], flow["to"]) == ("sender", "out", address)
            assert flow["last_colour"] is not None
            flows, total = await bridge.flows.page("sender", None, None, 0, 10)
            assert ([one["id"] for one in flows], total) == (body["flows"], 1)
            with pytest.raises(RequestError, match="no datagrams are stored"):
                await bridge.flows.datagrams(flow["id"], 10)

    run(scene)


def test_each_universe_is_a_flow_with_numbers_of_its_own_and_a_goodbye() -> None:
    async def scene(bridge: Bridge) -> None:
        receiver = await bridge.receivers.add(None, "e131", "127.0.0.1:0")
        asked = {"format": "e131", "target": receiver["listen"], "rate_hz": 100, "colours": 400, "pattern": "#102030"}
        sender = await bridge.senders.add(asked | {"universe": 7})
        assert len(sender["flows"]) == 3

        async def heard() -> list[dict[str, Any]]:
            flows, _ = await bridge.flows.page("receiver", "e131", None, 0, 10)
            return flows if len(flows) == 3 and all(flow["frames"]["count"] >= 2 for flow in flows) else []

        flows = await until(heard)
        assert {flow["name"].split(" of")[0] for flow in flows} == {"universe 7", "universe 8", "universe 9"}
        assert {flow["last_colour"]["rgb"] for flow in flows} == {"#102030"}
        picture = await bridge.flows.picture(flows[0]["id"])
        assert picture["values_hex"] == "102030" * 170
        assert flows[0]["frames"]["pause_ms"]["shortest"] > 500, "a still picture is refreshed, no more"
        await bridge.senders.remove(sender["id"])

        async def ended() -> bool:
            flows, _ = await bridge.flows.page("receiver", "e131", None, 0, 10)
            return all((flow["state"], flow["goodbyes"]) == ("ended", 1) for flow in flows)

        await until(ended)
        with pytest.raises(RequestError, match="no sender"):
            await bridge.senders.get(sender["id"])

    run(scene)


def test_a_senders_link_loses_and_holds_as_any_other() -> None:
    async def scene(bridge: Bridge) -> None:
        with target() as (sock, address):
            asked = {"format": "artnet", "target": address, "rate_hz": 500, "pattern": "solid"}
            sender = await bridge.senders.add(asked | {"link": {"loss_ratio": 0.5, "seed": 3}})

            async def lost() -> dict[str, Any] | None:
                body = await bridge.senders.get(sender["id"])
                return body if body["ledger"]["lost_by_cause"]["link"] >= 20 else None

            ledger = (await until(lost))["ledger"]
            assert ledger["offered"] == ledger["passed_on"] + ledger["lost"]
            numbers = [data[12] for data in await received(sock, 20)]
            assert len(set(numbers)) == 20
            assert numbers != list(range(1, 21)), "half of them are missing"
            await bridge.senders.set_link(sender["id"], {"delay_ms": 200})

            async def held() -> bool:
                return bool((await bridge.senders.get(sender["id"]))["held"] > 10)

            await until(held)
            assert bridge.senders.link(sender["id"])["delay_ms"] == 200
            await bridge.senders.set_link(sender["id"], None)
            assert bridge.senders.link(sender["id"])["delay_ms"] == 0

    run(scene)


def test_a_sender_is_kept_over_a_restart_and_stays_the_same_source(tmp_path: Path) -> None:
    with target() as (sock, address):
        cids: list[bytes] = []

        async def first(bridge: Bridge) -> None:
            await bridge.senders.add({"format": "e131", "target": address, "rate_hz": 100, "pattern": "random"})
            cids.append((await received(sock, 1))[0][22:38])

        async def second(bridge: Bridge) -> None:
            (body,) = await bridge.senders.every()
            assert (body["format"], body["target"], body["pattern"]) == ("e131", address, "random")
            sock.setblocking(False)
            with suppress(BlockingIOError):
                while sock.recv(2048):
                    pass
            sock.settimeout(DEADLINE_S)
            cids.append((await received(sock, 1))[0][22:38])
            await bridge.senders.remove(body["id"])

        async def third(bridge: Bridge) -> None:
            assert await bridge.senders.every() == []

        for scene in (first, second, third):
            run(scene, Store.open(tmp_path))
        assert cids[0] == cids[1] != bytes(16)


def test_nobody_at_the_target_is_said() -> None:
    async def scene(bridge: Bridge) -> None:
        with target() as (_, address):
            pass
        sender = await bridge.senders.add({"format": "ddp", "target": address, "rate_hz": 100})

        async def refused() -> bool:
            return bool((await bridge.senders.get(sender["id"]))["state"] == "refused")

        await until(refused)

    run(scene)


@pytest.mark.parametrize(
    ("changes", "field", "kind"),
    [
        ({"format": "morse"}, "format", "invalid"),
        ({"format": "opaque"}, "format", "invalid"),
        ({"target": "203.0.113.1:6454"}, "target", "target-not-allowed"),
        ({"target": "127.0.0.1:80"}, "target", "invalid"),
        ({"pattern": "plaid"}, "pattern", "invalid"),
        ({"rate_hz": 1e6}, "rate_hz", "invalid"),
        ({"rate_hz": 1000, "colours": 20_000}, "rate_hz", "invalid"),
        ({"universe": 32_767, "colours": 1000}, "colours", "invalid"),
        ({"link": {"loss_ratio": 2}}, "loss_ratio", "invalid"),
    ],
)
def test_what_cannot_be_sent_names_the_field(changes: dict[str, Any], field: str, kind: str) -> None:
    async def scene(bridge: Bridge) -> None:
        with pytest.raises(RequestError) as refused:
            await bridge.senders.add({"format": "artnet", "target": "127.0.0.1:6454"} | changes)
        assert (refused.value.field, refused.value.kind) == (field, kind)
        assert await bridge.senders.every() == []

    run(scene)


def test_what_a_sender_sends_and_a_receiver_hears_of_it_are_told_over_time() -> None:
    async def scene(bridge: Bridge) -> None:
        receiver = await bridge.receivers.add(None, "ddp", "127.0.0.1:0")
        sender = await bridge.senders.add({"format": "ddp", "target": receiver["listen"], "rate_hz": 200, "colours": 4})
        await bridge.senders.set_link(sender["id"], {"loss_ratio": 0.3, "seed": 3})
        (heard,) = await until(lambda: heard_flows(bridge))
        (sent_id,) = sender["flows"]

        async def told() -> Any:
            bodies = [await bridge.history(flow, 0, 1 << 62, 1.0) for flow in (sent_id, heard["id"])]
            return bodies if all(body["columns"]["rate_hz"] for body in bodies) else None

        sent, received = (body["columns"] for body in await until(told))
        assert 0 < sent["rate_hz"][0] < 200
        assert sent["lost_by_cause"]["link"][0] > 0
        assert received["rate_hz"][0] > 0
        assert set(sent["delay_ms"]["p50"]) == set(received["delay_ms"]["p50"]) == {None}
        for flow in (f"{sender['id']}-1", f"{sender['id']}-x", "o-nobody-0", "f-nobody"):
            with pytest.raises(RequestError) as refused:
                await bridge.history(flow, 0, 1 << 62, None)
            assert refused.value.kind == "not-found"

    run(scene)


async def heard_flows(bridge: Bridge) -> list[dict[str, Any]]:
    return (await bridge.flows.page("receiver", None, None, 0, 10))[0]


def test_a_kept_sender_whose_target_is_not_allowed_now_is_in_error_and_sends_once_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a start without the network of its target."""
    monkeypatch.setattr("udprism.udp.retries.EVERY_NS", 50_000_000)
    away = RequestError("it is in no network of this machine", field="target", kind="target-not-allowed")
    is_away, resolve = threading.Event(), Targets.resolve

    def resolved(targets: Targets, target: str) -> Any:
        if is_away.is_set():
            raise away
        return resolve(targets, target)

    monkeypatch.setattr(Targets, "resolve", resolved)
    with target() as (sock, address):

        async def before(bridge: Bridge) -> None:
            await bridge.senders.add({"format": "ddp", "target": address, "rate_hz": 100})
            await received(sock, 1)

        async def after(bridge: Bridge) -> None:
            async def in_error() -> bool:
                (body,) = await bridge.senders.every()
                return bool(body["error"] == str(away))

            await until(in_error)
            assert (await bridge.senders.every())[0]["state"] == "error"
            is_away.clear()

            async def sends() -> bool:
                (body,) = await bridge.senders.every()
                return body["state"] != "error" and body["ledger"]["passed_on"] > 0

            await until(sends)

        run(before, Store.open(tmp_path))
        is_away.set()
        run(after, Store.open(tmp_path))


def test_the_datagrams_of_removed_senders_stay_in_the_counter() -> None:
    async def scene(bridge: Bridge) -> None:
        with target() as (sock, address):
            sender = await bridge.senders.add({"format": "ddp", "target": address, "rate_hz": 100})
            await received(sock, 3)
            before = bridge.counters()["sender_datagrams_total"]
            assert before >= 3
            await bridge.senders.remove(sender["id"])
            assert bridge.counters()["sender_datagrams_total"] >= before

    run(scene)


def test_a_name_server_that_is_silent_holds_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    answered, resolve = threading.Event(), Targets.resolve

    def resolved(targets: Targets, target: str) -> Any:
        if target.startswith("silent"):
            answered.wait(DEADLINE_S)
            raise RequestError("no such name", field="target")
        return resolve(targets, target)

    monkeypatch.setattr(Targets, "resolve", resolved)

    async def scene(bridge: Bridge) -> None:
        with target() as (_, address):
            silent = "silent.test:5000"
            replay = ReplayAsked(silent, None, "cap-none", None, 1.0, 1, "", {})
            waiting = [
                asyncio.ensure_future(bridge.relays.add({"target": silent})),
                asyncio.ensure_future(bridge.senders.add({"format": "ddp", "target": silent})),
                asyncio.ensure_future(bridge.replays.add(replay)),
            ]
            await asyncio.sleep(0)
            relay = await bridge.relays.add({"target": address})
            sender = await bridge.senders.add({"format": "ddp", "target": address})
            await bridge.relays.change(relay["id"], {"idle_s": 5})
            await bridge.senders.remove(sender["id"])
            with pytest.raises(RequestError, match="no capture"):
                await bridge.replays.add(replace(replay, target=address))
            assert not any(one.done() for one in waiting)
            answered.set()
            told = await asyncio.gather(*waiting, return_exceptions=True)
            assert [str(one) for one in told] == ["no such name"] * 3

    run(scene)
