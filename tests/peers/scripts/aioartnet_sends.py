import asyncio
import sys

import aioartnet

target, scenario = sys.argv[1:]
host, _, _ = target.rpartition(".")


async def main() -> None:
    client = aioartnet.ArtNetClient()
    client.unicast_ip, client.broadcast_ip = f"{host}.1", f"{host}.255"
    await client.connect()
    universe = client.set_port_config("0:0:0", is_input=True)
    await asyncio.sleep(5 if scenario == "renamed" else 3)  # it polls every two seconds, and the node answers
    for frame in range(300 if scenario == "numbers" else 5):
        universe.set_dmx(bytes((255, 0, frame % 256)) + bytes(509))
        await asyncio.sleep(0.002)
    if scenario == "numbers":
        await asyncio.sleep(3.5)


asyncio.run(main())
