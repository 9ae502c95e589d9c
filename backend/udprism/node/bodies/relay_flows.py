"""JSON bodies of a relay's flows: of those that are asked for alone, because there may be thousands."""

from __future__ import annotations

import contextlib
import socket
import time

import numpy as np

from udprism.columns.types import NS_PER_MS, format_address
from udprism.node.bodies.links import own_link_body
from udprism.node.bodies.relays import RelayFlow, buffer_body, sums_body
from udprism.relay.fronts import network_of
from udprism.relay.memory import DOWN, UP, Snapshot, State, Sum
from udprism.relay.plan import Plan
from udprism.relay.relay import Relay, client_address, rows_in_use
from udprism.relay.sums import sums_of
from udprism.udp.far_end import FarEnds


def flow_id(relay_id: str, ordinal: int) -> str:
    """A flow's id: never used again, unless the relay is reset."""
    return f"{relay_id}-{ordinal}"


def flow_page(relay_id: str, relay: Relay, query: str | None, offset: int, limit: int) -> tuple[list[RelayFlow], int]:
    """A page of a relay's flows, in the order in which they began, and how many match. May block. Raises: RelayError.

    Of those on the page alone a body is made: a relay may have thousands.
    """
    snapshot = relay.read()
    rows, here, words = rows_in_use(snapshot), _local_host(relay.plan), (query or "").lower().split()
    if words:
        rows = [row for row in rows if all(word in _words_of(relay_id, snapshot.flows[row], here) for word in words)]
    shown = rows[offset : offset + limit]
    return _flows(relay_id, relay, snapshot, shown, here), len(rows)


def flow_body(relay_id: str, relay: Relay, ordinal: int) -> RelayFlow | None:
    """One flow; None if there is none. May block. Raises: RelayError."""
    snapshot = relay.read()
    row = row_of(snapshot, ordinal)
    return None if row is None else _flows(relay_id, relay, snapshot, [row], _local_host(relay.plan))[0]


def row_of(snapshot: Snapshot, ordinal: int) -> int | None:
    """The row of this flow; None if it is not there."""
    (rows,) = np.nonzero((snapshot.flows["ordinal"] == ordinal) & (snapshot.flows["state"] != State.FREE))
    return int(rows[0]) if len(rows) else None


def ordinal_of(relay_id: str, flow_id: str) -> int | None:
    """The reverse of `flow_id`; None for what is no such id."""
    prefix, _, number = flow_id.rpartition("-")
    return int(number) if prefix == relay_id and number.isdecimal() and len(number) < 19 else None


def _flows(relay_id: str, relay: Relay, snapshot: Snapshot, rows: list[int], here: str) -> list[RelayFlow]:
    now_ns, far_ends = time.monotonic_ns(), FarEnds() if rows else None
    return [_flow(relay_id, relay, snapshot, row, now_ns, here, far_ends) for row in rows]


def _flow(
    relay_id: str, relay: Relay, snapshot: Snapshot, row: int, now_ns: int, here: str, far_ends: FarEnds | None
) -> RelayFlow:
    flow, target = snapshot.flows[row], relay.plan.target
    ordinal, client = int(flow["ordinal"]), client_address(flow)
    heard_ns = snapshot.ledger[Sum.HEARD_NS, 2 * row : 2 * row + 2].tolist()
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
        "heard_ms_ago": {"up": _ms_ago(heard_ns[UP], now_ns), "down": _ms_ago(heard_ns[DOWN], now_ns)},
        "up": sums_body(sums_of(snapshot, row, UP)),
        "down": sums_body(sums_of(snapshot, row, DOWN)),
        "links": {
            "up": own_link_body(relay.own_link(UP, ordinal)),
            "down": own_link_body(relay.own_link(DOWN, ordinal)),
        },
        "client_buffer": buffer_body(far_ends.at(client))
        if far_ends and network_of(flow["client"]).is_loopback
        else None,
        "cells": None,
    }


def _ms_ago(then_ns: int, now_ns: int) -> float | None:
    return (now_ns - then_ns) / NS_PER_MS if then_ns else None


def _local_host(plan: Plan) -> str:
    """The address from which the target is reached, as the kernel chooses it; all addresses if it cannot tell."""
    family = socket.AF_INET6 if ":" in plan.target[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(plan.target)
        return str(probe.getsockname()[0])
    return "::" if family == socket.AF_INET6 else "0.0.0.0"


def _words_of(relay_id: str, flow: np.void, here: str) -> str:
    """What a search looks at."""
    client, local = format_address(client_address(flow)), format_address((here, int(flow["local_port"])))
    return f"{flow_id(relay_id, int(flow['ordinal']))} {client} {local} {State(int(flow['state'])).name}".lower()
