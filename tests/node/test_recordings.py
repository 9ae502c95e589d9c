"""Recordings of a running program: both points of every datagram, with what became of it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from udprism.errors import RequestError
from udprism.node import recorded_flows
from udprism.node.bridge import Bridge
from udprism.node.store import Store
from udprism.settings import Settings

DEADLINE_S = 30.0
BAD = {"loss_ratio": 0.1, "delay_ms": 15, "jitter_ms": 12, "duplicate_ratio": 0.05, "corrupt_ratio": 0.05, "seed": 5}
Scene = Callable[[Bridge], Coroutine[Any, Any, None]]


def run(scene: Scene, folder: Path, **changes: Any) -> None:
    usual: dict[str, Any] = {"udp": "127.0.0.1:0", "clients": 3, "rate_hz": 100, "max_clients": 50}
    bridge = Bridge(Settings(**usual | {"loss_after_s": 0.3} | changes), Store.open(folder))
    bridge.start()
    try:
        asyncio.run(scene(bridge))
    finally:
        bridge.stop()


async def until(ready: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """What `ready` returns, as soon as that is true."""
    async with asyncio.timeout(DEADLINE_S):
        while not (found := await ready()):
            await asyncio.sleep(0.02)
        return found


async def recorded(bridge: Bridge, recording_id: str, count: int) -> dict[str, Any]:
    async def enough() -> Any:
        body = await bridge.recordings.get(recording_id)
        return body if body["recorded"] is not None and body["recorded"]["sender"] >= count else None

    found: dict[str, Any] = await until(enough)
    return found


async def inspected(path: Path) -> list[dict[str, Any]]:
    return await asyncio.to_thread(inspect, path)


def inspect(path: Path) -> list[dict[str, Any]]:
    """What `udprism inspect` says of the file's flows."""
    done = subprocess.run(
        [sys.executable, "-m", "udprism", "inspect", str(path), "--json"], capture_output=True, text=True, check=True
    )
    flows: list[dict[str, Any]] = json.loads(done.stdout)["flows"]
    return flows


def comments_of(path: Path) -> Counter[str]:
    """The comments of a pcapng file, by walking over its blocks: what is written must not be read by what wrote it."""
    data, at, found = path.read_bytes(), 0, Counter[str]()
    while at < len(data):
        kind, length = int.from_bytes(data[at : at + 4], "little"), int.from_bytes(data[at + 4 : at + 8], "little")
        assert data[at + length - 4 : at + length] == data[at + 4 : at + 8]
        if kind == 6:
            options = at + 28 + (int.from_bytes(data[at + 20 : at + 24], "little") + 3 & ~3)
            while options < at + length - 4:
                code, size = (int.from_bytes(data[options + k : options + k + 2], "little") for k in (0, 2))
                if code == 1:
                    found[data[options + 4 : options + 4 + size].decode()] += 1
                options += 4 + (size + 3 & ~3)
        at += length
    return found


def test_every_datagram_is_in_it_twice_or_has_a_reason(tmp_path: Path) -> None:
    async def scene(bridge: Bridge) -> None:
        await bridge.links.put_default(BAD)
        made = await bridge.recordings.add(None, "pcapng", 100_000_000, 4)
        await recorded(bridge, made["id"], 600)
        for client in (await bridge.clients.page(0, 10))[0]:
            await bridge.clients.change(client["id"], {"paused": True})

        async def quiet() -> bool:
            before = await bridge.ledger()
            await asyncio.sleep(0.5)
            return before["in_flight"] == 0 and before == await bridge.ledger()

        await until(quiet)
        ended = await bridge.recordings.stop_one(made["id"])
        assert (ended["state"], ended["missed"]) == ("ended", {"sender": 0, "receiver": 0})
        (path,) = await bridge.recordings.files(made["id"])
        said = comments_of(path)
        assert not [text for text in said if "not known" in text], said
        flows = await inspected(path)
        sent = sum(flow["ledger"]["sent"] for flow in flows if flow["interface"] == 0)
        received = sum(flow["ledger"]["received"] for flow in flows if flow["interface"] == 1)
        lost = sum(count for text, count in said.items() if text.startswith("lost by the link"))
        assert lost > 20
        assert sent == received + lost

    run(scene, tmp_path)


