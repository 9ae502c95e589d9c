"""The process that plays one replay of the program: its timing depends on nobody else's interpreter lock.

Standard input: the plan, one line of JSON; closing it ends the replay. Standard output: lines of JSON, `Progress` each,
the last one when it has ended.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from udprism.capture.selection import Selection
from udprism.columns.types import Address, format_address
from udprism.errors import CaptureError, RequestError
from udprism.link.link import Link
from udprism.udp import child
from udprism.udp.clock import SystemClock
from udprism.udp.mapped_file import mapped
from udprism.udp.replay import Playlist, Replay

SAYS_EVERY_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """The plan of a replay. files: one after the other. target: an IP address that is allowed. loops: 0 for no end."""

    files: list[str]
    target: Address
    link: dict[str, Any]
    interface: int | str | None
    speed: float
    loops: int
    words: str

    def to_json(self) -> str:
        """The plan as one line, for `from_json`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ReplayPlan:
        """The inverse of `to_json`."""
        given = json.loads(text)
        host, port = given.pop("target")
        return cls(target=(host, port), **given)


def main() -> None:
    """Play what the first line of standard input says."""
    child.begin("udprism-replay")
    plan = ReplayPlan.from_json(sys.stdin.buffer.readline().decode())
    ended = threading.Event()
    threading.Thread(target=_wait_for_the_end, args=(ended,), name="udprism-leash", daemon=True).start()
    with ExitStack() as stack:
        try:
            files = [stack.enter_context(mapped(Path(file))) for file in plan.files]
            playlist = Playlist(files, Selection(plan.words), plan.interface, plan.speed, plan.loops or None)
            replay = Replay(plan.target, Link.from_body(plan.link), SystemClock())
        except (OSError, RequestError) as error:
            _print({"error": str(error)})
            return
        _play(replay, playlist, ended)


def _play(replay: Replay, playlist: Playlist, ended: threading.Event) -> None:
    done = threading.Event()

    def say(error: str | None) -> None:
        body = replay.body() | {"from": format_address(replay.address), "skipped": dict(playlist.skipped)}
        _print(body | {"error": error})

    def keep_saying() -> None:
        say(None)
        while not done.wait(SAYS_EVERY_S):
            say(None)

    saying = threading.Thread(target=keep_saying, name="udprism-says", daemon=True)
    saying.start()
    fault: str | None = None
    try:
        replay.run(playlist, ended)
    except CaptureError as error:
        fault = str(error)
    if fault is None and not replay.offered and not ended.is_set():
        fault = playlist.nothing
    done.set()
    saying.join()
    replay.end()
    say(fault)
    replay.close()


def _print(body: dict[str, Any]) -> None:
    try:
        sys.stdout.write(json.dumps(body) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(0)  # nobody is there any more


def _wait_for_the_end(ended: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    ended.set()


if __name__ == "__main__":
    main()
