"""SIGTERM while clients stream, one browser reads and others do not.

Promise: the one who reads is told (close 1012), measured clients hear BYE, exit code 0 within seven seconds.
"""

from __future__ import annotations

import asyncio
import signal
import time
from random import Random

import websockets

from support import program
from support.program import DEADLINE_S, Program
from torture import browsers
from torture.figure import Figure
from torture.fleet import Fleet
from torture.outside import metrics, wait_until

TIMES = 100
CLIENTS = 500
STALLED = 10
RAW = 20
WITHIN_S = 7.0


def run(scale: float, rng: Random) -> Figure:
    """One program after the other."""
    times = max(2, round(TIMES * scale))
    codes: set[int] = set()
    closes: set[int | None] = set()
    slowest_s = 0.0
    byes = 0
    for _ in range(times):
        with (
            program.ephemeral("--clients", str(CLIENTS)) as served,
            Fleet(served.udp, RAW, b"connect v=1 rate_hz=20") as fleet,
        ):
            wait_until(lambda: metrics(served).get('clients{state="live"}') == CLIENTS)
            fleet.connect()
            stalled = browsers.stalled(served, STALLED)
            for _ in range(3):
                fleet.listen(rng.random() / 3)
                for sock in stalled:
                    browsers.ask(sock)
            code, close, took_s = asyncio.run(_end(served))
            codes.add(code)
            closes.add(close)
            slowest_s = max(slowest_s, took_s)
            fleet.listen(0.2)
            byes += sum(raw.told for raw in fleet.clients)
            for sock in stalled:
                sock.close()
    return Figure(
        f"{times} times: exit codes {sorted(codes)} within {slowest_s:.1f} s, who reads is told "
        f"{sorted(map(str, closes))}, {byes} of {times * RAW} raw clients hear BYE",
        codes == {0} and closes == {1012} and slowest_s <= WITHIN_S and byes == times * RAW,
    )


async def _end(served: Program) -> tuple[int, int | None, float]:
    """Exit code, the code with which a reading browser was closed, and how long the end took."""
    async with websockets.connect(f"{served.page.replace('http', 'ws')}/ws/live", max_size=None) as reader:
        await reader.recv()
        served.process.send_signal(signal.SIGTERM)
        began_s = time.monotonic()
        code = await asyncio.to_thread(served.process.wait, DEADLINE_S)
        took_s = time.monotonic() - began_s
        await reader.wait_closed()
        return code, reader.close_code, took_s
