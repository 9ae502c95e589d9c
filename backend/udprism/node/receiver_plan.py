"""What a receiver is, from a request or from what was kept."""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from udprism.columns.types import Address, format_address
from udprism.errors import RequestError
from udprism.link import fields as read
from udprism.node.lamps import LampServer
from udprism.settings import split_host_port
from udprism.udp.endpoints.receiver import ReceiverEndpoint
from udprism.wire.format import Format
from udprism.wire.formats import FORMATS

MAX_NAME_CHARACTERS: Final = 64
DEFAULT_PIXELS: Final = 300
MAX_PIXELS: Final = 65_535


@dataclass(frozen=True, slots=True)
class ReceiverPlan:
    """What a receiver is: kept as JSON. lamp: where it answers over HTTP as a WLED lamp of so many pixels, or None."""

    name: str
    format: str
    host: str
    port: int
    lamp: str | None = None
    pixels: int = DEFAULT_PIXELS

    @property
    def form(self) -> Format:
        """Its format."""
        return FORMATS[self.format]

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self.host, self.port

    @classmethod
    def asked(
        cls, name: str | None, form: str, listen: str | None, lamp: str | None = None, pixels: int | None = None
    ) -> ReceiverPlan:
        """From a request. listen, lamp: HOST:PORT; `listen` is by default the format's usual port on loopback.

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
        )

    @classmethod
    def from_json(cls, text: str) -> ReceiverPlan:
        """From what was kept. Raises: RequestError: a disk may give back anything."""
        try:
            given = json.loads(text)
            listen = format_address((given["host"], given["port"]))
            return cls.asked(given["name"], given["format"], listen, given.get("lamp"), given.get("pixels"))
        except (ValueError, TypeError, KeyError) as error:
            raise RequestError(f"not a receiver's plan: {error!r}") from error


def _own_address(text: str, name: str) -> Address:
    try:
        host, port = split_host_port(text)
        host = "127.0.0.1" if host == "localhost" else str(ip_address(host))
    except ValueError as error:
        raise RequestError(f"expected an IP address and a port: {error}", field=name) from None
    if ip_address(host).is_multicast:
        raise RequestError("a multicast group is no address of this machine", field=name)
    return host, port


@dataclass(slots=True)
class Entry:
    """One receiver. endpoint: None while its ports cannot be bound, and error says why. lamp: its HTTP side, if any."""

    id: str
    plan: ReceiverPlan
    endpoint: ReceiverEndpoint | None = None
    error: str | None = None
    lamp: LampServer | None = None
