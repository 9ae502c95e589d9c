"""LedFx's own devices, without its server around them."""

import sys
import time

import numpy as np
from ledfx.devices.artnet import ArtNetDevice
from ledfx.devices.ddp import DDPDevice
from ledfx.devices.e131 import E131Device
from ledfx.devices.udp import UDPRealtimeDevice

target, scenario = sys.argv[1:]


class Events:
    def fire_event(self, event: object) -> None:
        pass


class Core:
    """What a device asks of the program around it."""

    def __init__(self) -> None:
        self.events = Events()
        self.config = {"global_transitions": False}

    def dev_enabled(self) -> bool:
        return False


def device(kind: type, **config: object) -> object:
    schema = kind.schema()
    made = kind(Core(), schema({"name": "lamp", "ip_address": target, "refresh_rate": 60, **config}))
    made._destination = target
    made.activate()
    return made


def frames(made: object, pixels: int, count: int, hz: float, still: bool = False) -> None:
    for frame in range(count):
        picture = np.tile(np.array((0, 0, 9), float), (pixels, 1))
        picture[0] = 255, 0, 7 if still else frame % 256
        made.flush(picture)
        time.sleep(1 / hz)


if scenario == "ddp":
    frames(device(DDPDevice, pixel_count=600), 600, 40, 500)
elif scenario == "artnet":
    lamp = device(ArtNetDevice, pixel_count=340)
    frames(lamp, 340, 300, 500)
    lamp.deactivate()
elif scenario == "e131":
    lamp = device(E131Device, pixel_count=340)
    frames(lamp, 340, 20, 100)
    lamp.deactivate()
    time.sleep(0.2)
else:
    kind = {"dnrgb-still": "DNRGB", "warls-still": "WARLS", "drgb": "DRGB", "drgbw": "DRGBW", "warls": "WARLS"}[
        scenario
    ]
    pixels = 600 if kind == "DNRGB" else 200
    lamp = device(UDPRealtimeDevice, pixel_count=pixels, udp_packet_type=kind, timeout=1)
    still = scenario.endswith("still")
    frames(lamp, pixels, 150 if still else 10, 60, still)
