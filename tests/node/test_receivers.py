"""Receivers of a running program: what comes to a port becomes flows, with states, pictures and lanes."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from udp.test_multicast import frame
from udprism.errors import RequestError, UdprismError
from udprism.node.bridge import Bridge
from udprism.node.kept import KeptEndpoint
from udprism.node.receiver_plan import ReceiverPlan
from udprism.node.store import Store
from udprism.settings import Settings
from udprism.wire.e131 import group_of

DEADLINE_S = 20.0


def run(scene: Callable[[Bridge], Coroutine[Any, Any, None]], store: Store | None = None, **changes: Any) -> None:
    usual: dict[str, Any] = {"udp": "127.0.0.1:0", "clients": 0, "max_clients": 50}
    bridge = Bridge(Settings(**usual | changes), store)
    bridge.start()
    try:
        asyncio.run(scene(bridge))
    finally:
        bridge.stop()


class Sender:
    """A socket that sends to a receiver."""

    def __init__(self, receiver: dict[str, Any]) -> None:
        host, port = receiver["listen"].rsplit(":", 1)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.connect((host, int(port)))
        self.address = "{}:{}".format(*self.sock.getsockname())

    def __call__(self, *datagrams: bytes) -> None:
        for data in datagrams:
            self.sock.send(data)

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


async def until(ready: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """What `ready` returns, as soon as that is true."""
    async with asyncio.timeout(DEADLINE_S):
        while not (found := await ready()):
            await asyncio.sleep(0.01)
        return found


async def flows_of(bridge: Bridge, received: int) -> list[dict[str, Any]]:
    """The receivers' flows, once so many datagrams of them have come."""

    async def ready() -> list[dict[str, Any]] | None:
        flows, _ = await bridge.flows.page("receiver", None, None, 0, 1000)
        return flows if sum(flow["ledger"]["received"] for flow in flows) >= received else None

    found: list[dict[str, Any]] = await until(ready)
    return found


def test_a_colour_sent_with_nc_is_a_flow_a_picture_and_a_lane() -> None:
    async def scene(bridge: Bridge) -> None:
        receiver = await bridge.receivers.add("desk", "text", "127.0.0.1:0")
        assert (receiver["state"], receiver["flows"]) == ("live", [])
        with Sender(receiver) as send:
            send(b"red\n", b"desk:#0000ff\n", b"no colour at all\n")
            red, desk = await flows_of(bridge, 2)
            assert (red["name"], red["from"], red["to"]) == (send.address, send.address, receiver["listen"])
            assert desk["name"] == f"desk from {send.address}"
            assert (red["last_colour"]["name"], desk["last_colour"]["rgb"]) == ("red", "#0000ff")
            assert (red["kind"], red["format"], red["direction"], red["state"]) == ("receiver", "text", "in", "live")
            assert (red["ledger"]["lost"], red["loss_ratio"], red["numbering"]) == (None, None, None)
            after = await bridge.receivers.get(receiver["id"])
            assert (after["flows"], after["drops"]) == ([red["id"], desk["id"]], {"kind": 1})
            picture = await bridge.flows.picture(desk["id"])
            assert (picture["values_hex"], picture["channels"]) == ("0000ff", 3)
            assert bytes.fromhex(picture["datagram"]["payload_hex"]) == b"desk:#0000ff\n"
            (row,) = await bridge.flows.datagrams(red["id"], 10)
            assert (row["fate"], row["rgb"], row["size_bytes"]) == ("received", "#ff0000", 4)
            await bridge.snapshot([])
            roster = await bridge.roster(0)
            slots = [row[0] for row in roster.upsert if row[1] in (red["id"], desk["id"])]
            snapshot = await bridge.snapshot(slots)
            assert snapshot.rgba[slots, :3].tolist() == [[255, 0, 0], [0, 0, 255]]
            assert snapshot.rows.tolist() == slots
            assert snapshot.cells[:, -1, :3].tolist() == [[255, 0, 0], [0, 0, 255]]
            send(b"green")
            await flows_of(bridge, 3)
            assert (await bridge.flows.picture(red["id"]))["values_hex"] == "008000"

    run(scene)


def test_opaque_bytes_are_counted_and_shown_to_their_end() -> None:
    async def scene(bridge: Bridge) -> None:
        receiver = await bridge.receivers.add(None, "opaque", "127.0.0.1:0")
        data = bytes(range(256)) * 5
        with Sender(receiver) as send:
            send(data)
            (flow,) = await flows_of(bridge, 1)
            assert flow["last_colour"] is None
            picture = await bridge.flows.picture(flow["id"])
            assert bytes.fromhex(picture["datagram"]["payload_hex"]) == data
            assert picture["values_hex"] == ""

    run(scene)


