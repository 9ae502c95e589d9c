"""The JSON bodies of capture files, and of what is in one."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from udprism.node.bodies.ledgers import Arrived, Delays


class Capture(TypedDict):
    """An uploaded file. received: how many of its bytes have been received so far."""

    id: str
    name: str
    bytes: int
    received: int


class BegunCapture(Capture):
    """One that was just begun. dropped: the id of the oldest capture if it made room for this one."""

    dropped: str | None


class CaptureList(TypedDict):
    """All of them, in the order in which they were started."""

    captures: list[Capture]
    total: int


class CaptureInterface(TypedDict):
    """An interface that a capture names. link_type: the number that tcpdump.org assigns."""

    name: str | None
    description: str | None
    link_type: int


CapturedFlow = TypedDict(
    "CapturedFlow",
    {
        "id": int,
        "interface": int,
        "format": str,
        "key": int,
        "from": str,
        "to": str,
        "datagrams": int,
        "bytes": int,
        "first_ns": int | None,
        "last_ns": int | None,
        "rate_hz": float | None,
        "numbering": Literal["own", "believed", "does not count", "not yet known"] | None,
        "ledger": Arrived | None,
        "jitter_ms": float | None,
        "counts": list[int],
    },
)
CapturedFlow.__doc__ = "A flow of a capture. counts: datagrams in each step of `rates`."


class CapturedDelays(TypedDict):
    """How long datagrams took from one interface of a capture to another. flows: indices."""

    from_interface: int
    to_interface: int
    flows: list[int]
    datagrams: int
    delay_ms: Delays


class CapturedRates(TypedDict):
    """When the counts of flows begin, Unix, and how long a step is."""

    from_ns: int | None
    step_ns: int


class CaptureFault(TypedDict):
    """Where a capture breaks its format's rules: nothing after that was read."""

    offset: int
    reason: str
    detail: str


class Inspected(TypedDict):
    """What is in a capture. skipped: packets that are no datagrams, by reason. beyond: datagrams of flows that found
    no place, by format. cut_at: the offset of a last record that is not whole."""

    packets: int
    skipped: dict[str, int]
    beyond: dict[str, int]
    cut_at: int | None
    interfaces: list[CaptureInterface]
    rates: CapturedRates
    flows: list[CapturedFlow]
    delays: list[CapturedDelays]
    fault: CaptureFault | None


def of_capture(capture_id: str, name: str, size: int, received: int) -> Capture:
    """One."""
    return {"id": capture_id, "name": name, "bytes": size, "received": received}
