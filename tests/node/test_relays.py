"""Relays over a restart of the program, over the death of their process, and while a process hangs."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from udprism.errors import RequestError
from udprism.node.kept import KeptEndpoint
from udprism.node.relays import Relays
from udprism.node.store import Store
from udprism.relay.memory import Sum
from udprism.udp.lookups import Lookups
from udprism.udp.networks import Targets
from web.running import wait_for


@pytest.fixture
def target() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(20)
        yield sock


def relays_in(store: Store | None) -> Relays:
    return Relays(store, Lookups(Targets([], []).resolve), lambda kind, text, flow: None)


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
    wait_for(lambda: asyncio.run(second.get(made["id"]))["state"] == "live")
    assert asyncio.run(second.every()) == [changed]
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
        wait_for(lambda: made["listen"] in asyncio.run(second.get(made["id"]))["error"])
        (waiting,) = asyncio.run(second.every())
        assert waiting["state"] == "error"
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


@pytest.fixture
def relays() -> Iterator[Relays]:
    of_this_test = relays_in(None)
    yield of_this_test
    of_this_test.stop()


def told(relays: Relays) -> dict[str, Any]:
    """The counters that must not fall."""
    return {name: value for name, value in relays.counters().items() if name.endswith("_total")}


def test_counters_do_not_fall_when_a_relay_begins_anew_or_is_removed(target: socket.socket, relays: Relays) -> None:
    made = asyncio.run(relays.add({"target": asked_of(target)["target"], "max_flows": 1}))
    relay = relays._running(made["id"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"ask", relay.address)
        target.sendto(b"answer", target.recvfrom(100)[1])
        wait_for(lambda: relay.read().ledger[Sum.TAKEN].sum() == 2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as another:  # no room while the first is so young
        another.sendto(b"ask", relay.address)
        wait_for(lambda: relays.counters()["relay_drops_total"]["turned_away_full"] == 1)
    before = told(relays)
    assert before["relay_datagrams_total"] == {"up": 1, "down": 1}
    asyncio.run(relays.reset(made["id"]))
    assert told(relays) == before
    asyncio.run(relays.remove(made["id"]))
    assert told(relays) == before


def test_a_process_that_hangs_is_replaced_and_its_late_answers_are_nobody_s(
    target: socket.socket, relays: Relays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("udprism.relay.relay._ANSWERS_WITHIN_S", 0.2)
    monkeypatch.setattr("udprism.relay.relay._LOOKED_AFTER_WITHIN_S", 0.2)
    made = asyncio.run(relays.add(asked_of(target)))
    relay = relays._running(made["id"])
    pid = relay.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(RequestError, match="does not answer"):
        asyncio.run(relays.change(made["id"], {"up": {"loss_ratio": 1}}))
    os.kill(pid, signal.SIGCONT)
    wait_for(lambda: relay.pid not in (None, pid) and relay.alive)  # it may have missed a change that is kept
    assert asyncio.run(relays.rebind(made["id"], None)) == 0, "an answer to this question and to no earlier one"
    assert asyncio.run(relays.get(made["id"]))["up"]["loss_ratio"] == 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"lost", relay.address)
        wait_for(lambda: relay.read().ledger[Sum.LINK].sum() == 1)


def test_a_process_that_hangs_for_good_is_replaced_and_holds_up_no_end(
    target: socket.socket, relays: Relays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("udprism.relay.relay._LOOKED_AFTER_WITHIN_S", 0.1)
    monkeypatch.setattr("udprism.relay.relay.HANGS_AFTER_S", 0.2)
    made = asyncio.run(relays.add(asked_of(target)))
    relay = relays._running(made["id"])
    pid = relay.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: relay.pid not in (None, pid) and relay.alive)
    relay.settle()  # the new one has begun
    assert relay.pid is not None
    os.kill(relay.pid, signal.SIGSTOP)
    relays.stop()
    assert not relay.alive


def test_want_of_descriptors_is_one_relays_trouble_and_passes(
    target: socket.socket, relays: Relays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("udprism.node.relay_watch.TRY_AGAIN_S", 0.1)
    made = asyncio.run(relays.add(asked_of(target)))
    relay = relays._running(made["id"])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"before", relay.address)
        wait_for(lambda: relay.read().ledger[0].sum() == 1)

    async def without_descriptors() -> RequestError:
        assert relay.pid is not None
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            with pytest.raises(RequestError) as refused:
                await relays.add(asked_of(target))
            os.kill(relay.pid, signal.SIGKILL)
            while relays._entry(made["id"]).error is None:
                await asyncio.sleep(0.01)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return refused.value

    assert asyncio.run(without_descriptors()).kind == "relay-down"
    wait_for(lambda: asyncio.run(relays.get(made["id"]))["state"] == "live")
    assert relays.counters()["relay_datagrams_total"]["up"] == 1, "also of the one that was given up"


def test_a_flows_own_link_is_forgotten_with_its_flow(target: socket.socket, relays: Relays) -> None:
    made = asyncio.run(relays.add(asked_of(target)))
    relay = relays._running(made["id"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"one", relay.address)
        wait_for(lambda: relay.read().ledger[0].sum() == 1)
    (flow,) = asyncio.run(relays.flows(made["id"], None, 0, 10))[0]
    asyncio.run(relays.set_flow_link(made["id"], flow["id"], "up", {"loss_ratio": 1}))
    assert relay.own_link(0, 0) is not None
    asyncio.run(relays.end_flow(made["id"], flow["id"]))
    wait_for(lambda: relay.own_link(0, 0) is None)


def test_a_kept_relay_whose_target_is_not_allowed_now_is_in_error_until_it_is(
    tmp_path: Path, target: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("udprism.node.relay_watch.TRY_AGAIN_S", 0.1)
    store = Store.open(tmp_path)
    first = relays_in(store)
    made = asyncio.run(first.add(asked_of(target)))
    first.stop()
    away = RequestError("it is in no network of this machine", field="target", kind="target-not-allowed")
    resolve: list[Any] = [away]

    def resolved(text: str) -> Any:
        if resolve:
            raise resolve[0]
        return Targets([], []).resolve(text)

    second = Relays(store, Lookups(resolved), lambda kind, text, flow: None)
    second.restore()
    wait_for(lambda: asyncio.run(second.get(made["id"]))["error"] == str(away))
    resolve.clear()
    wait_for(lambda: asyncio.run(second.get(made["id"]))["state"] == "live")
    second.stop()
    store.close()


def test_a_relay_without_room_for_what_it_delays_needs_attention(target: socket.socket, relays: Relays) -> None:
    made = asyncio.run(relays.add({"target": asked_of(target)["target"], "up": {"delay_ms": 10_000}}))
    relay = relays._running(made["id"])
    assert relays.attention() == []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:

        def sent() -> bool:
            client.sendto(bytes(60_000), relay.address)  # 16 MB of so large ones have room
            return bool(relays.attention())

        wait_for(sent)
    assert [one["why"] for one in relays.attention()] == ["relay-room"]
    assert relays.counters()["relay_drops_total"]["held_overflow"] > 0
