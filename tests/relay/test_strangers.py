"""A relay that listens beyond loopback, in a network namespace of its own: whom it serves, and how much it answers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import socket, subprocess, sys
from udprism.testing import UdpRelay
from udprism.relay.memory import Count

def ip(*words):
    subprocess.run(["ip", *words], check=True)

ip("link", "set", "lo", "up")
ip("addr", "add", "10.9.0.1/24", "dev", "lo")
ip("addr", "add", "198.51.100.1/32", "dev", "lo")

def udp(host):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    sock.settimeout(5)
    return sock

target, client, outsider = udp("127.0.0.1"), udp("10.9.0.1"), udp("198.51.100.1")
allowed = sys.argv[1:]
with UdpRelay(to=target.getsockname(), listen=("0.0.0.0", 0), allow_from=allowed) as relay:
    here = "10.9.0.1", relay.address[1]
    counts = lambda: relay._snapshot().counts
    if allowed:  # otherwise all of this machine's own networks are
        outsider.sendto(b"x" * 100, here)
    client.sendto(b"x" * 100, here)
    data, source = target.recvfrom(200)
    assert counts()[Count.TURNED_AWAY_NETWORK] == len(allowed), counts()
    for _ in range(10):
        target.sendto(b"y" * 100, source)
    assert [client.recv(200) for _ in range(3)] == [b"y" * 100] * 3
    while counts()[Count.WITHHELD] < 7:
        pass
    assert relay.flows[0].down.out == 3, relay.flows
    client.sendto(b"I hear you", here)
    target.recvfrom(200)
    for _ in range(10):
        target.sendto(b"y" * 100, source)
    assert [client.recv(200) for _ in range(10)] == [b"y" * 100] * 10
    assert counts()[Count.WITHHELD] == 7
    assert relay.flows[0].down.in_ == relay.flows[0].down.out == 13
print("served")
"""


@pytest.mark.peer
@pytest.mark.parametrize("allowed", [(), ("10.9.0.0/24",)])
def test_own_networks_are_served_and_answered_three_times_over_until_they_have_proven_themselves(
    allowed: tuple[str, ...], tmp_path: Path
) -> None:
    if shutil.which("unshare") is None or shutil.which("ip") is None or os.geteuid() != 0:
        assert not os.environ.get("CI")
        pytest.skip("needs root, unshare and ip")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = ["unshare", "-n", sys.executable, str(script), *allowed]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == "served\n", done.stderr
