"""Relays over a restart of the program, and over the death of their process."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from udprism.node.kept import KeptEndpoint
from udprism.node.relays import Relays
from udprism.node.store import Store
from udprism.udp.networks import Targets
from web.running import wait_for


@pytest.fixture
def target() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(20)
        yield sock


def relays_in(store: Store | None) -> Relays:
    return Relays(store, Targets([], []), lambda kind, text, flow: None)


def asked_of(target: socket.socket) -> dict[str, Any]:
    return {
        "target": "{}:{}".format(*target.getsockname()),
        "name": "kept",
        "up": {"loss_ratio": 0.25, "seed": 7},
        "rules": [{"action": "drop", "nth": 3}],
        "idle_s": 33,
        "any_port": True,
    }


def test_a_relay_is_there_again_after_a_restart_on_the_same_port(tmp_path: Path, target: socket.socket) -> None:
    store = Store.open(tmp_path)
    first = relays_in(store)
    made = asyncio.run(first.add(asked_of(target)))
    changed = asyncio.run(first.change(made["id"], {"down": {"delay_ms": 5}}))
    first.stop()
    second = relays_in(store)
    second.restore()
    (again,) = asyncio.run(second.every())
    assert again == changed
    asyncio.run(second.remove(made["id"]))
    second.stop()
    third = relays_in(store)
    third.restore()
    assert asyncio.run(third.every()) == []
    third.stop()
    store.close()


@pytest.mark.parametrize("body", ["", "{}", "[1]", '{"listen": 5}', "\x00", None])
def test_a_row_that_is_no_relay_is_left_out(tmp_path: Path, body: str | None, target: socket.socket) -> None:
    store = Store.open(tmp_path)
    first = relays_in(store)
    made = asyncio.run(first.add(asked_of(target)))
    first.stop()
    (kept,) = store.endpoints("relay")
    store.put_endpoint(KeptEndpoint("r-bad", "relay", kept.body.replace("33", '"x"') if body is None else body))
    second = relays_in(store)
    second.restore()
    assert [one["id"] for one in asyncio.run(second.every())] == [made["id"]]
    second.stop()
    store.close()


def binds(sock: socket.socket, address: tuple[str, int]) -> bool:
    try:
        sock.bind(address)
    except OSError:
        return False
    return True


def test_a_kept_relay_whose_port_is_taken_says_so_and_tries_again(
    tmp_path: Path, target: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("udprism.node.relay_watch.TRY_AGAIN_S", 0.1)
    store = Store.open(tmp_path)
    first = relays_in(store)
    made = asyncio.run(first.add(asked_of(target)))
    first.stop()
    host, port = made["listen"].split(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        wait_for(lambda: binds(other, (host, int(port))))  # the kernel gives a ring's port back some time after its end
        second = relays_in(store)
        second.restore()
        (waiting,) = asyncio.run(second.every())
        assert waiting["state"] == "error"
        assert made["listen"] in waiting["error"]
        assert waiting["ledger"] is None
    wait_for(lambda: asyncio.run(second.get(made["id"]))["state"] == "live")
    second.stop()
    store.close()


def test_a_process_that_dies_is_replaced_by_itself(target: socket.socket) -> None:
    relays = relays_in(None)
    made = asyncio.run(relays.add(asked_of(target)))
    relay = relays._running(made["id"])
    pid = relay.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: relay.restarts == 1 and relay.alive)
    assert relays.counters()["relay_process_restarts_total"] == 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        wait_for(lambda: bool(client.sendto(b"alive", relay.address)) and relay.read().ledger[0].sum() > 0)
    relays.stop()
