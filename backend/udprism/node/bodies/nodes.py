"""JSON bodies that describe nodes."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12


class Clock(TypedDict):
    """How far a node's wall clock is ahead of this one's, ± the bound."""

    ahead_ms: float
    bound_ms: float


class Node(TypedDict):
    """One node, as it described itself `as_of_ms` ago, by the clock of the node that answers."""

    id: str
    name: str | None
    is_this: bool
    state: Literal["live", "late", "gone", "left", "twice", "unknown"]
    version: str | None
    page: str | None
    as_of_ms: float
    remote: Literal["off", "read", "on"] | None
    hears_us: bool | None
    clock: Clock | None
    clients: dict[str, int] | None
    losing: int | None
    datagrams_per_s: float | None
    sessions: dict[str, Any] | None
    ledger: dict[str, Any] | None
    closes: bool | None
    udp: list[str] | None


class Nodes(TypedDict):
    """All nodes, this one first; `ledger` is their sum."""

    nodes: list[Node]
    total: int
    ledger: dict[str, Any] | None
    cut_off_s: float | None
    trouble: str | None


class CommandOutcome(TypedDict):
    """The outcome of a change on another node; `status` is the HTTP status of that node's response."""

    id: str
    outcome: Literal["done", "never"]
    status: int | None
