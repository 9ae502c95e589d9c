"""The replays of this program: recordings or captures that are sent again, each by a process of its own."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from udprism.capture.selection import Selection
from udprism.columns.types import Address, format_address
from udprism.errors import RequestError
from udprism.link.link import Link
from udprism.node.bodies import replays as bodies
from udprism.node.bodies.json import Json
from udprism.node.looking_up import look_up
from udprism.udp.lookups import Lookups
from udprism.udp.replay_process import ReplayPlan

log = logging.getLogger(__name__)

MAX_REPLAYS: Final = 4
"""That play. As many that have ended are shown; the oldest goes first."""
REPLAY: Final = "play-"
"""Ids of replays and of their flows begin so; no others do."""
_FLOW: Final = "-0"
_ENDS_WITHIN_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says. One of recording and file is an id, the other one None."""

    target: str
    recording: str | None
    file: str | None
    interface: int | str | None
    speed: float
    loop: int
    filter: str
    link: dict[str, Any]


class Replay:
    """One: its process, and what that said last. `said` may be read by any thread."""

    def __init__(self, asked: Asked, plan: ReplayPlan) -> None:
        """Starts the process. Raises: OSError."""
        self.id = f"{REPLAY}{secrets.token_hex(6)}"
        self.asked, self.plan = asked, plan
        self.began_unix_ns = time.time_ns()
        self.ended_unix_ns: int | None = None
        self.said: dict[str, Any] = {}
        self.error: str | None = None
        self.stopped = False
        command = [sys.executable, "-m", "udprism.udp.replay_process"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        with suppress(BrokenPipeError):
            assert self._process.stdin is not None
            self._process.stdin.write(plan.to_json().encode() + b"\n")
            self._process.stdin.flush()
        self._reader = threading.Thread(target=self._read, name="udprism-replay", daemon=True)
        self._reader.start()

    @property
    def playing(self) -> bool:
        """Whether its process is there."""
        return self.ended_unix_ns is None

    def ask_to_end(self) -> None:
        """Do not wait for it."""
        self.stopped = self.stopped or self.playing
        with suppress(BrokenPipeError):
            assert self._process.stdin is not None
            self._process.stdin.close()

    def end(self) -> None:
        """End it, if it plays. Blocks until it has ended."""
        self.ask_to_end()
        self._reader.join(_ENDS_WITHIN_S)
        if self._reader.is_alive():
            self._process.kill()
            self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                with suppress(ValueError):  # half a line of a process that was killed
                    said = json.loads(line)
                    self.error = said.pop("error")
                    self.said = said or self.said
        code = self._process.wait()
        if code and not self.stopped:
            log.warning("the process of the replay %s ended with %d", self.id, code)
            self.error = f"its process ended with {code}"
        self.ended_unix_ns = time.time_ns()


class Replays:
    """Coroutines belong to one event loop."""

    def __init__(
        self,
        lookups: Lookups,
        files_of: Callable[[str], Awaitable[list[Path]]],
        capture_of: Callable[[str], Path],
        note: Callable[[str, str, str | None], None],
    ) -> None:
        """files_of: a recording's files. capture_of: an uploaded file. note: writes down an event."""
        self._lookups, self._files_of, self._capture_of, self._note = lookups, files_of, capture_of, note
        self._replays: dict[str, Replay] = {}
        self._changing = asyncio.Lock()
        self._gone = 0

    # -- what there is

    def every(self) -> list[Json]:
        """All of them, in the order in which they were started."""
        return [bodies.replay_body(one, flow_id(one)) for one in self._replays.values()]

    def get(self, replay_id: str) -> Json:
        """One. Raises: RequestError (404)."""
        one = self._replay(replay_id)
        return bodies.replay_body(one, flow_id(one))

    def flows(self, query: str | None) -> list[Json]:
        """Their flows that match."""
        words = (query or "").lower().split()
        found = [bodies.flow_body(one, flow_id(one)) for one in self._replays.values()]
        return [
            flow
            for flow in found
            if all(word in f"{flow['id']} {flow['name']} {flow['from']} {flow['to']}".lower() for word in words)
        ]

    def flow(self, wanted: str) -> Json:
        """One flow. Raises: RequestError (404)."""
        for flow in self.flows(None):
            if flow["id"] == wanted:
                return flow
        raise RequestError(f"no flow {wanted!r}", field="id", kind="not-found")

    def counters(self) -> dict[str, int]:
        """For /metrics. From any thread."""
        replays = list(self._replays.values())
        return {
            "replays_playing": sum(one.playing for one in replays),
            "replay_datagrams_total": self._gone + sum(one.said.get("offered", 0) for one in replays),
        }

    # -- what is done

    async def add(self, asked: Asked) -> Json:
        """Begin to play. Raises: RequestError (403, 404, 409, 422), with the field at fault."""
        (target, *_) = await look_up(self._lookups, asked.target)  # before the lock: it may take its time
        async with self._changing:
            if sum(one.playing for one in self._replays.values()) >= MAX_REPLAYS:
                raise RequestError(f"at most {MAX_REPLAYS} replays may run at once", kind="too-many-replays")
            plan = await self._plan(asked, target)
            self._forget_the_oldest()
            try:
                one = await asyncio.to_thread(Replay, asked, plan)
            except OSError as error:
                raise RequestError(f"no process for it: {error.strerror or error}", kind="busy") from error
            self._replays[one.id] = one
            self._note("replay", f"replay {one.id} to {format_address(plan.target)} begun", None)
            return self.get(one.id)

    async def stop_one(self, replay_id: str) -> Json:
        """End it, and show it still. Raises: RequestError (404)."""
        async with self._changing:
            await asyncio.to_thread(self._replay(replay_id).end)
            return self.get(replay_id)

    async def remove(self, replay_id: str) -> None:
        """End it, and forget it. Raises: RequestError (404)."""
        async with self._changing:
            one = self._replay(replay_id)
            await asyncio.to_thread(one.end)
            self._forget(one)

    def stop(self) -> None:
        """End all of them."""
        for one in self._replays.values():
            one.ask_to_end()
        for one in self._replays.values():
            one.end()

    # -- how

    async def _plan(self, asked: Asked, target: Address) -> ReplayPlan:
        if (asked.recording is None) == (asked.file is None):
            raise RequestError("either a recording or an uploaded file", field="recording")
        Selection(asked.filter)
        link = Link.from_body(asked.link)
        if asked.recording is not None:
            files = await self._files_of(asked.recording)
        else:
            files = [self._capture_of(str(asked.file))]
        return ReplayPlan(
            [str(path) for path in files],
            target,
            link.to_body(),
            asked.interface,
            asked.speed,
            asked.loop,
            asked.filter,
        )

    def _forget_the_oldest(self) -> None:
        ended = [one for one in self._replays.values() if not one.playing]
        for one in ended[: max(0, len(ended) - MAX_REPLAYS + 1)]:
            self._forget(one)

    def _forget(self, one: Replay) -> None:
        self._gone += one.said.get("offered", 0)  # both at once: the counters are read by this loop
        del self._replays[one.id]

    def _replay(self, replay_id: str) -> Replay:
        if replay_id not in self._replays:
            raise RequestError(f"no replay {replay_id!r}", kind="not-found")
        return self._replays[replay_id]


def flow_id(one: Replay) -> str:
    """Of the one flow that a replay is."""
    return one.id + _FLOW
