"""The newest value of every client, with a version: a viewer gets the latest, never a queue (conflation)."""

from __future__ import annotations

import numpy as np

from udprism.columns.types import I32Column, I64Column, U8Column
from udprism.ledger.fates import LATE, NEW, REORDERED

_SEEN_LATER = REORDERED | LATE
"""A newer value has arrived already."""


class Latest:
    """Columns [capacity]. Pool thread only.

    rgba: uint8[capacity, 4], all zero if nothing was ever heard. received_unix_ns: int64. version: int64, the
    number of values so far. relayed, conflated: int64, values that went into a frame as the newest, and values that a
    newer one replaced before that; with those that wait for the next frame they are `version`. departed_relayed,
    departed_conflated: those of clients that were removed.
    """

    def __init__(self, capacity: int) -> None:
        self.rgba = np.zeros((capacity, 4), np.uint8)
        self.received_unix_ns = np.zeros(capacity, np.int64)
        self.version = np.zeros(capacity, np.int64)
        self.relayed = np.zeros(capacity, np.int64)
        self.conflated = np.zeros(capacity, np.int64)
        self.departed_relayed = self.departed_conflated = 0
        self._pixels = self.rgba.view(np.uint32)[:, 0]
        self._shown = np.zeros(capacity, np.int64)
        self._scratch = np.full((256, 4), 255, np.uint8)

    def reset(self, slots: I32Column) -> None:
        """New clients in these slots."""
        self.rgba[slots] = 0
        for column in (self.received_unix_ns, self.version, self.relayed, self.conflated, self._shown):
            column[slots] = 0

    def depart(self, slots: I32Column) -> None:
        """These clients, each at most once, are removed."""
        self.departed_relayed += int(self.relayed[slots].sum())
        self.departed_conflated += int(self.conflated[slots].sum())
        self.reset(slots)

    def update(
        self, slot: I32Column, rgb: U8Column, received_unix_ns: I64Column, flags: U8Column | None = None
    ) -> None:
        """A batch in order of arrival; rgb: uint8[n, 3].

        flags: the ledger's, uint8[n]. What is no new datagram is no value; one that is reordered or late counts, but
        does not replace a newer colour. Without flags every row is the newest.
        """
        if flags is not None and (flags != NEW).any():
            new = (flags & NEW) != 0
            np.add.at(self.version, slot[new], 1)
            shown = new & ((flags & _SEEN_LATER) == 0)
            slot, rgb, received_unix_ns = slot[shown], rgb[shown], received_unix_ns[shown]
        else:
            np.add.at(self.version, slot, 1)
        count = len(slot)
        if count > len(self._scratch):
            self._scratch = np.full((2 * count, 4), 255, np.uint8)
        pixels = self._scratch[:count]
        pixels[:, :3] = rgb
        # of several rows of one client the last write stays
        self._pixels[slot] = pixels.view(np.uint32)[:, 0]
        self.received_unix_ns[slot] = received_unix_ns

    def take_frame(self, high: int) -> None:
        """A live frame of slots 0 … high - 1 is being made: the newest value of each goes into it."""
        fresh = self.version[:high] - self._shown[:high]
        changed = fresh > 0
        self.relayed[:high] += changed
        self.conflated[:high] += fresh - changed
        self._shown[:high] = self.version[:high]
