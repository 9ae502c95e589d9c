"""`udprism send` to `udprism listen`, in the terminal."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Any

import pytest

from support.program import COMMAND, DEADLINE_S, run


@pytest.mark.parametrize("form", ["artnet", "e131", "ddp", "wled", "rtp", "text"])
def test_what_one_program_sends_the_other_hears(form: str) -> None:
    with subprocess.Popen(
        [*COMMAND, "listen", form, "127.0.0.1:0", "--json"], stdout=subprocess.PIPE, text=True
    ) as listening:
        assert listening.stdout is not None
        address = json.loads(listening.stdout.readline())["listen"]
        words = ("send", form, address, "--pattern", "#0a141e", "--colours", "20", "--seconds", "0.2", "--json")
        sent = run(*words)
        assert (sent.returncode, sent.stderr) == (0, "")
        body = json.loads(sent.stdout)
        assert (body["frames"], body["ledger"]["lost"], body["state"]) == (1, 0, "live")
        flows: list[dict[str, Any]] = []
        while not flows or flows[0]["ledger"]["received"] < body["ledger"]["offered"]:
            flows = json.loads(listening.stdout.readline())["flows"]
        listening.send_signal(signal.SIGINT)
        listening.communicate(timeout=DEADLINE_S)
        (flow,) = flows
        assert (flow["format"], flow["ledger"]["received"]) == (form, body["ledger"]["offered"])
        assert flow["last_colour"] is None if form == "rtp" else flow["last_colour"]["rgb"] == "#0a141e"


def test_lines_for_people_say_what_the_link_did() -> None:
    words = ("send", "artnet", "127.0.0.1:6454", "--pattern", "chase", "--seconds", "0.2", "--link", "loss=100%")
    sent = run(*words)
    assert sent.returncode == 0
    first, last = sent.stdout.splitlines()
    assert first == "artnet → 127.0.0.1:6454: chase; Ctrl-C ends it"
    assert "0 refused by the kernel" in last
    assert "lost by the link" in last


def test_a_target_that_is_not_allowed_is_refused_and_may_be_allowed() -> None:
    refused = run("send", "artnet", "203.0.113.1:6454", "--seconds", "0")
    assert (refused.returncode, "--allow-target" in refused.stderr) == (2, True)
