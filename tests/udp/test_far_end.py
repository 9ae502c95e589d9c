"""Drops of somebody else's socket, as the kernel's table tells them."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from udprism.udp.far_end import FarEnd, FarEnds


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
@pytest.mark.parametrize("wildcard", [False, True])
def test_what_a_full_buffer_turned_away_is_told(family: socket.AddressFamily, host: str, wildcard: bool) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as full, socket.socket(family, socket.SOCK_DGRAM) as sender:
        if family == socket.AF_INET6:
            full.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        full.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        full.bind(({"127.0.0.1": "0.0.0.0", "::1": "::"}[host] if wildcard else host, 0))
        address = host, full.getsockname()[1]
        assert FarEnds().at(address) == FarEnd(0, 0)
        for _ in range(100):
            sender.sendto(b"x" * 100, address)
        there = FarEnds().at(address)
        full.setblocking(False)
        waiting = 0
        try:
            while full.recv(200):
                waiting += 1
        except BlockingIOError:
            pass
        assert there is not None
        assert there.drops == 100 - waiting
        assert there.queue_bytes > 0
    assert FarEnds().at(address) is None


def test_a_system_without_these_tables_knows_nothing(tmp_path: Path) -> None:
    assert FarEnds({4: tmp_path / "none"}).at(("127.0.0.1", 5000)) is None
