"""What happened over time, asked of a real bridge with real sockets."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from node.test_bridge import all_live, running, until
from udprism.columns.types import NS_PER_S
from udprism.errors import RequestError
from udprism.node.bodies.history import HistoryBody


def known(values: list[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def lost(body: HistoryBody) -> float:
    return sum(known(body["columns"]["lost_by_cause"]["link"]))


def test_a_loss_is_in_the_history_of_its_client_and_of_all_and_the_link_is_marked() -> None:
    async def main() -> None:
        begun_ns = time.time_ns()
        async with running() as bridge:
            first, second = await bridge.clients.add(None, None, 50, 1, "measured", 2)
            await until(lambda: all_live(bridge, 2))
            await bridge.links.put(first["id"], {"loss_ratio": 0.5, "seed": 1})

            async def history(flow: str | None) -> HistoryBody:
                return await bridge.history(flow, begun_ns, time.time_ns(), 1)

            await history(first["id"])
            await history(second["id"])

            async def enough() -> bool:
                return lost(await history(first["id"])) > 20

            await until(enough, 20)
            whole, of_first, of_second = await history(None), await history(first["id"]), await history(second["id"])
        assert of_first["step_s"] == whole["step_s"] == 1.0
        assert lost(whole) > 20
        assert lost(of_second) == 0
        assert max(known(of_second["columns"]["rate_hz"])) == pytest.approx(50, rel=0.3)
        assert known(of_first["columns"]["delay_ms"]["p50"])
        assert [event["flow"] for event in of_first["events"] if event["kind"] == "link"] == [first["id"]]
        assert [event for event in of_second["events"] if event["kind"] == "link"] == []

    asyncio.run(main())


def test_a_client_that_is_not_there_has_no_history() -> None:
    async def main() -> None:
        async with running() as bridge:
            with pytest.raises(RequestError) as caught:
                await bridge.history("c-nobody", 0, time.time_ns(), None)
        assert caught.value.kind == "not-found"
        assert (caught.value.field, caught.value.detail) == ("flow", "no flow 'c-nobody'")

    asyncio.run(main())


def test_what_removed_clients_received_stays_in_the_history_of_all() -> None:
    async def main() -> None:
        async with running() as bridge:
            (client,) = await bridge.clients.add(None, None, 100, 1, "measured", 1)
            await until(lambda: all_live(bridge, 1))

            async def rates() -> list[float]:
                told: Any = await bridge.history(None, time.time_ns() - 60 * NS_PER_S, time.time_ns(), None)
                return known(told["columns"]["rate_hz"])

            async def two_steps() -> bool:
                return len([rate for rate in await rates() if rate > 50]) >= 2

            await until(two_steps)
            await bridge.clients.remove(client["id"])
            before = await rates()

            async def a_step_later() -> bool:
                return len(await rates()) >= len(before) + 2

            await until(a_step_later)
            after = await rates()
        assert after[: len(before)] == before
        assert min(after) >= 0

    asyncio.run(main())
