"""Hosted clients and their datagrams."""

from __future__ import annotations

from typing import Literal, cast

import numpy as np
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from udprism.columns.types import NS_PER_MS, format_address
from udprism.node.bodies.colours import Colour, colour_body
from udprism.node.bodies.ledgers import Anomalies, Delays, Ledger, relayed
from udprism.node.bodies.links import Link
from udprism.serving import clients as hosted
from udprism.serving.book import ClientColumns

Mode = Literal["auto", "measured", "plain"]
Stream = Literal["measured", "plain"]
State = Literal["connecting", "live", "silent", "refused", "error", "paused"]
STATE_WORDS = {state.value: state.name.lower() for state in hosted.State}
MODE_WORDS = {mode.value: mode.name.lower() for mode in hosted.Mode}


class Client(TypedDict):
    """A hosted client. `rate_hz` is what it requests, `measured_rate_hz` what arrives."""

    id: str
    slot: int
    name: str
    target: str
    target_address: str | None
    mode: Mode
    stream: Stream | None
    state: State
    error: str | None
    paused: bool
    rate_hz: float
    measured_rate_hz: float
    colours: int
    local_address: str | None
    session_id: str | None
    ledger: Ledger
    path: Literal["in-process", "unknown"] | None
    loss_ratio: float | None
    jitter_ms: float | None
    delay_ms: Delays
    anomalies: Anomalies | None
    delay_is_relative: bool | None
    rtt_ms: float | None
    last_colour: Colour | None
    age_ms: float | None
    link: Link | None


class ClientList(TypedDict):
    """One page of clients, and how many match."""

    clients: list[Client]
    total: int


class ClientsMade(TypedDict):
    """The clients that were added."""

    clients: list[Client]


class Removed(TypedDict):
    """How many there were."""

    removed: int


class Datagram(TypedDict):
    """One datagram of a client's history. One that never arrived has no colour, time or size."""

    sequence: int | None
    fate: Literal["received", "lost", "late", "in_flight"]
    cause: Literal["link", "sender_kernel", "receiver_kernel", "unexplained", "unknown_path", "path", "awaiting"] | None
    colour: str | None
    rgb: str | None
    sent_at_ns: int | None
    received_at_ns: int | None
    delay_ms: float | None
    duplicates: int | None
    reordered: bool | None
    corrupt: bool | None
    size_bytes: int | None
    payload_hex: str | None


class Datagrams(TypedDict):
    """A client's last datagrams, newest last."""

    datagrams: list[Datagram]


def client_bodies(columns: ClientColumns, slots: list[int], now_ns: int) -> list[Client]:
    """Clients of one moment. `link` is null here; `node/clients` fills it in. Pool thread only."""
    column, ledger = np.array(slots, np.int64), columns.ledger
    delays, loss_ratios = ledger.delay_bodies(column), ledger.loss_ratio(column).tolist()
    rows = zip(slots, ledger.bodies(column), delays, loss_ratios, strict=True)
    return [
        _client(columns, slot, now_ns, cast(Ledger, sums | relayed(columns.latest, slot)), cast(Delays, delay_ms), loss)
        for slot, sums, delay_ms, loss in rows
    ]


def _client(
    columns: ClientColumns, slot: int, now_ns: int, sums: Ledger, delay_ms: Delays, loss_ratio: float
) -> Client:
    table, ledger = columns.table, columns.ledger
    client = table.clients[slot]
    stream = int(table.stream[slot])
    measured = bool(ledger.measured[slot])
    last_ns = int(table.last_arrival_ns[slot])
    session_id = int(table.session_id[slot])
    timed = measured and delay_ms["p50"] is not None
    return {
        "id": client.id,
        "slot": slot,
        "name": client.name,
        "target": client.target,
        "target_address": format_address(client.address) if client.address[0] else None,
        "mode": cast(Mode, MODE_WORDS[client.mode]),
        "stream": cast(Stream, MODE_WORDS[stream]) if stream else None,
        "state": cast(State, STATE_WORDS[int(table.state[slot])]),
        "error": client.error,
        "paused": bool(table.state[slot] == hosted.State.PAUSED),
        "rate_hz": client.rate_hz,
        "measured_rate_hz": float(columns.rates.rate_hz[slot]),
        "colours": client.colours,
        "local_address": client.local_address,
        "session_id": f"s-{session_id:08x}" if session_id else None,
        "ledger": sums,
        "path": "in-process" if ledger.in_process[slot] else "unknown" if measured else None,
        "loss_ratio": loss_ratio if measured and loss_ratio == loss_ratio else None,
        "jitter_ms": float(ledger.jitter_ns[slot]) / NS_PER_MS if timed else None,
        "delay_ms": delay_ms,
        "anomalies": cast(Anomalies | None, ledger.anomalies(slot)),
        "delay_is_relative": not bool(ledger.shared_clock[slot]) if measured else None,
        "rtt_ms": int(table.rtt_ns[slot]) / NS_PER_MS if table.rtt_ns[slot] else None,
        "last_colour": colour_body(columns.latest.rgba[slot]) if last_ns else None,
        "age_ms": (now_ns - last_ns) / NS_PER_MS if last_ns else None,
        "link": None,
    }


def datagram_bodies(columns: ClientColumns, slot: int, limit: int) -> list[Datagram]:
    """A client's last datagrams, newest last. Pool thread only."""
    ledger = columns.ledger
    shared_clock = bool(ledger.shared_clock[slot])
    rows = columns.history.rows(slot, limit, ledger.next_sequence(slot), shared_clock=shared_clock)
    return cast(list[Datagram], rows)
