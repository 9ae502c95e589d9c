"""Packets of a capture that are not datagrams, counted by reason."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

import numpy as np

from udprism.columns.types import BoolColumn


class Skip(StrEnum):
    """Why a packet is not a datagram, or not one by itself."""

    LINK_TYPE = "link-type"
    """Its interface has a link type that is not read here."""
    CUT_SHORT = "cut-short"
    """Too little of it was kept: its headers, or a fragment, are not whole."""
    NOT_IP = "not-ip"
    BAD_IP = "bad-ip"
    """Lengths or versions that contradict each other."""
    NOT_UDP = "not-udp"
    BAD_UDP = "bad-udp"
    FRAGMENT = "fragment"
    """Part of a datagram that was put together, and not its last part."""
    LOST_FRAGMENT = "lost-fragment"
    """Part of one whose other parts are missing, overlap, or arrived too late."""


class Skips:
    """Packets by reason."""

    def __init__(self) -> None:
        self.count: Counter[Skip] = Counter()

    def add(self, reason: Skip, which: BoolColumn) -> None:
        """Count the rows of a mask."""
        number = int(np.count_nonzero(which))
        if number:
            self.count[reason] += number
