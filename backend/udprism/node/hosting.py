"""Makes hosted clients of what is kept of them, and brings them back at a start."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from udprism.columns.types import Address, format_address, is_loopback
from udprism.errors import RequestError
from udprism.node.assembly import Assembly
from udprism.node.directory import Directory
from udprism.node.kept import OWN_SERVER, KeptClient
from udprism.serving.clients import HostedClient, Mode
from udprism.serving.routes import Route
from udprism.udp.networks import has_name

log = logging.getLogger(__name__)
T = TypeVar("T")

MOST_REASONS = 5
_AT_ONCE = 500
"""Clients handed to the pool's thread in one piece, so that its batches do not wait long."""


def pieces(items: Sequence[T]) -> Iterator[list[T]]:
    """As many at once as the pool's thread can take without delaying its batches."""
    for start in range(0, len(items), _AT_ONCE):
        yield list(items[start : start + _AT_ONCE])


def hosted_client(
    assembly: Assembly, definition: KeptClient, address: Address | None, error: str | None = None
) -> HostedClient:
    """The client of a definition, asking at this address. error: why it cannot ask yet."""
    mode = Mode[definition.mode.upper()]
    return HostedClient(
        id=definition.id,
        name=definition.name,
        target=definition.target or sys.intern(format_address(assembly.own_target)),
        address=address or ("", 0),
        loopback=address is not None and is_loopback(address[0]),
        mode=mode,
        rate_hz=definition.rate_hz,
        colours=definition.colours,
        connected=mode != Mode.PLAIN,
        falls_back=address is None or not assembly.is_ours(address),
        error=error,
    )


def bring_back(assembly: Assembly, directory: Directory, definitions: Sequence[KeptClient]) -> None:
    """Open these clients' sockets and put them into the pool, whose thread does not run yet.

    Not on the pool's own thread: two threads that take turns need three times as long. A client that cannot ask is in
    state `error` and tries again. Clients beyond the pool's table are held back.
    """
    most = assembly.settings.max_clients
    directory.hold_back(definitions[most:])
    routes = {target: _known_route(assembly, target) for target in {one.target for one in definitions[:most]}}
    for piece in pieces(definitions[:most]):
        _bring_back(assembly, directory, piece, routes)
    _log_who_cannot_start(assembly, directory)


def _bring_back(
    assembly: Assembly,
    directory: Directory,
    definitions: list[KeptClient],
    routes: Mapping[str, tuple[Route, str | None]],
) -> None:
    """routes: by target, what is known of it without asking a name server, and what is wrong with it."""
    pool = assembly.pool
    known = [routes[definition.target] for definition in definitions]
    clients = [
        hosted_client(assembly, definition, next(iter(route.addresses), None), error)
        for definition, (route, error) in zip(definitions, known, strict=True)
    ]
    slots = pool.add(clients, pool.sockets.open_possible(clients), [route for route, _ in known])
    for slot, definition in zip(slots, definitions, strict=True):
        directory.put(definition)
        if definition.paused:
            pool.pause(slot, True)


def _known_route(assembly: Assembly, target: str) -> tuple[Route, str | None]:
    if target == OWN_SERVER:
        return Route([assembly.own_target]), None
    if has_name(target):
        return Route(is_name=True), None  # its clients have it looked up, when they ask
    try:
        return Route(assembly.targets.resolve(target)), None
    except RequestError as error:
        return Route(), error.detail


def _log_who_cannot_start(assembly: Assembly, directory: Directory) -> None:
    """One line per limit, however many clients it keeps from running."""
    errors = Counter(client.error for client in assembly.pool.table.clients.values() if client.error is not None)
    if errors:
        reasons = "; ".join(f"{count}: {error}" for error, count in errors.most_common(MOST_REASONS))
        log.warning("%d of %d clients cannot start yet; each tries again. %s", errors.total(), len(directory), reasons)
    if directory.held_back:
        log.warning(
            "%d of %d stored clients were not loaded: max_clients (UDPRISM_MAX_CLIENTS) is %d",
            len(directory.held_back),
            len(directory.held_back) + len(directory),
            assembly.settings.max_clients,
        )
