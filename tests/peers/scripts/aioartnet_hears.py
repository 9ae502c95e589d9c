import asyncio
import json

import aioartnet


async def main() -> None:
    client = aioartnet.ArtNetClient(passive=True)
    client.unicast_ip, client.broadcast_ip = "10.9.0.2", "10.9.0.255"
    await client.connect()
    client.set_port_config("0:0:1", is_output=True)
    print('"ready"', flush=True)
    async for event in client.events():
        if isinstance(event, aioartnet.events.UniverseDMX):
            print(json.dumps({"levels": list(event.data[:6])}), flush=True)


asyncio.run(main())
