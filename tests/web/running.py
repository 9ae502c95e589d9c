"""A real uvicorn on a free port, in a thread, for as long as a `with` lasts."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import httpx
import uvicorn
from fastapi import FastAPI
from websockets.sync.client import ClientConnection, connect

from udprism.node.bridge import Bridge
from udprism.settings import Settings
from udprism.web import app
from udprism.web.api import api_router
from udprism.web.guard import Limits
from udprism.web.health import Health
from udprism.web.live.hub import Hub
from udprism.web.streams import Streams
from web.fake_bridge import FakeBridge

DEADLINE_S = 20.0


def wait_for(what: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
    """Until it is so; fails where that takes longer than any machine should need."""
    until_s = time.monotonic() + deadline_s
    while not what():
        assert time.monotonic() < until_s, "it never came to pass"
        time.sleep(0.002)


@dataclass
class Running:
    """Where the server listens, and what is behind it."""

    port: int
    server: uvicorn.Server
    bridge: FakeBridge

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def client(self, **options: Any) -> httpx.Client:
        """An HTTP client for it."""
        return httpx.Client(base_url=f"http://{self.address}", timeout=DEADLINE_S, trust_env=False, **options)

    def viewer(self, path: str = "/ws/live", **options: Any) -> ClientConnection:
        """A websocket to it; the first message is still to be read."""
        return connect(f"ws://{self.address}{path}", proxy=None, open_timeout=DEADLINE_S, max_size=None, **options)

    def raw(self, receive_buffer_bytes: int | None = None) -> socket.socket:
        """A TCP connection to it."""
        sock = socket.socket()
        if receive_buffer_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        sock.settimeout(DEADLINE_S)
        sock.connect(("127.0.0.1", self.port))
        return sock

    @property
    def connections(self) -> int:
        """Open ones, as uvicorn counts them."""
        return len(self.server.server_state.connections)

    @property
    def is_idle(self) -> bool:
        """Whether nobody is connected, and nothing is left of those who were."""
        return not self.connections and not self.server.server_state.tasks


@contextmanager
def running(bridge: FakeBridge | None = None, limits: Limits | None = None) -> Iterator[Running]:
    """The web app as `serve` runs it."""
    bridge = bridge or FakeBridge()
    settings = bridge.settings.model_copy(update={"http": f"{bridge.settings.http_address[0]}:0"})
    sockets = app.listen(settings)
    yield from _run(app.server(cast(Any, bridge), settings, limits), sockets, bridge)


@contextmanager
def running_plain(bridge: FakeBridge | None = None) -> Iterator[Running]:
    """The same routes, but without gate and guard, on uvicorn as it comes: what attacks work on."""
    bridge = bridge or FakeBridge()
    bare, as_bridge = FastAPI(), cast(Any, bridge)
    hub = Hub(as_bridge)
    bare.include_router(api_router(as_bridge))
    bare.include_router(Streams(as_bridge.clients, hub).router())
    bare.include_router(Health(as_bridge, hub, Counter()).router())
    server = uvicorn.Server(uvicorn.Config(bare, log_config=None, log_level="critical", timeout_graceful_shutdown=1))
    sock = socket.create_server(("127.0.0.1", 0))
    yield from _run(server, [sock], bridge)


def _run(server: uvicorn.Server, sockets: list[socket.socket], bridge: FakeBridge) -> Iterator[Running]:
    port = sockets[0].getsockname()[1]
    thread = threading.Thread(target=server.run, args=(sockets,), name="uvicorn of a test")
    thread.start()
    try:
        wait_for(lambda: server.started or not thread.is_alive())
        assert server.started
        yield Running(port, server, bridge)
    finally:
        server.should_exit = True
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def ephemeral(**changes: Any) -> Settings:
    """Settings that keep nothing."""
    return Settings(ephemeral=True, **changes)


@dataclass
class Clock:
    """The bridge's wall clock, turned by hand."""

    now_ns: int = 1_700_000_000_000_000_000

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, seconds: float) -> None:
        """Let so much time pass."""
        self.now_ns += round(seconds * 1_000_000_000)


@dataclass
class Received:
    """What came for one credit: JSON messages by type, then the frame."""

    frame: bytes
    messages: dict[str, Any] = field(default_factory=dict)


def say(viewer: ClientConnection, **message: Any) -> None:
    """Send a JSON message."""
    viewer.send(json.dumps(message))


def next_frame(viewer: ClientConnection, *, rows: bool = False) -> Received:
    """Spend one credit."""
    say(viewer, type="more", rows=rows)
    return until_frame(viewer)


def until_frame(viewer: ClientConnection) -> Received:
    """Everything up to the next frame."""
    messages: dict[str, Any] = {}
    while True:
        data = viewer.recv(timeout=DEADLINE_S)
        if isinstance(data, bytes):
            return Received(data, messages)
        message = json.loads(data)
        messages[message["type"]] = message


def upgraded(here: Running, receive_buffer_bytes: int | None = None) -> socket.socket:
    """A live feed's websocket whose frames are ours to make."""
    sock = here.raw(receive_buffer_bytes)
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(
        f"GET /ws/live HTTP/1.1\r\nHost: 127.0.0.1:{here.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(1)
    assert head.startswith(b"HTTP/1.1 101")
    return sock


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """One masked frame; the mask is zero."""
    length = len(payload)
    size = bytes([0x80 | length]) if length < 126 else struct.pack("!BH", 0x80 | 126, length)
    return bytes([(0x80 if fin else 0) | opcode]) + size + bytes(4) + payload


PING, TEXT, CONT = 9, 1, 0
MORE = frame(TEXT, b'{"type":"more"}')


def read_frame(sock: socket.socket) -> bytes:
    """Read up to and including the next binary message; the messages before it are thrown away."""

    def exactly(size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = sock.recv(size - len(data))
            assert piece, "closed"
            data += piece
        return data

    while True:
        opcode, length = exactly(2)
        if length == 126:
            (length,) = struct.unpack("!H", exactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", exactly(8))
        payload = exactly(length)
        if opcode & 0xF == 2:
            return payload


def is_open_after(sock: socket.socket, seconds: float) -> bool:
    """Whether the other side has left the connection alone for so long."""
    sock.settimeout(seconds)
    try:
        while data := sock.recv(65_536):
            assert data
    except TimeoutError:
        return True
    except ConnectionResetError:
        return False
    return False


def send_until_refused(sock: socket.socket, piece: bytes, pieces: int) -> bool:
    """Whether the other side cuts before all pieces are sent."""
    try:
        for _ in range(pieces):
            sock.sendall(piece)
    except (ConnectionResetError, BrokenPipeError):
        return True
    return False


@contextmanager
def serving(bridge: Bridge) -> Iterator[httpx.Client]:
    """A real bridge, started, with the web app before it: a client of its REST API."""
    bridge.start()
    try:
        with running(cast("FakeBridge", bridge)) as here, here.client() as client:
            yield client
    finally:
        bridge.stop()
