"""Resolves targets from an event loop, which waits for a name server only for a bounded time."""

from __future__ import annotations

import asyncio
from typing import Final

from udprism.errors import RequestError
from udprism.udp.lookups import Found, Lookups

_WITHIN_S: Final = 10.0
"""The longest time that a request waits for a name server. glibc gives up after 10 to 40 s (resolv.conf(5))."""


async def look_up(lookups: Lookups, target: str) -> Found:
    """The addresses of a target that are allowed. Hold no lock meanwhile. Raises: RequestError (403, 422, 503)."""
    future = asyncio.wrap_future(lookups.look_up(target))
    future.add_done_callback(lambda done: done.cancelled() or done.exception())  # the caller may have left
    try:
        return await asyncio.wait_for(asyncio.shield(future), _WITHIN_S)
    except TimeoutError:
        raise RequestError(
            f"no name server responded within {_WITHIN_S:.0f} s where {target} is: give an address", field="target"
        ) from None
