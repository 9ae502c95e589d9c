"""Flows of every kind, from the bodies of what they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from udprism.node.bodies.clients import Datagram, State
from udprism.node.bodies.colours import Colour
from udprism.node.bodies.json import Json, as_json
from udprism.node.bodies.ledgers import Delays, Ledger
from udprism.node.bodies.receivers import HeardFlow
from udprism.node.bodies.relays import RelayDatagram, RelaySums
from udprism.node.bodies.sessions import Unsent
from udprism.relay.memory import DIRECTIONS
from udprism.wire.formats import FormatName

FlowFormat = Literal["measured", "plain", FormatName]


class Departed(TypedDict):
    """Datagrams that this program sends: offered = lost + passed_on."""

    offered: int
    passed_on: int
    lost: int
    lost_by_cause: Unsent


Flow = TypedDict(
    "Flow",
    {
        "id": str,
        "kind": Literal["client", "session", "relay", "sender", "replay"],
        "name": str | None,
        "format": FlowFormat | None,
        "direction": Literal["in", "out", "up", "down"],
        "from": str,
        "to": str | None,
        "state": State | Literal["one_way", "both", "ended"],
        "numbering": Literal["own"] | None,
        "ledger": Ledger | Departed | RelaySums,
        "rate_hz": float | None,
        "loss_ratio": float | None,
        "jitter_ms": float | None,
        "delay_ms": Delays | None,
        "age_ms": float | None,
        "last_colour": Colour | None,
    },
)
Flow.__doc__ = "One direction of datagrams. What its ledger has depends on its kind."


class FlowList(TypedDict):
    """One page of flows, and how many match."""

    flows: list[Flow | HeardFlow]
    total: int


class FlowDatagrams(TypedDict):
    """A flow's last datagrams, newest last; those that a relay carries are not read."""

    datagrams: list[Datagram] | list[RelayDatagram]


def flow_of_client(body: Mapping[str, Any]) -> Json:
    """The flow that arrives at a hosted client, from the client's body. Its format is null until it has a stream."""
    flow: Flow = {
        "id": body["id"],
        "kind": "client",
        "name": body["name"],
        "format": body["stream"],
        "direction": "in",
        "from": body["target"],
        "to": body["local_address"] or None,
        "state": body["state"],
        "numbering": "own" if body["stream"] == "measured" else None,
        "ledger": body["ledger"],
        "rate_hz": body["measured_rate_hz"],
        "loss_ratio": body["loss_ratio"],
        "jitter_ms": body["jitter_ms"],
        "delay_ms": body["delay_ms"],
        "age_ms": body["age_ms"],
        "last_colour": body["last_colour"],
    }
    return as_json(flow)


def flow_of_session(body: Mapping[str, Any], server_address: str, rgb: str) -> Json:
    """The flow that departs to a session, from the session's body. rgb: of its last colour, `#rrggbb`.

    Its ledger: offered = link + sender_kernel + passed_on. What was passed on has left, or is held by the link.
    """
    sent, unsent = body["sent"], body["unsent"]
    colour = body["last_colour"]
    flow: Flow = {
        "id": body["id"],
        "kind": "session",
        "name": body["name"],
        "format": body["stream"],
        "direction": "out",
        "from": server_address,
        "to": body["address"],
        "state": "live",
        "numbering": "own" if body["stream"] == "measured" else None,
        "ledger": {
            "offered": sent,
            "passed_on": sent - unsent["link"] - unsent["sender_kernel"],
            "lost": unsent["link"] + unsent["sender_kernel"],
            "lost_by_cause": unsent,
        },
        "rate_hz": body["rate_hz"],
        "loss_ratio": None,
        "jitter_ms": None,
        "delay_ms": None,
        "age_ms": None,
        "last_colour": None if colour is None else {"name": colour, "rgb": rgb},
    }
    return as_json(flow)


def flows_of_conversation(body: Mapping[str, Any], name: str) -> list[Json]:
    """The two flows of a relay's conversation, towards its target and back, from the relay's flow's body.

    Their datagrams are carried unread, so nothing is inferred: the ledger is the relay's, in = out + lost + held.
    """
    client, target = body["client_address"], body["target_address"]
    ends = {"up": (client, target), "down": (target, client)}
    return [_carried(body, name, way, *ends[way]) for way in DIRECTIONS]


def _carried(body: Mapping[str, Any], name: str, way: Any, came_from: str, goes_to: str) -> Json:
    flow: Flow = {
        "id": f"{body['id']}-{way}",
        "kind": "relay",
        "name": name,
        "format": "opaque",
        "direction": way,
        "from": came_from,
        "to": goes_to,
        "state": body["state"],
        "numbering": None,
        "ledger": body[way],
        "rate_hz": None,
        "loss_ratio": None,
        "jitter_ms": None,
        "delay_ms": None,
        "age_ms": body["heard_ms_ago"][way],
        "last_colour": None,
    }
    return as_json(flow)
