"""JSON bodies of relays, their flows and their datagrams."""

from __future__ import annotations

from typing import Literal, cast

import numpy as np
import numpy.typing as npt
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from udprism.columns.types import format_address
from udprism.errors import RelayError
from udprism.link.rules import Rule
from udprism.node.bodies.links import Link, link_body
from udprism.node.bodies.relay_cells import FlowCells
from udprism.relay.memory import CAUSE_SHIFT, DOWN, UP, Count, Fate, Flag, Sum
from udprism.relay.plan import Plan
from udprism.relay.relay import Relay, rows_in_use
from udprism.relay.sums import Sums, total_of
from udprism.udp.far_end import FarEnd, FarEnds


class RelayCauses(TypedDict):
    """Datagrams that a relay did not forward, by cause."""

    link: int
    queue: int
    kernel: int


class LostAsRfc3550(TypedDict):
    """What RTP's receiver report would count as lost."""

    lost: int


class LostAsIperf3(TypedDict):
    """What iperf3 would count."""

    lost: int
    out_of_order: int


RelaySums = TypedDict(
    "RelaySums",
    {
        "in": int,
        "out": int,
        "lost": int,
        "held": int,
        "duplicated": int,
        "corrupted": int,
        "refused": int,
        "bytes_in": int,
        "bytes_out": int,
        "lost_by_cause": RelayCauses,
        "as_rfc3550": LostAsRfc3550,
        "as_iperf3": LostAsIperf3,
    },
)
RelaySums.__doc__ = "One direction of a relay: in = out + lost + held. Copies that the link made are not in `out`."


class BothWays(TypedDict):
    """A relay's sums: up is from the clients to the target."""

    up: RelaySums
    down: RelaySums


class RelayRule(TypedDict):
    """What is done to chosen datagrams, and how often it was done."""

    action: Literal["drop", "duplicate", "hold"]
    direction: Literal["up", "down", "both"]
    nth: int | None
    every: int | None
    offset: int
    mask: str | None
    value: str | None
    ratio: float
    seed: int
    hold_ms: float
    hits: int | None


class Buffer(TypedDict):
    """A socket's receive buffer on this machine, as the kernel shows it."""

    queue_bytes: int
    drops: int


class RelayBody(TypedDict):
    """A relay: it forwards datagrams between `listen` and `target`, with a link in each direction."""

    id: str
    name: str
    listen: str
    target: str
    up: Link
    down: Link
    idle_s: float
    max_flows: int
    any_port: bool
    keep_ttl: bool
    dont_fragment: bool
    keep_payload: bool
    allow_from: list[str]
    state: Literal["live", "error"]
    error: str | None
    flows: int
    ledger: BothWays | None
    rules: list[RelayRule]
    counts: dict[str, int] | None
    receives_by: str | None
    own_buffer_drops: int | None
    target_buffer: Buffer | None


class RelayList(TypedDict):
    """All relays, in the order in which they were started."""

    relays: list[RelayBody]
    total: int


class LastHeard(TypedDict):
    """Time since each side's last datagram, in ms."""

    up: float | None
    down: float | None


class FlowLinks(TypedDict):
    """A relayed flow's own links; null if the relay's applies."""

    up: Link | None
    down: Link | None


class RelayFlow(TypedDict):
    """One client of a relay. cells: null unless they were asked for."""

    id: str
    relay_id: str
    ordinal: int
    client_address: str
    local_address: str
    target_address: str
    state: str
    proven: bool
    age_ms: float
    heard_ms_ago: LastHeard
    up: RelaySums
    down: RelaySums
    links: FlowLinks
    client_buffer: Buffer | None
    cells: FlowCells | None


class RelayFlows(TypedDict):
    """One page of a relay's flows, and how many match."""

    flows: list[RelayFlow]
    total: int


class RelayDatagram(TypedDict):
    """One datagram of a relayed flow, in one direction."""

    number: int
    fate: str
    cause: str | None
    received_at_ns: int
    delay_ms: float
    size_bytes: int
    duplicated: bool
    corrupted: bool
    refused: bool
    payload_hex: str


