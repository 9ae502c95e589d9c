"""The pytest fixture `udp_relay`, available wherever udprism is installed. Imports nothing heavy until it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from udprism.testing import UdpRelay


@pytest.fixture
def udp_relay() -> Iterator[Callable[..., UdpRelay]]:
    """Start relays that end with the test: `relay = udp_relay(to=("127.0.0.1", 5000), up=Link(loss_ratio=0.05))`."""
    from udprism.testing import UdpRelay

    with ExitStack() as stack:

        def start(**options: Any) -> UdpRelay:
            return stack.enter_context(UdpRelay(**options))

        yield start
