"""Echoes, and their flows."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from udprism.columns.types import format_address


class Echo(TypedDict):
    """One echo."""

    id: str
    listen: str
    datagrams: int


class EchoList(TypedDict):
    """All of them."""

    echoes: list[Echo]
    total: int


def flow_of_echo(echo: Echo) -> dict[str, Any]:
    """What arrives at it, whoever sends."""
    unknown = dict.fromkeys(("from", "rate_hz", "loss_ratio", "jitter_ms", "delay_ms", "age_ms", "last_colour"))
    return unknown | {
        "id": f"{echo['id']}-in",
        "kind": "echo",
        "name": echo["id"],
        "format": "opaque",
        "direction": "in",
        "to": echo["listen"],
        "state": "live",
        "numbering": None,
        "ledger": {"received": echo["datagrams"]},
    }


def echo_body(echo_id: str, address: tuple[str, int], datagrams: int) -> Echo:
    return {"id": echo_id, "listen": format_address(address), "datagrams": datagrams}
