"""What a WLED lamp reports over HTTP (kno.wled.ge/interfaces/json-api): enough for programs to find and drive it.

It has one strip, one segment, one effect and one palette, and shows whatever realtime data comes. Bodies follow WLED
0.15; LedFx takes a lamp from build 2110060 on for one that speaks DDP.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import parse_qsl

Json: TypeAlias = dict[str, Any] | list[Any]

VERSION: Final = "0.15.0"
BUILD: Final = 2_412_100
MAX_CHANGE_BYTES: Final = 16_384
_WS2812: Final = 22
_RGB: Final = 1
"""Light capability: colour, without white."""


class Lamp(NamedTuple):
    """What the lamp reports. mac: six bytes. live_from: the IP address of the current sender of realtime data, or
    ""."""

    name: str
    ip: str
    mac: bytes
    pixels: int
    uptime_s: int = 0
    fps: int = 0
    live_from: str = ""
    live_mode: str = ""
    is_on: bool = True
    brightness: int = 255


def answer(lamp: Lamp, path: str) -> Json | None:
    """The body of GET `path`; None for a path that a lamp does not have."""
    match path.rstrip("/"):
        case "/json":
            return {"state": _state(lamp), "info": _info(lamp), "effects": ["Solid"], "palettes": ["Default"]}
        case "/json/si":
            return {"state": _state(lamp), "info": _info(lamp)}
        case "/json/info":
            return _info(lamp)
        case "/json/state":
            return _state(lamp)
        case "/json/cfg":
            return _configuration(lamp)
        case "/json/nodes":
            return {"nodes": []}
        case "/json/effects":
            return ["Solid"]
        case "/json/palettes":
            return ["Default"]
        case "/json/fxdata":
            return [""]
        case "/presets.json":
            return {"0": {}}
    return None


def change(lamp: Lamp, body: bytes) -> tuple[Lamp, Json]:
    """The lamp after POST `/json/state` (or `/json`), and what is answered: its state if `v` asks for it.

    Takes JSON, and the form that LedFx sends. `on` (also "t", the other of both) and `bri` are obeyed, everything else
    is ignored. Raises: ValueError: neither.
    """
    if len(body) > MAX_CHANGE_BYTES:
        raise ValueError(f"a change has at most {MAX_CHANGE_BYTES} bytes")
    asked = _parsed(body)
    match asked.get("on"):
        case bool() as on:
            lamp = lamp._replace(is_on=on)
        case "t":
            lamp = lamp._replace(is_on=not lamp.is_on)
    brightness = asked.get("bri")
    if isinstance(brightness, int) and not isinstance(brightness, bool):
        lamp = lamp._replace(brightness=min(brightness, 255)) if brightness > 0 else lamp._replace(is_on=False)
    return lamp, _state(lamp) if asked.get("v") is True else {"success": True}


_WORDS: Final[dict[str, bool]] = {"true": True, "false": False}


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        asked = None
    if isinstance(asked, dict):
        return asked
    pairs = parse_qsl(body.decode("utf-8", "replace"), max_num_fields=16)
    if not pairs:
        raise ValueError("neither a JSON object nor a form")
    return {key: int(text) if text.isdecimal() else _WORDS.get(text.lower(), text) for key, text in pairs}


def _info(lamp: Lamp) -> dict[str, Any]:
    return {
        "ver": VERSION,
        "vid": BUILD,
        "leds": {
            "count": lamp.pixels,
            "pwr": 0,
            "fps": lamp.fps,
            "maxpwr": 0,
            "maxseg": 1,
            "lc": _RGB,
            "seglc": [_RGB],
            "rgbw": False,
            "wv": 0,
            "cct": 0,
        },
        "str": False,
        "name": lamp.name,
        "udpport": 21324,
        "live": bool(lamp.live_from),
        "liveseg": -1,
        "lm": lamp.live_mode,
        "lip": lamp.live_from,
        "ws": -1,
        "fxcount": 1,
        "palcount": 1,
        "cpalcount": 0,
        "maps": [{"id": 0}],
        "wifi": {"bssid": "", "rssi": 0, "signal": 100, "channel": 0, "ap": False},
        "fs": {"u": 0, "t": 1, "pmt": 0},
        "ndc": 0,
        "arch": "udprism",
        "core": "",
        "lwip": 0,
        "freeheap": 0,
        "uptime": lamp.uptime_s,
        "time": "",
        "opt": 0,
        "brand": "WLED",
        "product": "udprism",
        "mac": lamp.mac.hex(),
        "ip": lamp.ip,
    }


def _state(lamp: Lamp) -> dict[str, Any]:
    segment = {
        "id": 0,
        "start": 0,
        "stop": lamp.pixels,
        "len": lamp.pixels,
        "grp": 1,
        "spc": 0,
        "of": 0,
        "on": True,
        "frz": False,
        "bri": 255,
        "cct": 127,
        "set": 0,
        "col": [[0, 0, 0], [0, 0, 0], [0, 0, 0]],
        "fx": 0,
        "sx": 128,
        "ix": 128,
        "pal": 0,
        "sel": True,
        "rev": False,
        "mi": False,
    }
    return {
        "on": lamp.is_on,
        "bri": lamp.brightness,
        "transition": 0,
        "ps": -1,
        "pl": -1,
        "ledmap": 0,
        "nl": {"on": False, "dur": 60, "mode": 0, "tbri": 0, "rem": -1},
        "udpn": {"send": False, "recv": False, "sgrp": 0, "rgrp": 0},
        "lor": 0,
        "mainseg": 0,
        "seg": [segment],
    }


def _configuration(lamp: Lamp) -> dict[str, Any]:
    """What senders read and, if they like, set: which protocols the lamp takes, on which ports."""
    strip = {"start": 0, "len": lamp.pixels, "pin": [], "order": 1, "rev": False, "skip": 0, "type": _WS2812}
    led = {"total": lamp.pixels, "maxpwr": 0, "cct": False, "cr": False, "cb": 0, "rgbwm": 255, "ins": [strip]}
    dmx = {"uni": 1, "seqskip": False, "e131prio": 0, "addr": 1, "dss": 0, "mode": 4}
    live = {"en": True, "mso": False, "rlm": False, "port": 5568, "mc": False, "dmx": dmx, "timeout": 25}
    return {
        "rev": [1, 0],
        "vid": BUILD,
        "id": {"mdns": f"wled-{lamp.mac.hex()[-6:]}", "name": lamp.name, "inv": "Light"},
        "hw": {"led": led},
        "if": {"live": {**live, "maxbri": False, "no-gc": True, "offset": 0}, "sync": {"port0": 21324, "port1": 65506}},
    }
