"""A sender, a relay that loses five in a hundred, and a receiver: the loss told by number is the relay's own count."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from node.test_receivers import run, until
from udprism.node.bridge import Bridge

pytestmark = [
    pytest.mark.slow,  # a machine that stands still for two seconds hides a loss behind a silence
    pytest.mark.skipif(sys.platform != "linux", reason="relays need Linux"),
]

OFFERED = 800
"""Datagrams that meet the loss."""


@pytest.mark.parametrize("form", ["artnet", "e131", "ddp", "rtp"])
def test_loss_by_number_agrees_with_the_relays_truth(form: str) -> None:
    async def scene(bridge: Bridge) -> None:
        receiver = await bridge.receivers.add(None, form, "127.0.0.1:0")
        relay = await bridge.relays.add({"target": receiver["listen"], "listen": "127.0.0.1:0"})
        asked = {"format": form, "target": relay["listen"], "rate_hz": 250, "colours": 10, "pattern": "rainbow"}
        sender = await bridge.senders.add(asked)

        async def flow() -> dict[str, Any] | None:
            flows, _ = await bridge.flows.page("receiver", None, None, 0, 10)
            return flows[0] if flows and flows[0]["numbering"] == "believed" else None

        async def up() -> dict[str, Any]:
            found: dict[str, Any] = (await bridge.relays.get(relay["id"]))["ledger"]["up"]
            return found

        await until(flow)
        await bridge.relays.change(relay["id"], {"up": {"loss_ratio": 0.05, "seed": 11}})
        begun = (await up())["in"]

        async def all_offered() -> bool:
            return bool((await up())["in"] >= begun + OFFERED)

        await until(all_offered)
        await bridge.relays.change(relay["id"], {"up": {}})
        after = (await up())["in"]

        async def clean_end() -> bool:
            return bool((await up())["in"] >= after + 20)

        await until(clean_end)
        await bridge.senders.remove(sender["id"])

        async def agrees() -> bool:
            told, truth = await flow(), await up()
            assert told is not None
            assert told["ledger"]["lost"] <= truth["lost"]
            return bool(told["ledger"]["lost"] == truth["lost"] and told["ledger"]["in_flight"] == 0)

        await until(agrees)
        told, truth = await flow(), await up()
        assert told is not None
        assert truth["lost"] > 0.02 * OFFERED
        assert told["ledger"]["received"] == truth["out"]

    run(scene)
