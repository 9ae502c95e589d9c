"""`udprism listen`: what is sent to a port, in the terminal."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from typing import Any

from support.program import COMMAND, DEADLINE_S, run


def test_each_sender_is_told_with_its_colour_until_a_signal() -> None:
    with subprocess.Popen(
        [*COMMAND, "listen", "text", "127.0.0.1:0", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        host, port = json.loads(process.stdout.readline())["listen"].rsplit(":", 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"desk:blue", (host, int(port)))
            said: dict[str, Any] = {"flows": []}
            while not said["flows"]:
                said = json.loads(process.stdout.readline())
            (flow,) = said["flows"]
            assert flow["name"] == f"desk from {host}:{sock.getsockname()[1]}"
            assert (flow["last_colour"]["name"], flow["ledger"]["received"]) == ("blue", 1)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, errors) == (0, "")
        assert json.loads(rest.splitlines()[-1])["receiver"]["datagrams"] == 1


def test_lines_for_people_name_state_rate_and_colour() -> None:
    with subprocess.Popen(
        [*COMMAND, "listen", "text", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[2].rstrip(";")
        host, port = address.rsplit(":", 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"red", (host, int(port)))
            line = process.stdout.readline()
            assert "frames/s, 1 received" in line
            assert "red #ff0000" in line
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0


def test_what_cannot_be_listened_to_ends_with_the_reason() -> None:
    unknown = run("listen", "morse")
    assert (unknown.returncode, "expected one of ddp" in unknown.stderr) == (2, True)
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    taken.bind(("127.0.0.1", 0))
    with taken:
        refused = run("listen", "ddp", f"127.0.0.1:{taken.getsockname()[1]}")
    assert (refused.returncode, "cannot bind" in refused.stderr) == (3, True)
