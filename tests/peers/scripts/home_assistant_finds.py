"""Home Assistant's own client of WLED: everything that its integration asks, and a change."""

import asyncio
import json
import sys

from wled import WLED


async def main() -> None:
    async with WLED(sys.argv[1]) as lamp:
        device = await lamp.update()
        said = {
            "name": device.info.name,
            "mac": device.info.mac_address,
            "pixels": device.info.leds.count,
            "version": str(device.info.version),
            "on": device.state.on,
            "segments": [[one.start, one.stop] for one in device.state.segments.values()],
            "effects": [one.name for one in device.effects.values()],
            "outputs": [one.length for one in device.led_config.outputs],
        }
        await lamp.master(on=False, brightness=99)
        device = await lamp.update()
        print(json.dumps({**said, "off": device.state.on, "brightness": device.state.brightness}))


asyncio.run(main())
