"""What a receiver is, from a request or from what was kept."""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from udprism.columns.types import Address, format_address
from udprism.errors import RequestError
from udprism.link import fields as read
from udprism.settings import split_host_port
from udprism.udp.endpoints.receiver import ReceiverEndpoint
from udprism.wire.format import Format
from udprism.wire.formats import FORMATS

MAX_NAME_CHARACTERS: Final = 64


@dataclass(frozen=True, slots=True)
class ReceiverPlan:
    """What a receiver is: kept as JSON."""

    name: str
    format: str
    host: str
    port: int

    @property
    def form(self) -> Format:
        """Its format."""
        return FORMATS[self.format]

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self.host, self.port

    @classmethod
    def asked(cls, name: str | None, form: str, listen: str | None) -> ReceiverPlan:
        """From a request. listen: HOST:PORT; by default the format's usual port on loopback.

        Raises: RequestError, with the field at fault.
        """
        if form not in FORMATS:
            raise RequestError(f"expected one of {', '.join(FORMATS)}", field="format")
        text = listen or f"127.0.0.1:{FORMATS[form].port}"
        try:
            host, port = split_host_port(text)
            host = "127.0.0.1" if host == "localhost" else str(ip_address(host))
        except ValueError as error:
            raise RequestError(f"expected an IP address and a port: {error}", field="listen") from None
        if ip_address(host).is_multicast:
            raise RequestError("a multicast group is no address of this machine", field="listen")
        return cls(read.text(name or form, "name", MAX_NAME_CHARACTERS), form, host, port)

    @classmethod
    def from_json(cls, text: str) -> ReceiverPlan:
        """From what was kept. Raises: RequestError: a disk may give back anything."""
        try:
            given = json.loads(text)
            return cls.asked(given["name"], given["format"], format_address((given["host"], given["port"])))
        except (ValueError, TypeError, KeyError) as error:
            raise RequestError(f"not a receiver's plan: {error!r}") from error


@dataclass(slots=True)
class Entry:
    """One receiver. endpoint: None while its port cannot be bound, and error says why."""

    id: str
    plan: ReceiverPlan
    endpoint: ReceiverEndpoint | None = None
    error: str | None = None
