"""JSON bodies of receivers, and of the flows that they hear. The loop's thread only."""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from udprism.columns.types import NS_PER_MS, format_address
from udprism.ledger.heard import FlowState, Heard, HeardFlows
from udprism.node.bodies.colours import Colour
from udprism.node.bodies.ledgers import Ledger
from udprism.node.receiver_plan import Entry
from udprism.udp.endpoints.receiver import ReceiverEndpoint
from udprism.udp.listening import Listening
from udprism.udp.sockets import dropped_by_kernel
from udprism.wire.colours import hex_of, nearest_name
from udprism.wire.format import Mark

_MARK_NOTES: Final = (
    (Mark.LENGTH_DISAGREES, "A length field says another number than there are bytes; the smaller one counts."),
    (Mark.PREVIEW, "Marked as a preview: not for live use."),
    (Mark.SYNCHRONISED, "To be shown when a synchronisation datagram arrives."),
    (Mark.WHITE, "Four channels per pixel: red, green, blue and white."),
)


_WHOLE_FRAMES: Final = ("artnet", "e131")
"""Formats in which each datagram is a frame."""


class Receiver(TypedDict):
    """A receiver, with the ids of its flows. drops: datagrams that belong to no flow, by reason. answered, withheld:
    replies to Art-Net's polls. lamp: where it answers over HTTP as a WLED lamp of `pixels`, or null.
    interface, universes: where it has joined the multicast groups of these universes, or null and none.
    clock_hz: for rtp, the clock that it was told for payload types without a fixed one, or null.
    also_bound: other programs that are bound to its port."""

    id: str
    name: str
    format: str
    listen: str
    state: Literal["live", "error"]
    error: str | None
    flows: list[str]
    datagrams: int
    controls: int
    drops: dict[str, int]
    answered: int | None
    withheld: int | None
    kernel_drops: int | None
    lamp: str | None
    pixels: int
    interface: str | None
    universes: list[int]
    clock_hz: int | None
    receives_by: str
    also_bound: list[str]


class ReceiverList(TypedDict):
    """All receivers, in the order in which they were started."""

    receivers: list[Receiver]
    total: int


class Extremes(TypedDict):
    """The shortest and the longest."""

    shortest: float
    longest: float


class FrameFacts(TypedDict):
    """A flow's frames. pause_ms: between two frames, over the last 10 to 20 s. repeats_after_ms: of a held picture."""

    count: int
    rate_hz: float
    pause_ms: Extremes | None
    repeats_after_ms: float | None
    size_bytes: Extremes | None


HeardFlow = TypedDict(
    "HeardFlow",
    {
        "id": str,
        "kind": Literal["receiver"],
        "name": str,
        "format": str,
        "direction": Literal["in"],
        "from": str,
        "to": str,
        "state": Literal["live", "silent", "held", "ended"],
        "numbering": Literal["believed", "does not count", "not yet known"] | None,
        "ledger": Ledger,
        "rate_hz": float,
        "loss_ratio": float | None,
        "jitter_ms": float | None,
        "jitter_ticks": float | None,
        "media_hz": int | None,
        "delay_ms": None,
        "age_ms": float,
        "last_colour": Colour | None,
        "receiver_id": str,
        "frames": FrameFacts,
        "goodbyes": int,
        "notes": list[str],
    },
)
HeardFlow.__doc__ = """A flow that a receiver hears. notes: what is unusual about its sender, in words.
jitter_ticks: RFC 3550's, in ticks of the sender's clock, which has `media_hz` per second; null if the wire carries no
time or its clock is unknown."""


class DatagramField(TypedDict):
    """One field of a datagram; offset and length in bytes."""

    name: str
    offset: int
    length: int
    value: str
    about: str


class WholeDatagram(TypedDict):
    """A whole datagram, field by field."""

    size_bytes: int
    payload_hex: str
    fields: list[DatagramField]


class Picture(TypedDict):
    """A flow's picture: values_hex has one byte per channel, `channels` of them per pixel."""

    id: str
    channels: int
    values_hex: str
    datagram: WholeDatagram | None


def receiver_body(entry: Entry, listening: Listening) -> dict[str, Any]:
    """One receiver, with the ids of its flows."""
    endpoint = entry.endpoint
    answering = None if endpoint is None else endpoint.answering
    return {
        "id": entry.id,
        "name": entry.plan.name,
        "format": entry.plan.format,
        "listen": format_address(entry.plan.address),
        "state": "error" if endpoint is None else "live",
        "error": entry.error if endpoint is None else entry.error or endpoint.error,
        "flows": [flow.id for flow in listening.flows.flows.values() if flow.receiver_id == entry.id],
        "datagrams": 0 if endpoint is None else endpoint.datagrams,
        "controls": 0 if endpoint is None else endpoint.controls,
        "drops": {} if endpoint is None else dict(endpoint.drops),
        "answered": None if answering is None else answering.answered,
        "withheld": None if answering is None else answering.withheld,
        "kernel_drops": None if endpoint is None else _dropped_by_kernel(endpoint),
        "lamp": entry.plan.lamp,
        "pixels": entry.plan.pixels,
        "interface": entry.plan.interface,
        "universes": list(entry.plan.universes),
        "clock_hz": entry.plan.clock_hz,
        "receives_by": listening.loop.receiver.description,
    }


