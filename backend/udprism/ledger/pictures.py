"""The pictures of the flows that are being viewed, channel by channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from udprism.columns.types import NS_PER_S, I32Column, Rows, U8Column
from udprism.ledger.newest import Newest
from udprism.wire.format import Format

MAX_PICTURES: Final = 32
LOOKED_AT_FOR_NS: Final = 5 * NS_PER_S
_MOST_A_BATCH: Final = 64
"""Datagrams of one flow that a batch brings into its picture; of more, the newest."""


@dataclass(slots=True)
class Picture:
    """values: uint8[k], each channel's newest value. channels: a pixel's, 3, 4 or 1."""

    form: Format
    values: U8Column
    channels: int
    wanted_ns: int


class Pictures:
    """By slot, for as long as they are looked at. One thread only."""

    def __init__(self, newest: Newest) -> None:
        self._newest = newest
        self._pictures: dict[int, Picture] = {}

    @property
    def any(self) -> bool:
        """Whether any flow is being viewed: otherwise a batch costs nothing here."""
        return bool(self._pictures)

    def look(self, slot: int, form: Format, now_ns: int) -> Picture:
        """The flow's picture; kept up to date for the next five seconds. If there are too many, the one requested
        longest ago is dropped."""
        picture = self._pictures.get(slot)
        if picture is None:
            if len(self._pictures) >= MAX_PICTURES:
                del self._pictures[min(self._pictures, key=lambda one: self._pictures[one].wanted_ns)]
            picture = self._pictures[slot] = Picture(form, np.zeros(0, np.uint8), 3, now_ns)
            for data in self._newest.of(slot):
                _draw(picture, data)
        picture.wanted_ns = now_ns
        return picture

    def feed(self, slot: I32Column, rows: Rows, length: I32Column) -> None:
        """One batch in order of arrival."""
        for one, picture in self._pictures.items():
            for row in np.flatnonzero(slot == one)[-_MOST_A_BATCH:].tolist():
                _draw(picture, rows[row, : length[row]].tobytes())

    def forget(self, slot: int) -> None:
        """This flow has ended."""
        self._pictures.pop(slot, None)

    def forget_unwatched(self, now_ns: int) -> None:
        """Drops the pictures that no one has asked for lately."""
        for slot in [one for one, it in self._pictures.items() if now_ns - it.wanted_ns > LOOKED_AT_FOR_NS]:
            del self._pictures[slot]


def _draw(picture: Picture, data: bytes) -> None:
    pixels = picture.form.pixels(data)
    if len(pixels.place):
        picture.values, picture.channels = pixels.over(picture.values), pixels.channels
