"""A virtual WLED lamp's HTTP side, on a port of its own: programs that look for lamps find a receiver, and drive it.

It is not part of the web app: lamps have no tokens, and programs that find one request paths at the root. What it
tells is no secret, and what it lets others change is whether it says that it is on, and how bright.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Final, NamedTuple

from udprism.columns.types import Address
from udprism.errors import BindError
from udprism.udp.networks import own_networks
from udprism.wire.lamp import MAX_CHANGE_BYTES, Json, Lamp, answer, change

MAX_CONNECTIONS: Final = 16
_PATIENCE_S: Final = 5.0
LONGEST_S: Final = 60.0
"""A connection is closed after so long, whatever it is doing: one that sends a byte now and then is never stalled."""
"""How long a connection may take over its next request."""
_NO_SUCH_PATH: Final = {"error": 4}
_NOT_UNDERSTOOD: Final = {"error": 9}


class Live(NamedTuple):
    """What a lamp shows now. source: the newest sender's IP address, or ""."""

    source: str
    mode: str
    fps: int


class LampServer:
    """Serves in threads of its own, up to MAX_CONNECTIONS. Any thread."""

    def __init__(self, address: Address, name: str, mac: bytes, pixels: int, live: Callable[[], Live]) -> None:
        """live: may block for as long as a look at the flows takes. Raises: BindError."""
        self.turned_away = 0
        """Connections beyond the most, or from networks that are not this machine's own."""
        self.connections: set[socket.socket] = set()
        self._live, self._begun_s = live, time.monotonic()
        self._changing = threading.Lock()
        server = _server(self, address)
        self.address: Address = (str(server.server_address[0]), int(server.server_address[1]))
        self._lamp = Lamp(name, self.address[0], mac, pixels)
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="udprism-lamp", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        for connection in list(self.connections):
            _hang_up(connection)
        self._server.server_close()
        self._thread.join()

    def get(self, path: str) -> Json | None:
        """The body of GET `path`; None if a lamp has no such path."""
        live = self._live()
        uptime_s = int(time.monotonic() - self._begun_s)
        lamp = self._lamp._replace(uptime_s=uptime_s, fps=live.fps, live_from=live.source, live_mode=live.mode)
        return answer(lamp, path)

    def post(self, body: bytes) -> Json:
        """What is answered to a change. Raises: ValueError."""
        with self._changing:
            self._lamp, said = change(self._lamp, body)
        return said


def _handler(lamp: LampServer) -> type[BaseHTTPRequestHandler]:
    """Serves the lamp's HTTP requests."""

    class Handler(BaseHTTPRequestHandler):
        timeout = _PATIENCE_S
        protocol_version = "HTTP/1.1"
        server_version, sys_version = "WLED", ""

        def do_GET(self) -> None:
            body = lamp.get(self.path.partition("?")[0])
            self._say(404 if body is None else 200, _NO_SUCH_PATH if body is None else body)

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal() or int(length) > MAX_CHANGE_BYTES:
                self.close_connection = True
                self._say(413 if length.isdecimal() else 411, _NOT_UNDERSTOOD)
                return
            try:
                self._say(200, lamp.post(self.rfile.read(int(length))))
            except ValueError:
                self._say(400, _NOT_UNDERSTOOD)

        def do_PUT(self) -> None:
            self.do_POST()

        def _say(self, status: int, body: Json) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *words: object) -> None:
            """Counted, not logged."""

    return Handler


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _server(lamp: LampServer, address: Address) -> ThreadingHTTPServer:
    room = threading.BoundedSemaphore(MAX_CONNECTIONS)

    class Server(ThreadingHTTPServer):
        request_queue_size = 2 * MAX_CONNECTIONS
        daemon_threads = False  # `server_close` waits for them
        address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET

        def server_bind(self) -> None:
            TCPServer.server_bind(self)  # HTTPServer's asks a name server what this machine is called

        def verify_request(self, request: Any, client_address: Any) -> bool:
            ip = ipaddress.ip_address(client_address[0].partition("%")[0])
            if any(ip in network for network in own_networks()) and room.acquire(blocking=False):
                return True
            lamp.turned_away += 1
            return False

        def process_request_thread(self, request: Any, client_address: Any) -> None:
            lamp.connections.add(request)
            enough = threading.Timer(LONGEST_S, _hang_up, (request,))
            enough.daemon = True
            enough.start()
            try:
                super().process_request_thread(request, client_address)
            finally:
                enough.cancel()
                lamp.connections.discard(request)
                room.release()

        def handle_error(self, request: Any, client_address: Any) -> None:
            """The caller disconnected, or was too slow."""

    try:
        return Server(address, _handler(lamp))
    except OSError as error:
        raise BindError(f"cannot listen on {address[0]}:{address[1]} (TCP): {error.strerror or error}") from error
