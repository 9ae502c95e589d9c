"""A relay's configuration, as a person or a program gives it: one validated value, and its JSON between processes."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from udprism.columns.types import Address
from udprism.errors import RequestError
from udprism.link import fields as read
from udprism.link.link import Link
from udprism.link.rules import Rule
from udprism.relay.memory import MAX_RULES
from udprism.settings import split_host_port

MAX_FLOWS = 16_384
MIN_IDLE_S, MAX_IDLE_S = 0.1, 86_400.0
MAX_NAME_CHARACTERS = 64
DEFAULT_MAX_FLOWS = 1000
OFF = Link()
DEFAULT_IDLE_S = 120.0
"""RFC 4787, REQ-5: two minutes at least; 3, 5 and 30 seconds are what users of other relays complain of."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A relay from `listen` to `target`.

    idle_s: a flow ends this long after its last datagram in either direction. any_port: answers may come from any port
    of the target's address (TFTP). keep_ttl: a datagram leaves with the TTL that it came with. dont_fragment: datagrams
    that are too big for the way are refused (EMSGSIZE) and not sent in fragments. keep_payload: the history keeps each
    datagram's first 24 bytes. allow_from: networks beyond loopback whose clients are served.
    """

    name: str
    listen: Address
    target: Address
    up: Link = OFF
    down: Link = OFF
    rules: tuple[Rule, ...] = ()
    idle_s: float = DEFAULT_IDLE_S
    max_flows: int = DEFAULT_MAX_FLOWS
    any_port: bool = False
    keep_ttl: bool = False
    dont_fragment: bool = False
    keep_payload: bool = True
    allow_from: tuple[str, ...] = field(default_factory=tuple)

    def to_json(self) -> str:
        """A text; `from_json` gives the same plan again."""
        return json.dumps(asdict(self))

    def checked(self) -> Plan:
        """The same plan. Raises: RequestError, with the field at fault and what would be right."""
        read.number(self.idle_s, "idle_s", MIN_IDLE_S, MAX_IDLE_S)
        read.whole(self.max_flows, "max_flows", 1, MAX_FLOWS)
        read.text(self.name, "name", MAX_NAME_CHARACTERS)
        if len(self.rules) > MAX_RULES:
            raise RequestError(f"at most {MAX_RULES} rules", field="rules")
        networks(self.allow_from, "allow_from")
        return self

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """A plan from `to_json`'s text, or from what became of it. Raises: RequestError."""
        try:
            given = json.loads(text)
            listen, target = given["listen"], given["target"]
            return cls(
                name=given["name"],
                listen=(str(ipaddress_or_localhost(listen[0])), read.whole(listen[1], "listen", 0, 65_535)),
                target=(str(ipaddress.ip_address(target[0])), read.whole(target[1], "target", 1, 65_535)),
                up=Link.from_body(given["up"]),
                down=Link.from_body(given["down"]),
                rules=tuple(Rule.from_body(rule) for rule in given["rules"]),
                idle_s=given["idle_s"],
                max_flows=given["max_flows"],
                any_port=read.flag(given["any_port"], "any_port"),
                keep_ttl=read.flag(given["keep_ttl"], "keep_ttl"),
                dont_fragment=read.flag(given["dont_fragment"], "dont_fragment"),
                keep_payload=read.flag(given["keep_payload"], "keep_payload"),
                allow_from=tuple(given["allow_from"]),
            ).checked()
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
            raise RequestError(f"not a relay's plan: {error!r}") from error


def ends(listen: str, found: Sequence[Address]) -> tuple[Address, Address]:
    """Where to listen, an IP address or `localhost`, and where to send.

    Of the target's addresses, which were found, the first of the listener's family, otherwise the first.

    Raises: RequestError, with the field at fault.
    """
    try:
        host, port = split_host_port(listen)
        ipaddress_or_localhost(host)
    except ValueError as error:
        raise RequestError(f"expected an IP address and a port: {error}", field="listen") from None
    same_family = [address for address in found if (":" in address[0]) == (":" in host)]
    return (host, port), (same_family or found)[0]


def networks(given: Sequence[str], field: str) -> list[str]:
    """The same, if each is a network. Raises: RequestError."""
    for text in given:
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            raise RequestError(f"expected a network such as 192.168.1.0/24: {error}", field=field) from None
    return list(given)


def ipaddress_or_localhost(host: str) -> str:
    """The same. Raises: ValueError."""
    return host if host == "localhost" else str(ipaddress.ip_address(host))