def test_flows_end_with_their_receiver_and_their_lanes_go() -> None:
    async def scene(bridge: Bridge) -> None:
        keeps, ends = [await bridge.receivers.add(None, "text", "127.0.0.1:0") for _ in range(2)]
        with Sender(keeps) as one, Sender(ends) as other:
            one(b"red")
            other(b"blue")
            flows = {flow["receiver_id"]: flow["id"] for flow in await flows_of(bridge, 2)}
            before = await bridge.roster(0)
            await bridge.receivers.remove(ends["id"])
            (left,) = await flows_of(bridge, 1)
            assert left["id"] == flows[keeps["id"]]
            change = await bridge.roster(before.version)
            gone = next(row[0] for row in before.upsert if row[1] == flows[ends["id"]])
            assert (change.remove, change.upsert) == ([gone], [])
            for lookup in (bridge.flows.get, bridge.flows.picture):
                with pytest.raises(RequestError, match="no flow"):
                    await lookup(flows[ends["id"]])
        with pytest.raises(RequestError, match="no receiver"):
            await bridge.receivers.get(ends["id"])

    run(scene)


def test_lanes_move_when_clients_need_their_numbers_and_everybody_is_told() -> None:
    async def scene(bridge: Bridge) -> None:
        receiver = await bridge.receivers.add(None, "text", "127.0.0.1:0")
        with Sender(receiver) as send:
            send(b"red")
            (flow,) = await flows_of(bridge, 1)
            await bridge.snapshot([])
            before = await bridge.roster(0)
            await bridge.clients.add(count=200)
            snapshot = await bridge.snapshot([])
            assert snapshot.roster_version > before.version
            after = await bridge.roster(before.version)
            assert (after.base, len(after.upsert)) == (0, 201)
            slot = next(row[0] for row in after.upsert if row[1] == flow["id"])
            assert slot >= 200
            assert (await bridge.snapshot([slot])).rgba[slot].tolist() == [255, 0, 0, 255]

    run(scene, max_clients=300)


def test_a_receiver_is_kept_over_a_restart_and_waits_for_a_port_that_is_taken(tmp_path: Path) -> None:
    made: dict[str, Any] = {}

    async def first(bridge: Bridge) -> None:
        made.update(await bridge.receivers.add("kept", "text", "127.0.0.1:0"))

    async def second(bridge: Bridge) -> None:
        (body,) = await bridge.receivers.every()
        assert (body["state"], body["id"], body["listen"]) == ("error", made["id"], made["listen"])
        assert "cannot bind" in body["error"]
        squatter.close()

        async def is_live() -> bool:
            return bool((await bridge.receivers.get(made["id"]))["state"] == "live")

        await until(is_live)
        await bridge.receivers.remove(made["id"])

    async def third(bridge: Bridge) -> None:
        assert await bridge.receivers.every() == []

    run(first, Store.open(tmp_path))
    host, port = made["listen"].rsplit(":", 1)
    squatter = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    squatter.bind((host, int(port)))
    run(second, Store.open(tmp_path))
    run(third, Store.open(tmp_path))


def test_a_full_table_takes_no_more_flows_and_counts_what_it_turned_away() -> None:
    async def scene(bridge: Bridge) -> None:
        receiver = await bridge.receivers.add(None, "text", "127.0.0.1:0")
        with Sender(receiver) as send:
            send(b"a:red", b"b:red", b"c:red", b"d:red", b"a:blue")
            flows = await flows_of(bridge, 3)
            assert [flow["ledger"]["received"] for flow in flows] == [2, 1]
            assert (await bridge.receivers.get(receiver["id"]))["drops"] == {"full": 2}
            assert bridge.receivers.counters()["receiver_drops_total"] == {"full": 2}
        await bridge.receivers.remove(receiver["id"])
        assert bridge.receivers.counters()["receiver_drops_total"] == {"full": 2}

    run(scene, max_flows=2)


@pytest.mark.parametrize(
    ("form", "listen", "field", "kind"),
    [
        ("morse", None, "format", "invalid"),
        ("ddp", "nowhere", "listen", "invalid"),
        ("ddp", "example.org:4048", "listen", "invalid"),
        ("e131", "239.255.0.1:5568", "listen", "invalid"),
        ("ddp", "192.0.2.1:0", "listen", "cannot-bind"),
    ],
)
def test_what_cannot_be_listened_to_is_said(form: str, listen: str | None, field: str, kind: str) -> None:
    async def scene(bridge: Bridge) -> None:
        with pytest.raises(RequestError) as refused:
            await bridge.receivers.add(None, form, listen)
        assert (refused.value.field, refused.value.kind) == (field, kind)
        assert await bridge.receivers.every() == []

    run(scene)


