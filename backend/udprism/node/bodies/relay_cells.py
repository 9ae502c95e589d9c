"""A relayed conversation's last datagrams as lanes show them: a size and a letter each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from udprism.relay.memory import CAUSE_SHIFT, DOWN, UP, Fate, Flag, Sum
from udprism.relay.relay import Relay, rows_in_use

FATES = {
    ".": "forwarded",
    "d": "forwarded, and duplicated",
    "c": "forwarded, corrupted",
    "r": "forwarded, and refused by the destination",
    "h": "delayed by the link",
    "l": "lost by the link or a rule",
    "q": "lost by the link's full queue",
    "k": "lost by the kernel",
}
"""The letters. The first of refused, corrupted and duplicated that applies is shown."""


class RelayCells(TypedDict):
    """The last datagrams of one direction, oldest first: their sizes, and a letter of `FATES` for each."""

    size_bytes: list[int]
    fates: str


class FlowCells(TypedDict):
    """A conversation's last datagrams."""

    up: RelayCells
    down: RelayCells


def cells_of_flows(relay: Relay, ordinals: list[int], count: int) -> dict[int, FlowCells]:
    """The last `count` datagrams of these flows, by ordinal; not of those that have ended. May block.

    Raises: RelayError.
    """
    snapshot = relay.read()
    rows = {int(snapshot.flows["ordinal"][row]): row for row in rows_in_use(snapshot)}
    return {
        ordinal: {
            "up": cells_of(relay.records(rows[ordinal], UP)[-count:]),
            "down": cells_of(relay.records(rows[ordinal], DOWN)[-count:]),
        }
        for ordinal in ordinals
        if ordinal in rows
    }


def cells_of(records: npt.NDArray[np.void]) -> RelayCells:
    """Records of the history, oldest first."""
    letters = _LETTERS[records["fate"], records["flags"]].tobytes().decode("ascii")
    return {"size_bytes": records["size_bytes"].tolist(), "fates": letters}


def _letter(fate: int, flags: int) -> str:
    if fate == Fate.LOST:
        return {Sum.QUEUE: "q", Sum.KERNEL: "k"}.get(Sum(min(flags >> CAUSE_SHIFT, len(Sum) - 1)), "l")
    if fate == Fate.HELD:
        return "h"
    passed = ((Flag.REFUSED, "r"), (Flag.CORRUPTED, "c"), (Flag.DUPLICATED, "d"))
    return next((letter for flag, letter in passed if flags & flag), ".")


_LETTERS = np.array([[ord(_letter(fate, flags)) for flags in range(256)] for fate in range(len(Fate))], np.uint8)
"""uint8[fate, flags]: the letter of a record."""
