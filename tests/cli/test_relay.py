"""`udprism relay`, as somebody starts it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

RELAY = [sys.executable, "-m", "udprism", "relay"]


@pytest.fixture
def target() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(20)
        yield sock


def to(target: socket.socket) -> list[str]:
    return ["--listen", "127.0.0.1:0", "--to", f"127.0.0.1:{target.getsockname()[1]}"]


def test_it_relays_until_it_is_told_to_end_and_its_sums_close(target: socket.socket) -> None:
    options = ["--json", "--up", "loss=50%", "--seed", "7", "--rule", '{"action": "duplicate", "nth": 1}']
    process = subprocess.Popen([*RELAY, *to(target), *options], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        host, port = json.loads(process.stdout.readline())["listen"].split(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect((host, int(port)))
            for number in range(40):
                client.send(b"%d" % number)
            line: dict[str, dict[str, int]] = {"up": {"in": 0}}
            while line["up"]["in"] < 40:
                line = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=20)
        sums = json.loads(rest.splitlines()[-1])
        up = sums["up"]
        assert up["in"] == 40 == up["out"] + up["lost"] + up["held"]
        assert 5 < up["lost_by_cause"]["link"] < 35
        assert up["as_iperf3"]["lost"] <= up["lost"]
        assert sums["rule_hits"] == [1]
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()


def test_people_are_told_in_words(target: socket.socket) -> None:
    process = subprocess.Popen([*RELAY, *to(target)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert f"→ 127.0.0.1:{target.getsockname()[1]}" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        told, _ = process.communicate(timeout=20)
        assert "up   0 in = 0 out + 0 lost (none) + 0 held" in told
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("options", "code", "word"),
    [
        (["--listen", "127.0.0.1"], 2, "HOST:PORT"),
        (["--to", "127.0.0.1:80"], 2, "1024"),
        (["--to", "203.0.113.1:5000"], 2, "--allow-target"),
        (["--up", "loss=much"], 2, "loss"),
        (["--rule", "{}"], 2, "drop"),
        (["--rule", "nonsense"], 2, "JSON"),
        (["--max-flows", "0"], 2, "16384"),
        (["--idle-s", "nan"], 2, "from 0.1"),
        (["--allow-from", "somewhere"], 2, "192.168.1.0/24"),
    ],
)
def test_what_cannot_be_is_said_and_the_exit_code_tells(options: list[str], code: int, word: str) -> None:
    command = [*RELAY, "--listen", "127.0.0.1:0", "--to", "127.0.0.1:5000", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, word in done.stderr) == (code, True), done.stderr


def test_a_port_that_is_taken_is_exit_code_3(target: socket.socket) -> None:
    taken = f"127.0.0.1:{target.getsockname()[1]}"
    done = subprocess.run(
        [*RELAY, "--listen", taken, "--to", "127.0.0.1:5000"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 3
    assert taken in done.stderr
