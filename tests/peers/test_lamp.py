"""A virtual lamp, found and driven by the programs that look for WLED."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peers.capture import Interpreters
from peers.hosts import DEADLINE_S, RECEIVER, Hosts

SERVE = Path(__file__).parent / "serve_lamp.py"
PIXELS = 300

pytestmark = [pytest.mark.peer, pytest.mark.slow]


@pytest.fixture
def lamp(hosts: Hosts) -> Iterator[None]:
    words = hosts.receiver.command(sys.executable, str(SERVE), RECEIVER, str(PIXELS))
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == '"ready"\n'
        yield
        process.kill()


def said(hosts: Hosts, interpreters: Interpreters, script: str) -> dict[str, Any]:
    words = hosts.sender.command(*interpreters.command(script), RECEIVER)
    done = subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_ledfx_takes_it_for_a_lamp_that_speaks_ddp(lamp: None, hosts: Hosts, interpreters: Interpreters) -> None:
    assert said(hosts, interpreters, "ledfx_finds.py") == {
        "name": "desk",
        "pixels": PIXELS,
        "rgbw": False,
        "ddp": True,
        "nodes": {"nodes": []},
        "segments": [[0, PIXELS]],
        "on": True,
        "off": False,
    }


def test_home_assistant_s_client_takes_it_for_a_lamp(lamp: None, hosts: Hosts, interpreters: Interpreters) -> None:
    assert said(hosts, interpreters, "home_assistant_finds.py") == {
        "name": "desk",
        "mac": "0242ac110002",
        "pixels": PIXELS,
        "version": "0.15.0",
        "on": True,
        "segments": [[0, PIXELS]],
        "effects": ["Solid"],
        "outputs": [PIXELS],
        "off": False,
        "brightness": 99,
    }
