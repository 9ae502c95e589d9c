"""One moment, and what has been encoded from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from udprism.web import messages
from udprism.web.live.slow import Topic

if TYPE_CHECKING:
    from udprism.node.view import Snapshot


class EncodedSnapshot:
    """One snapshot, the slow messages of that moment, and all that has been encoded from them so far."""

    def __init__(self, snapshot: Snapshot, slow: Mapping[Topic, str]) -> None:
        self.snapshot = snapshot
        self.slow = slow
        self._columns: bytes | None = None
        self._stats: bytes | None = None
        self._frames: dict[tuple[bool, tuple[int, ...] | None], bytes] = {}

    def has(self, stats: bool, rows: tuple[int, ...] | None) -> bool:
        """Whether this binary message has been encoded already."""
        return (stats, rows) in self._frames

    def frame(self, stats: bool, rows: tuple[int, ...] | None) -> bytes:
        """The binary message with or without stats, and with these slots' rows (None: no rows section)."""
        key = (stats, rows)
        if key not in self._frames:
            self._frames[key] = self._encode(stats, rows)
        return self._frames[key]

    def _encode(self, stats: bool, rows: tuple[int, ...] | None) -> bytes:
        if self._columns is None:
            self._columns = messages.columns(self.snapshot)
        if stats and self._stats is None:
            self._stats = messages.stats(self.snapshot)
        section, count = None, 0
        if rows is not None:
            taken = {slot: place for place, slot in enumerate(self.snapshot.rows.tolist())}
            places = np.array([taken[slot] for slot in rows if slot in taken], np.int32)
            section, count = messages.rows(self.snapshot, places), len(places)
        return messages.frame(self.snapshot, self._columns, self._stats if stats else None, section, count)