class RelayDatagrams(TypedDict):
    """The last ones, newest last."""

    datagrams: list[RelayDatagram]


class Rebound(TypedDict):
    """How many flows have a new port towards the target."""

    rebound: int


TURNED_AWAY = (
    Count.TURNED_AWAY_FULL,
    Count.TURNED_AWAY_RATE,
    Count.TURNED_AWAY_NETWORK,
    Count.TURNED_AWAY_SOCKET,
    Count.STRANGERS,
    Count.WITHHELD,
    Count.HELD_OVERFLOW,
)
"""What a relay dropped before it belonged to a flow, or for lack of room."""
DATAGRAM_FIELDS = tuple(RelayDatagram.__annotations__)


def relay_body(relay_id: str, plan: Plan, relay: Relay | None, error: str | None) -> RelayBody:
    """One relay. May block for as long as a read takes."""
    body: RelayBody = {
        "id": relay_id,
        "name": plan.name,
        "listen": format_address(plan.listen),
        "target": format_address(plan.target),
        "up": link_body(plan.up),
        "down": link_body(plan.down),
        "idle_s": plan.idle_s,
        "max_flows": plan.max_flows,
        "any_port": plan.any_port,
        "keep_ttl": plan.keep_ttl,
        "dont_fragment": plan.dont_fragment,
        "keep_payload": plan.keep_payload,
        "allow_from": list(plan.allow_from),
        "state": "error",
        "error": error,
        "flows": 0,
        "ledger": None,
        "rules": [_rule(rule, None) for rule in plan.rules],
        "counts": None,
        "receives_by": None,
        "own_buffer_drops": None,
        "target_buffer": None,
    }
    if relay is None:
        return body
    try:
        snapshot = relay.read()
    except RelayError as unread:
        return body | {"error": str(unread)}
    hits = snapshot.rule_hits.tolist()
    return body | {
        "state": "live" if relay.alive else "error",
        "flows": len(rows_in_use(snapshot)),
        "ledger": {"up": sums_body(total_of(snapshot, UP)), "down": sums_body(total_of(snapshot, DOWN))},
        "rules": [_rule(rule, hits[place]) for place, rule in enumerate(plan.rules)],
        "counts": {one.name.lower(): int(snapshot.counts[one]) for one in Count},
        "receives_by": relay.description,
        "own_buffer_drops": relay.own_drops,
        "target_buffer": buffer_body(FarEnds().at(plan.target)),
    }


def _rule(rule: Rule, hits: int | None) -> RelayRule:
    return cast(RelayRule, rule.to_body() | {"hits": hits})


def sums_body(sums: Sums) -> RelaySums:
    """One direction."""
    return cast(RelaySums, sums.to_body())


def buffer_body(there: FarEnd | None) -> Buffer | None:
    """What the kernel says of the far end's sockets, if they are on this machine."""
    return None if there is None else {"queue_bytes": there.queue_bytes, "drops": there.drops}


def datagram_bodies(records: npt.NDArray[np.void]) -> list[RelayDatagram]:
    """Records of the history, oldest first."""
    return [_datagram(record) for record in records]


def _datagram(record: np.void) -> RelayDatagram:
    flags, size_bytes = int(record["flags"]), int(record["size_bytes"])
    cause = flags >> CAUSE_SHIFT
    return {
        "number": int(record["number"]),
        "fate": Fate(int(record["fate"])).name.lower(),
        "cause": Sum(cause).name.lower() if cause else None,
        "received_at_ns": int(record["taken_unix_ns"]),
        "delay_ms": int(record["delay_us"]) / 1000,
        "size_bytes": size_bytes,
        "duplicated": bool(flags & Flag.DUPLICATED),
        "corrupted": bool(flags & Flag.CORRUPTED),
        "refused": bool(flags & Flag.REFUSED),
        "payload_hex": record["payload"].tobytes()[:size_bytes].hex(),
    }
