"""ARCHITECTURE.md says how to add a format, an impairment and an endpoint: here it is done, in a copy of the program.

What the copy then does proves that nothing is missing in a list; that every place which is edited here is named there,
that nothing is hidden.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support import program
from support.program import DEADLINE_S, Program

ROOT = Path(__file__).parents[2]
TOYS = ROOT / "tests" / "toys"
LISTS = (ROOT / "backend" / "ARCHITECTURE.md").read_text("utf-8").partition("## How to add …")[2]


@dataclass
class Copy:
    """A copy of the package that is edited by hand. edited: where, by list."""

    package: Path
    edited: dict[str, set[str]] = field(default_factory=dict)

    def put(self, what: str, module: str, toy: str) -> None:
        """A new module."""
        shutil.copy(TOYS / toy, self.package / f"{module}.py")
        self.edited.setdefault(what, set()).add(module.rpartition("/")[0] + "/")

    def edit(self, what: str, module: str, *edits: tuple[str, str]) -> None:
        """Lines that follow another line, which must be there once."""
        path = self.package / f"{module}.py"
        text = path.read_text("utf-8")
        for line, following in edits:
            assert text.count(line) == 1, f"udprism/{module} has changed: choose another line than {line!r} here"
            text = text.replace(line, line + following)
        path.write_text(text, "utf-8")
        self.edited.setdefault(what, set()).add(module)


def add_a_format(copy: Copy) -> None:
    copy.put("a format", "wire/beat", "beat.py")
    copy.edit(
        "a format",
        "wire/formats",
        ("from udprism.wire.artnet import Artnet\n", "from udprism.wire.beat import Beat\n"),
        ("_ALL: Final[tuple[Format, ...]] = (", "Beat(), "),
        ("FormatName = Literal[", '"beat", '),
    )


def add_an_impairment(copy: Copy) -> None:
    copy.edit(
        "an impairment",
        "link/link",
        (
            'blackout: Annotated[bool, flag("Blackout: nothing is sent", word="blackout")] = False\n',
            '    drop_every: Annotated[int, Field("whole", "Drop every so many", 0, 1000, word="every")] = 0\n',
        ),
        ("            or self.blackout\n", "            or self.drop_every\n"),
    )
    copy.edit("an impairment", "node/bodies/links", ("    blackout: bool\n", "    drop_every: int\n"))
    copy.edit(
        "an impairment",
        "link/model",
        ("    BLACKOUT = 512\n", "    EVERY = 32768\n"),
        (
            "        self._seed = np.zeros(capacity, np.uint64)\n",
            "        self._every = np.zeros(capacity, np.int64)\n",
        ),
        ("        self._seed[slots] = link.seed\n", "        self._every[slots] = link.drop_every\n"),
        ("        _Need.BLACKOUT: link.blackout,\n", "        _Need.EVERY: link.drop_every > 0,\n"),
        (
            "        overtakes = np.zeros(len(slots), np.bool_)\n",
            "        if need & _Need.EVERY:\n"
            "            dropped |= sequence % np.maximum(self._every[slots], 1) == self._every[slots] - 1\n",
        ),
    )


def add_an_endpoint(copy: Copy) -> None:
    what = "an endpoint"
    copy.put(what, "udp/endpoints/echo", "echo_endpoint.py")
    copy.put(what, "node/echoes", "echoes.py")
    copy.put(what, "node/echo_plan", "echo_plan.py")
    copy.put(what, "node/bodies/echoes", "echo_bodies.py")
    copy.put(what, "web/echoes", "echo_routes.py")
    copy.put(what, "cli/echo", "echo_command.py")
    copy.edit(
        what,
        "node/bridge",
        ("from udprism.node.directory import Directory\n", "from udprism.node.echoes import KIND as ECHO, Echoes\n"),
        ("        heard = HeardByReceivers(self.receivers)\n", "        self.echoes = Echoes(threads.keep)\n"),
        ("heard, self.senders, self.replays", ", self.echoes"),
        (
            "            self.senders.restore(self._store.endpoints(SENDER))\n",
            "            self.echoes.restore(self._store.endpoints(ECHO))\n",
        ),
        ("        self.replays.stop()\n", "        self.echoes.stop()\n"),
        ("            **self.replays.counters(),\n", "            **self.echoes.counters(),\n"),
    )
    copy.edit(
        what,
        "node/flows",
        ("from udprism.node.clients import Clients\n", "from udprism.node.echoes import Echoes\n"),
        ("FlowKind = Literal[", '"echo", '),
        ("        replays: Replays,\n", "        echoes: Echoes,\n"),
        ("        self._replays = replays\n", "        self._echoes = echoes\n"),
        (
            "            total += len(played)\n",
            '        if kind in (None, "echo"):\n'
            "            flows += self._echoes.flows()\n"
            "            total += len(self._echoes.flows())\n",
        ),
    )
    copy.edit(
        what,
        "web/api",
        ("from udprism.web.clients import ClientRoutes\n", "from udprism.web.echoes import EchoRoutes\n"),
        ("    ReplayRoutes(bridge.replays).add_to(router)\n", "    EchoRoutes(bridge.echoes).add_to(router)\n"),
    )
    copy.edit(
        what,
        "web/metric_definitions",
        (
            "METRICS: Final = (\n",
            '    _metric("echo_datagrams_total", "datagrams", "Datagrams that echoes sent back."),\n',
        ),
    )
    copy.edit(what, "cli/__init__", ('    "replay": "replay",\n', '    "echo": "echo",\n'))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """The program with one more of each."""
    root = tmp_path_factory.mktemp("copy")
    package = root / "backend" / "udprism"
    shutil.copytree(ROOT / "backend" / "udprism", package, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "frontend").symlink_to(ROOT / "frontend")
    copy = Copy(package)
    add_a_format(copy)
    add_an_impairment(copy)
    add_an_endpoint(copy)
    return copy


def started(copy: Copy) -> AbstractContextManager[Program]:
    """The copy as a program, which keeps its data beside it."""
    directory = copy.package.parents[1] / "data"
    words = {"PYTHONPATH": str(copy.package.parent), "UDPRISM_LOSS_AFTER_S": "0.1", "UDPRISM_CLIENTS": "0"}
    return program.serving(directory, **words)


@pytest.fixture(scope="module")
def running(copy: Copy) -> Iterator[Program]:
    with started(copy) as one:
        yield one


def until(ready: Callable[[], Any]) -> Any:
    """What `ready` returns, as soon as that is true."""
    until_s = time.monotonic() + DEADLINE_S
    while not (found := ready()):
        assert time.monotonic() < until_s, found
        time.sleep(0.02)
    return found


@pytest.mark.parametrize("what", ["a format", "an impairment", "an endpoint"])
def test_every_place_that_is_edited_is_named_in_the_list(copy: Copy, what: str) -> None:
    (words,) = re.findall(rf"\n\*\*{what}\*\*: (.*?)\n\n", LISTS, re.DOTALL)
    named = set(re.findall(r"`([^`]*)`", words))
    assert copy.edited[what] - named == set()


def test_losses_of_the_new_format_are_told_by_its_numbers(running: Program) -> None:
    receiver = running.ask("POST", "/api/receivers", {"format": "beat", "listen": "127.0.0.1:0"})
    host, _, port = receiver["listen"].rpartition(":")

    def flow() -> dict[str, Any]:
        return next(iter(running.get("/api/flows?format=beat&kind=receiver")["flows"]), {"numbering": ""})

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:

        def send(*counts: int) -> None:
            for count in counts:
                sock.sendto(b"B" + bytes([count % 15 + 1, 255, 0, 0]), (host, int(port)))

        send(*range(40))
        until(lambda: flow()["numbering"] == "believed")
        send(*range(43, 80))  # 40 to 42 are lost
        until(lambda: flow()["ledger"]["received"] == 77)
        found = until(lambda: (one := flow())["ledger"]["lost"] and one)
    assert found["ledger"]["lost"] == 3
    assert (found["format"], found["last_colour"]["name"]) == ("beat", "red")


def test_a_sender_of_the_new_format_is_heard_and_the_api_and_the_page_know_its_name(running: Program) -> None:
    receiver = running.ask("POST", "/api/receivers", {"format": "beat", "listen": "127.0.0.1:0"})
    running.ask("POST", "/api/senders", {"format": "beat", "target": receiver["listen"], "rate_hz": 100})
    until(lambda: running.get(f"/api/receivers/{receiver['id']}")["datagrams"])
    described = running.get("/api/openapi.json")["components"]["schemas"]
    assert "beat" in described["AddReceiver"]["properties"]["format"]["enum"]
    assert "beat" in described["AddSender"]["properties"]["format"]["enum"]


def test_the_new_impairment_is_asked_for_described_and_done(running: Program, copy: Copy) -> None:
    fields = {one["field"]: one for one in running.get("/api/definitions")["link"]}
    assert (fields["drop_every"]["high"], fields["drop_every"]["label"]) == (1000, "Drop every so many")
    assert "drop_every" in json.dumps(running.get("/api/openapi.json"))
    running.ask("PUT", "/api/links/default", {"drop_every": 3})
    (client,) = running.ask("POST", "/api/clients", {"count": 1, "rate_hz": 200})["clients"]
    found = until(lambda: (one := running.get(f"/api/clients/{client['id']}")["ledger"])["lost"] and one)
    until(lambda: running.get(f"/api/clients/{client['id']}")["ledger"]["sent"] > 60)
    rows = running.get(f"/api/clients/{client['id']}/datagrams")["datagrams"]
    assert {row["sequence"] % 3 for row in rows if row["fate"] == "lost"} == {2}
    assert {row["sequence"] % 3 for row in rows if row["fate"] == "received"} == {0, 1}
    assert found["lost_by_cause"]["link"] == found["lost"]
    asked = "from udprism.link.words import read_link; print(read_link('every=7', 'up').drop_every)"
    environment = os.environ | {"PYTHONPATH": str(copy.package.parent)}
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout == "7\n", done.stderr


def echoed(listen: str) -> bytes:
    host, _, port = listen.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(DEADLINE_S)
        sock.sendto(b"hello", (host, int(port)))
        return sock.recv(64)


def test_the_new_endpoint_is_begun_seen_counted_kept_and_ended(running: Program, copy: Copy) -> None:
    echo = running.ask("POST", "/api/echoes", {"listen": "127.0.0.1:0"})
    assert echoed(echo["listen"]) == b"hello"
    (flow,) = running.get("/api/flows?kind=echo")["flows"]
    assert (flow["to"], flow["ledger"]) == (echo["listen"], {"received": 1})
    assert "udprism_echo_datagrams_total 1.0" in running.text("/metrics")
    assert running.end() == 0
    with started(copy) as again:
        assert echoed(echo["listen"]) == b"hello"
        again.ask("DELETE", f"/api/echoes/{echo['id']}")
        assert again.get("/api/echoes") == {"echoes": [], "total": 0}


def test_the_new_subcommand_runs(copy: Copy) -> None:
    command = [sys.executable, "-m", "udprism", "echo", "127.0.0.1:0"]
    environment = os.environ | {"PYTHONPATH": str(copy.package.parent)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            assert echoed(process.stdout.readline().strip()) == b"hello"
        finally:
            process.kill()
