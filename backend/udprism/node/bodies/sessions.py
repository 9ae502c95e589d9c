"""The colour server's sessions."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from udprism.columns.types import NEVER_NS, NS_PER_MS, NS_PER_S, format_address
from udprism.node.bodies.clients import Stream
from udprism.node.bodies.links import Link
from udprism.serving import sessions
from udprism.serving.recent import Left
from udprism.serving.sessions import SessionTable
from udprism.wire.colours import nearest_name

Palette = Literal["basic", "css", "rgb"]


class Unsent(TypedDict):
    """Datagrams of a session that never left."""

    link: int
    sender_kernel: int


class Response(TypedDict):
    """A text that a client sent, and the colour that had been sent to it last."""

    text: str
    colour: str | None
    answered_after_ms: float
    unix_ms: int


class Reported(TypedDict):
    """What a client on a measured stream counted itself, from its newest REPORT."""

    highest: int
    received: int
    lost: int
    reordered: int
    duplicates: int
    late: int
    jitter_ms: float
    age_ms: int


class Session(TypedDict):
    """A session of the colour server. `client_id` is that of a hosted client."""

    id: str
    address: str
    kind: Literal["raw", "hosted"]
    client_id: str | None
    stream: Stream
    name: str | None
    rate_hz: float
    colours: int
    palette: Palette
    source: str
    started_unix_ms: int
    age_ms: int
    sent: int
    unsent: Unsent
    lease_ends_in_s: float | None
    port_unreachable: int
    responses: list[Response]
    reported: Reported | None
    link: Link | None
    last_colour: str | None
    recent_rgb: str
    left_ms: int | None


class SessionList(TypedDict):
    """Sessions, raw ones first, and how many match. left: raw clients that have left, newest first."""

    sessions: list[Session]
    total: int
    left: list[Session]


def session_body(table: SessionTable, slot: int, now_ns: int) -> Session:
    """A session; what only the bridge knows is left None. Server thread only."""
    sent = int(table.next_sequence[slot])
    unsent = int(table.unsent_link[slot]), int(table.unsent_kernel[slot])
    recent = table.recent.of(slot, sent)
    session_id, last_sent_ns = int(table.session_id[slot]), int(table.last_sent_ns[slot])
    one = Left(table.sessions[slot], session_id, sent, *unsent, recent, last_sent_ns)
    body = _body(one, now_ns)
    deadline_ns = int(table.lease_deadline_ns[slot])
    body["lease_ends_in_s"] = None if deadline_ns == NEVER_NS else max(0.0, (deadline_ns - now_ns) / NS_PER_S)
    return body


def left_bodies(table: SessionTable, now_ns: int) -> list[Session]:
    """Raw clients that have left, newest first. Server thread only."""
    bodies = []
    for one in reversed(table.recent.left):
        body = _body(one, now_ns)
        body["left_ms"] = (now_ns - one.last_sent_ns) // NS_PER_MS
        bodies.append(body)
    return bodies


def _body(one: Left, now_ns: int) -> Session:
    session = one.session
    return {
        "id": f"s-{one.session_id:08x}",
        "address": format_address(session.address),
        "kind": "raw",
        "client_id": None,
        "stream": "measured" if session.encoding.measured else "plain",
        "name": session.name,
        "rate_hz": session.rate_hz,
        "colours": session.encoding.colours,
        "palette": session.encoding.palette,
        "source": session.terms.source,
        "started_unix_ms": session.started_unix_ns // NS_PER_MS,
        "age_ms": (now_ns - session.started_ns) // NS_PER_MS,
        "sent": one.sent,
        "unsent": {"link": one.unsent_link, "sender_kernel": one.unsent_kernel},
        "lease_ends_in_s": None,
        "port_unreachable": session.port_unreachable,
        "responses": [
            {
                "text": response.text,
                "colour": response.colour,
                "answered_after_ms": response.answered_after_ns / NS_PER_MS,
                "unix_ms": response.unix_ns // NS_PER_MS,
            }
            for response in session.responses
        ],
        "reported": _reported(session, now_ns),
        "link": None,
        "last_colour": nearest_name(tuple(one.recent[-1].tolist())) if one.sent else None,
        "recent_rgb": one.recent.tobytes().hex(),
        "left_ms": None,
    }


def _reported(session: sessions.Session, now_ns: int) -> Reported | None:
    report = session.report
    if report is None:
        return None
    return {
        "highest": report.highest,
        "received": report.received,
        "lost": report.lost,
        "reordered": report.reordered,
        "duplicates": report.duplicates,
        "late": report.late,
        "jitter_ms": report.jitter_us / 1000,
        "age_ms": (now_ns - session.reported_ns) // NS_PER_MS,
    }
