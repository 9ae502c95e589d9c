"""A virtual lamp, found and driven by the programs that look for WLED."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from ctypes.util import find_library
from pathlib import Path
from typing import Any

import pytest

from peers.capture import Interpreters
from peers.hosts import DEADLINE_S, RECEIVER, SENDER, Hosts
from support.program import COMMAND
from torture.outside import wait_until

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


@pytest.fixture
def product(hosts: Hosts) -> Iterator[Callable[[str, str, Any], Any]]:
    """A running program on the other host: asks it, as `curl` does there."""
    words = hosts.receiver.command(*COMMAND, "serve", "--ephemeral", "--clients", "0", "--http", "127.0.0.1:8000")

    def ask(method: str, path: str, body: Any = None) -> Any:
        url = f"http://127.0.0.1:8000{path}"
        more = () if body is None else ("-H", "Content-Type: application/json", "-d", json.dumps(body))
        curl = hosts.receiver.command("curl", "-sS", "-X", method, url, *more)
        done = subprocess.run(curl, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: ask("GET", "/readyz") is not None, DEADLINE_S)
            yield ask
        finally:
            process.terminate()
            process.wait()


@pytest.mark.skipif(find_library("portaudio") is None, reason="all of LedFx needs libportaudio2 (Debian)")
def test_all_of_ledfx_finds_the_product_s_lamp_and_drives_it(
    product: Callable[..., Any], hosts: Hosts, interpreters: Interpreters
) -> None:
    asked = {"format": "ddp", "listen": f"{RECEIVER}:4048", "lamp": f"{RECEIVER}:80", "pixels": PIXELS}
    assert product("POST", "/api/receivers", asked)["state"] == "live"
    words = hosts.sender.command(*interpreters.command("ledfxwhole_drives.py"), RECEIVER, "#ff8000")
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as ledfx:
        assert ledfx.stdin is not None
        assert ledfx.stdout is not None
        found = json.loads(ledfx.stdout.readline())
        assert (found["version"], found["pixels"], found["mode"]) == ("2.2.1", PIXELS, "DDP")

        def heard() -> dict[str, Any] | None:
            flows: list[dict[str, Any]] = product("GET", "/api/flows?kind=receiver")["flows"]
            return next((flow for flow in flows if flow["numbering"] == "believed"), None)

        wait_until(lambda: heard() is not None, DEADLINE_S)
        flow = heard()
        assert flow is not None
        assert flow["from"].rpartition(":")[0] == SENDER
        assert (flow["last_colour"]["rgb"], flow["ledger"]["lost"]) == ("#ff8000", 0)
        picture = product("GET", f"/api/flows/{flow['id']}/picture")
        assert picture["values_hex"] == "ff8000" * PIXELS
        ledfx.stdin.close()


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
