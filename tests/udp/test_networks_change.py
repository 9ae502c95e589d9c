"""Hosted clients while their machine's network changes, and beside servers of another shape."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.dialogue import next_line, started
from support.namespaces import Namespace, two_machines
from udprism.node.bridge import Bridge
from udprism.serving.clients import ModeName
from udprism.settings import Settings

DEADLINE_S = 30.0
SERVER, BEFORE, AFTER = "10.99.0.1", "10.99.0.50", "10.99.0.60"


def until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def body(bridge: Bridge, client_id: str) -> dict[str, Any]:
    return asyncio.run(bridge.clients.get(client_id))


@pytest.fixture
def machines() -> Iterator[tuple[Namespace, Namespace, Bridge]]:
    """The clients' machine, the server's, and a colour server on the latter."""
    with two_machines() as (here, there):
        there.ip(f"addr add {SERVER}/24 dev wire")
        here.ip(f"addr add {BEFORE}/24 dev wire")
        with there.entered():
            server = Bridge(Settings(udp=f"{SERVER}:5000", clients=0, max_clients=50))
            server.start()
        try:
            yield here, there, server
        finally:
            server.stop()


@contextlib.contextmanager
def clients_of(here: Namespace, **asked: Any) -> Iterator[tuple[Bridge, str]]:
    """A bridge on the clients' machine, with one client of the server."""
    with here.entered():
        bridge = Bridge(Settings(udp="127.0.0.1:0", clients=0, max_clients=50, silent_after_s=0.5))
        bridge.start()
        try:
            (client,) = asyncio.run(bridge.clients.add(target=f"{SERVER}:5000", rate_hz=20, **asked))
            yield bridge, client["id"]
        finally:
            bridge.stop()


def is_live(bridge: Bridge, client_id: str, local: str) -> bool:
    client = body(bridge, client_id)
    return bool(
        client["state"] == "live"
        and client["stream"] == "measured"
        and client["local_address"].startswith(f"{local}:")
        and client["age_ms"] < 400
    )


@pytest.mark.peer
@pytest.mark.parametrize("mode", ["auto", "measured"])
def test_client_is_measured_again_after_its_machine_got_another_address(
    machines: tuple[Namespace, Namespace, Bridge], mode: str
) -> None:
    here, _, _ = machines
    with clients_of(here, mode=mode) as (bridge, client_id):
        until(lambda: is_live(bridge, client_id, BEFORE))
        here.ip(f"addr del {BEFORE}/24 dev wire")
        until(lambda: body(bridge, client_id)["state"] == "error")
        assert body(bridge, client_id)["error"]
        here.ip(f"addr add {AFTER}/24 dev wire")
        until(lambda: is_live(bridge, client_id, AFTER))
        assert body(bridge, client_id)["error"] is None


@pytest.mark.peer
def test_client_follows_the_route_when_its_old_address_is_still_there(
    machines: tuple[Namespace, Namespace, Bridge],
) -> None:
    """As with a VPN that comes up: what leaves from the old address is never answered, and nothing fails."""
    here, there, _ = machines
    with clients_of(here) as (bridge, client_id):
        until(lambda: is_live(bridge, client_id, BEFORE))
        here.ip(f"addr add {AFTER}/24 dev wire")
        here.ip(f"route replace {SERVER}/32 dev wire src {AFTER}")
        there.ip(f"route add blackhole {BEFORE}/32")
        until(lambda: is_live(bridge, client_id, AFTER))


@pytest.mark.peer
def test_client_that_fell_back_while_the_way_was_lossy_is_measured_in_the_end(
    machines: tuple[Namespace, Namespace, Bridge],
) -> None:
    here, _, server = machines
    with clients_of(here) as (bridge, client_id):
        until(lambda: is_live(bridge, client_id, BEFORE))
        slot = bridge._assembly.pool.table.slot_of_id[client_id]

        def ask_bare() -> None:
            """What it says after many tries that were lost."""
            table, sender = bridge._assembly.pool.table, bridge._assembly.pool.sender
            table.forget_session(slot)
            sender.rules._asked_measured[slot] = False
            table.restart(slot, sender._clock.now_ns() + 10**9)
            sender.send_connect(slot, measured=False)

        bridge._assembly.pool.inbox.submit(ask_bare).result(DEADLINE_S)
        until(lambda: body(bridge, client_id)["stream"] == "plain")
        until(lambda: is_live(bridge, client_id, BEFORE))
        (session,) = asyncio.run(server.sessions.page())[0]
        assert session["stream"] == "measured"


