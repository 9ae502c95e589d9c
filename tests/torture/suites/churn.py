"""A hundred thousand browsers and a hundred thousand UDP sessions come and go.

Promise: afterwards tasks, descriptors, threads and sessions are what they were, and memory within five per cent.
"""

from __future__ import annotations

import socket
from random import Random

from support import program
from support.program import Program
from torture import browsers, faulty
from torture.figure import Figure
from torture.outside import descriptors, metrics, rss_bytes, threads, wait_until
from web.running import read_frame

BROWSERS = 100_000
SESSIONS = 100_000
CLIENTS = 50
AT_ONCE = 50
MOST_GROWTH = 0.05
_WARM_PART = 0.2
"""Of all of them come and go before the first look: allocators and caches fill up once."""


def run(scale: float, rng: Random) -> Figure:
    """Some at a time; half of them go without a word."""
    browsers_, sessions = round(BROWSERS * scale), round(SESSIONS * scale)
    with program.ephemeral("--clients", str(CLIENTS), command=faulty.COMMAND) as served:
        wait_until(lambda: metrics(served).get('clients{state="live"}') == CLIENTS)
        tasks, commands = faulty.tasks(served), metrics(served)["commands_total"]
        commands += _come_and_go(served, round(browsers_ * _WARM_PART), round(sessions * _WARM_PART), rng)
        before = _look(served, tasks, commands)
        commands += _come_and_go(served, round(browsers_ * (1 - _WARM_PART)), round(sessions * (1 - _WARM_PART)), rng)
        pid = served.process.pid
        wait_until(lambda: descriptors(pid) <= before["descriptors"])
        after = _look(served, tasks, commands)
    growth = after.pop("rss") / before.pop("rss") - 1
    return Figure(
        f"{browsers_:,} browsers and {sessions:,} sessions: RSS {growth:+.1%}, before {before}, after {after}",
        abs(growth) <= MOST_GROWTH and before == after,
    )


def _come_and_go(served: Program, browsers_: int, sessions: int, rng: Random) -> int:
    """How many commands the sessions have sent."""
    commands = 0
    for start in range(0, max(browsers_, sessions), AT_ONCE):
        crowd = [browsers.opened(served) for _ in range(min(AT_ONCE, max(0, browsers_ - start)))]
        for sock in crowd:
            browsers.ask(sock)
        for sock in crowd[: AT_ONCE // 10]:
            read_frame(sock)
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(min(AT_ONCE, sessions - start))]
        for sock in sockets:
            sock.sendto(b"connect v=1 rate_hz=100", served.udp)
        commands += len(sockets)
        for sock in sockets:
            if rng.random() < 0.5:
                sock.sendto(b"disconnect", served.udp)
                commands += 1
        for sock in (*crowd, *sockets):
            sock.close()
    return commands


def _look(served: Program, tasks: int, commands: float) -> dict[str, int]:
    """What must be as before, as soon as all who came have been heard, and all who left are seen to have left.

    tasks: as many as there were before anybody came. commands: as many as the server has been sent.
    """

    def is_quiet() -> bool:
        now = metrics(served)
        heard = now["commands_total"] + now["datagrams_dropped_by_kernel_total"]
        return heard >= commands and now["sessions"] == CLIENTS and now["viewers"] == 0

    wait_until(is_quiet)
    wait_until(lambda: faulty.tasks(served) <= tasks)
    pid = served.process.pid
    return {
        "tasks": faulty.tasks(served),
        "descriptors": descriptors(pid),
        "threads": threads(pid),
        "sessions": int(metrics(served)["sessions"]),
        "rss": rss_bytes(pid),
    }
