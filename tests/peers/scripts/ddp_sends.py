import asyncio
import sys

from ddp import ID, DDPConnection, PixelConfig

target, scenario = sys.argv[1:]


async def main() -> None:
    connection = await DDPConnection.create(f"{target}:4048", PixelConfig.default(), ID.DEFAULT)
    for frame in range(40):
        await connection.write(bytes((255, 0, frame)) + bytes((0, 0, 9)) * 599)
        await asyncio.sleep(0.002)
    await connection.close()


asyncio.run(main())
