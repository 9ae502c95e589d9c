"""`udprism dissector`: a Wireshark dissector of our wire, in Lua."""

from __future__ import annotations

from importlib.resources import files


def dissector() -> None:
    """Print a Wireshark dissector of the colour protocol.

    It is written in Lua: `udprism dissector > udprism.lua`.

    Copy it into Wireshark's "Personal Lua Plugins" folder, or use it once: tshark -X lua_script:udprism.lua.
    """
    print(source(), end="")


def source() -> str:
    """The script."""
    return files("udprism.cli").joinpath("dissector.lua").read_text("utf-8")