def _dropped_by_kernel(endpoint: ReceiverEndpoint) -> int | None:
    drops = [dropped_by_kernel(sock) for sock in (endpoint.sock, *endpoint.groups)]
    known = [one for one in drops if one is not None]
    return sum(known) if len(known) == len(drops) else None


def flow_body(flows: HeardFlows, slot: int, now_ns: int) -> dict[str, Any]:
    """One flow, as in `/api/flows`."""
    flow = flows.flows[slot]
    rgba = flows.latest.rgba[slot]
    rgb = (int(rgba[0]), int(rgba[1]), int(rgba[2]))
    media_hz, jitter_ms = int(flows.media.hz[slot]), float(flows.media.ms(slice(slot, slot + 1))[0])
    return {
        "id": flow.id,
        "kind": "receiver",
        "name": flow.name,
        "format": flow.form.name,
        "direction": "in",
        "from": flow.source,
        "to": flow.to,
        "state": FlowState(int(flows.state[slot])).word,
        "numbering": flows.counting.word(slot),
        "ledger": _ledger(flows, slot),
        "rate_hz": float(flows.rates.rate_hz[slot]),
        "loss_ratio": _loss_ratio(flows, slot),
        "jitter_ms": None if jitter_ms != jitter_ms else jitter_ms,
        "jitter_ticks": float(flows.media.ticks[slot]) if media_hz else None,
        "media_hz": media_hz or None,
        "delay_ms": None,
        "age_ms": (now_ns - int(flows.last_ns[slot])) / NS_PER_MS,
        "last_colour": {"name": nearest_name(rgb), "rgb": hex_of(rgb)} if flows.coloured[slot] else None,
        "receiver_id": flow.receiver_id,
        "frames": _frames(flows, slot),
        "goodbyes": flow.ends,
        "notes": notes(flows, slot),
    }


def _ledger(flows: HeardFlows, slot: int) -> dict[str, Any]:
    (body,) = flows.ledger.bodies(np.array([slot]))
    latest = flows.latest
    if not flows.counting.believed[slot]:
        nothing = dict.fromkeys(body["lost_by_cause"])
        body = dict.fromkeys(body) | {"received": int(flows.ledger.received_of(slice(slot, slot + 1))[0])}
        body["lost_by_cause"] = nothing
    return body | {"relayed": int(latest.relayed[slot]), "conflated": int(latest.conflated[slot])}


def _loss_ratio(flows: HeardFlows, slot: int) -> float | None:
    ratio = float(flows.ledger.loss_ratio(np.array([slot]))[0])
    return ratio if flows.counting.believed[slot] and ratio == ratio else None


def _frames(flows: HeardFlows, slot: int) -> dict[str, Any]:
    frames = flows.frames
    pauses = frames.pauses_ns(slot)
    repeats = float(frames.repeats_after_ns(np.array([slot]))[0])
    is_held = flows.state[slot] == FlowState.HELD
    return {
        "count": int(frames.frames[slot]),
        "rate_hz": float(frames.rate_hz[slot]),
        "pause_ms": None if pauses is None else {"shortest": pauses[0] / NS_PER_MS, "longest": pauses[1] / NS_PER_MS},
        "repeats_after_ms": repeats / NS_PER_MS if is_held and repeats == repeats else None,
        "size_bytes": {"shortest": int(frames.shortest_bytes[slot]), "longest": int(frames.longest_bytes[slot])}
        if frames.frames[slot]
        else None,
    }


def notes(flows: HeardFlows, slot: int) -> list[str]:
    """What is unusual about this sender, in words."""
    flow, marks = flows.flows[slot], int(flows.frames.marks[slot])
    said = []
    if flows.counting.word(slot) == "does not count":
        said.append("Does not count: its numbers do not advance by one, so its losses cannot be known.")
    if flows.counting.numbers_frames(slot):
        said.append("Numbers frames, not datagrams: a frame counts as lost only if all of its datagrams are lost.")
    said += [words for mark, words in _MARK_NOTES if marks & mark]
    if flow.form.name in _WHOLE_FRAMES and flows.frames.shortest_bytes[slot] < flows.frames.longest_bytes[slot]:
        said.append("Its frames have different lengths: a shorter one changes only the slots that it has.")
    if flow.form.name == "ddp" and not marks & Mark.COMMITS:
        said.append("Never sets PUSH, which completes a frame. Its frames are shown nevertheless.")
    return said


def datagrams(flows: HeardFlows, slot: int, limit: int) -> list[dict[str, Any]]:
    """A flow's last datagrams, newest last."""
    return flows.datagrams_kept(slot, limit)


def picture_body(flows: HeardFlows, slot: int, now_ns: int) -> dict[str, Any]:
    """All channels of a flow's picture, and its newest datagram field by field."""
    flow: Heard = flows.flows[slot]
    picture = flows.pictures.look(slot, flow.form, now_ns)
    newest, sizes = flows.newest.of(slot), flows.newest.sizes(slot)
    return {
        "id": flow.id,
        "channels": picture.channels,
        "values_hex": picture.values.tobytes().hex(),
        "datagram": {
            "size_bytes": sizes[-1],
            "payload_hex": newest[-1].hex(),
            "fields": [field._asdict() for field in flow.form.fields(newest[-1])],
        }
        if newest
        else None,
    }
