"""What is kept of hosted clients and links, and its check when it is read: a disk may give back anything.

The bounds are the API's, from where they are defined. A row outside of them is left out and said; it stays on disk.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, get_args

from udprism.errors import RequestError
from udprism.link.link import Link
from udprism.serving.clients import ModeName
from udprism.serving.commands import MAX_NAME_CHARACTERS, MAX_RATE_HZ, MIN_RATE_HZ
from udprism.settings import split_host_port
from udprism.wire.measured import MAX_COLOURS

DEFAULT_LINK: Final = "default"
"""Owner of the default link, which applies to all clients without one of their own."""
OWN_SERVER: Final = ""
"""Target of a client that asks this program's own server, wherever that is bound this time."""
MAX_ID_CHARACTERS: Final = 64
MAX_TARGET_CHARACTERS: Final = 255

LinkBody = dict[str, object]


@dataclass(frozen=True, slots=True)
class KeptClient:
    """What is kept of one hosted client. `target` is HOST:PORT as the person wrote it, or OWN_SERVER."""

    id: str
    name: str
    target: str
    mode: ModeName
    rate_hz: float
    colours: int
    paused: bool


@dataclass(frozen=True, slots=True)
class KeptEndpoint:
    """What is kept of a relay, or of whatever else opens sockets on request. body: JSON, unchecked."""

    id: str
    kind: str
    body: str


@dataclass(frozen=True, slots=True)
class Kept:
    """All that is kept. `first_start`: `add_clients` has never been called on this file."""

    clients: list[KeptClient]
    links: dict[str, LinkBody]
    default_link: LinkBody | None
    first_start: bool
    left_out: list[str] = field(default_factory=list)
    """A line for each row that was there and is no client and no link."""

    def with_names_once(self) -> Kept:
        """The same without clients that have an earlier one's name, which a bit may have turned into it."""
        by_name: dict[str, KeptClient] = {}
        twins = [client for client in self.clients if by_name.setdefault(client.name, client) is not client]
        lines = [f"client {twin.id!r}: {twin.name!r} is another client's name" for twin in twins]
        links = {owner: body for owner, body in self.links.items() if owner not in {twin.id for twin in twins}}
        return replace(self, clients=list(by_name.values()), links=links, left_out=[*self.left_out, *lines])


class _Fault(Exception):
    """What is wrong with a row."""


def read(clients: Iterable[Sequence[Any]], links: Iterable[Sequence[Any]], *, begun: bool) -> Kept:
    """Rows of both tables, as SQLite gave them: anything may be in them.

    clients: id, name, target, mode, rate_hz, colours, paused. links: owner, body as JSON.
    """
    kept = Kept([], {}, None, first_start=not begun)
    ids: set[str] = set()
    for row in clients:
        try:
            client = _client(row)
            if client.id in ids:
                raise _Fault("its id is another client's as well")
        except _Fault as fault:
            kept.left_out.append(f"client {row[0]!r:.40}: {fault}")
            continue
        ids.add(client.id)
        kept.clients.append(client)
    default: LinkBody | None = None
    for owner, text in links:
        try:
            body = _link(text)
            if owner != DEFAULT_LINK and owner not in ids:
                raise _Fault("no such client exists")
        except _Fault as fault:
            kept.left_out.append(f"link of {owner!r:.40}: {fault}")
            continue
        if owner == DEFAULT_LINK:
            default = body
        else:
            kept.links[owner] = body
    first_start = not begun and not ids and not kept.left_out
    return Kept(kept.clients, kept.links, default, first_start, kept.left_out)


def _client(row: Sequence[Any]) -> KeptClient:
    id, name, target, mode, rate_hz, colours, paused = row
    if not _is_text(id, MAX_ID_CHARACTERS):
        raise _Fault("its id is none")
    if not _is_text(name, MAX_NAME_CHARACTERS):  # one that no command has room for is the client's own trouble
        raise _Fault("its name is none")
    if target != OWN_SERVER:
        _check_target(target)
    if mode not in get_args(ModeName):
        raise _Fault(f"its mode is {mode!r:.20}")
    if not isinstance(rate_hz, int | float) or not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ or math.isnan(rate_hz):
        raise _Fault(f"its rate_hz is {rate_hz!r:.20}")
    if not isinstance(colours, int) or not 1 <= colours <= MAX_COLOURS:
        raise _Fault(f"its colours are {colours!r:.20}")
    if paused not in (0, 1):
        raise _Fault(f"paused is {paused!r:.20}")
    return KeptClient(id, name, target, mode, rate_hz, colours, bool(paused))


def _is_text(value: object, most: int) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= most and value.isprintable()


def _check_target(target: object) -> None:
    if not isinstance(target, str) or not _is_text(target, MAX_TARGET_CHARACTERS):
        raise _Fault("its target is none")
    try:
        split_host_port(target)
    except ValueError as error:
        raise _Fault(f"its target: {error}") from None


def _link(text: object) -> LinkBody:
    if not isinstance(text, str):
        raise _Fault("it is no text")
    try:
        body = json.loads(text)
        Link.from_body(body)
    except RequestError as error:
        raise _Fault(f"{error.field}: {error.detail}") from None
    except (ValueError, RecursionError):
        raise _Fault("it is no JSON") from None
    checked: LinkBody = body
    return checked