def test_a_recording_from_the_first_datagram_has_the_sums_of_the_ledger(tmp_path: Path) -> None:
    async def scene(bridge: Bridge) -> None:
        await bridge.links.put_default(BAD)
        made = await bridge.recordings.add(None, "pcapng", 100_000_000, 1)
        ids = [one["id"] for one in await bridge.clients.add(None, None, 200.0, None, "measured", 2)]
        await recorded(bridge, made["id"], 500)
        for one in ids:
            await bridge.clients.change(one, {"paused": True})

        async def quiet() -> Any:
            bodies = [await bridge.clients.get(one) for one in ids]
            await asyncio.sleep(0.5)
            again = [await bridge.clients.get(one) for one in ids]
            same = [body["ledger"] for body in bodies] == [body["ledger"] for body in again]
            return bodies if same and all(body["ledger"]["in_flight"] == 0 for body in bodies) else None

        live = {body["local_address"]: body["ledger"] for body in await until(quiet)}
        await bridge.recordings.stop_one(made["id"])
        (path,) = await bridge.recordings.files(made["id"])
        flows = await inspected(path)
        found = {flow["to"]: flow["ledger"] for flow in flows if flow["interface"] == 1}
        sent = {flow["to"]: flow["ledger"]["sent"] for flow in flows if flow["interface"] == 0}
        for address, ledger in live.items():
            for name in ("received", "duplicates", "reordered"):
                assert found[address][name] == ledger[name], name
            assert sent[address] == ledger["sent"]

    run(scene, tmp_path, clients=0)


def test_only_the_clients_that_were_asked_for_are_in_it(tmp_path: Path) -> None:
    async def scene(bridge: Bridge) -> None:
        (client, *_), _ = await bridge.clients.page(0, 1)
        made = await bridge.recordings.add([client["id"]], "pcap", 10_000_000, 1)
        await recorded(bridge, made["id"], 30)
        await bridge.recordings.stop_one(made["id"])
        (path,) = await bridge.recordings.files(made["id"])
        assert {flow["to"] for flow in await inspected(path)} == {client["local_address"]}
        with pytest.raises(RequestError, match="no flow 'c-none'") as refused:
            await bridge.recordings.add([client["id"], "c-none"], "pcap", 10_000_000, 1)
        assert refused.value.field == "flows.1"

    run(scene, tmp_path)


def udp_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(DEADLINE_S)
    return sock


def test_what_a_relay_carries_is_in_it_with_what_its_link_did(tmp_path: Path) -> None:
    """Both points of both directions, joined by the packet's id; the fates are those that the relay counted."""

    async def scene(bridge: Bridge) -> None:
        link = {"loss_ratio": 0.2, "duplicate_ratio": 0.1, "delay_ms": 20, "corrupt_ratio": 0.1, "seed": 3}
        with udp_socket() as target, udp_socket() as client:
            to = f"127.0.0.1:{target.getsockname()[1]}"
            before = await bridge.relays.add({"target": to, "up": link})
            made = await bridge.recordings.add(None, "pcapng", 100_000_000, 1)
            await until(lambda: shown_to(bridge, made["id"], 1))
            listen = ("127.0.0.1", int(before["listen"].rpartition(":")[2]))
            for number in range(200):
                client.sendto(b"up %d" % number, listen)
            await until(lambda: settled(bridge, before["id"], 200))
            up = (await bridge.relays.get(before["id"]))["ledger"]["up"]
            address = (await bridge.relays.flows(before["id"], None, 0, 1))[0][0]["local_address"]
            target.sendto(b"down", ("127.0.0.1", int(address.rpartition(":")[2])))
            assert (await asyncio.to_thread(client.recv, 100)) == b"down"
            await until(lambda: settled(bridge, before["id"], 1, "down"))  # it leaves, and then it is written down
            ended = await bridge.recordings.stop_one(made["id"])
            client_address, local = f"127.0.0.1:{client.getsockname()[1]}", address
        assert (ended["state"], ended["missed"]) == ("ended", {"sender": 0, "receiver": 0})
        (path,) = await bridge.recordings.files(made["id"])
        found = {(flow["interface"], flow["from"], flow["to"]): flow["datagrams"] for flow in await inspected(path)}
        assert found == {
            (0, client_address, before["listen"]): 200,
            (1, local, to): up["out"] + up["duplicated"],
            (0, to, local): 1,
            (1, before["listen"], client_address): 1,
        }
        said = comments_of(path)
        assert (
            sum(count for text, count in said.items() if text.startswith("lost by the link: at random")) == up["lost"]
        )
        assert sum(count for text, count in said.items() if "corrupt" in text) >= up["corrupted"] > 0
        assert sum(count for text, count in said.items() if "duplicate" in text) >= up["duplicated"] > 0
        assert not [text for text in said if "not known" in text]

    run(scene, tmp_path, clients=0)


