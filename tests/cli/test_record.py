"""`udprism record` beside a running program."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from udprism.cli import record
from udprism.node.bridge import Bridge
from udprism.node.store import Store
from udprism.settings import Settings
from web.running import serving, wait_for

PCAPNG = b"\x0a\x0d\x0d\x0a"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[httpx.Client]:
    settings = Settings(udp="127.0.0.1:0", clients=2, rate_hz=50, loss_after_s=0.2)
    bridge = Bridge(settings, Store.open(tmp_path))
    with serving(bridge) as client:
        yield client


def recordings(api: httpx.Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get("/api/recordings").json()["recordings"]
    return found


def test_the_command_records_until_it_is_interrupted(api: httpx.Client) -> None:
    command = [sys.executable, "-m", "udprism", "record", "--http", api.base_url.netloc.decode()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for(lambda: any(one["recorded"]["sender"] > 10 for one in recordings(api)))
            process.send_signal(signal.SIGINT)
            out, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    (recording,) = recordings(api)
    assert f"{recording['recorded']['sender']:,} datagrams at the sender" in out
    assert recording["state"] == "ended"
    url = out.splitlines()[-1]
    assert httpx.get(url).content[:4] == PCAPNG


def test_the_command_says_that_nothing_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "udprism", "record", "--http", "127.0.0.1:1"], capture_output=True, text=True
    )
    assert done.returncode == 74
    assert "no udprism answers at http://127.0.0.1:1" in done.stderr


def test_an_address_with_a_scheme_is_said_to_have_one() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "udprism", "record", "--http", "http://127.0.0.1:1"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "HOST:PORT without a scheme" in done.stderr


def test_a_failed_recording_has_an_exit_code_of_its_own() -> None:
    assert record.EXIT_SYSTEM == 74  # EX_IOERR in sysexits.h
