"""Commands over a real NATS server whose paths are cut, forgotten and silent at random: done once, or never."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from support.nats import Proxy, proxied, running_nats
from udprism.errors import RequestError
from udprism.node.mesh import commands
from udprism.node.mesh.asks import Answer, Unanswered
from udprism.node.mesh.commands import Commands
from udprism.node.mesh.mesh import Mesh
from udprism.node.mesh.plan import MeshPlan
from udprism.node.mesh.presence import NodeRecord
from udprism.node.mesh.received import Received, Reply
from udprism.node.mesh.service import Request

DEADLINE_S = 60.0
EAST, WEST = "n-00000001", "n-00000002"


class Routes:
    """What a node does when it is commanded: it writes down the number, now or a little later."""

    def __init__(self) -> None:
        self.executed: Counter[str] = Counter()
        self._rng = random.Random(7)

    async def __call__(self, request: Request) -> Reply:
        if self._rng.random() < 0.2:
            await asyncio.sleep(self._rng.random() * 0.05)
        self.executed[request.path] += 1
        return Reply(200, "application/json", request.path.encode())


@asynccontextmanager
async def joined(url: str, id: str, remote: str = "on") -> AsyncIterator[tuple[Mesh, Routes]]:
    async def status() -> Mapping[str, Any]:
        return {}

    plan = MeshPlan((url,), id, f"name of {id}", remote=remote)  # type: ignore[arg-type]
    mesh, routes = Mesh(plan, f"instance of {id}", Received({}, time.monotonic()), status), Routes()
    mesh.service.answer_request = routes
    await mesh.start()
    try:
        yield mesh, routes
    finally:
        await mesh.stop()


async def seen(mesh: Mesh, id: str) -> NodeRecord:
    async with asyncio.timeout(DEADLINE_S):
        while not (found := mesh.presence.find(id)):
            await asyncio.sleep(0.02)
    return found[0]


def request(number: int) -> Request:
    return Request("POST", f"/api/clients/{number}", "", b"{}")


async def outcome(mesh: Mesh, node: NodeRecord, number: int) -> str:
    """`done` or `never`, however long it takes to know."""
    try:
        reply = await mesh.do(node, request(number))
    except RequestError as error:
        if error.kind != "outcome-unknown":
            return "never"
        id = error.detail.split("/api/commands/")[1].split()[0]
        while True:
            try:
                reply = await mesh.commands.outcome(id)
                break
            except RequestError as again:
                if again.kind != "outcome-unknown":
                    return "never"
                await asyncio.sleep(0.1)
    assert reply.body in (request(number).path.encode(), b'{"done": true}')
    return "done"


async def trouble(proxy: Proxy, rng: random.Random, made: Counter[str]) -> None:
    """Until it is cancelled; counted in `made`."""
    while True:
        await asyncio.sleep(rng.uniform(0.05, 1.5))
        kind = rng.choice(["cut", "forget", "silent"])
        made[kind] += 1
        match kind:
            case "cut":
                await asyncio.to_thread(proxy.cut)
            case "forget":
                await asyncio.to_thread(proxy.forget)
            case "silent":
                proxy.set("silent")
                await asyncio.sleep(rng.uniform(0.1, 3.0))
                proxy.set("open")


async def commanded(
    port: int, count: int, at_once: int, seed: int, least_troubles: int
) -> tuple[Counter[str], list[str]]:
    """How at least so many commands ended, through at least so much trouble, and what of it was not true."""
    rng, ended, lies, made = random.Random(seed), Counter[str](), list[str](), Counter[str]()
    numbers = takewhile(lambda number: number < count or made.total() < least_troubles, itertools.count())
    with proxied(port) as near, proxied(port) as far:
        async with joined(near.url, EAST) as (east, _), joined(far.url, WEST) as (_, there):
            node = await seen(east, WEST)
            faults = [asyncio.create_task(trouble(proxy, rng, made)) for proxy in (near, far)]

            async def one_after_another() -> None:
                for number in numbers:
                    await asyncio.sleep(0.02)
                    how = await outcome(east, node, number)
                    ended[how] += 1
                    path = request(number).path
                    if (there.executed[path] == 1) != (how == "done"):
                        lies.append(f"{path}: {how}, executed {there.executed[path]} times")

            await asyncio.gather(*(one_after_another() for _ in range(at_once)))
            for task in faults:
                task.cancel()
            await asyncio.gather(*faults, return_exceptions=True)
            for proxy in (near, far):
                proxy.set("open")
            lies += [f"{path} was said never, and executed later" for path, n in there.executed.items() if n > 1]
            assert sum(there.executed.values()) == ended["done"]
    return ended, lies


def test_commands_under_cuts_are_done_once_or_never(tmp_path: Path) -> None:
    with running_nats(tmp_path) as server:
        ended, lies = asyncio.run(commanded(server.port, 60, 10, seed=1, least_troubles=8))
    assert lies == []
    assert ended["done"] >= 1


@pytest.mark.endurance
def test_ten_thousand_commands_under_cuts_are_done_once_or_never(tmp_path: Path) -> None:
    with running_nats(tmp_path) as server:
        ended, lies = asyncio.run(commanded(server.port, 10_000, 100, seed=2, least_troubles=20))
    print(dict(ended))
    assert lies == []
    assert ended.total() >= 10_000
    assert ended["done"] > 1000


@pytest.mark.slow
def test_a_command_without_faults_takes_milliseconds(tmp_path: Path) -> None:
    async def timed(url: str) -> list[float]:
        took_s = []
        async with joined(url, EAST) as (east, _), joined(url, WEST) as (_, _there):
            node = await seen(east, WEST)
            for number in range(1000):
                began_s = time.perf_counter()
                assert await outcome(east, node, number) == "done"
                took_s.append(time.perf_counter() - began_s)
        return sorted(took_s)

    with running_nats(tmp_path) as server:
        took_s = asyncio.run(timed(server.url))
    print(f"p50 {took_s[500] * 1000:.1f} ms, p99 {took_s[990] * 1000:.1f} ms")
    assert took_s[990] < 0.1  # the route itself waits up to 50 ms here


def test_a_node_that_lets_others_look_refuses_commands_and_one_that_hides_refuses_both(tmp_path: Path) -> None:
    async def asked(url: str, remote: str) -> tuple[str, str]:
        async with joined(url, EAST) as (east, _), joined(url, WEST, remote) as (_, there):
            node = await seen(east, WEST)
            with pytest.raises(RequestError) as refused:
                await east.do(node, request(1))
            assert there.executed.total() == 0
            try:
                reply, age_s = await east.read(node, Request("GET", "/api/ledger", "", b""))
            except RequestError as error:
                return refused.value.kind, error.kind
            assert 0 <= age_s < DEADLINE_S
            return refused.value.kind, reply.body.decode()

    with running_nats(tmp_path) as server:
        assert asyncio.run(asked(server.url, "read")) == ("remote-off", "/api/ledger")
        assert asyncio.run(asked(server.url, "off")) == ("remote-off", "remote-off")


def test_the_same_id_again_gets_the_same_answer_and_does_nothing(tmp_path: Path) -> None:
    async def twice(url: str) -> None:
        async with joined(url, EAST) as (east, _), joined(url, WEST) as (_, there):
            node = await seen(east, WEST)
            first = await east.do(node, request(5), "my-own-key")
            assert await east.do(node, request(5), "my-own-key") == first
            assert there.executed == {request(5).path: 1}

    with running_nats(tmp_path) as server:
        asyncio.run(twice(server.url))


def test_what_is_malformed_is_counted_and_answered_by_nothing(tmp_path: Path) -> None:
    async def sent(url: str) -> None:
        async with joined(url, EAST) as (east, _), joined(url, WEST) as (west, there):
            await seen(east, WEST)
            wrong: list[Any] = [[], {"id": "x"}, {"method": "GET", "path": "/metrics"}, {"method": "POST"}]
            for body in wrong:
                east._control.send(f"udprism.1.do.{WEST}.{EAST}", json.dumps(body).encode())
                east._control.send(f"udprism.1.ask.{WEST}.{EAST}.read", json.dumps(body).encode())
            east._control.send(f"udprism.1.here.{EAST}", b"\xff")
            async with asyncio.timeout(DEADLINE_S):
                while west.service.counts["bad"] < 2 * len(wrong) or not west.counters()["heartbeats_refused_total"]:
                    await asyncio.sleep(0.02)
            assert there.executed.total() == 0

    with running_nats(tmp_path) as server:
        asyncio.run(sent(server.url))


def test_a_node_that_is_too_busy_to_look_has_not_said_never() -> None:
    async def tell(node_id: str, body: bytes, deadline_s: float) -> Answer:
        if b'"cancel"' in body:
            return Answer({"refused": "busy"}, b"", 0.0, 0.0, 0.0)
        raise Unanswered("timeout")

    with pytest.raises(RequestError) as refused:
        asyncio.run(Commands(tell).do(WEST, "instance", request(1)))
    assert refused.value.kind == "outcome-unknown"


def told(*standings: str) -> Commands:
    """Commands to a node that is heard only when it is asked what became of one: these, then the last again."""
    left = list(standings)

    async def tell(node_id: str, body: bytes, deadline_s: float) -> Answer:
        if b'"cancel"' not in body:
            raise Unanswered("timeout")
        standing = left.pop(0) if len(left) > 1 else left[0]
        return Answer({"standing": standing, "status": 201, "type": "text/plain"}, b"made", 0.0, 0.0, 0.0)

    return Commands(tell)


def test_a_command_that_its_node_still_carries_out_is_waited_for() -> None:
    assert asyncio.run(told("running", "running", "done").do(WEST, "instance", request(1))).body == b"made"


def test_a_command_that_runs_for_too_long_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "RUNNING_S", 0.1)
    with pytest.raises(RequestError) as refused:
        asyncio.run(told("running").do(WEST, "instance", request(1)))
    assert refused.value.kind == "outcome-unknown"
