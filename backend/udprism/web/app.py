"""Assembles the web app, and the server that runs it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import mimetypes
import os
import socket
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

import udprism
from udprism.errors import BindError
from udprism.settings import Settings
from udprism.web import definitions, openapi, problem
from udprism.web.api import api_router
from udprism.web.docs import Docs
from udprism.web.elsewhere import Elsewhere, Here
from udprism.web.gate import MAX_BODY_BYTES, Gate
from udprism.web.guard import MAX_MESSAGE_BYTES, REASONS, Limits
from udprism.web.guarded_http import GuardedHttp
from udprism.web.guarded_websocket import GuardedWebSocket
from udprism.web.health import Health
from udprism.web.live.hub import Hub
from udprism.web.nodes import NodeRoutes
from udprism.web.remote_feed import RemoteViewers
from udprism.web.streams import Streams

if TYPE_CHECKING:
    from udprism.node.bridge import Bridge
    from udprism.node.mesh.mesh import Mesh

BACKLOG: Final = 2048
STOP_TIMEOUT_S: Final = 5
_TICK_S: Final = 1.0
"""Maximum age of the date in responses."""
NOT_SENT_BYTES: Final = 16 << 10
"""Of a viewer's frames, at most so many wait in the kernel behind the network: by default 2.75 MB of stale picture."""
_NOT_HERE: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""A name like localhost may have an address of a family that this machine has switched off."""
_TCP_NOTSENT_LOWAT: Final[int | None] = getattr(socket, "TCP_NOTSENT_LOWAT", None)

# Windows reads these from its registry, where any program may have set them to something that browsers refuse to run.
mimetypes.add_type("text/javascript", ".js")
mimetypes.add_type("text/javascript", ".mjs")
mimetypes.add_type("text/css", ".css")
mimetypes.add_type("application/json", ".json")
mimetypes.add_type("image/svg+xml", ".svg")


def static_directory() -> Path:
    """The page's files: inside an installed package, else (editable install) the checkout's `frontend/`."""
    package = Path(udprism.__file__).parent
    installed = package / "static"
    return installed if installed.is_dir() else package.parents[1] / "frontend"


class GatedApp(FastAPI):
    """FastAPI behind the gate, which stands outside of everything: also of the answer to a bug."""

    def __init__(self, settings: Settings, identity: str, mesh: Mesh | None, **options: Any) -> None:
        super().__init__(**options)
        self._mesh = mesh
        self._settings = settings
        self._identity = identity

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = openapi.completed(super().openapi())
        return self.openapi_schema

    def build_middleware_stack(self) -> ASGIApp:
        routes = super().build_middleware_stack()
        if self._mesh is None:
            return Gate(routes, self._settings, self._identity)
        self._mesh.service.answer_request = Here(routes)
        return Gate(Elsewhere(routes, self._mesh), self._settings, self._identity)


def create_app(bridge: Bridge, cuts: Counter[str] | None = None, mesh: Mesh | None = None) -> FastAPI:
    """All of the web app, for one bridge. cuts: what guard.py counts, for /metrics. mesh: other nodes, if any.

    Raises: ValueError if the settings need a token and have none.
    """
    app = GatedApp(
        bridge.settings,
        bridge.identity,
        mesh,
        title="udprism",
        version=udprism.__version__,
        description=definitions.to_markdown(),
        openapi_url="/api/openapi.json",
        servers=openapi.SERVERS,
        docs_url=None,  # its page would load scripts from elsewhere; ours is web/docs
        redoc_url=None,
        redirect_slashes=False,
        max_body_size=MAX_BODY_BYTES,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    hub = Hub(bridge)
    problem.install(app)
    app.include_router(api_router(bridge))
    app.include_router(NodeRoutes(bridge, mesh).router())
    app.include_router(Streams(bridge.clients, hub, mesh).router())
    app.include_router(Health(bridge, hub, Counter() if cuts is None else cuts, mesh).router())
    app.include_router(Docs(static_directory()).router())
    if mesh is not None:
        mesh.service.take_picture = RemoteViewers(bridge, hub).take
    app.frontend("/", directory=static_directory(), fallback=None, check_dir=True)
    if mesh is not None:
        app.middleware_stack = app.build_middleware_stack()  # other nodes may ask before the first request by HTTP
    return app


def listen(settings: Settings) -> list[socket.socket]:
    """Listening sockets at `settings.http`, one for each address that its host has and that this machine can bind.

    `[::]` is IPv4 too, as it is for UDP. Where port 0 lets the kernel choose, the first socket's port is that of all.

    Raises: BindError, with nothing left open.
    """
    host, port = settings.http_address
    listening: list[socket.socket] = []
    impossible: OSError | None = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        addresses = [(family, address) for family, *_, address in found]
        if host == "::":
            addresses.append((socket.AF_INET, ("0.0.0.0", port)))
        for family, (name, asked, *rest) in dict.fromkeys(addresses):
            bound = listening[0].getsockname()[1] if listening else asked
            try:
                listening.append(_listening(family, (name, bound, *rest)))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                impossible = error
        if impossible is not None and not listening:
            raise impossible
    except OSError as error:
        for sock in listening:
            sock.close()
        raise BindError(f"cannot listen on {settings.http} (TCP): {error.strerror or error}") from error
    return listening


def _listening(family: int, address: tuple[Any, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # on Windows this option would let another program take the port over
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if _TCP_NOTSENT_LOWAT is not None:  # accepted connections inherit it
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, NOT_SENT_BYTES)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


class _Server(uvicorn.Server):
    """Ends at once if it was told to before its own signal handlers were installed.

    It looks once per second whether it should end, and when it is told to. uvicorn's own looks ten times per second.
    """

    def __init__(self, config: uvicorn.Config, ended: threading.Event, mesh: Mesh | None) -> None:
        self._should_exit = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told = asyncio.Event()
        super().__init__(config)
        self._ended = ended
        self._mesh = mesh

    @property
    def should_exit(self) -> bool:
        """Whether it was told to end. May be set from any thread, and by a signal's handler."""
        return self._should_exit

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        self._should_exit = value
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended already
                self._loop.call_soon_threadsafe(self._told.set)

    async def main_loop(self) -> None:
        """Wait for the end."""
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):  # 0: the date of answers is brought up to date
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), _TICK_S)
            self._told.clear()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening."""
        await super().startup(sockets)
        self.should_exit |= self._ended.is_set()
        if self._mesh is not None:
            await self._mesh.start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell other nodes first that this one leaves."""
        if self._mesh is not None:
            await self._mesh.stop()
        await super().shutdown(sockets)