async def shown_to(bridge: Bridge, recording_id: str, relays: int) -> bool:
    return len(bridge.recordings._shown[recording_id]._attached) == relays


async def settled(bridge: Bridge, relay_id: str, count: int, way: str = "up") -> bool:
    sums = (await bridge.relays.get(relay_id))["ledger"][way]
    return bool(sums["in"] == count and sums["held"] == 0)


def test_what_receivers_hear_is_in_it_and_one_flow_can_be_chosen(tmp_path: Path) -> None:
    async def scene(bridge: Bridge) -> None:
        receiver = await bridge.receivers.add(None, "opaque", "127.0.0.1:0")
        listen = ("127.0.0.1", int(receiver["listen"].rpartition(":")[2]))

        async def flows(count: int) -> Any:
            found, _ = await bridge.flows.page("receiver", None, None, 0, 10)
            return found if sum(flow["ledger"]["received"] for flow in found) == count else None

        with udp_socket() as one, udp_socket() as other:
            for sock in (one, other):
                sock.sendto(b"first", listen)
            mine, _ = await until(lambda: flows(2))
            whole = await bridge.recordings.add(None, "pcapng", 10_000_000, 1)
            part = await bridge.recordings.add([mine["id"]], "pcapng", 10_000_000, 1)
            for sock in (one, other):
                sock.sendto(bytes(1400), listen)
            await until(lambda: flows(4))
        for recording, expected in ((whole, 2), (part, 1)):
            await bridge.recordings.stop_one(recording["id"])
            (path,) = await bridge.recordings.files(recording["id"])
            heard = await inspected(path)
            assert [flow["datagrams"] for flow in heard] == [1] * expected
            assert mine["from"] in {flow["from"] for flow in heard}
            assert bytes(1400) in path.read_bytes()

    run(scene, tmp_path, clients=0)


def test_a_recording_whose_clients_are_removed_ends_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded_flows, "GONE_AFTER_NS", 0)

    async def scene(bridge: Bridge) -> None:
        (client, *_), _ = await bridge.clients.page(0, 1)
        made = await bridge.recordings.add([client["id"]], "pcapng", 10_000_000, 1)
        await recorded(bridge, made["id"], 5)
        await bridge.clients.remove(client["id"])

        async def ended() -> Any:
            body = await bridge.recordings.get(made["id"])
            return body if body["state"] != "running" else None

        body = await until(ended)
        assert (body["state"], body["error"]) == ("ended", "none of its flows is there any more")

    run(scene, tmp_path)