@pytest.mark.peer
@pytest.mark.parametrize("target", ["127.0.0.2", "10.99.0.50", "[fd00:99::9]"])
def test_client_of_our_own_server_on_all_addresses_accounts_for_what_its_link_drops(
    target: str, machines: tuple[Namespace, Namespace, Bridge]
) -> None:
    here, _, _ = machines
    here.ip("addr add fd00:99::9/64 dev lo nodad")
    with here.entered():
        bridge = Bridge(Settings(udp="0.0.0.0:0", clients=0))
        bridge.start()
        try:
            port = bridge.udp_address[1]
            asyncio.run(bridge.links.put_default({"blackout": True}))
            (client,) = asyncio.run(bridge.clients.add(target=f"{target}:{port}", rate_hz=20))
            ledger: dict[str, Any] = {"sent": 0}
            until(lambda: (ledger.update(body(bridge, client["id"])["ledger"]) or ledger["sent"] or 0) > 10)
            assert ledger["lost_by_cause"]["unexplained"] == 0
            asyncio.run(bridge.links.remove_default())
            until(lambda: body(bridge, client["id"])["state"] == "live")
            assert body(bridge, client["id"])["stream"] == "measured"
        finally:
            bridge.stop()


@pytest.mark.peer
@pytest.mark.parametrize("mode", ["auto", "plain"])
def test_client_of_a_link_local_address_hears_colours(mode: ModeName) -> None:
    """Such an address means something together with its interface only."""
    with two_machines() as (here, there):
        there.ip("addr add fe80::1/64 dev wire nodad")
        here.ip("addr add fe80::2/64 dev wire nodad")
        with there.entered():
            server = Bridge(Settings(udp="[::]:5000", clients=0))
            server.start()
        with here.entered():
            bridge = Bridge(Settings(udp="127.0.0.1:0", clients=0))
            bridge.start()
            try:
                (client,) = asyncio.run(bridge.clients.add(target="[fe80::1%wire]:5000", mode=mode))
                until(lambda: body(bridge, client["id"])["state"] == "live")
                command = here.command("timeout", "-s", "INT", "10", sys.executable, "-m", "udprism", "client")
                with started(*command, "[fe80::1%wire]:5000") as terminal:
                    assert next_line(terminal).startswith("Received colour: ")
            finally:
                bridge.stop()
                server.stop()


class OldServer(threading.Thread):
    """The shape that many began with: `connect`, and nothing else, starts a thread with a socket of its own that sends
    a colour each period, for ever."""

    def __init__(self, period_s: float) -> None:
        super().__init__()
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.settimeout(0.05)
        self.period_s = period_s
        self.streams: list[threading.Thread] = []
        self.sent = 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            with contextlib.suppress(TimeoutError):
                data, source = self.sock.recvfrom(2048)
                if data == b"connect":
                    self.streams.append(threading.Thread(target=self._stream, args=(source,)))
                    self.streams[-1].start()

    def _stream(self, client: tuple[str, int]) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            while True:
                sock.sendto(b"red", client)
                self.sent += 1
                if self.over.wait(self.period_s):
                    return

    def end(self) -> None:
        self.over.set()
        self.join()
        for stream in self.streams:
            stream.join()
        self.sock.close()


def test_one_connect_is_enough_for_a_server_of_the_old_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a tenth of its size: a colour in a second, where silence is half a second and its first guess three."""
    monkeypatch.setattr("udprism.serving.rules.UNKNOWN_PERIOD_SILENT_NS", 3 * 10**9)
    old = OldServer(period_s=1.0)
    old.start()
    bridge = Bridge(Settings(udp="127.0.0.1:0", clients=0, silent_after_s=0.1))
    bridge.start()
    try:
        target = f"127.0.0.1:{old.sock.getsockname()[1]}"
        (client,) = asyncio.run(bridge.clients.add(target=target, rate_hz=100))
        until(lambda: old.sent > 0)
        states = set()
        while old.sent < 8:
            states.add(body(bridge, client["id"])["state"])
            time.sleep(0.05)
        assert len(old.streams) == 1
        assert states <= {"connecting", "live"}
    finally:
        bridge.stop()
        old.end()


@pytest.mark.endurance
def test_a_colour_in_ten_seconds_is_a_stream() -> None:
    old = OldServer(period_s=10.0)
    old.start()
    bridge = Bridge(Settings(udp="127.0.0.1:0", clients=0))
    bridge.start()
    try:
        target = f"127.0.0.1:{old.sock.getsockname()[1]}"
        (client,) = asyncio.run(bridge.clients.add(target=target))
        until(lambda: old.sent > 0)
        states = set()
        end_s = time.monotonic() + 25
        while time.monotonic() < end_s:
            states.add(body(bridge, client["id"])["state"])
            time.sleep(0.2)
        assert (old.sent, len(old.streams)) == (3, 1)
        assert states <= {"connecting", "live"}
    finally:
        bridge.stop()
        old.end()
