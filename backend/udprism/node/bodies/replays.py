"""JSON bodies of replays and of their flows."""

from __future__ import annotations

from typing import Any, Final, Literal, Protocol

from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from udprism.columns.types import NS_PER_MS, format_address
from udprism.link import link as links
from udprism.node.bodies.flows import Departed, Flow
from udprism.node.bodies.json import Json, as_json
from udprism.node.bodies.links import Link, link_body
from udprism.udp.replay_process import ReplayPlan

_NOTHING: Final[dict[str, int]] = {"link": 0, "sender_kernel": 0}


class Late(TypedDict):
    """How late datagrams went to the link, in ms; null before the first."""

    p50: float | None
    p99: float | None


class Replay(TypedDict):
    """A replay. error: why it ended before the end. sent: copies that the link made among them. held: in the link now.
    skipped: what of the file is not sent, by reason, as far as it was read."""

    id: str
    recording: str | None
    file: str | None
    target: str
    interface: int | str | None
    speed: float
    loop: int
    filter: str
    link: Link
    state: Literal["playing", "ended", "stopped", "failed"]
    error: str | None
    flows: list[str]
    began_unix_ms: int
    ended_unix_ms: int | None
    ledger: Departed
    sent: int
    held: int
    late_ms: Late
    skipped: dict[str, int]


class ReplayList(TypedDict):
    """All of them, in the order in which they were started."""

    replays: list[Replay]
    total: int


class _Asked(Protocol):
    @property
    def recording(self) -> str | None: ...
    @property
    def file(self) -> str | None: ...


class _Replay(Protocol):
    """What a body is made of: see `node.replays.Replay`."""

    id: str
    plan: ReplayPlan
    began_unix_ns: int
    ended_unix_ns: int | None
    said: dict[str, Any]
    error: str | None
    stopped: bool

    @property
    def asked(self) -> _Asked: ...


def replay_body(one: _Replay, flow_id: str) -> Json:
    """One."""
    plan, said, ended_ns = one.plan, one.said, one.ended_unix_ns
    state: Literal["playing", "ended", "stopped", "failed"]
    if one.error is not None:
        state = "failed"
    elif ended_ns is None:
        state = "playing"
    else:
        state = "stopped" if one.stopped else "ended"
    body: Replay = {
        "id": one.id,
        "recording": one.asked.recording,
        "file": one.asked.file,
        "target": format_address(plan.target),
        "interface": plan.interface,
        "speed": plan.speed,
        "loop": plan.loops,
        "filter": plan.words,
        "link": link_body(links.Link.from_body(plan.link)),
        "state": state,
        "error": one.error,
        "flows": [flow_id],
        "began_unix_ms": one.began_unix_ns // NS_PER_MS,
        "ended_unix_ms": None if ended_ns is None else ended_ns // NS_PER_MS,
        "ledger": _departed(said),
        "sent": said.get("sent", 0),
        "held": said.get("held", 0),
        "late_ms": said.get("late_ms", {"p50": None, "p99": None}),
        "skipped": said.get("skipped", {}),
    }
    return as_json(body)


def flow_body(one: _Replay, flow_id: str) -> Json:
    """The one flow of a replay, as in `/api/flows`."""
    flow: Flow = {
        "id": flow_id,
        "kind": "replay",
        "name": one.asked.recording or one.asked.file,
        "format": "opaque",
        "direction": "out",
        "from": one.said.get("from", ""),
        "to": format_address(one.plan.target),
        "state": "error" if one.error is not None else "live" if one.ended_unix_ns is None else "ended",
        "numbering": None,
        "ledger": _departed(one.said),
        "rate_hz": None,
        "loss_ratio": None,
        "jitter_ms": None,
        "delay_ms": None,
        "age_ms": None,
        "last_colour": None,
    }
    return as_json(flow)


def _departed(said: dict[str, Any]) -> Departed:
    causes, offered = said.get("lost_by_cause", _NOTHING), said.get("offered", 0)
    lost = causes["link"] + causes["sender_kernel"]
    return {
        "offered": offered,
        "passed_on": offered - lost,
        "lost": lost,
        "lost_by_cause": {"link": causes["link"], "sender_kernel": causes["sender_kernel"]},
    }
