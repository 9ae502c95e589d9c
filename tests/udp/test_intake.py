"""What arrives in one batch: sessions that change and end within it."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest

from support.pools import DEADLINE_S, body_of, hosted, reader_stands_still, send_colour, wait_for
from udprism.node.bridge import Bridge
from udprism.settings import Settings
from udprism.wire import measured as wire

SESSION, OTHER, THIRD = 7, 8, 9


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    bridge = Bridge(Settings(udp="127.0.0.1:0", clients=0, max_clients=50, loss_after_s=0.2))
    bridge.start()
    yield bridge
    bridge.stop()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(DEADLINE_S)
        yield sock


def test_a_bye_behind_colours_leaves_nobody_live(bridge: Bridge, server: socket.socket) -> None:
    client_id, address = hosted(bridge, server, SESSION)
    wait_for(lambda: body_of(bridge, client_id)["ledger"]["received"] == 1)
    with reader_stands_still(bridge):
        for sequence in (1, 2):
            send_colour(server, address, SESSION, sequence)
        bye = wire.Bye(SESSION, 0, time.time_ns(), wire.ByeReason.SHUTDOWN)
        server.sendto(wire.encode_bye(bye), address)
        send_colour(server, address, SESSION, 3)
    wait_for(lambda: body_of(bridge, client_id)["ledger"]["received"] == 4)
    body = body_of(bridge, client_id)
    assert (body["state"], body["stream"]) == ("connecting", None)


def test_a_bye_to_a_paused_client_does_not_wake_it(bridge: Bridge, server: socket.socket) -> None:
    client_id, address = hosted(bridge, server, SESSION)
    wait_for(lambda: body_of(bridge, client_id)["ledger"]["received"] == 1)
    asyncio.run(bridge.clients.change(client_id, {"paused": True}))
    bye = wire.Bye(SESSION, 0, time.time_ns(), wire.ByeReason.OPERATOR)
    server.sendto(wire.encode_bye(bye), address)
    send_colour(server, address, SESSION, 1)
    wait_for(lambda: body_of(bridge, client_id)["ledger"]["received"] == 2)
    assert body_of(bridge, client_id)["state"] == "paused"


def test_sessions_that_change_within_one_batch_count_each_datagram_once(
    bridge: Bridge, server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("udprism.serving.rules.SESSION_CHANGES_WITHIN_NS", 0)  # a client believes every new session
    client_id, address = hosted(bridge, server, SESSION)
    wait_for(lambda: body_of(bridge, client_id)["ledger"]["received"] == 1)
    sent = 1
    for _ in range(3):
        with reader_stands_still(bridge):
            for session_id in (OTHER, THIRD, SESSION, OTHER, THIRD):
                for _ in range(3):
                    send_colour(server, address, session_id, sent)
                    sent += 1
    ledger = body_of(bridge, client_id)["ledger"]
    assert 1 < ledger["received"] <= sent
    assert ledger["sent"] == ledger["received"] + ledger["lost"] + ledger["in_flight"]
