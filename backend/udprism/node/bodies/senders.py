"""JSON bodies of senders and of their flows. The loop's thread only."""

from __future__ import annotations

from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from udprism.columns.types import format_address
from udprism.node.bodies.colours import colour_body
from udprism.node.bodies.flows import Departed
from udprism.node.bodies.json import Json, as_json
from udprism.node.bodies.links import Link, link_body
from udprism.node.sender_plan import SenderPlan
from udprism.udp.endpoints.sender import SenderEndpoint


class Sender(TypedDict):
    """A sender. state: `live`, `refused` (no one listens at the target) or `error`. skipped: frames that were due and
    not sent, because the program was late."""

    id: str
    name: str
    format: str
    target: str
    rate_hz: float
    colours: int
    pattern: str
    universe: int
    link: Link
    state: str
    error: str | None
    flows: list[str]
    frames: int
    skipped: int
    held: int
    ledger: Departed


class SenderList(TypedDict):
    """All senders, in the order in which they were started."""

    senders: list[Sender]
    total: int


def sender_body(sender_id: str, plan: SenderPlan, endpoint: SenderEndpoint | None, error: str | None) -> Json:
    """One sender."""
    body: Sender = {
        "id": sender_id,
        "name": plan.name,
        "format": plan.format,
        "target": format_address(plan.target),
        "rate_hz": plan.rate_hz,
        "colours": plan.colours,
        "pattern": plan.pattern,
        "universe": plan.universe,
        "link": link_body(plan.link),
        "state": _state(endpoint),
        "error": error,
        "flows": [] if endpoint is None else [flow_id(sender_id, slot) for slot in range(len(endpoint.flows.keys))],
        "frames": 0 if endpoint is None else endpoint.frames,
        "skipped": 0 if endpoint is None else endpoint.skipped,
        "held": 0 if endpoint is None else endpoint.held,
        "ledger": _departed(endpoint, slice(None)),
    }
    return as_json(body)


def flow_id(sender_id: str, slot: int) -> str:
    """A sender's flow's id."""
    return f"{sender_id}-{slot}"


def flow_body(sender_id: str, plan: SenderPlan, endpoint: SenderEndpoint, slot: int) -> Json:
    """One flow, as in `/api/flows`: what departs under one key, such as a universe."""
    several = len(endpoint.flows.keys) > 1
    host, port = endpoint.sock.getsockname()[:2]
    return {
        "id": flow_id(sender_id, slot),
        "kind": "sender",
        "name": f"{plan.name} {slot + 1}" if several else plan.name,
        "format": plan.format,
        "direction": "out",
        "from": format_address((str(host), int(port))),
        "to": format_address(plan.target),
        "state": _state(endpoint),
        "numbering": "own" if plan.form.numbering.modulus else None,
        "ledger": _departed(endpoint, slice(slot, slot + 1)),
        "rate_hz": 1e9 / plan.period_ns,
        "loss_ratio": None,
        "jitter_ms": None,
        "delay_ms": None,
        "age_ms": None,
        "last_colour": colour_body(endpoint.first_rgb[slot]) if endpoint.frames else None,
    }


def _state(endpoint: SenderEndpoint | None) -> str:
    if endpoint is None:
        return "error"
    return "refused" if endpoint.is_refused else "live"


def _departed(endpoint: SenderEndpoint | None, which: slice) -> Departed:
    """offered = passed_on + lost; what was passed on has left, or is held by the link."""
    if endpoint is None:
        offered = link = kernel = 0
    else:
        flows = endpoint.flows
        offered, link, kernel = (
            int(column[which].sum()) for column in (flows.offered, flows.unsent_link, flows.unsent_kernel)
        )
    return {
        "offered": offered,
        "passed_on": offered - link - kernel,
        "lost": link + kernel,
        "lost_by_cause": {"link": link, "sender_kernel": kernel},
    }
