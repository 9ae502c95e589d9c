"""Nodes over a real NATS server: `python tests/bench/nodes.py [sight] [thin] [faults] [idle] [--seconds 20]`.

sight: one viewer looks at 20 nodes of 10,000 clients each (pictures of that size, made up; all else is the product),
19 of them twice per second and one at 25 Hz. thin: the same picture for one viewer behind 2 Mbit/s, and a fast one
beside it, which is measured alone as well. faults: two programs; one is killed, stopped, cut off silently, and the NATS
server is killed for 3 s. idle: the processor time of a node that nobody looks at, beside a program without `--nats`.

Prints one JSON object each. Ages are those of the picture in view when the next one replaces it, by one clock.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.nats import NatsServer, proxied, running_nats
from support.program import ANY_PORTS, Program, running
from udprism.errors import RequestError
from udprism.node.mesh.mesh import Mesh
from udprism.node.mesh.plan import MeshPlan
from udprism.node.mesh.received import Received

NODES = 20
PICTURE_BYTES = 80 << 10
"""About a frame of 10,000 clients with 40 rows in view."""
FOCUS_HZ = 25.0
SIGHT_HZ = 2.0
THIN_BITS_PER_S = 2_000_000
PATIENCE_S = 60.0
_OVERSLEPT_S = 0.1
"""What a busy machine sleeps too long is made up for: the path's rate is kept on average."""
_STAMP = struct.Struct("!d")


def mesh_of(url: str, number: int) -> Mesh:
    async def status() -> Mapping[str, Any]:
        return {"clients": {"total": 10_000}}

    plan = MeshPlan((url,), f"n-{number:012x}", f"node{number}")
    return Mesh(plan, secrets.token_hex(8), Received({}, time.monotonic()), status)


async def answer_for_ever(url: str, count: int) -> None:
    """So many nodes with pictures of their own, in this process."""
    rest = secrets.token_bytes(PICTURE_BYTES)

    async def picture(sender: str, asked: dict[str, Any]) -> bytes:
        return _STAMP.pack(time.monotonic()) + rest

    for number in range(1, count + 1):
        mesh = mesh_of(url, number)
        mesh.service.take_picture = picture
        await mesh.start()
    await asyncio.Event().wait()


@contextlib.contextmanager
def answering(url: str, count: int) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, __file__, "--answer", url, "--nodes", str(count)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


class View:
    """What one viewer saw of one node."""

    def __init__(self) -> None:
        self.ages_s: list[float] = []
        self.younger = 0
        """Pictures that were said to be younger than they were."""
        self.failed = 0
        self._stamp_s: float | None = None

    def see(self, body: bytes, asked_s: float) -> None:
        stamp_s = _STAMP.unpack_from(body)[0]
        self.younger += stamp_s < asked_s
        if self._stamp_s is not None:
            self.ages_s.append(time.monotonic() - self._stamp_s)
        self._stamp_s = stamp_s


async def look(mesh: Mesh, node_id: str, hz: float, seconds: float) -> View:
    """Ask for picture after picture of one node, as a page does."""
    view, end_s = View(), time.monotonic() + seconds
    due_s = time.monotonic()
    while time.monotonic() < end_s:
        try:
            answer = await mesh.picture(mesh.presence.find(node_id)[0], {"viewer": node_id})
            view.see(answer.body, answer.asked_s)
        except RequestError:
            view.failed += 1
        due_s = max(due_s + 1 / hz, time.monotonic())
        await asyncio.sleep(due_s - time.monotonic())
    return view


@contextlib.asynccontextmanager
async def viewer(url: str, number: int, nodes: int) -> AsyncIterator[Mesh]:
    """A node that sees so many others."""
    mesh = mesh_of(url, number)
    await mesh.start()
    try:
        until_s = time.monotonic() + PATIENCE_S
        while sum(node.name != f"node{number}" for node in mesh.presence.nodes()) < nodes:
            assert time.monotonic() < until_s
            await asyncio.sleep(0.05)
        yield mesh
    finally:
        await mesh.stop()


def figures(view: View, seconds: float) -> dict[str, Any]:
    p50, p99 = (round(float(np.percentile(view.ages_s, part)), 3) for part in (50, 99))
    return {
        "hz": round(len(view.ages_s) / seconds, 1),
        "age_p50_s": p50,
        "age_p99_s": p99,
        "age_max_s": round(max(view.ages_s), 3),
        "said_younger": view.younger,
        "failed": view.failed,
    }


def rss_mib(server: NatsServer) -> float:
    pages = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20), 1)


def node_id(number: int) -> str:
    return f"n-{number:012x}"


async def sight(server: NatsServer, seconds: float) -> dict[str, Any]:
    with answering(server.url, NODES):
        async with viewer(server.url, 100, NODES) as mesh:
            rates = [FOCUS_HZ] + [SIGHT_HZ] * (NODES - 1)
            views = await asyncio.gather(
                *(look(mesh, node_id(number), hz, seconds) for number, hz in enumerate(rates, 1))
            )
    oldest = max(max(view.ages_s) for view in views[1:])
    return {
        "nodes": NODES,
        "focus": figures(views[0], seconds),
        "in_sight_age_max_s": round(oldest, 3),
        "said_younger": sum(view.younger for view in views),
        "server_mib": rss_mib(server),
    }


