"""What a viewer costs the server: `python tests/bench/viewers.py [--clients 10000] [--viewers 50] [--seconds 8]`.

Starts the program with its clients, lets 0, 1 and many viewers look at the same view, and counts the processor time of
the server's process. The viewers are another process, which asks for frame after frame, as a page does. What a viewer
costs is said for each frame that it got, because a busy machine makes fewer of them; for one that joins, in
milliseconds until it has seen everything.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import websockets

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import program
from support.program import Program

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
WATCHED_ROWS = 40
"""About as many as a screen has lanes."""
JOINS = 20
JOINED_AFTER_FRAMES = 5


class Seen(NamedTuple):
    """What the viewers got within a measurement, and what it cost the server's process."""

    frames: int
    cpu_s: float


def cpu_s(pid: int) -> float:
    """Processor time of all threads of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


async def look(url: str, frames: list[int], number: int, rows: bool) -> None:
    """Ask for frame after frame, and count them in `frames[number]`."""
    watch = {"type": "watch", "rows": list(range(WATCHED_ROWS)) if rows else []}
    more = json.dumps({"type": "more", "rows": rows})
    async with websockets.connect(url, max_size=None, compression=None, proxy=None) as websocket:
        for message in (json.dumps(watch), more, more):
            await websocket.send(message)
        async for answer in websocket:
            if isinstance(answer, bytes):
                frames[number] += 1
                await websocket.send(more)


async def joined_ms(url: str, clients: int) -> float:
    """From asking for a connection to the last of what a new viewer has to know."""
    missing = {"hello", "status", "roster", "stats"}
    start_s = time.perf_counter()
    async with websockets.connect(url, max_size=None, compression=None, proxy=None) as websocket:
        await websocket.send('{"type":"watch"}')
        await websocket.send('{"type":"more"}')
        while missing:
            answer = await websocket.recv()
            if isinstance(answer, bytes):
                missing.discard("stats" if answer[2] & 1 else "")
            else:
                said = json.loads(answer)
                assert said["type"] != "roster" or len(said["upsert"]) == clients
                missing.discard(said["type"])
    return (time.perf_counter() - start_s) * 1000


async def watched(url: str, pid: int, viewers: int, seconds: float, rows: bool) -> Seen:
    """So many viewers for so long, from when each has got what a new one has to know."""
    frames = [0] * viewers
    looking = [asyncio.create_task(look(url, frames, number, rows)) for number in range(viewers)]
    deadline_s = time.monotonic() + program.DEADLINE_S
    while min(frames, default=JOINED_AFTER_FRAMES) < JOINED_AFTER_FRAMES:
        assert time.monotonic() < deadline_s, "not all viewers came"
        await asyncio.sleep(0.02)
    begin_frames, begin_cpu_s = sum(frames), cpu_s(pid)
    await asyncio.sleep(seconds)
    seen = Seen(sum(frames) - begin_frames, cpu_s(pid) - begin_cpu_s)
    for task in looking:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return seen


def settled(served: Program, clients: int) -> None:
    """Wait until all clients are live."""
    deadline_s = time.monotonic() + 60
    while served.get("/api/clients?state=live&limit=1")["total"] < clients:
        assert time.monotonic() < deadline_s, "the clients never came"
        time.sleep(0.2)


def measure(served: Program, clients: int, viewers: int, seconds: float) -> dict[str, float]:
    """The figures, of a program whose clients are there already."""
    url, pid = served.page.replace("http", "ws", 1) + "/ws/live", served.process.pid
    figures: dict[str, float] = {}
    for view, rows in (("wall", False), ("lanes", True)):
        nobody, one, many = (asyncio.run(watched(url, pid, count, seconds, rows)) for count in (0, 1, 1 + viewers))
        first_us = (one.cpu_s - nobody.cpu_s) / one.frames * 1e6
        # All viewers of a picture share it: what one viewer's pictures cost is paid once.
        pictures = many.frames / (1 + viewers)
        further_us = (many.cpu_s - nobody.cpu_s - pictures * first_us / 1e6) / (many.frames - pictures) * 1e6
        figures |= {
            f"{view}_first_us_per_frame": round(first_us),
            f"{view}_further_us_per_frame": round(further_us, 1),
            f"{view}_further_to_first": round(further_us / first_us, 3),
            f"{view}_frames_per_s_of_one": round(one.frames / seconds, 1),
            f"{view}_frames_per_s_of_each": round(pictures / seconds, 1),
        }
    joins = sorted(asyncio.run(joined_ms(url, clients)) for _ in range(JOINS))
    return figures | {"join_median_ms": round(joins[JOINS // 2]), "join_worst_ms": round(joins[-1])}


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rate-hz", default="1")
    parser.add_argument("--frame-hz", default="10")
    asked = parser.parse_args()
    words = ("--clients", str(asked.clients), "--rate-hz", asked.rate_hz)
    with program.ephemeral(*words, UDPRISM_FRAME_HZ=asked.frame_hz) as served:
        settled(served, asked.clients)
        print(json.dumps(measure(served, asked.clients, asked.viewers, asked.seconds), indent=1))


if __name__ == "__main__":
    main()
