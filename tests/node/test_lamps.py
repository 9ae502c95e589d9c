"""A virtual lamp over HTTP: what programs ask of WLED, with a receiver behind it."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from node.test_receivers import Sender, flows_of, run
from udprism.errors import RequestError
from udprism.node.bridge import Bridge
from udprism.node.store import Store

DEADLINE_S = 20


@contextmanager
def connection(address: str) -> Iterator[http.client.HTTPConnection]:
    host, port = address.rsplit(":", 1)
    made = http.client.HTTPConnection(host, int(port), timeout=DEADLINE_S)
    yield made
    made.close()


def ask(address: str, path: str, body: str | None = None) -> tuple[int, Any]:
    with connection(address) as made:
        made.request("GET" if body is None else "POST", path, body)
        answer = made.getresponse()
        return answer.status, json.loads(answer.read())


def test_a_lamp_tells_who_drives_it_and_takes_changes() -> None:
    async def scene(bridge: Bridge) -> None:
        receiver = await bridge.receivers.add("desk", "wled", "127.0.0.1:0", "127.0.0.1:0", 40)
        lamp = receiver["lamp"]
        assert not lamp.endswith(":0")
        status, info = await asyncio.to_thread(ask, lamp, "/json/info")
        assert (status, info["name"], info["leds"]["count"], info["live"]) == (200, "desk", 40, False)
        with Sender(receiver) as send:
            send(bytes([2, 5]) + bytes([255, 0, 0]) * 40)
            await flows_of(bridge, 1)
            _, info = await asyncio.to_thread(ask, lamp, "/json/info")
            assert (info["live"], info["lip"], info["lm"]) == (True, "127.0.0.1", "WLED")
        for path in ("/json", "/json/cfg", "/json/nodes", "/json/state", "/presets.json"):
            assert (await asyncio.to_thread(ask, lamp, path))[0] == 200, path
        assert (await asyncio.to_thread(ask, lamp, "/json/nothing")) == (404, {"error": 4})
        _, said = await asyncio.to_thread(ask, lamp, "/json/state", '{"on": false, "v": true}')
        assert said["on"] is False
        assert (await asyncio.to_thread(ask, lamp, "/json/state", "bri=99"))[0] == 200
        assert (await asyncio.to_thread(ask, lamp, "/json/state"))[1]["bri"] == 99
        assert (await asyncio.to_thread(ask, lamp, "/json/state", "\0")) == (400, {"error": 9})
        await bridge.receivers.remove(receiver["id"])
        with pytest.raises(ConnectionRefusedError):
            await asyncio.to_thread(ask, lamp, "/json/info")

    run(scene)


def test_connections_are_few_bodies_are_short_and_a_stalled_one_holds_nobody_up() -> None:
    async def scene(bridge: Bridge) -> None:
        receiver = await bridge.receivers.add(None, "ddp", "127.0.0.1:0", "127.0.0.1:0")
        host, port = receiver["lamp"].rsplit(":", 1)

        def stall() -> list[socket.socket]:
            # Two of 16 are left: one that was just closed may not have been given back yet.
            made = [socket.create_connection((host, int(port)), DEADLINE_S) for _ in range(14)]
            for sock in made:
                sock.sendall(b"GET /json HTTP/1.1\r\n")
            return made

        stalled = await asyncio.to_thread(stall)
        try:
            assert (await asyncio.to_thread(ask, receiver["lamp"], "/json/info"))[0] == 200
            with connection(receiver["lamp"]) as made:
                made.putrequest("POST", "/json/state")
                made.putheader("Content-Length", "1000000")
                made.endheaders()
                assert (await asyncio.to_thread(made.getresponse)).status == 413
        finally:
            for sock in stalled:
                sock.close()

    run(scene)


def test_a_connection_that_sends_a_byte_now_and_then_is_closed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("udprism.node.lamps.LONGEST_S", 0.3)

    async def scene(bridge: Bridge) -> None:
        receiver = await bridge.receivers.add(None, "ddp", "127.0.0.1:0", "127.0.0.1:0")
        host, port = receiver["lamp"].rsplit(":", 1)

        def drip() -> None:
            with socket.create_connection((host, int(port)), DEADLINE_S) as sock:
                sock.settimeout(0.05)
                for _ in range(round(DEADLINE_S / 0.05)):
                    sock.send(b"G")
                    with suppress(TimeoutError):
                        assert sock.recv(1) == b""
                        return
            pytest.fail("it was never closed")

        with suppress(ConnectionError):
            await asyncio.to_thread(drip)
        assert (await asyncio.to_thread(ask, receiver["lamp"], "/json/info"))[0] == 200

    run(scene)


def test_a_lamp_is_kept_over_a_restart_on_its_port(tmp_path: Path) -> None:
    made: dict[str, Any] = {}

    async def first(bridge: Bridge) -> None:
        made.update(await bridge.receivers.add("desk", "wled", "127.0.0.1:0", "127.0.0.1:0", 7))

    async def second(bridge: Bridge) -> None:
        (body,) = await bridge.receivers.every()
        assert (body["lamp"], body["pixels"], body["listen"]) == (made["lamp"], 7, made["listen"])
        _, info = await asyncio.to_thread(ask, made["lamp"], "/json/info")
        assert info["leds"]["count"] == 7

    run(first, Store.open(tmp_path))
    run(second, Store.open(tmp_path))


def test_a_taken_port_leaves_no_receiver_behind() -> None:
    async def scene(bridge: Bridge) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            lamp = f"127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(RequestError) as refused:
                await bridge.receivers.add(None, "wled", "127.0.0.1:0", lamp)
        assert (refused.value.field, refused.value.kind) == ("lamp", "cannot-bind")
        assert await bridge.receivers.every() == []

    run(scene)
