"""`python faulty.py serve …`: the program as it is, with a door through which a test breaks it from inside.

Datagrams to the port that it prints as `control`: `die server`, `hang pool 5` (seconds): the thread runs a callable
that raises or sleeps; `disk off`, `disk on`: the file with what is kept lets nobody write, in SQLite's own words;
`step -3600` (seconds): the wall clock is set; `tasks`: answers how many tasks the event loop has. SIGUSR1 keeps the
event loop's thread busy for STALL_S, without a pause.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import udprism.node.bridge

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.program import Program
from udprism.__main__ import main
from udprism.columns.arrivals import Arrivals
from udprism.columns.types import NS_PER_S
from udprism.node import assembly
from udprism.node.bridge import Bridge
from udprism.udp.arrivals import Receiver, best_receiver
from udprism.udp.clock import SystemClock

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
            data, asker = control.recvfrom(100)
            if data == b"tasks":
                _askers.append((control, asker))
                os.kill(os.getpid(), signal.SIGUSR2)
                continue
            what, which, *seconds = data.decode().split()
            if what == "step":
                _stepped_ns[0] += int(which) * NS_PER_S
                continue
            if what == "disk":
                with self._store._lock:
                    self._store._connection.execute(f"PRAGMA query_only = {which == 'off'}")
                continue
            thread = self._assembly.server if which == "server" else self._assembly.pool
            thread.inbox.submit(_die if what == "die" else _sleeper(float(seconds[0])))


_stepped_ns = [0]
"""How far the wall clock was set. The real one belongs to the whole machine."""


class SteppedClock(SystemClock):
    """The wall clock as it was set."""

    def unix_ns(self) -> int:
        """With the step."""
        return super().unix_ns() + _stepped_ns[0]


class SteppedReceiver:
    """The receiver of a machine whose clock was set: what waited in a socket then was stamped before."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def __getattr__(self, name: str) -> Any:
        return getattr(self._receiver, name)

    def poll(self, timeout_s: float) -> Arrivals:
        """As its receiver, on the stepped clock."""
        stepped_ns = _stepped_ns[0]
        arrivals = self._receiver.poll(timeout_s)
        return replace(arrivals, received_unix_ns=arrivals.received_unix_ns + stepped_ns)


def _die() -> None:
    raise InjectedError


def _sleeper(seconds: float) -> Callable[[], None]:
    return lambda: time.sleep(seconds)


def _stall(number: int, frame: object) -> None:
    until_s = time.monotonic() + STALL_S
    while time.monotonic() < until_s:
        pass


_askers: list[tuple[socket.socket, Any]] = []


def _count_tasks(number: int, frame: object) -> None:
    control, asker = _askers.pop()
    control.sendto(str(len(asyncio.all_tasks(asyncio.get_running_loop()))).encode(), asker)


def tell(program: Program, fault: str) -> None:
    """Break something in a program that was started with COMMAND."""
    with _door(program) as sock:
        sock.send(fault.encode())


def tasks(program: Program) -> int:
    """How many tasks its event loop has."""
    with _door(program) as sock:
        sock.send(b"tasks")
        return int(sock.recv(100))


def _door(program: Program) -> socket.socket:
    (port,) = re.findall(r"control +(\d+)", "".join(program.output))
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(60)
    sock.connect(("127.0.0.1", int(port)))
    return sock


if __name__ == "__main__":
    udprism.node.bridge.Bridge = FaultyBridge  # type: ignore[misc]
    vars(assembly).update(SystemClock=SteppedClock, best_receiver=lambda *shape: SteppedReceiver(best_receiver(*shape)))
    signal.signal(signal.SIGUSR1, _stall)
    signal.signal(signal.SIGUSR2, _count_tasks)  # only the loop's own thread may look at its tasks
    main()
