"""What concerns the whole program: whether it works, what the header line shows, and what its numbers mean."""

from __future__ import annotations

from typing import NamedTuple, cast

from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from udprism.columns.types import NS_PER_MS
from udprism.node.bodies.ledgers import Ledger, WholeLedger
from udprism.node.bodies.links import LinkField, Links
from udprism.udp.server import ColourServer

MOST_ATTENTION = 20


class SessionCounts(TypedDict):
    """How many sessions there are, and how many of them are raw clients'."""

    total: int
    raw: int


class ClientCounts(TypedDict):
    """Clients by state."""

    total: int
    connecting: int
    live: int
    silent: int
    refused: int
    error: int
    paused: int


class Attention(TypedDict):
    """What needs attention; without id: something that concerns all. value depends on `why`."""

    slot: int | None
    id: str | None
    name: str | None
    why: str
    value: float | None


class Schedule(TypedDict):
    """How far the server is behind its schedule, and how many ticks it skipped."""

    lag_ms: float
    skipped_ticks: int


class ServerThread(TypedDict):
    """The colour server's thread."""

    state: str
    restarts: int


class Status(TypedDict):
    """What the header line shows. closes: whether the ledger's sums do."""

    clients: ClientCounts
    losing: int
    behind: int
    datagrams_per_s: float
    sessions: SessionCounts
    ledger: WholeLedger
    closes: bool
    links: Links
    schedule: Schedule
    server: ServerThread
    attention: list[Attention]


class Definition(TypedDict):
    """What a number means."""

    id: str
    name: str
    unit: str | None
    formula: str
    source: str | None
    caveat: str | None


class Definitions(TypedDict):
    """All of them, and the table of a link's fields."""

    definitions: list[Definition]
    link: list[LinkField]


class Check(TypedDict):
    """Whether a part works; if a fatal one does not, the program is not ready. detail: null without the token."""

    name: str
    ok: bool
    detail: str | None
    fatal: bool


class Ready(TypedDict):
    """Whether every fatal check passes."""

    ready: bool
    checks: list[Check]


def check(name: str, ok: bool, detail: str, *, fatal: bool) -> Check:
    """One check."""
    return {"name": name, "ok": ok, "detail": detail, "fatal": fatal}


def attention(
    why: str, value: float | None, slot: int | None = None, client_id: str | None = None, name: str | None = None
) -> Attention:
    """What a person should look at: one client, or without one something that concerns all."""
    return {"slot": slot, "id": client_id, "name": name, "why": why, "value": value}


def _worst_first(clients: list[Attention], heard: list[Attention]) -> list[Attention]:
    """Both, each of them worst first: what concerns all clients before the rest, losses after all else."""

    def rank(one: Attention) -> float:
        if one["id"] is None:
            return -2.0
        return 1.0 - (one["value"] or 0.0) if one["why"] == "loss" else -1.0

    return sorted([*clients, *heard], key=rank)


def _closes(ledger: Ledger) -> bool:
    """Whether the sums of the whole ledger close, as they must."""
    sent, received, lost, in_flight = (ledger[key] for key in ("sent", "received", "lost", "in_flight"))
    return sent == (received or 0) + (lost or 0) + (in_flight or 0)


class Summary(NamedTuple):
    """Of all clients: how many are in each state, lose datagrams and have senders that fall behind; the worst first."""

    by_state: dict[str, int]
    losing: int
    behind: int
    datagrams_per_s: float
    attention: list[Attention]


def status_body(
    clients: Summary,
    ledger: WholeLedger,
    sessions: SessionCounts,
    links: Links,
    server: ColourServer,
    more_attention: list[Attention],
    heard: list[Attention],
) -> Status:
    """more_attention: comes before the others. heard: of received flows, worst first. Pool thread or later."""
    counts = cast(ClientCounts, {"total": sum(clients.by_state.values()), **clients.by_state})
    return {
        "clients": counts,
        "losing": clients.losing,
        "behind": clients.behind,
        "datagrams_per_s": clients.datagrams_per_s,
        "sessions": sessions,
        "ledger": ledger,
        "closes": _closes(ledger),
        "links": links,
        "schedule": {"lag_ms": server.lag_ns / NS_PER_MS, "skipped_ticks": server.skipped_ticks},
        "server": {"state": server.thread.state.value, "restarts": server.thread.restarts},
        "attention": [*more_attention, *_worst_first(clients.attention, heard)][:MOST_ATTENTION],
    }
