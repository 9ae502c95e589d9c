"""A sender, a relay that loses five in a hundred, and a receiver: the loss told by number is the relay's own count.

The sender is ours, or the bytes are those that real senders sent (tests/golden/senders), repeated by whole cycles of
their numbers.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from typing import Any

import pytest

from node.test_receivers import Sender, run, until
from peers import golden
from peers.facts import Seen
from peers.scenarios import SCENARIOS
from udprism.node.bridge import Bridge

pytestmark = [
    pytest.mark.endurance,  # a machine that stands still for two seconds hides a loss behind a silence
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


BELIEVED = (
    "sacn-changes",
    "npm-sacn-changes",
    "npm-e131",
    "pyartnet-sacn",
    "npartnet-changes",
    "dmxnet-numbers",
    "aioartnet-numbers",
    "python-led-ddp",
)
FORM_OF = {scenario.name: scenario.format for scenario in SCENARIOS}
CLEAN = 60
"""Before and after the lossy part: enough to be believed, and to tell that the last ones are lost."""


@pytest.mark.parametrize("name", BELIEVED)
def test_a_real_sender_s_loss_by_number_agrees_with_the_relays_truth(name: str) -> None:
    flow = max(Seen(FORM_OF[name], golden.read(name)).flows(), key=len)
    cycles = (len(flow) - 1) // flow.modulus
    cycle = flow.data[1 : 1 + cycles * flow.modulus]  # npartnet's first number is a 0, once
    datagrams = (cycle * (OFFERED // len(cycle) + 1))[:OFFERED]

    async def scene(bridge: Bridge) -> None:
        receiver = await bridge.receivers.add(None, FORM_OF[name], "127.0.0.1:0")
        relay = await bridge.relays.add({"target": receiver["listen"], "listen": "127.0.0.1:0"})

        async def up() -> dict[str, Any]:
            found: dict[str, Any] = (await bridge.relays.get(relay["id"]))["ledger"]["up"]
            return found

        async def told() -> dict[str, Any]:
            return (await bridge.flows.page("receiver", None, None, 0, 10))[0][0]

        with Sender(relay) as send:

            async def play(some: Iterable[bytes]) -> None:
                for data in some:
                    send(data)
                    await asyncio.sleep(0.001)

            await play(datagrams[:CLEAN])
            await bridge.relays.change(relay["id"], {"up": {"loss_ratio": 0.05, "seed": 11}})
            await play(datagrams[CLEAN:-CLEAN])
            await bridge.relays.change(relay["id"], {"up": {}})
            await play(datagrams[-CLEAN:])

            async def has_come() -> bool:
                sums = await up()
                return bool(sums["in"] == OFFERED and (await told())["ledger"]["received"] == sums["out"])

            await until(has_come)

            async def agrees() -> bool:
                return bool((await told())["ledger"]["lost"] == (await up())["lost"])

            await until(agrees)
        truth, flow_told = await up(), await told()
        assert flow_told["numbering"] == "believed"
        assert truth["lost"] > 0.02 * OFFERED

    run(scene)
