"""`udprism serve` and `udprism server`: everything assembled, started in order, and ended in reverse order.

The web framework and the bridge are imported when they are needed: half of the time that `udprism client` takes to
start would go to them.
"""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
import webbrowser
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from udprism.cli import logs
from udprism.cli.flags import flag, read_settings, user_data_directory
from udprism.cli.output import courtesy
from udprism.columns.types import format_address
from udprism.node.store import Store
from udprism.settings import Settings
from udprism.udp.sockets import bind_server

if TYPE_CHECKING:
    from udprism.node.bridge import Bridge

log = logging.getLogger(__name__)

EXIT_GAVE_UP = 70
_SIGNAL_CHECK_S = 0.2
"""A wait without end cannot be interrupted everywhere (Windows), nor by a signal that another thread received."""

_SWITCH_S = 0.0005
"""How long a thread keeps the interpreter lock from one that waits for it, not Python's 5 ms: the server's thread asks
for it after every system call, and otherwise its datagrams would be late by a whole batch of the pool's. With one
thread per client, all of them would ask two thousand times per second."""


def serve(
    udp: Annotated[str | None, flag("udp")] = None,
    http: Annotated[str | None, flag("http")] = None,
    clients: Annotated[int | None, flag("clients")] = None,
    rate_hz: Annotated[float | None, flag("rate_hz")] = None,
    engine: Annotated[str | None, flag("engine")] = None,
    data: Annotated[Path | None, flag("data")] = None,
    ephemeral: Annotated[bool | None, flag("ephemeral")] = None,
    http_path: Annotated[str | None, flag("http_path")] = None,
    allow_host: Annotated[list[str] | None, flag("allow_host")] = None,
    allow_origin: Annotated[list[str] | None, flag("allow_origin")] = None,
    allow_target: Annotated[list[str] | None, flag("allow_target")] = None,
    udp_trust: Annotated[list[str] | None, flag("udp_trust")] = None,
    udp_lan_lease_s: Annotated[float | None, flag("udp_lan_lease_s")] = None,
    nats: Annotated[list[str] | None, flag("nats")] = None,
    node: Annotated[str | None, flag("node")] = None,
    nats_creds: Annotated[Path | None, flag("nats_creds")] = None,
    nats_ca: Annotated[Path | None, flag("nats_ca")] = None,
    nats_plain: Annotated[bool | None, flag("nats_plain")] = None,
    remote: Annotated[str | None, flag("remote")] = None,
    log_json: Annotated[bool | None, flag("log_json")] = None,
    open_browser: Annotated[bool, typer.Option("--open", envvar="UDPRISM_OPEN", help="Open the page.")] = False,
) -> None:
    """Serve colours over UDP, host clients, and show them on a page."""
    settings = read_settings(
        udp=udp,
        http=http,
        clients=clients,
        rate_hz=rate_hz,
        engine=engine,
        data=data,
        ephemeral=ephemeral,
        http_path=http_path,
        allow_host=allow_host or None,
        allow_origin=allow_origin or None,
        allow_target=allow_target or None,
        udp_trust=udp_trust or None,
        udp_lan_lease_s=udp_lan_lease_s,
        nats=",".join(nats) if nats else None,
        node=node,
        nats_creds=nats_creds,
        nats_ca=nats_ca,
        nats_plain=nats_plain,
        remote=remote,
        log_json=log_json,
    )
    _serve(settings, open_browser)


