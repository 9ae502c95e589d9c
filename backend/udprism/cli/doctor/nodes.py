"""Whether the NATS server that connects nodes can be used."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from udprism.cli.doctor.finding import Finding, Severity
from udprism.columns.types import NS_PER_MS
from udprism.errors import UdprismError
from udprism.settings import Settings

_LEAST_VERSION: Final = (2, 11)
_PATIENCE_S: Final = 3.0
_SLOW_MS: Final = 250.0


def check_nats(settings: Settings) -> Finding:
    """Whether it answers, lets this node in, is new enough, and takes messages as large as nodes send."""
    try:
        import nats.errors
    except ModuleNotFoundError:
        return Finding(Severity.FAIL, "nats-py is not installed", "--nats cannot work", "pip install 'udprism[nodes]'")
    urls = ", ".join(settings.nats)
    try:
        version, most_bytes, round_trip_ms = asyncio.run(_asked(settings))
    except (OSError, TimeoutError, UdprismError, nats.errors.Error) as error:
        reason = str(error) or type(error).__name__
        return Finding(
            Severity.FAIL,
            f"NATS at {urls} cannot be used: {reason}",
            "other nodes are not seen, and do not see this one",
            "check address, certificate and credentials; `udprism hub` prints each node's command",
        )
    return judged(urls, version, most_bytes, round_trip_ms)


def judged(urls: str, version: tuple[int, int], most_bytes: int, round_trip_ms: float) -> Finding:
    """The finding for a server that answered."""
    from udprism.node.mesh.subjects import MAX_MESSAGE_BYTES

    words = f"NATS at {urls}: {version[0]}.{version[1]}, {round_trip_ms:.1f} ms there and back"
    if version < _LEAST_VERSION:
        return Finding(Severity.FAIL, words, "tested with 2.11 and newer only", "install a newer nats-server")
    if most_bytes < MAX_MESSAGE_BYTES:
        saw = f"{words}; its max_payload is {most_bytes} bytes"
        return Finding(
            Severity.FAIL, saw, "frames and long lists do not arrive", f"max_payload: {MAX_MESSAGE_BYTES} or more"
        )
    if round_trip_ms > _SLOW_MS:
        return Finding(Severity.NOTE, words, "figures of other nodes are at least this old")
    return Finding(Severity.OK, words)


async def _asked(settings: Settings) -> tuple[tuple[int, int], int, float]:
    from nats.aio.client import Client

    from udprism.node.mesh.plan import MeshPlan
    from udprism.node.mesh.transport import options, thrown_away

    client = Client()
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await client.connect(**options(MeshPlan.of(settings, "doctor"), "doctor"))
            began_ns = time.monotonic_ns()
            await client.flush()
            round_trip_ms = (time.monotonic_ns() - began_ns) / NS_PER_MS
        version = client.connected_server_version
        return (version.major, version.minor), client.max_payload, round_trip_ms
    finally:
        await thrown_away(client)
