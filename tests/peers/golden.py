"""The golden vectors of real senders: datagrams written as what differs from an earlier one.

A file is {"scenario", "sender", "captured": [[ms, port, hex], [ms, port, back, {offset: hex}], …]}: the second kind is
the datagram `back` places before it, with these bytes changed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from peers.scenarios import Scenario

FOLDER = Path(__file__).parents[1] / "golden" / "senders"
_LOOK_BACK = 4
_MOST_CHANGES = 12


class Caught(NamedTuple):
    """One datagram. at_ns: since the first one."""

    at_ns: int
    port: int
    data: bytes


def _differences(before: bytes, data: bytes) -> dict[str, str]:
    return {str(at): f"{new:02x}" for at, (old, new) in enumerate(zip(before, data, strict=True)) if old != new}


def write(scenario: Scenario, caught: list[Caught]) -> None:
    """One file a scenario."""
    lines: list[list[Any]] = []
    for place, one in enumerate(caught):
        ms = round(one.at_ns / 1e6, 1)
        best: tuple[int, dict[str, str]] | None = None
        for back in range(1, min(_LOOK_BACK, place) + 1):
            before = caught[place - back]
            if before.port == one.port and len(before.data) == len(one.data):
                changes = _differences(before.data, one.data)
                if best is None or len(changes) < len(best[1]):
                    best = back, changes
        if best is not None and len(best[1]) <= _MOST_CHANGES:
            lines.append([ms, one.port, *best])
        else:
            lines.append([ms, one.port, one.data.hex()])
    FOLDER.mkdir(exist_ok=True)
    body = ",\n".join(f"  {json.dumps(line, separators=(',', ':'))}" for line in lines)
    head = f'{{"scenario": {json.dumps(scenario.name)}, "sender": {json.dumps(scenario.sender)}, "captured": [\n'
    (FOLDER / f"{scenario.name}.json").write_text(f"{head}{body}\n]}}\n")


def read(name: str) -> list[Caught]:
    """What was captured of a scenario."""
    caught: list[Caught] = []
    for ms, port, *what in json.loads((FOLDER / f"{name}.json").read_text())["captured"]:
        if isinstance(what[0], str):
            data = bytes.fromhex(what[0])
        else:
            changed = bytearray(caught[-what[0]].data)
            for at, byte in what[1].items():
                changed[int(at)] = int(byte, 16)
            data = bytes(changed)
        caught.append(Caught(int(ms * 1e6), port, data))
    return caught
