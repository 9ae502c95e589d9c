"""What a relay is, in words that a person or a program gives: one validated value, and its JSON between processes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from udprism.columns.types import Address
from udprism.link.link import Link
from udprism.link.rules import Rule

MAX_FLOWS = 16_384
DEFAULT_MAX_FLOWS = 1000
OFF = Link()
DEFAULT_IDLE_S = 120.0
"""RFC 4787, REQ-5: two minutes at least; 3, 5 and 30 seconds are what users of other relays complain of."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A relay from `listen` to `target`.

    idle_s: a flow ends so long after its last datagram of either direction. any_port: answers may come from any port
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

    def to_body(self) -> dict[str, Any]:
        """JSON; `from_body` gives the same plan again."""
        return asdict(self)

    @classmethod
    def from_body(cls, body: dict[str, Any]) -> Plan:
        """A plan from `to_body`'s JSON."""
        given = dict(body)
        for name in ("listen", "target"):
            given[name] = (given[name][0], int(given[name][1]))
        for name in ("up", "down"):
            given[name] = Link.from_body(given[name])
        given["rules"] = tuple(Rule.from_body(rule) for rule in given["rules"])
        given["allow_from"] = tuple(given["allow_from"])
        return cls(**given)
