"""The usual way to build such a bridge, as a baseline: FastAPI, one asyncio datagram endpoint per client, JSON texts.

Three processes: a plain colour server, a web app that hosts the clients and sends one JSON text per datagram to its
viewer, and the viewer, which is what runs when this file is started: it starts the other two, raises the rate until it
no longer keeps up, and prints the best step.

    python -m udprism.cli.baselines.usual_stack --clients 9000 --seconds 3 --json

It knows nothing of udprism, but how to end with the program that started it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn
import websockets
from fastapi import FastAPI, WebSocket

from udprism.cli.leash import end_with_parent

COLOURS = ["red", "green", "blue", "yellow", "purple", "orange"]
FIRST_PER_S, STEP_RATIO = 8000, 1.4
KEPT_UP_RATIO, KEPT_UP_AGE_MS = 0.97, 250.0


def serve_colours(rate_hz: float) -> None:
    """Sends to every client that said `connect`, evenly, with one sendto each. Prints its port."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    print(sock.getsockname()[1], flush=True)
    clients: list[tuple[str, int]] = []
    due, last_s = 0.0, time.monotonic()
    next_client = 0
    while True:
        with contextlib.suppress(BlockingIOError):
            while True:
                data, address = sock.recvfrom(64)
                if data == b"connect":
                    clients.append(address)
        now_s = time.monotonic()
        due = min(due + (now_s - last_s) * rate_hz * len(clients), len(clients))
        last_s = now_s
        for _ in range(int(due)):
            with contextlib.suppress(BlockingIOError):
                sock.sendto(random.choice(COLOURS).encode(), clients[next_client])
            next_client = (next_client + 1) % len(clients)
        due -= int(due)
        time.sleep(0.005)


def run_app(clients: int, server_port: int) -> None:
    """Hosts the clients and shows them on `/ws`. Prints its port as soon as all clients have asked for colours."""
    viewers: set[asyncio.Queue[str]] = set()

    class Client(asyncio.DatagramProtocol):
        def __init__(self, number: int) -> None:
            self.number = number

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            text = json.dumps({"client_id": self.number, "colour": data.decode(), "received_at_ns": time.time_ns()})
            for queue in viewers:
                queue.put_nowait(text)

    @contextlib.asynccontextmanager
    async def hosted(_: FastAPI) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        transports = []
        for number in range(clients):
            made = loop.create_datagram_endpoint(functools.partial(Client, number), local_addr=("127.0.0.1", 0))
            transports.append((await made)[0])
            transports[-1].sendto(b"connect", ("127.0.0.1", server_port))
            if number % 50 == 0:
                await asyncio.sleep(0.002)  # so that the server's buffer holds them all
        print(listening.getsockname()[1], flush=True)
        yield
        for transport in transports:
            transport.close()

    app = FastAPI(lifespan=hosted)

    @app.websocket("/ws")
    async def view(websocket: WebSocket) -> None:
        await websocket.accept()
        queue: asyncio.Queue[str] = asyncio.Queue()
        viewers.add(queue)
        while True:
            await websocket.send_text(await queue.get())

    listening = socket.create_server(("127.0.0.1", 0))
    uvicorn.Server(uvicorn.Config(app, log_level="critical")).run(sockets=[listening])


@contextlib.contextmanager
def part(*arguments: str) -> Iterator[tuple[int, int]]:
    """Another process of this program: (its process id, the port that it prints)."""
    command = [sys.executable, "-m", "udprism.cli.baselines.usual_stack", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.pid, int(process.stdout.readline())
        finally:
            process.kill()


def cpu_s(pid: int) -> float:
    """Processor time of a process so far."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def watch(port: int, settle_s: float, seconds: float, pids: list[int]) -> dict[str, float]:
    """What a viewer sees in this many seconds, after a few seconds to settle."""
    ages_ms: list[float] = []
    async with websockets.connect(f"ws://127.0.0.1:{port}/ws", max_queue=None, compression=None) as websocket:
        start_s = time.monotonic() + settle_s
        spent_s = 0.0
        while (now_s := time.monotonic()) < start_s + seconds:
            with contextlib.suppress(TimeoutError):
                text = await asyncio.wait_for(websocket.recv(), 1)
                if now_s < start_s:
                    spent_s = -sum(map(cpu_s, pids))
                else:
                    ages_ms.append((time.time_ns() - json.loads(text)["received_at_ns"]) / 1e6)
        spent_s += sum(map(cpu_s, pids))
    ages_ms.sort()
    return {
        "delivered_per_s": len(ages_ms) / seconds,
        "age_p50_ms": ages_ms[len(ages_ms) // 2] if ages_ms else float("inf"),
        "age_p99_ms": ages_ms[len(ages_ms) * 99 // 100] if ages_ms else float("inf"),
        "cpu_us_per_datagram": spent_s / max(1, len(ages_ms)) * 1e6,
    }


def step(clients: int, per_s: float, seconds: float) -> dict[str, Any]:
    """One rate, with processes of its own."""
    with (
        part("--part", "server", "--rate-hz", str(per_s / clients)) as (server_pid, server_port),
        part("--part", "app", "--clients", str(clients), "--server-port", str(server_port)) as (app_pid, port),
    ):
        seen = asyncio.run(watch(port, 1.5, seconds, [server_pid, app_pid]))
    kept_up = seen["delivered_per_s"] >= KEPT_UP_RATIO * per_s and seen["age_p99_ms"] <= KEPT_UP_AGE_MS
    return {"clients": clients, "sent_per_s": per_s, **seen, "kept_up": kept_up}


def main() -> None:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", choices=["server", "app"])
    parser.add_argument("--server-port", type=int)
    parser.add_argument("--clients", type=int, default=9000)
    parser.add_argument("--rate-hz", type=float, help="one step at this rate of each client, instead of raising it")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--leashed", action="store_true", help="end when standard input does")
    options = parser.parse_args()
    if options.part or options.leashed:
        end_with_parent(lambda: os._exit(1))
    if options.part == "server":
        serve_colours(options.rate_hz)
    elif options.part == "app":
        run_app(options.clients, options.server_port)
    else:
        per_s = options.clients * options.rate_hz if options.rate_hz else FIRST_PER_S
        steps = [step(options.clients, per_s, options.seconds)]
        while not options.rate_hz and steps[-1]["kept_up"]:
            steps.append(step(options.clients, steps[-1]["sent_per_s"] * STEP_RATIO, options.seconds))
        best = max(steps, key=lambda one: (one["kept_up"], one["delivered_per_s"]))
        print(json.dumps(best | {"steps": steps}) if options.json else "\n".join(map(str, steps)))


if __name__ == "__main__":
    main()
