"""Receivers and senders of the product itself with real programs: they send and it measures; it sends and they show."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from peers.capture import Interpreters
from peers.hosts import DEADLINE_S, RECEIVER, SENDER, Hosts
from peers.scenarios import SCENARIOS
from peers.test_receivers import RECEIVERS, Receiver, hearing, levels
from support.program import COMMAND
from torture.outside import wait_until
from udprism.wire.formats import FORMATS

pytestmark = [pytest.mark.peer, pytest.mark.slow]

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
HEARD = {
    "sacn-changes": "believed",
    "npm-sacn-changes": "believed",
    "npartnet-changes": "believed",
    "pyartnet-artnet": "does not count",
    "python-led-ddp": "believed",
    "ledfx-ddp": "believed",
}
"""Scenarios, and what is said of their numbers."""
SHOWN = {"sacn-hears", "npm-sacn-hears", "stupidartnet-hears", "dmxnet-hears", "python-led-ddp-hears"}
COLOUR = [10, 20, 30]


@contextmanager
def listening(hosts: Hosts, form: str, *more: str) -> Iterator[subprocess.Popen[str]]:
    words = hosts.receiver.command(*COMMAND, "listen", form, f"{RECEIVER}:{FORMATS[form].port}", "--json", *more)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["format"] == form
        yield process
        process.kill()


def test_a_real_sender_s_multicast_is_heard_on_the_named_interface(hosts: Hosts, interpreters: Interpreters) -> None:
    command = [*interpreters.command("sacn_sends.py"), RECEIVER, "multicast"]
    with listening(hosts, "e131", "--interface", "wire", "--universe", "1", "--universe", "63999") as process:
        subprocess.run(hosts.sender.command(*command), capture_output=True, timeout=DEADLINE_S, check=True)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=DEADLINE_S)
    last = json.loads(said.splitlines()[-1])
    (flow,) = last["flows"]
    assert flow["to"] == f"239.255.0.1:{FORMATS['e131'].port}"
    assert (flow["numbering"], flow["ledger"]["lost"], flow["ledger"]["received"] > 60) == ("believed", 0, True)
    assert last["receiver"]["controls"] == 100, "it sends its synchronisation to universe 63,999"


@pytest.mark.parametrize("name", HEARD)
def test_a_real_sender_is_measured_and_none_of_its_datagrams_is_called_lost(
    hosts: Hosts, interpreters: Interpreters, name: str
) -> None:
    scenario = BY_NAME[name]
    command = [*interpreters.command(scenario.script), RECEIVER, *scenario.words]
    with listening(hosts, scenario.format) as process:
        words = hosts.sender.command(*command)
        done = subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=DEADLINE_S)
    flows: list[dict[str, Any]] = json.loads(said.splitlines()[-1])["flows"]
    assert flows, said
    told = [flow for flow in flows if flow["ledger"]["received"] > 32]
    assert {flow["numbering"] for flow in told} == {HEARD[name]}
    assert {flow["from"].rpartition(":")[0] for flow in flows} == {SENDER}
    assert {flow["ledger"]["lost"] for flow in told} == {0 if HEARD[name] == "believed" else None}


@pytest.mark.parametrize("receiver", [one for one in RECEIVERS if one.name in SHOWN], ids=lambda one: one.name)
def test_a_real_receiver_shows_the_colour_that_the_product_sends(
    hosts: Hosts, interpreters: Interpreters, receiver: Receiver
) -> None:
    target = f"{RECEIVER}:{FORMATS[receiver.format].port}"
    words = ("send", receiver.format, target, "--pattern", "#0a141e", "--colours", "100", "--seconds", "3", "--json")
    with hearing(hosts, interpreters, receiver) as said:
        done = subprocess.run(
            hosts.sender.command(*COMMAND, *words), capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(done.stdout)["ledger"]["lost"] == 0
        wait_until(lambda: COLOUR in [one[:3] for one in levels(said)], DEADLINE_S)