def test_a_flow_that_is_not_there_or_only_departs_is_refused(tmp_path: Path) -> None:
    async def scene(bridge: Bridge) -> None:
        for flow in ("c-none", "f-000000000000", "s-00000000", "r-000000000000-0-up", "o-0-0", "play-0-0"):
            with pytest.raises(RequestError) as refused:
                await bridge.recordings.add([flow], "pcapng", 10_000_000, 1)
            assert refused.value.field == "flows.0"
        assert await bridge.recordings.every() == []

    run(scene, tmp_path)


def test_a_ring_of_files_keeps_the_newest_and_each_can_be_read(tmp_path: Path) -> None:
    async def scene(bridge: Bridge) -> None:
        made = await bridge.recordings.add(None, "pcapng", 2 << 20, 2)

        async def second_round() -> Any:
            body = await bridge.recordings.get(made["id"])
            return body if body["files"][0].endswith("-002.pcapng") and len(body["files"]) == 2 else None

        body = await until(second_round)
        assert body["bytes"] <= 2 << 20
        ended = await bridge.recordings.stop_one(made["id"])
        paths = await bridge.recordings.files(made["id"])
        assert ended["recorded"] is not None
        parts = [await inspected(path) for path in paths]
        assert all(parts)
        whole = (await bridge.captures.inspect(*paths))["flows"]
        kept = [sum(flow["datagrams"] for part in parts for flow in part), sum(flow["datagrams"] for flow in whole)]
        assert kept[0] == kept[1] <= ended["recorded"]["sender"] + ended["recorded"]["receiver"]
        # A flow that goes on in the second file is one, and the numbers between the files are no loss.
        assert len(whole) == len({(flow["interface"], flow["from"], flow["to"]) for flow in whole})
        assert ended["missed"] is not None
        lost_in_parts = sum(flow["ledger"]["lost"] for part in parts for flow in part if flow["interface"] == 0)
        lost = sum(flow["ledger"]["lost"] for flow in whole if flow["interface"] == 0)
        assert lost <= lost_in_parts + ended["missed"]["sender"]

    run(scene, tmp_path, clients=50, rate_hz=100, max_clients=50)


def test_files_outlive_the_program_and_are_deleted_on_demand(tmp_path: Path) -> None:
    kept: dict[str, Any] = {}

    async def begin(bridge: Bridge) -> None:
        kept.update(await bridge.recordings.add(None, "pcapng", 10_000_000, 1))
        await recorded(bridge, kept["id"], 10)

    async def later(bridge: Bridge) -> None:
        (body,) = await bridge.recordings.every()
        assert (body["id"], body["state"], body["recorded"]) == (kept["id"], "ended", None)
        assert body["files"] == kept["files"]
        await bridge.recordings.remove(kept["id"])
        assert await bridge.recordings.every() == []
        with pytest.raises(RequestError):
            await bridge.recordings.get(kept["id"])

    run(begin, tmp_path)
    run(later, tmp_path)
    assert list((tmp_path / "recordings").iterdir()) == []


@pytest.mark.skipif(os.getuid() != 0, reason="a small disk has to be mounted")
def test_a_full_disk_ends_the_recording_with_its_reason_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)])
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")

    async def scene(bridge: Bridge) -> None:
        made = await bridge.recordings.add(None, "pcapng", 10_000_000, 1)

        async def failed() -> Any:
            body = await bridge.recordings.get(made["id"])
            return body if body["state"] == "failed" else None

        assert (await until(failed))["error"] == "No space left on device"
        before = (await bridge.ledger())["received"]

        async def goes_on() -> bool:
            return bool((await bridge.ledger())["received"] > before + 50)

        await until(goes_on)

    try:
        run(scene, tmp_path)
        (path,) = folder.iterdir()
        assert sum(flow["datagrams"] for flow in inspect(path)) > 0
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_nothing_is_recorded_where_nothing_is_stored() -> None:
    bridge = Bridge(Settings(udp="127.0.0.1:0", clients=0, max_clients=50, ephemeral=True))
    try:
        with pytest.raises(RequestError, match="ephemeral"):
            asyncio.run(bridge.recordings.add(None, "pcapng", 10_000_000, 1))
    finally:
        bridge.stop()
