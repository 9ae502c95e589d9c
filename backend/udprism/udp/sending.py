"""The senders' thread, which starts with the first sender."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from udprism.columns.types import Clock
from udprism.udp.arrivals import PollReceiver
from udprism.udp.endpoints.sender import SenderEndpoint
from udprism.udp.loop import Loop
from udprism.udp.retries import Retries

MAX_SENDERS: Final = 64


class Sending:
    """One loop without sockets to listen to: it waits for the next frame that is due, or for its inbox."""

    def __init__(self, clock: Clock, given_up: Callable[[BaseException | None], None] = lambda error: None) -> None:
        self._clock = clock
        self.retries = Retries()
        self.loop = Loop("udprism-send", PollReceiver(64, 16, 0.0), 1, clock, given_up)
        self.loop.add(self.retries)
        self.loop.thread.start()

    # -- the loop's thread only

    def begin(self, endpoint: SenderEndpoint) -> None:
        """Start a sender: its first frame leaves now."""
        self.loop.add(endpoint)

    def end(self, endpoint: SenderEndpoint) -> None:
        """Say goodbye."""
        self.loop.remove(endpoint)
        endpoint.end(self._clock.now_ns())
