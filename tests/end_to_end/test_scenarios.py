"""The scenarios that ship, run as a person would; and two runs of one link, compared datagram by datagram."""

from __future__ import annotations

import asyncio
import subprocess
from typing import Any

from support.program import COMMAND, DEADLINE_S, judged
from udprism.cli.scenario import EXIT_VOID
from udprism.node.bridge import Bridge
from udprism.node.play import shipped
from udprism.settings import Settings

COMPARED = 150
"""Sequence numbers of each client; fewer than the history keeps."""
LINK = {
    "loss_ratio": 0.05,
    "burst": {"enter_ratio": 0.02, "leave_ratio": 0.2},
    "duplicate_ratio": 0.1,
    "corrupt_ratio": 0.1,
    "delay_ms": 10,
    "jitter_ms": 5,
    "seed": 11,
}


def test_the_shipped_scenarios_meet_their_expectations() -> None:
    running = {
        name: subprocess.Popen([*COMMAND, "run", name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for name in shipped()
    }
    ended = {name: (*process.communicate(timeout=DEADLINE_S), process.returncode) for name, process in running.items()}
    for name, (output, errors, code) in ended.items():
        if code == EXIT_VOID:  # the machine had too much to do; alone it may do
            done = judged(name)
            output, errors, code = done.stdout, done.stderr, done.returncode
        assert code == 0, f"{name}: {output}{errors}"


async def _fates(rate_hz: float, clients: int) -> dict[str, dict[str, set[int]]]:
    """By client: which of the first COMPARED sequence numbers were dropped, doubled, corrupted by the link."""
    bridge = Bridge(Settings(udp="127.0.0.1:0", clients=0, max_clients=50, ephemeral=True))
    try:
        bridge.start()
        await bridge.links.put_default(LINK)
        bodies = await bridge.clients.add(None, None, rate_hz, 1, "measured", clients)
        async with asyncio.timeout(DEADLINE_S):
            return {body["name"]: await _fates_of(bridge, body["id"]) for body in bodies}
    finally:
        bridge.stop()


async def _fates_of(bridge: Bridge, client_id: str) -> dict[str, set[int]]:
    while True:
        rows = [row for row in await bridge.clients.datagrams(client_id, 256) if row["sequence"] < COMPARED]
        if len(rows) == COMPARED and all(row["fate"] != "in_flight" for row in rows):
            return {what: {row["sequence"] for row in rows if is_so(row)} for what, is_so in _FATES.items()}
        await asyncio.sleep(0.05)


_FATES = {
    "dropped": lambda row: row["cause"] == "link",
    "doubled": lambda row: row["duplicates"] > 0,
    "corrupt": lambda row: row["corrupt"],
}


def test_two_runs_at_another_pace_meet_the_same_fates_by_sequence_number() -> None:
    first: dict[str, Any] = asyncio.run(_fates(100, 3))
    second = asyncio.run(_fates(70, 6))
    assert {name: second[name] for name in first} == first
    assert all(sets for fates in first.values() for sets in fates.values())
    assert len({frozenset(fates["dropped"]) for fates in second.values()}) == len(second)
