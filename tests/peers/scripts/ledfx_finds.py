"""LedFx adds a lamp by its address alone, asks everything that it asks, and switches it off."""

import asyncio
import json
import sys

from ledfx.utils import WLED, wled_support_DDP


async def main() -> None:
    wled = WLED(sys.argv[1])
    info = await wled.get_config()
    await wled.get_sync_settings()
    wled.enable_realtime_gamma()
    wled.first_universe()
    wled.first_dmx_address()
    wled.multirgb_dmx_mode()
    said = {
        "name": info["name"],
        "pixels": info["leds"]["count"],
        "rgbw": info["leds"]["rgbw"],
        "ddp": wled_support_DDP(info["vid"]),
        "nodes": await wled.get_nodes(),
        "segments": [[one["start"], one["stop"]] for one in await wled.get_segments()],
        "on": await wled.get_power_state(),
    }
    await wled.set_power_state(False)
    print(json.dumps({**said, "off": await wled.get_power_state()}))


asyncio.run(main())
