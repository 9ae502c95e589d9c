"""Several nodes of the installed command, over a real NATS server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.nats import NatsServer, proxied, running_nats
from support.program import ANY_PORTS, Program, run, running

PATIENCE_S = 40.0


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with running_nats(tmp_path_factory.mktemp("nats")) as server:
        yield server


@contextmanager
def node(url: str, name: str, *words: str, data: Path | None = None) -> Iterator[Program]:
    kept = ("--ephemeral",) if data is None else ("--data", str(data))
    with running("serve", *ANY_PORTS, *kept, "--nats", url, "--node", name, "--clients", "2", *words) as program:
        yield program


def until(condition: Callable[[], Any]) -> Any:
    """What the condition returns as soon as it is true."""
    until_s = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < until_s
        time.sleep(0.05)
    return found


def states(program: Program) -> dict[str, str]:
    return {one["name"]: one["state"] for one in program.get("/api/nodes")["nodes"]}


def id_of(program: Program, name: str) -> str:
    return next(one["id"] for one in program.get("/api/nodes")["nodes"] if one["name"] == name)


def sees(program: Program, name: str, state: str = "live") -> Callable[[], bool]:
    return lambda: states(program).get(name) == state


def refusal(work: Callable[[], Any]) -> dict[str, Any]:
    with pytest.raises(urllib.error.HTTPError) as refused:
        work()
    return json.loads(refused.value.read())


def test_without_nats_nothing_of_it_is_imported_and_there_is_one_node() -> None:
    code = (
        "import sys, udprism.web.app, udprism.node.bridge, udprism.cli.serve;"
        "print([name for name in sys.modules if name == 'nats' or '.mesh' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with running("serve", *ANY_PORTS, "--ephemeral") as program:
        told = program.get("/api/nodes")
        assert [one["is_this"] for one in told["nodes"]] == [True]
        assert "node" not in program.get("/api/clients")
        assert refusal(lambda: program.ask("POST", "/api/clients", {"node": "west"}))["status"] == 422


def test_each_node_shows_the_others_and_reads_and_changes_what_they_allow(nats: NatsServer) -> None:
    with ExitStack() as stack:
        east = stack.enter_context(node(nats.url, "east", "--remote", "on"))
        west = stack.enter_context(node(nats.url, "west"))
        until(sees(east, "west"))
        until(sees(west, "east"))

        there = west.get("/api/clients?node=east&limit=1")
        assert there["node"] == id_of(west, "east") == east.get("/api/clients")["node"]
        assert len(there["clients"]) == 1
        assert there["clients"][0]["node"] == there["node"]
        assert there["total"] == 2
        assert there["clients"][0]["id"] in {one["id"] for one in east.get("/api/clients")["clients"]}

        east.ask("POST", "/api/receivers", {"format": "ddp", "listen": "127.0.0.1:0"})
        for kind in ("receivers", "sessions", "flows"):
            items = west.get(f"/api/{kind}?node=east")[kind]
            assert items
            assert {one["node"] for one in items} == {there["node"]}

        made = west.ask("POST", "/api/clients", {"node": "east", "name": "from afar"})
        assert made["node"] == there["node"]
        assert made["clients"][0]["name"] == "from afar"
        id = made["clients"][0]["id"]
        assert east.get(f"/api/clients/{id}")["name"] == "from afar"
        assert west.ask("PATCH", f"/api/clients/{id}?node=east", {"name": "renamed"})["name"] == "renamed"
        assert west.ask("DELETE", f"/api/clients/{id}?node=east") is None
        assert refusal(lambda: east.get(f"/api/clients/{id}"))["status"] == 404
        assert refusal(lambda: west.get(f"/api/clients/{id}?node=east"))["status"] == 404

        refused = refusal(lambda: east.ask("POST", "/api/clients", {"node": "west"}))
        assert refused["type"].endswith("remote-off")
        assert west.get("/api/clients")["total"] == 2
        assert refusal(lambda: west.get("/api/clients?node=north"))["type"].endswith("no-node")

        whole = west.get("/api/nodes")
        ledger = whole["ledger"]
        assert ledger["sent"] == ledger["received"] + ledger["lost"] + ledger["in_flight"]
        clock = next(one["clock"] for one in whole["nodes"] if one["name"] == "east")
        assert abs(clock["ahead_ms"]) <= clock["bound_ms"]  # it is the same machine's clock


def test_a_node_that_is_killed_stopped_or_leaves_is_told_apart_and_can_be_forgotten(nats: NatsServer) -> None:
    with ExitStack() as stack:
        east = stack.enter_context(node(nats.url, "viewer"))
        west = stack.enter_context(node(nats.url, "frail"))
        until(sees(east, "frail"))
        os.kill(west.process.pid, signal.SIGSTOP)
        until(sees(east, "frail", "late"))
        os.kill(west.process.pid, signal.SIGCONT)
        until(sees(east, "frail"))
        west.process.kill()
        until(sees(east, "frail", "late"))
        assert refusal(lambda: east.get("/api/clients?node=frail"))["type"].endswith("node-unreachable")
        until(sees(east, "frail", "gone"))
        east.ask("DELETE", f"/api/nodes/{id_of(east, 'frail')}")
        assert "frail" not in states(east)
        with node(nats.url, "polite") as polite:
            until(sees(east, "polite"))
            assert polite.end() == 0
        until(sees(east, "polite", "left"))


def test_a_silent_connection_is_replaced_and_a_dead_server_waited_for(tmp_path: Path) -> None:
    with running_nats(tmp_path) as server, proxied(server.port) as proxy, ExitStack() as stack:
        east = stack.enter_context(node(server.url, "near"))
        west = stack.enter_context(node(proxy.url, "far"))
        until(sees(east, "far"))
        proxy.forget()
        began_s = time.monotonic()
        until(lambda: allowed(lambda: west.get("/api/clients?node=near"), 503) if made(west) >= 2 else None)
        assert time.monotonic() - began_s < 10  # by itself nats-py takes minutes
        server.kill()
        until(sees(east, "far", "unknown"))
        assert east.get("/api/nodes")["cut_off_s"] > 0
        assert east.get("/api/clients")["total"] == 2
        server.start()
        until(sees(east, "far"))
        until(sees(west, "near"))


def made(program: Program) -> float:
    line = next(
        line for line in program.text("/metrics").splitlines() if line.startswith("udprism_nats_connections_total{")
        and "control" in line
    )  # fmt: skip
    return float(line.split()[-1])


def test_a_change_on_a_silent_path_is_unknown_until_asked_and_then_never_or_done(tmp_path: Path) -> None:
    with running_nats(tmp_path) as server, proxied(server.port) as proxy, ExitStack() as stack:
        east = stack.enter_context(node(server.url, "near"))
        far = stack.enter_context(node(proxy.url, "far", "--remote", "on", data=tmp_path / "data"))
        until(sees(east, "far"))
        proxy.set("silent")
        told = refusal(lambda: east.ask("POST", "/api/clients", {"node": "far"}))
        assert told["type"].endswith(("outcome-unknown", "node-unreachable"))
        proxy.set("open")
        until(sees(east, "far"))
        if told["type"].endswith("outcome-unknown"):
            id = told["detail"].split("/api/commands/")[1].split()[0]
            outcome = until(lambda: outcome_of(east, id))
            assert outcome["outcome"] == ("done" if far.get("/api/clients")["total"] == 3 else "never")
        else:
            assert far.get("/api/clients")["total"] == 2


def outcome_of(program: Program, id: str) -> Any:
    return allowed(lambda: program.get(f"/api/commands/{id}"), 504)


def allowed(work: Callable[[], Any], *statuses: int) -> Any:
    """What the work returns; None for one of these refusals."""
    try:
        return work()
    except urllib.error.HTTPError as error:
        error.close()
        if error.code not in statuses:
            raise
        return None


def test_nodes_with_a_hubs_keys_see_and_command_each_other(tmp_path: Path) -> None:
    done = run("hub", "east", "west", "--directory", str(tmp_path), "--write-only")
    assert done.returncode == 0, done.stderr
    assert f"--nats-creds {tmp_path / 'west.key'} --node west" in done.stdout
    config = "\n".join(
        line for line in (tmp_path / "nats.conf").read_text().splitlines() if not line.startswith("listen")
    )
    (tmp_path / "server").mkdir()
    with running_nats(tmp_path / "server", config) as server, ExitStack() as stack:
        keys = [("--nats-creds", str(tmp_path / f"{name}.key"), "--remote", "on") for name in ("east", "west")]
        east = stack.enter_context(node(server.url, "east", *keys[0]))
        west = stack.enter_context(node(server.url, "west", *keys[1]))
        until(sees(east, "west"))
        until(sees(west, "east"))
        assert id_of(east, "west") in (tmp_path / "west.key").read_text()
        assert east.get("/api/clients?node=west")["total"] == 2
        assert len(west.ask("POST", "/api/clients", {"node": "east", "count": 3})["clients"]) == 3


def test_a_server_beyond_this_machine_takes_tls_and_credentials_or_a_word() -> None:
    for url, *words in (
        ("nats://192.0.2.1",),
        ("tls://192.0.2.1",),
        ("nats://192.0.2.1", "--nats-creds", "/nowhere"),
        ("nats://lab.example:4222",),
    ):
        refused = run("serve", *ANY_PORTS, "--ephemeral", "--nats", url, *words)
        assert refused.returncode == 2
        assert "--nats-plain" in refused.stderr
