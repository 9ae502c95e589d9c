"""The web app put together, and the server that runs it."""

from __future__ import annotations

import mimetypes
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvicorn
from fastapi import FastAPI, WebSocket

import udprism
from udprism.errors import BindError
from udprism.settings import Settings
from udprism.web import problem
from udprism.web.api import Api
from udprism.web.live import Hub

if TYPE_CHECKING:
    from udprism.bridge import Bridge

BACKLOG: Final = 2048

# Windows reads these from its registry, where any program may have set them to something that browsers refuse to run.
mimetypes.add_type("text/javascript", ".js")
mimetypes.add_type("text/css", ".css")
mimetypes.add_type("application/json", ".json")
mimetypes.add_type("image/svg+xml", ".svg")


def static_directory() -> Path:
    """The page's files: inside an installed package, else (editable install) the checkout's `frontend/`."""
    package = Path(udprism.__file__).parent
    installed = package / "static"
    return installed if installed.is_dir() else package.parents[1] / "frontend"


def create_app(bridge: Bridge) -> FastAPI:
    """All of the web app, for one bridge."""
    app = FastAPI(
        title="udprism",
        version=udprism.__version__,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    problem.install(app)
    app.include_router(Api(bridge).router())
    hub = Hub(bridge)

    @app.websocket("/ws/live")
    async def live(websocket: WebSocket) -> None:
        await websocket.accept()
        await hub.serve(websocket)

    app.frontend("/", directory=static_directory(), fallback=None, check_dir=True)
    return app


def listen(settings: Settings) -> list[socket.socket]:
    """Listening sockets at `settings.http`, one for each address that its host has.

    Raises: BindError, with nothing left open.
    """
    host, port = settings.http_address
    listening: list[socket.socket] = []
    try:
        for family, *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
            sock = socket.socket(family, socket.SOCK_STREAM)
            listening.append(sock)
            if os.name == "posix":  # on Windows this option would let another program take the port over
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
    except OSError as error:
        for sock in listening:
            sock.close()
        raise BindError(f"cannot listen on {settings.http} (TCP): {error.strerror or error}") from error
    return listening


def serve(bridge: Bridge, settings: Settings, sockets: list[socket.socket]) -> None:
    """Serve the page, REST and websockets on these sockets until SIGINT or SIGTERM; closes them."""
    server(bridge, settings).run(sockets)


def server(bridge: Bridge, settings: Settings) -> uvicorn.Server:
    """What `serve` runs; `should_exit = True` ends it, from any thread."""
    return uvicorn.Server(
        uvicorn.Config(
            create_app(bridge),
            loop="asyncio" if sys.platform == "win32" else "uvloop",
            http="httptools",
            ws="websockets-sansio",
            ws_max_size=64 << 10,
            ws_per_message_deflate=False,
            lifespan="off",
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
            log_level="warning",
            backlog=BACKLOG,
            timeout_graceful_shutdown=5,
        )
    )