@pytest.mark.skipif(sys.platform != "linux", reason="multicast on a named interface needs Linux")
def test_a_universe_comes_by_multicast_on_the_named_interface_and_again_after_a_restart(tmp_path: Path) -> None:
    made: dict[str, Any] = {}

    async def hears(bridge: Bridge) -> None:
        receiver = await bridge.receivers.get(made["id"])
        assert (receiver["interface"], receiver["universes"]) == ("lo", [1, 300])
        port = int(receiver["listen"].rpartition(":")[2])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
            sock.sendto(frame(300), (group_of(300), port))
            sock.sendto(frame(1), ("127.0.0.1", port))
            many, one = sorted(await flows_of(bridge, 2), key=lambda flow: str(flow["to"]), reverse=True)
        assert (many["to"], one["to"]) == (f"239.255.1.44:{port}", f"127.0.0.1:{port}")
        assert many["name"].startswith("universe 300 of udprism from 127.0.0.1:")

    async def scene(bridge: Bridge) -> None:
        made.update(await bridge.receivers.add(None, "e131", "127.0.0.1:0", interface="lo", universes=[1, 300]))
        await hears(bridge)

    async def ends(bridge: Bridge) -> None:
        await hears(bridge)
        await bridge.receivers.remove(made["id"])

    run(scene, Store.open(tmp_path))
    run(ends, Store.open(tmp_path))


@pytest.mark.parametrize(("form", "clock_hz"), [("text", 90_000), ("rtp", 0), ("rtp", 10_000_001)])
def test_a_clock_that_cannot_be_is_refused(form: str, clock_hz: int) -> None:
    with pytest.raises(RequestError) as refused:
        ReceiverPlan.asked(None, form, "127.0.0.1:0", clock_hz=clock_hz)
    assert refused.value.field == "clock_hz"


def test_a_clock_is_kept() -> None:
    plan = ReceiverPlan.asked(None, "rtp", "127.0.0.1:0", clock_hz=48_000)
    assert ReceiverPlan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    ("form", "interface", "universes", "field", "kind"),
    [
        ("artnet", "lo", [1], "interface", "invalid"),
        ("e131", None, [1], "interface", "invalid"),
        ("e131", "lo", [0], "universes", "invalid"),
        ("e131", "lo", [64_000], "universes", "invalid"),
        ("e131", "lo", [], "universes", "invalid"),
        ("e131", "nowhere0", [1], "interface", "cannot-bind"),
    ],
)
def test_multicast_that_cannot_be_is_refused_and_leaves_nothing_open(
    form: str, interface: str | None, universes: list[int], field: str, kind: str
) -> None:
    async def scene(bridge: Bridge) -> None:
        with pytest.raises(RequestError) as refused:
            await bridge.receivers.add(None, form, "127.0.0.1:0", interface=interface, universes=universes)
        assert (refused.value.field, refused.value.kind) == (field, kind)
        assert await bridge.receivers.every() == []

    run(scene)


def test_tables_that_no_memory_holds_are_said_with_what_to_lower(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_memory(*sizes: object, **further: object) -> None:
        raise MemoryError

    async def kept(bridge: Bridge) -> None:
        await bridge.receivers.add(None, "ddp", "127.0.0.1:0")

    async def refused(bridge: Bridge) -> None:
        with pytest.raises(RequestError, match="UDPRISM_MAX_FLOWS"):
            await bridge.receivers.add(None, "ddp", "127.0.0.1:0")

    run(kept, Store.open(tmp_path))
    monkeypatch.setattr("udprism.udp.listening.HeardFlows", no_memory)
    run(refused)
    bridge = Bridge(Settings(udp="127.0.0.1:0", clients=0), Store.open(tmp_path))
    with pytest.raises(UdprismError, match="UDPRISM_MAX_FLOWS"):  # one line and no traceback, as for all tables
        bridge.start()
    bridge.stop()


@pytest.mark.parametrize("body", ["[" * 100_000, "null", "[1]", '"x"', "{}", '{"name": 1, "format": []}', "\x00"])
def test_kept_rows_that_are_no_endpoints_are_left_out_and_counted(body: str, tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    for kind in ("relay", "receiver", "sender"):
        store.put_endpoint(KeptEndpoint(f"bad-{kind}", kind, body))

    async def scene(bridge: Bridge) -> None:
        assert bridge.counters()["store_rows_left_out"] == 3
        assert await bridge.receivers.every() == await bridge.senders.every() == await bridge.relays.every() == []

    run(scene, store)
