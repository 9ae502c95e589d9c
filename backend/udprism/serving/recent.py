"""The last colours of each session, and the raw clients that left recently."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from udprism.columns.types import I32Column, I64Column, U8Column

if TYPE_CHECKING:
    from udprism.serving.sessions import Session, SessionTable

COLOURS: Final = 64
"""Of each session's newest datagrams the first pixel is kept."""
LEFT: Final = 50
"""How many of the raw clients that left last are kept."""


class Left(NamedTuple):
    """A session that is over. recent: uint8[n, 3], oldest first."""

    session: Session
    session_id: int
    sent: int
    unsent_link: int
    unsent_kernel: int
    recent: U8Column
    last_sent_ns: int


class RecentColours:
    """Columns by slot, [max_sessions, COLOURS, 3]; written by the server thread only."""

    def __init__(self, max_sessions: int) -> None:
        self._rgb = np.zeros((max_sessions, COLOURS, 3), np.uint8)
        self.left: deque[Left] = deque(maxlen=LEFT)
        """Newest last."""

    def put(self, slot: I32Column, sequence: I64Column, rgb: U8Column) -> None:
        """Each slot (each at most once) is sent this first pixel. sequence: int64[n]. rgb: uint8[n, 3]."""
        self._rgb[slot, sequence % COLOURS] = rgb

    def of(self, slot: int, sent: int) -> U8Column:
        """uint8[n, 3], oldest first, of a session to which so many datagrams were sent."""
        count = min(sent, COLOURS)
        recent: U8Column = self._rgb[slot, np.arange(sent - count, sent) % COLOURS]
        return recent

    def newest(self, slot: int, sent: int) -> tuple[int, int, int]:
        """The colour of the last datagram; black before the first."""
        if not sent:
            return 0, 0, 0
        red, green, blue = self._rgb[slot, (sent - 1) % COLOURS].tolist()
        return red, green, blue

    def remember(self, table: SessionTable, slot: int, is_hosted: bool) -> None:
        """A session is about to end. A hosted client is not listed: its own entry says what became of it."""
        if is_hosted:
            return
        sent = int(table.next_sequence[slot])
        unsent = int(table.unsent_link[slot]), int(table.unsent_kernel[slot])
        session_id, last_sent_ns = int(table.session_id[slot]), int(table.last_sent_ns[slot])
        self.left.append(Left(table.sessions[slot], session_id, sent, *unsent, self.of(slot, sent), last_sent_ns))