async def thin(server: NatsServer, seconds: float) -> dict[str, Any]:
    with answering(server.url, 1):
        async with viewer(server.url, 100, 1) as fast:
            alone = await look(fast, node_id(1), FOCUS_HZ, seconds)
            async with throttled(server.port) as url, viewer(url, 101, 2) as slow:
                beside, behind = await asyncio.gather(
                    look(fast, node_id(1), FOCUS_HZ, seconds), look(slow, node_id(1), FOCUS_HZ, seconds)
                )
                mib = rss_mib(server)
    return {
        "behind_2_mbit_s": figures(behind, seconds),
        "other_alone": figures(alone, seconds),
        "other_beside": figures(beside, seconds),
        "server_mib": mib,
    }


@contextlib.asynccontextmanager
async def throttled(port: int) -> AsyncIterator[str]:
    """The NATS server behind a path of 2 Mbit/s each way, shared by all its connections, with 64 KiB of buffer."""
    free_s = {"up": 0.0, "down": 0.0}

    async def carry(way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(4096):
                now_s = time.monotonic()
                free_s[way] = max(free_s[way], now_s - _OVERSLEPT_S) + len(data) * 8 / THIN_BITS_PER_S
                await asyncio.sleep(max(0.0, free_s[way] - now_s))
                writer.write(data)
                await writer.drain()
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", port, limit=32 << 10)
        await asyncio.gather(carry("up", reader, there[1]), carry("down", there[0], writer))

    async with await asyncio.start_server(accept, "127.0.0.1", 0, limit=32 << 10) as listening:
        yield f"nats://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


# -- with whole programs


def states(program: Program) -> dict[str, str]:
    return {one["name"]: one["state"] for one in program.get("/api/nodes")["nodes"]}


def seconds_until(condition: Callable[[], bool]) -> float:
    began_s = time.monotonic()
    while not condition():
        assert time.monotonic() - began_s < PATIENCE_S
        time.sleep(0.02)
    return round(time.monotonic() - began_s, 2)


@contextlib.contextmanager
def node(url: str, name: str) -> Iterator[Program]:
    with running("serve", *ANY_PORTS, "--ephemeral", "--nats", url, "--node", name, "--clients", "10") as program:
        yield program


def faults(server: NatsServer) -> dict[str, float]:
    found: dict[str, float] = {}
    with proxied(server.port) as proxy, node(server.url, "east") as east, node(proxy.url, "west") as west:
        both = {"east": "live", "west": "live"}
        seconds_until(lambda: states(east) == both and states(west) == both)
        os.kill(west.process.pid, signal.SIGSTOP)
        found["stopped_is_late_s"] = seconds_until(lambda: states(east)["west"] == "late")
        os.kill(west.process.pid, signal.SIGCONT)
        seconds_until(lambda: states(east) == both and states(west) == both)
        proxy.forget()
        began_s = time.monotonic()
        seconds_until(lambda: states(west) != both)
        seconds_until(lambda: states(east) == both and states(west) == both)
        found["silent_break_is_back_s"] = round(time.monotonic() - began_s, 2)
        server.kill()
        time.sleep(3)
        server.start()
        found["all_live_after_server_is_back_s"] = seconds_until(lambda: states(east) == both and states(west) == both)
        west.process.kill()
        found["killed_is_late_s"] = seconds_until(lambda: states(east)["west"] == "late")
    return found


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle(server: NatsServer, seconds: float) -> dict[str, float]:
    none = ("--ephemeral", "--clients", "0")
    with running("serve", *ANY_PORTS, *none) as alone, running(
        "serve", *ANY_PORTS, *none, "--nats", server.url, "--node", "east"
    ) as among, node(server.url, "west"):  # fmt: skip
        seconds_until(lambda: states(among).get("west") == "live")
        time.sleep(2)
        pids = alone.process.pid, among.process.pid
        before = [cpu_s(pid) for pid in pids]
        time.sleep(seconds)
        used = [(cpu_s(pid) - start) / seconds for pid, start in zip(pids, before, strict=True)]
    return {
        "core_without": round(used[0], 5),
        "core_with": round(used[1], 5),
        "core_of_nats": round(used[1] - used[0], 5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["sight", "thin", "faults", "idle"])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--answer", help=argparse.SUPPRESS)
    parser.add_argument("--nodes", type=int, default=NODES, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.answer:
        asyncio.run(answer_for_ever(asked.answer, asked.nodes))
    looks: dict[str, Callable[[NatsServer, float], Coroutine[Any, Any, dict[str, Any]]]] = {
        "sight": sight,
        "thin": thin,
    }
    for what in asked.what:
        with tempfile.TemporaryDirectory() as directory, running_nats(Path(directory)) as server:
            told: dict[str, Any]
            if what in looks:
                told = asyncio.run(looks[what](server, asked.seconds))
            else:
                told = faults(server) if what == "faults" else idle(server, asked.seconds)
        print(json.dumps({what: told, "load": round(os.getloadavg()[0], 1)}), flush=True)


if __name__ == "__main__":
    main()
