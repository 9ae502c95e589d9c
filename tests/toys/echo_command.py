"""`echo`: sends back what comes to a port, until it is ended."""

from __future__ import annotations

import asyncio

from udprism.node.echoes import Echoes


def echo(listen: str) -> None:
    """Send back what comes to LISTEN."""
    asyncio.run(_run(listen))


async def _run(listen: str) -> None:
    async def keep(write: object) -> None:
        """Nothing is kept."""

    echoes = Echoes(keep)
    print((await echoes.add(listen))["listen"], flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        echoes.stop()
