"""Browsers whose every byte is ours: websockets on the live feed, without a library that would behave."""

from __future__ import annotations

import base64
import json
import os
import socket

from support.program import Program
from web.running import TEXT, frame

DEADLINE_S = 60.0
SMALL_BUFFER_BYTES = 4096


def opened(program: Program, receive_buffer_bytes: int | None = None) -> socket.socket:
    """A websocket on the live feed; its handshake is done. Raises: ConnectionRefusedError where it is not let in."""
    host, _, port = program.page.removeprefix("http://").rpartition(":")
    sock = socket.socket()
    if receive_buffer_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    sock.settimeout(DEADLINE_S)
    sock.connect((host, int(port)))
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(
        f"GET /ws/live HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        byte = sock.recv(1)
        if not byte:
            break
        head += byte
    if not head.startswith(b"HTTP/1.1 101"):
        sock.close()
        raise ConnectionRefusedError(head.decode(errors="replace"))
    return sock


def watch(sock: socket.socket, rows: int) -> None:
    """Ask for so many lanes in each frame: about a kilobyte each."""
    sock.sendall(frame(TEXT, json.dumps({"type": "watch", "rows": list(range(rows))}).encode(), fin=True))


def ask(sock: socket.socket) -> bool:
    """Ask for a frame, and never mind the answer; False where the other side has cut us."""
    try:
        sock.send(MORE_ROWS, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True


def stalled(program: Program, count: int) -> list[socket.socket]:
    """Browsers with many lanes and small buffers that have asked, and will not read."""
    sockets = []
    for _ in range(count):
        sock = opened(program, SMALL_BUFFER_BYTES)
        watch(sock, 256)
        ask(sock)
        sockets.append(sock)
    return sockets


MORE_ROWS = frame(TEXT, b'{"type":"more","rows":true}')