def serve(
    bridge: Bridge,
    settings: Settings,
    sockets: list[socket.socket],
    ended: threading.Event,
    mesh: Mesh | None = None,
) -> None:
    """Serve the page, REST and websockets on these sockets until SIGINT or SIGTERM; closes them.

    ended: set by the caller's own handler for a signal that came too early for this.
    """
    server(bridge, settings, ended=ended, mesh=mesh).run(sockets)


def server(
    bridge: Bridge,
    settings: Settings,
    limits: Limits | None = None,
    ended: threading.Event | None = None,
    mesh: Mesh | None = None,
) -> uvicorn.Server:
    """What `serve` runs. Any thread ends it with `should_exit = True`."""
    cuts: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
    bounds = {"limits": limits or Limits(), "cuts": cuts}
    http, websocket = type("Http", (GuardedHttp,), bounds), type("WebSocket", (GuardedWebSocket,), bounds)
    return _Server(
        uvicorn.Config(
            create_app(bridge, cuts, mesh),
            loop="asyncio" if sys.platform == "win32" else "uvloop",
            http=http,
            ws=websocket,
            ws_max_size=MAX_MESSAGE_BYTES,
            ws_per_message_deflate=False,
            lifespan="off",
            proxy_headers=False,  # anybody on this machine could claim to be anybody
            server_header=False,
            access_log=False,
            log_config=None,
            log_level="warning",  # at "info" it logs the whole address of each websocket, token included
            backlog=BACKLOG,
            timeout_graceful_shutdown=STOP_TIMEOUT_S,
        ),
        ended or threading.Event(),
        mesh,
    )
