"""`python faulty.py serve …`: the program as it is, with a door through which a test breaks it from inside.

Datagrams to the port that it prints as `control`: `die server`, `hang pool 5` (seconds): the thread runs a callable
that raises or sleeps. SIGUSR1 keeps the event loop's thread busy for STALL_S, without a pause. SIGUSR2 prints how many
tasks the event loop has.
"""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import udprism.bridge

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.program import Program
from udprism.__main__ import main
from udprism.bridge import Bridge

STALL_S = 3.0
COMMAND = (sys.executable, str(Path(__file__)))


class InjectedError(BaseException):
    """What a bug would raise."""


class FaultyBridge(Bridge):
    """The bridge, and a thread that listens for what is to go wrong."""

    def start(self) -> None:
        """Start, and say where the door is."""
        control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        control.bind(("127.0.0.1", 0))
        print(f"  control  {control.getsockname()[1]}", flush=True)
        threading.Thread(target=self._obey, args=(control,), name="control", daemon=True).start()
        super().start()

    def _obey(self, control: socket.socket) -> None:
        while True:
            what, which, *seconds = control.recv(100).decode().split()
            thread = self._works.server if which == "server" else self._works.pool
            thread.inbox.submit(_die if what == "die" else _sleeper(float(seconds[0])))


def _die() -> None:
    raise InjectedError


def _sleeper(seconds: float) -> Callable[[], None]:
    return lambda: time.sleep(seconds)


def _stall(number: int, frame: object) -> None:
    until_s = time.monotonic() + STALL_S
    while time.monotonic() < until_s:
        pass


def _count_tasks(number: int, frame: object) -> None:
    print(f"tasks {len(asyncio.all_tasks(asyncio.get_running_loop()))}", flush=True)


def tell(program: Program, fault: str) -> None:
    """Break something in a program that was started with COMMAND."""
    (port,) = re.findall(r"control +(\d+)", "".join(program.output))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(fault.encode(), ("127.0.0.1", int(port)))


if __name__ == "__main__":
    udprism.bridge.Bridge = FaultyBridge  # type: ignore[misc]
    signal.signal(signal.SIGUSR1, _stall)
    signal.signal(signal.SIGUSR2, _count_tasks)
    main()
