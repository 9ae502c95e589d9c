"""JSON bodies of relays, their flows and their datagrams."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from udprism.columns.types import NS_PER_MS, format_address
from udprism.errors import RelayError
from udprism.node import bodies
from udprism.relay.fronts import network_of
from udprism.relay.memory import CAUSE_SHIFT, DIRECTIONS, DOWN, UP, Count, Fate, Flag, Snapshot, State, Sum
from udprism.relay.plan import Plan
from udprism.relay.relay import Relay, client_address, rows_in_use
from udprism.relay.sums import sums_of, total_of
from udprism.udp.far_end import FarEnd, FarEnds

TURNED_AWAY = (
    Count.TURNED_AWAY_FULL,
    Count.TURNED_AWAY_RATE,
    Count.TURNED_AWAY_NETWORK,
    Count.TURNED_AWAY_SOCKET,
    Count.STRANGERS,
    Count.WITHHELD,
    Count.HELD_OVERFLOW,
)
"""What a relay dropped before it was anybody's datagram, or for want of room."""
DATAGRAM_FIELDS = tuple(bodies.RelayDatagram.__annotations__)


def relay_body(relay_id: str, plan: Plan, relay: Relay | None, error: str | None) -> dict[str, Any]:
    """One relay. May block for as long as a read takes."""
    body = {
        "id": relay_id,
        "name": plan.name,
        "listen": format_address(plan.listen),
        "target": format_address(plan.target),
        "up": plan.up.to_body(),
        "down": plan.down.to_body(),
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
        "rules": [rule.to_body() | {"hits": None} for rule in plan.rules],
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
        "ledger": {"up": total_of(snapshot, UP).to_body(), "down": total_of(snapshot, DOWN).to_body()},
        "rules": [rule.to_body() | {"hits": hits[place]} for place, rule in enumerate(plan.rules)],
        "counts": {one.name.lower(): int(snapshot.counts[one]) for one in Count},
        "receives_by": relay.description,
        "own_buffer_drops": relay.own_drops,
        "target_buffer": _buffer(FarEnds().at(plan.target)),
    }


def flow_id(relay_id: str, ordinal: int) -> str:
    """A flow's id: never used again, unless the relay is reset."""
    return f"{relay_id}-{ordinal}"


def flow_bodies(relay_id: str, relay: Relay) -> list[dict[str, Any]]:
    """All flows of a relay, in the order in which they began. May block. Raises: RelayError."""
    snapshot, now_ns = relay.read(), time.monotonic_ns()
    here, far_ends = _local_host(relay.plan), FarEnds()
    return [_flow(relay_id, relay, snapshot, row, now_ns, here, far_ends) for row in rows_in_use(snapshot)]


def _flow(
    relay_id: str, relay: Relay, snapshot: Snapshot, row: int, now_ns: int, here: str, far_ends: FarEnds
) -> dict[str, Any]:
    flow, target = snapshot.flows[row], relay.plan.target
    ordinal, client = int(flow["ordinal"]), client_address(flow)
    heard_ns = snapshot.ledger[Sum.HEARD_NS, 2 * row : 2 * row + 2].tolist()
    own = {name: relay.own_link(direction, ordinal) for direction, name in enumerate(DIRECTIONS)}
    return {
        "id": flow_id(relay_id, ordinal),
        "relay_id": relay_id,
        "ordinal": ordinal,
        "client_address": format_address(client),
        "local_address": format_address((here, int(flow["local_port"]))),
        "target_address": format_address((target[0], int(flow["far_port"]))),
        "state": State(int(flow["state"])).name.lower(),
        "proven": bool(flow["proven"]),
        "age_ms": (now_ns - int(flow["born_ns"])) / NS_PER_MS,
        "heard_ms_ago": {
            name: (now_ns - heard_ns[direction]) / NS_PER_MS if heard_ns[direction] else None
            for direction, name in enumerate(DIRECTIONS)
        },
        "up": sums_of(snapshot, row, UP).to_body(),
        "down": sums_of(snapshot, row, DOWN).to_body(),
        "links": {name: None if link is None else link.to_body() for name, link in own.items()},
        "client_buffer": _buffer(far_ends.at(client)) if network_of(flow["client"]).is_loopback else None,
    }


def _local_host(plan: Plan) -> str:
    """The address from which the target is reached, as the kernel chooses it; all addresses if it cannot tell."""
    family = socket.AF_INET6 if ":" in plan.target[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(plan.target)
        return str(probe.getsockname()[0])
    return "::" if family == socket.AF_INET6 else "0.0.0.0"


def _buffer(there: FarEnd | None) -> dict[str, int] | None:
    return None if there is None else {"queue_bytes": there.queue_bytes, "drops": there.drops}


def words_of(body: dict[str, Any]) -> str:
    """What a search looks at."""
    return f"{body['id']} {body['client_address']} {body['local_address']} {body['state']}".lower()


def datagram_bodies(records: npt.NDArray[np.void]) -> list[dict[str, Any]]:
    """Records of the history, oldest first."""
    return [_datagram(record) for record in records]


def _datagram(record: np.void) -> dict[str, Any]:
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
