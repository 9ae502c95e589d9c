"""A colour as the page and scripts get it."""

from __future__ import annotations

from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from udprism.columns.types import U8Column
from udprism.wire.colours import hex_of, nearest_name


class Colour(TypedDict):
    """A colour by the name that is nearest, and as `#rrggbb`."""

    name: str
    rgb: str


def colour_body(rgb: U8Column) -> Colour:
    """rgb: uint8[3 or more], of which three count."""
    red, green, blue = rgb[:3].tolist()
    return {"name": nearest_name((red, green, blue)), "rgb": hex_of((red, green, blue))}