def _serve(settings: Settings, open_browser: bool) -> None:
    """Serve until a signal arrives, or a thread gives up."""
    from udprism.web import app as web
    from udprism.web import auth

    logs.set_up(settings.log_json)
    _tune_interpreter(settings)
    gave_up = threading.Event()
    ended = end_on_signals()
    with ExitStack() as stack:
        listening = web.listen(settings)
        for sock in listening:
            stack.callback(sock.close)
        store = None if settings.ephemeral else _open_store(settings, stack)
        host, port = settings.http_address[0], listening[0].getsockname()[1]
        settings = auth.with_token(settings.model_copy(update={"http": format_address((host, port))}))
        bridge = _start_bridge(settings, store, gave_up, stack)
        page = auth.page_url(settings, port)
        _say("page", page)
        _say_udp(bridge)
        if not settings.token and (settings.allow_host or settings.allow_origin):
            _say("", "no token: everyone whom a proxy lets in can do everything; set UDPRISM_TOKEN")
        _say("data", "nothing is stored" if store is None else f"stored in {store.path.parent}")
        _say("Ctrl-C", "ends it")
        if open_browser:
            # A thread of its own: some systems' openers return only when the browser is closed.
            threading.Thread(target=webbrowser.open, args=(page,), name="udprism-browser", daemon=True).start()
        mesh = None
        if settings.nats:
            from udprism.node.joining import join

            mesh = join(settings, bridge, store)
            _say("node", f"{mesh.plan.name} ({mesh.plan.id}), others may: {settings.remote}")
        web.serve(bridge, settings, listening, ended, mesh)
    _exit_if(gave_up)


def server(
    udp: Annotated[str | None, flag("udp")] = None,
    rate_hz: Annotated[float | None, flag("rate_hz")] = None,
    engine: Annotated[str | None, flag("engine")] = None,
    udp_trust: Annotated[list[str] | None, flag("udp_trust")] = None,
    udp_lan_lease_s: Annotated[float | None, flag("udp_lan_lease_s")] = None,
    log_json: Annotated[bool | None, flag("log_json")] = None,
) -> None:
    """Serve colours over UDP alone: no hosted clients, no page."""
    settings = read_settings(
        udp=udp,
        clients=0,
        rate_hz=rate_hz,
        engine=engine,
        ephemeral=True,
        udp_trust=udp_trust or None,
        udp_lan_lease_s=udp_lan_lease_s,
        log_json=log_json,
    )
    logs.set_up(settings.log_json)
    _tune_interpreter(settings)
    gave_up = threading.Event()
    ended = end_on_signals()
    with ExitStack() as stack:
        _say_udp(_start_bridge(settings, None, gave_up, stack))
        _say("Ctrl-C", "ends it")
        while not ended.wait(_SIGNAL_CHECK_S):
            pass
    _exit_if(gave_up)


def _tune_interpreter(settings: Settings) -> None:
    gc.freeze()  # what was imported stays: no collection need look at it
    if settings.engine == "batch":
        sys.setswitchinterval(_SWITCH_S)


def end_on_signals() -> threading.Event:
    """Returns an event that SIGINT and SIGTERM set, to be checked between two steps.

    An exception raised by a handler can strike anywhere, even inside a library's `import`, and may be swallowed there.
    """
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: ended.set())
    return ended


def _open_store(settings: Settings, stack: ExitStack) -> Store:
    # The UDP port first: a second start should report the port, not the data directory.
    for sock in bind_server(*settings.udp_address, settings.receive_buffer_bytes):
        sock.close()
    store = Store.open(settings.data or user_data_directory())
    stack.callback(store.close)
    if store.set_aside is not None:
        log.warning("the database was damaged; it was moved to %s and a new one created", store.set_aside)
    return store


def _start_bridge(settings: Settings, store: Store | None, gave_up: threading.Event, stack: ExitStack) -> Bridge:
    def give_up(error: BaseException | None) -> None:
        gave_up.set()
        signal.raise_signal(signal.SIGTERM)

    from udprism.node.bridge import Bridge

    bridge = Bridge(settings, store, given_up=give_up)
    stack.callback(bridge.stop)
    bridge.start()
    return bridge


def _exit_if(gave_up: threading.Event) -> None:
    if gave_up.is_set():
        log.critical("a thread failed too often; the program ends. The log above has the cause")
        raise typer.Exit(EXIT_GAVE_UP)


def _say_udp(bridge: Bridge) -> None:
    host, port = bridge.own_target
    _say("try", f"echo connect | nc -u {host} {port}")
    bound = " and ".join(format_address(address) for address in bridge.udp_addresses)
    _say("UDP", f"{bound}, engine {bridge.settings.engine}")
    if not all(ip_address(address[0]).is_loopback for address in bridge.udp_addresses):
        _say("", "open to other machines: those on this subnet are served at once, others after a retry token")


def _say(what: str, text: str) -> None:
    courtesy(f"  {what:8} {text}")
