"""Who else is bound to a port: a real program beside this one."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from udprism.cli.doctor import ports
from udprism.cli.doctor.finding import Severity
from udprism.settings import Settings
from udprism.udp.neighbours import Neighbour, neighbours
from udprism.wire.formats import FORMATS

SQUAT = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((sys.argv[1], 0))
print(sock.getsockname()[1], flush=True)
sys.stdin.read()
"""


@contextmanager
def squatter(host: str) -> Iterator[tuple[int, int]]:
    """Another process with a socket on any port of this host: the port and the process id."""
    words = [sys.executable, "-c", SQUAT, host]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process.pid
        process.kill()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_another_program_on_the_port_is_named_and_this_one_is_not(host: str) -> None:
    with squatter(host) as (port, pid), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("127.0.0.2", port if host == "127.0.0.1" else 0))
        there, elsewhere, ours = neighbours(
            [("127.0.0.1", port), ("127.0.0.3", 1), ("127.0.0.2", own.getsockname()[1])]
        )
        (one,) = [one for one in there if one.address == (host, port)]
        assert str(pid) in str(one)
        assert str(one).endswith(f"at {host}:{port}")
        assert elsewhere == []
        assert [one for one in ours if one.address[0] == "127.0.0.2"] == []


def test_the_doctor_names_who_sits_on_a_usual_port(monkeypatch: pytest.MonkeyPatch) -> None:
    with squatter("127.0.0.1") as (port, pid):
        monkeypatch.setattr(type(FORMATS["artnet"]), "port", port)
        finding = ports.check_formats(Settings())
    assert finding.severity is Severity.NOTE
    assert f"artnet ({port})" in finding.saw
    assert str(pid) in finding.saw


def test_a_program_that_may_not_be_known_is_another_program() -> None:
    assert str(Neighbour(("127.0.0.1", 7), None)) == "another program at 127.0.0.1:7"
