"""Other people's programs, started for a test and ended with it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

DEADLINE_S = 30.0


def need(*names: str) -> None:
    """Skip the test if one of these is not installed; in CI all of them are."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        assert not os.environ.get("CI"), f"not installed: {missing}"
        pytest.skip(f"not installed: {', '.join(missing)}")


def wait_for(what: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
    """Until it is so."""
    until_s = time.monotonic() + deadline_s
    while not what():
        assert time.monotonic() < until_s, "it never came to pass"
        time.sleep(0.002)


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM, host: str = "127.0.0.1") -> int:
    """A port that nobody has just now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int, table: str = "udp") -> bool:
    """Whether somebody on this machine is bound to it (`udp`), or listens there (`tcp`)."""
    rows = [line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    return any(row[1].endswith(f":{port:04X}") and (table == "udp" or row[3] == "0A") for row in rows)


def all_read(port: int) -> bool:
    """Whether the UDP sockets that are bound to this port hold no datagram that their program has not read."""
    rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    return all(row[4].endswith(":00000000") for row in rows if row[1].endswith(f":{port:04X}"))


class Programs(ExitStack):
    """Processes that end with the test."""

    def start(self, *command: str, **options: object) -> subprocess.Popen[bytes]:
        """Start one; it is terminated at the end."""
        process = subprocess.Popen(command, **options)  # type: ignore[call-overload]
        self.callback(self._end, process)
        assert isinstance(process, subprocess.Popen)
        return process

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()

    def forward_tcp(self, listen: tuple[str, int], to: tuple[str, int], *, when: Callable[[], bool]) -> None:
        """Carry TCP beside a relay: some programs agree over it what they send over UDP.

        when: each piece waits until it is so. A relay delays datagrams, and not the word that all have been sent.
        """
        listener = self.enter_context(socket.create_server(listen))
        open_sockets: list[socket.socket] = []

        def pump(source: socket.socket, sink: socket.socket) -> None:
            try:
                while data := source.recv(65_536):
                    wait_for(when)
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the other side is gone

        def accept() -> None:
            try:
                while True:
                    here, _ = listener.accept()
                    there = socket.create_connection(to)
                    open_sockets.extend((here, there))
                    for pair in ((here, there), (there, here)):
                        threads.append(threading.Thread(target=pump, args=pair))
                        threads[-1].start()
            except OSError:
                pass  # the test has ended

        def end() -> None:
            listener.shutdown(socket.SHUT_RDWR)
            for sock in open_sockets:
                with suppress(OSError):  # it was shut already
                    sock.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
            for sock in open_sockets:
                sock.close()

        threads = [threading.Thread(target=accept)]
        threads[0].start()
        self.callback(end)
