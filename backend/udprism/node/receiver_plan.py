"""A receiver's plan, from a request or from the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from typing import Final

from udprism.columns.types import Address, format_address
from udprism.errors import BindError, RequestError
from udprism.link import fields as read
from udprism.node.lamps import LampServer
from udprism.settings import split_host_port
from udprism.udp.endpoints.receiver import ReceiverEndpoint
from udprism.udp.multicast import GroupSocket, bind_group
from udprism.wire.e131 import E131, MAX_UNIVERSE, group_of
from udprism.wire.format import Format
from udprism.wire.formats import FORMATS
from udprism.wire.rtp import Rtp

MAX_NAME_CHARACTERS: Final = 64
DEFAULT_PIXELS: Final = 300
MAX_PIXELS: Final = 65_535
MAX_CLOCK_HZ: Final = 10_000_000
MAX_UNIVERSES: Final = 256
"""Of one receiver by multicast: each is a socket."""


@dataclass(frozen=True, slots=True)
class ReceiverPlan:
    """What a receiver is: kept as JSON. lamp: where it answers over HTTP as a WLED lamp of so many pixels, or None.

    interface: where E1.31's multicast groups of these universes are joined; None for unicast alone. clock_hz: of RTP's
    payload types that have no fixed clock; None if it is unknown.
    """

    name: str
    format: str
    host: str
    port: int
    lamp: str | None = None
    pixels: int = DEFAULT_PIXELS
    interface: str | None = None
    universes: tuple[int, ...] = ()
    clock_hz: int | None = None

    @property
    def form(self) -> Format:
        """Its format."""
        return FORMATS[self.format] if self.clock_hz is None else Rtp(self.clock_hz)

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self.host, self.port

    def groups(self, port: int, receive_buffer_bytes: int) -> list[GroupSocket]:
        """A socket for each universe that comes by multicast. port: its own socket's. Raises: BindError."""
        if self.interface is None:
            return []
        bound: list[GroupSocket] = []
        try:
            bound.extend(
                bind_group(group_of(universe), port, self.interface, receive_buffer_bytes)
                for universe in self.universes
            )
        except BindError:
            for sock in bound:
                sock.close()
            raise
        return bound

    @classmethod
    def asked(
        cls,
        name: str | None,
        form: str,
        listen: str | None,
        lamp: str | None = None,
        pixels: int | None = None,
        interface: str | None = None,
        universes: Sequence[int] | None = None,
        clock_hz: int | None = None,
    ) -> ReceiverPlan:
        """From a request. listen, lamp: HOST:PORT; `listen` is by default the format's usual port on loopback.

        interface: its name; with it the multicast groups of `universes` are joined, by default that of universe 1.

        Raises: RequestError, with the field at fault.
        """
        if form not in FORMATS:
            raise RequestError(f"expected one of {', '.join(FORMATS)}", field="format")
        host, port = _own_address(listen or f"127.0.0.1:{FORMATS[form].port}", "listen")
        return cls(
            read.text(name or form, "name", MAX_NAME_CHARACTERS),
            form,
            host,
            port,
            None if lamp is None else format_address(_own_address(lamp, "lamp")),
            read.whole(DEFAULT_PIXELS if pixels is None else pixels, "pixels", 1, MAX_PIXELS),
            interface,
            _universes(form, interface, universes),
            _clock_hz(form, clock_hz),
        )

    def to_json(self) -> str:
        """As it is kept."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ReceiverPlan:
        """From what was kept. Raises: RequestError: a disk may give back anything."""
        try:
            given = json.loads(text)
            listen = format_address((given["host"], given["port"]))
            rest = (given.get(name) for name in ("lamp", "pixels", "interface", "universes", "clock_hz"))
            return cls.asked(given["name"], given["format"], listen, *rest)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise RequestError(f"not a receiver's plan: {error!r}") from error


def _universes(form: str, interface: str | None, universes: Sequence[int] | None) -> tuple[int, ...]:
    if interface is None:
        if universes:
            raise RequestError("universes come by multicast, which needs a named interface", field="interface")
        return ()
    if form != E131.name:
        raise RequestError(f"only {E131.name} can come by multicast", field="interface")
    read.text(interface, "interface", MAX_NAME_CHARACTERS)
    asked = [1] if universes is None else [read.whole(one, "universes", 1, MAX_UNIVERSE) for one in universes]
    if not 1 <= len(asked) <= MAX_UNIVERSES:
        raise RequestError(f"expected 1 to {MAX_UNIVERSES} universes", field="universes")
    return tuple(dict.fromkeys(asked))


def _clock_hz(form: str, clock_hz: int | None) -> int | None:
    if clock_hz is None:
        return None
    if form != Rtp.name:
        raise RequestError(f"only {Rtp.name} has a clock that can be given", field="clock_hz")
    return read.whole(clock_hz, "clock_hz", 1, MAX_CLOCK_HZ)


def _own_address(text: str, name: str) -> Address:
    try:
        host, port = split_host_port(text)
        host = "127.0.0.1" if host == "localhost" else str(ip_address(host))
    except ValueError as error:
        raise RequestError(f"expected an IP address and a port: {error}", field=name) from None
    if ip_address(host).is_multicast:
        raise RequestError("a multicast group is not an address of this machine", field=name)
    return host, port


@dataclass(slots=True)
class Entry:
    """One receiver. endpoint: None while its ports cannot be bound, and error says why. lamp: its HTTP side, if any."""

    id: str
    plan: ReceiverPlan
    endpoint: ReceiverEndpoint | None = None
    error: str | None = None
    lamp: LampServer | None = None
