"""Causes of losses between two nodes, compared with the record of a relay that lost datagrams on the way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.lossy_relay import LossyRelay, lossy_relay
from support.nats import NatsServer, running_nats
from support.program import ANY_PORTS, Program, running

PATIENCE_S = 60.0
LINK = {"loss_ratio": 0.02, "delay_ms": 20}


@contextmanager
def two_nodes(server: NatsServer, path_loss: float) -> Iterator[tuple[Program, Program, LossyRelay]]:
    """`far` serves through its link and a relay that loses; `near` has the clients."""
    common = (*ANY_PORTS, "--ephemeral", "--nats", server.url, "--clients", "0")
    with running("serve", *common, "--node", "far") as far, lossy_relay(far.udp, path_loss) as relay:
        far.ask("PUT", "/api/links/default", LINK)
        with running("serve", *common, "--node", "near") as near:
            yield far, near, relay


def add_clients(near: Program, relay: LossyRelay, count: int, rate_hz: float) -> None:
    target = f"127.0.0.1:{relay.address[1]}"
    near.ask("POST", "/api/clients", {"target": target, "count": count, "rate_hz": rate_hz, "mode": "measured"})


def until(condition: Any) -> Any:
    until_s = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < until_s
        time.sleep(0.05)
    return found


def ledger_of(near: Program) -> dict[str, Any]:
    ledger: dict[str, Any] = near.get("/api/ledger")
    assert ledger["sent"] == ledger["received"] + ledger["lost"] + ledger["in_flight"]
    assert ledger["lost"] == sum(count or 0 for count in ledger["lost_by_cause"].values())
    return ledger


def pause_all(near: Program) -> None:
    for client in near.get("/api/clients?limit=1000")["clients"]:
        near.ask("PATCH", f"/api/clients/{client['id']}", {"paused": True})


def settled(near: Program) -> dict[str, int]:
    """The causes, once nothing waits any more."""

    def done() -> dict[str, int] | None:
        ledger = ledger_of(near)
        causes: dict[str, int] = ledger["lost_by_cause"]
        return causes if not causes["awaiting"] and not ledger["in_flight"] else None

    found: dict[str, int] = until(done)
    return found


def truth(relay: LossyRelay) -> dict[str, int]:
    """Of each session: numbers up to the highest that the relay never saw, and those that it lost."""
    return {
        "link": sum(max(seen) + 1 - len(seen) for seen in relay.seen.values()),
        "path": sum(len(dropped) for dropped in relay.dropped.values()),
    }


@pytest.mark.parametrize(
    ("away_s", "enough"),
    [
        (0, 1000),
        pytest.param(3, 10_000, marks=pytest.mark.endurance),
        pytest.param(20, 10_000, marks=pytest.mark.endurance),
    ],
)
def test_causes_are_those_of_the_relay_s_record(tmp_path: Path, away_s: int, enough: int) -> None:
    """Also with the NATS server dead for longer than the 256 numbers of a window."""
    with running_nats(tmp_path) as server, two_nodes(server, 0.01) as (far, near, relay):
        add_clients(near, relay, 50, 50)
        until(lambda: ledger_of(near)["lost_by_cause"]["path"])
        until(lambda: ledger_of(near)["received"] > enough)
        if away_s:
            server.kill()
            time.sleep(away_s)
            assert ledger_of(near)["lost_by_cause"]["awaiting"] > 0
            server.start()
        until(lambda: ledger_of(near)["lost_by_cause"]["awaiting"] < 200)
        before = ledger_of(near)["received"]
        until(lambda: ledger_of(near)["received"] > before + enough)
        far.ask("DELETE", "/api/links/default")  # so that nothing is lost behind the last number that the relay saw
        relay.loss_ratio = 0
        before = ledger_of(near)["received"]
        until(lambda: ledger_of(near)["received"] > before + 1_000)
        pause_all(near)
        causes = settled(near)
        assert {name: causes[name] for name in ("link", "path")} == truth(relay)
        assert causes["unknown_path"] == causes["unexplained"] == 0
