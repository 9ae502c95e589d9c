"""One viewer of the live feed that measures how old the picture is; run as a program, a crowd that only looks,
until its standard input ends.

The age of what a viewer sees: from the kernel's stamp of a client's newest datagram to the instant at which the frame
that shows it first has come out of the viewer's socket. Both clocks are this machine's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
import time
from concurrent.futures import Future
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import websockets

from udprism.cli.leash import end_with_parent
from udprism.columns.types import I64Column
from udprism.web import messages

_WATCHED_ROWS = 40  # about as many as a screen has lanes
_OLDEST_MS = 60_000
_NEVER_MS = 65_534
_NEW_MS = 2.0  # ages come in whole milliseconds: a change below that is rounding
_BEHIND_S = 5.0


class BenchViewer:
    """A context manager; its own thread runs the loop. `reset` begins a measurement, `ages` and `status` read it."""

    def __init__(self, page_url: str) -> None:
        self._url = _feed(page_url)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._watch()), name="viewer", daemon=True)
        self._stop: Future[None] = Future()
        self._ready = threading.Event()
        self._shown_ms: npt.NDArray[np.float64] = np.zeros(0)
        self._reset = True
        self.ages: I64Column = np.zeros(_OLDEST_MS + 1, np.int64)
        """How many datagrams were shown at which age, by whole milliseconds."""
        self.frames = 0
        self.heard = 0
        """Clients of the newest frame that have ever got a datagram."""
        self.jitter_ms: npt.NDArray[np.float64] = np.zeros(0)
        """By client, if known; updated about four times per second."""
        self.status: dict[str, Any] = {}

    def __enter__(self) -> BenchViewer:
        self._thread.start()
        if not self._ready.wait(_BEHIND_S):
            raise RuntimeError(f"no frame from {self._url} within {_BEHIND_S:.0f} s")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set_result(None)
        self._thread.join(_BEHIND_S)

    def reset(self) -> None:
        """Forget the ages so far."""
        self._reset = True

    def age_ms(self, ratio: float) -> float | None:
        """The given percentile of the age of shown datagrams; None if none was shown."""
        total = int(self.ages.sum())
        return float(np.searchsorted(np.cumsum(self.ages), ratio * total)) if total else None

    async def _watch(self) -> None:
        stopped = asyncio.wrap_future(self._stop)
        looking = asyncio.ensure_future(look(self._url, self._take))
        await asyncio.wait([stopped, looking], return_when=asyncio.FIRST_COMPLETED)
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError, websockets.ConnectionClosed):  # or the program has ended
            await looking

    def _take(self, message: str | bytes) -> None:
        if isinstance(message, str):
            said = json.loads(message)
            if said["type"] == "status":
                self.status = said
            return
        now_ms = time.time_ns() / 1e6
        _, _, flags, _, made_ms, n, *_ = messages.HEADER.unpack_from(message)
        at = messages.HEADER.size + 4 * n + 2 * _padded(n)
        age_ms = np.frombuffer(message, "<u2", n, at)
        if flags & messages.WITH_STATS:
            jitter = np.frombuffer(message, "<u2", n, at + _padded(2 * n) * 3)
            self.jitter_ms = jitter[jitter != messages.UNKNOWN].astype(np.float64) / messages.JITTER_UNITS_PER_MS
        self._measure(age_ms, made_ms, now_ms)
        self.frames += 1
        self._ready.set()

    def _measure(self, age_ms: npt.NDArray[np.uint16], made_ms: float, now_ms: float) -> None:
        heard = age_ms < _NEVER_MS
        self.heard = int(heard.sum())
        arrived_ms = made_ms - age_ms.astype(np.float64)
        if len(self._shown_ms) != len(arrived_ms) or self._reset:
            self._shown_ms = arrived_ms
            self.ages[:] = 0
            self._reset = False
            return
        new = heard & (arrived_ms > self._shown_ms + _NEW_MS)
        self._shown_ms = np.where(new, arrived_ms, self._shown_ms)
        shown_after_ms = np.clip(now_ms - arrived_ms[new], 0, _OLDEST_MS).astype(np.int64)
        self.ages += np.bincount(shown_after_ms, minlength=len(self.ages))


async def look(feed_url: str, take: Any) -> None:
    """Ask for frame after frame, as the page does, and hand each message to `take`."""
    async with websockets.connect(feed_url, max_size=None, compression=None) as websocket:
        await websocket.send(json.dumps({"type": "watch", "rows": list(range(_WATCHED_ROWS)), "client": None}))
        for _ in range(messages.CREDIT):
            await websocket.send('{"type":"more","rows":true}')
        async for message in websocket:
            take(message)
            if isinstance(message, bytes):
                await websocket.send('{"type":"more","rows":true}')


def _feed(page_url: str) -> str:
    return page_url.replace("http", "ws", 1) + "ws/live"


def _padded(size: int) -> int:
    return (size + 3) // 4 * 4


async def _crowd(page_url: str, count: int) -> None:
    await asyncio.gather(*(look(_feed(page_url), lambda message: None) for _ in range(count)))


if __name__ == "__main__":
    end_with_parent(lambda: os._exit(1))
    asyncio.run(_crowd(sys.argv[1], int(sys.argv[2])))
