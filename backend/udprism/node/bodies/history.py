"""What happened over time, as bodies: regular columns with null if nothing is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from udprism.columns.types import NS_PER_S
from udprism.ledger.timeline import CAUSES, RATIOS, Steps
from udprism.node.events import Event

MAX_STEPS = 4000
Numbers = list[float | None]


class Columns(TypedDict):
    """One value per step; null if the step is missing, or nothing was measured in it. lost_by_cause is below zero in a
    step in which datagrams arrived that had been declared lost earlier."""

    rate_hz: Numbers
    lost_by_cause: dict[str, Numbers]
    delay_ms: dict[str, Numbers]
    jitter_ms: Numbers


class EventBody(TypedDict):
    """`at` is Unix time in seconds."""

    at: float
    kind: str
    text: str
    flow: str | None


HistoryBody = TypedDict(
    "HistoryBody",
    {
        "step_s": float,
        "from": float,
        "flow": str | None,
        "columns": Columns,
        "events": list[EventBody],
        "earlier_until": float | None,
    },
)
HistoryBody.__doc__ = (
    "`from` is Unix time in seconds: where the first step begins; step i covers from + i * step_s for step_s seconds. "
    "`earlier_until`, too, is Unix time in seconds: steps that end before it are of an earlier run of this program; "
    "null if there are none."
)


def history_body(told: Steps, flow: str | None, events: list[Event], started_unix_ns: int = 0) -> HistoryBody:
    """Steps on a regular grid. Steps that were missed, because the machine was busy, are null.

    started_unix_ns: when this run of the program began.
    """
    count, first_s, places = _grid(told)

    def spread(values: npt.NDArray[np.floating]) -> Numbers:
        column = np.full(count, np.nan)
        column[places] = values
        return [None if value != value else value for value in column.tolist()]

    steps = told.steps
    length_s = np.maximum(steps["length_s"].astype(np.float64), 1e-3)
    return {
        "step_s": told.step_s,
        "from": first_s,
        "flow": flow,
        "columns": {
            "rate_hz": spread(steps["received"] / length_s),
            "lost_by_cause": {
                cause.name.lower(): spread(steps["lost"][:, place].astype(np.float64))
                for place, cause in enumerate(CAUSES)
            },
            "delay_ms": {
                f"p{round(ratio * 100)}": spread(_rounded(steps["delay_ms"][:, place]))
                for place, ratio in enumerate(RATIOS)
            },
            "jitter_ms": spread(_rounded(steps["jitter_ms"])),
        },
        "events": [
            {"at": event.unix_ns / NS_PER_S, "kind": event.kind, "text": event.text, "flow": event.flow}
            for event in events
        ],
        "earlier_until": _earlier_until(told, started_unix_ns),
    }


def _earlier_until(told: Steps, started_unix_ns: int) -> float | None:
    earlier = len(told.steps) > 0 and told.ended_unix_ns[0] <= started_unix_ns
    return started_unix_ns / NS_PER_S if earlier else None


def history_csv(body: HistoryBody) -> str:
    """RFC 4180, a row per step; empty if a value is unknown. earlier_run: 1 in steps of an earlier run, otherwise 0."""
    columns = body["columns"]
    table: dict[str, Numbers] = {"rate_hz": columns["rate_hz"]}
    table |= {f"lost_{cause}": values for cause, values in columns["lost_by_cause"].items()}
    table |= {f"delay_{name}_ms": values for name, values in columns["delay_ms"].items()}
    table |= {"jitter_ms": columns["jitter_ms"]}
    lines = [",".join(["begins_unix_s", *table, "earlier_run"])]
    earlier_until = body["earlier_until"] or 0.0
    for row, values in enumerate(zip(*table.values(), strict=True)):
        begins_s = body["from"] + row * body["step_s"]
        earlier = "1" if begins_s + body["step_s"] <= earlier_until else "0"
        told = ("" if value is None else f"{value:g}" for value in values)
        lines.append(",".join([f"{begins_s:.3f}", *told, earlier]))
    return "\r\n".join(lines) + "\r\n"


def _grid(told: Steps) -> tuple[int, float, npt.NDArray[np.int64]]:
    """How many places, when the first begins, and the place of each step. A later step wins a place."""
    if not len(told.steps):
        return 0, 0.0, np.zeros(0, np.int64)
    step_ns = round(told.step_s * NS_PER_S)
    ends = told.ended_unix_ns
    places = np.rint((ends - ends[-1]) / step_ns).astype(np.int64)
    places -= places[0]
    keep_from = max(0, int(places[-1]) + 1 - MAX_STEPS)
    count = int(places[-1]) + 1 - keep_from
    first_s = float(ends[-1]) / NS_PER_S - count * told.step_s
    return count, first_s, np.maximum(places - keep_from, 0)


def _rounded(values: npt.NDArray[np.float16]) -> npt.NDArray[np.float64]:
    """A half float has three digits; more would be an invention."""
    wide = values.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = 10.0 ** (3 - np.ceil(np.log10(np.abs(wide))))
    usable = np.isfinite(scale) & (scale > 0)
    return np.where(usable, np.rint(wide * np.where(usable, scale, 1)) / np.where(usable, scale, 1), wide)
