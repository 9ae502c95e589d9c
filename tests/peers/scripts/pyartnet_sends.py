import asyncio
import sys

import pyartnet

target, scenario = sys.argv[1:]


async def changes(kind: type, universes: tuple[int, ...]) -> None:
    async with kind.create(target, max_fps=1000) as node:
        await node.stop_refresh()
        channels = [node.add_universe(number).add_channel(1, 3) for number in universes]
        for frame in range(300):
            for channel in channels:
                channel.set_values([255, 0, frame % 256])
            for number in universes:
                node.get_universe(number).send_data()
            await asyncio.sleep(0.001)


async def still(kind: type, universe: int) -> None:
    async with kind.create(target) as node:
        node.add_universe(universe).add_channel(1, 3).set_values([1, 2, 3])
        await asyncio.sleep(15)


if scenario == "artnet":
    asyncio.run(changes(pyartnet.ArtNetNode, (0, 1)))
elif scenario == "sacn":
    asyncio.run(changes(pyartnet.SacnNode, (1, 2)))
elif scenario == "still":
    asyncio.run(still(pyartnet.ArtNetNode, 0))
