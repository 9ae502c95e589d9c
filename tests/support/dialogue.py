"""A program and a UDP socket that the test speaks through: a colour server, word by word."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from udprism.columns.types import Address

DEADLINE_S = 30.0
"""For what takes a second on an idle machine."""


@dataclass
class ScriptedServer:
    """The server's side, in the test's hands. `client`: where the last datagram came from."""

    sock: socket.socket
    client: Address = ("", 0)

    @property
    def address(self) -> Address:
        """Where it listens."""
        host, port = self.sock.getsockname()[:2]
        return host, port

    def hear(self) -> bytes:
        """The next datagram. Raises: TimeoutError at the deadline."""
        data, source = self.sock.recvfrom(65_535)
        self.client = source[0], source[1]
        return data

    def hear_until(self, wanted: bytes) -> bytes:
        """The next datagram that begins so; others are passed over."""
        while not (data := self.hear()).startswith(wanted):
            pass
        return data

    def say(self, data: bytes) -> None:
        """Answer whoever spoke last."""
        self.sock.sendto(data, self.client)


@contextmanager
def scripted_server(host: str = "127.0.0.1", port: int = 0) -> Iterator[ScriptedServer]:
    """A socket on a port of the kernel's choice."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(DEADLINE_S)
        sock.bind((host, port))
        yield ScriptedServer(sock)


@contextmanager
def started(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A program with pipes for all three streams; killed at the end, and at the deadline, which ends any wait on it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UDPRISM_")}
    process = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    watchdog = threading.Timer(DEADLINE_S, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        watchdog.join()
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def next_line(process: subprocess.Popen[str]) -> str:
    """The next line of standard output, without its end; empty where the program has ended."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")
