"""The last datagrams of every client: fate, cause, colour, times, size and payload, in a ring of fixed size."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from udprism.columns.types import NS_PER_MS, NS_PER_S, BoolColumn, I32Column, I64Column, Rows, U8Column, U32Column
from udprism.ledger.fates import (
    CELL_CAUSE_SHIFT,
    CELL_CORRUPT,
    CELL_DUPLICATE,
    CELL_FATE_MASK,
    CELL_IN_FLIGHT,
    CELL_MOST_SECONDS,
    CELL_REORDERED,
    CELL_SECONDS_SHIFT,
    DUPLICATE,
    LATE,
    NEW,
    REORDERED,
    Cause,
    Fate,
)
from udprism.wire.colours import hex_of, nearest_name
from udprism.wire.measured import (
    FLAGS_AT,
    HEADER_BYTES,
    MAGIC,
    MIN_COLOUR_BYTES,
    Colour,
    encode_colour,
    sent_at_of,
)

CELLS = 256
_HEAD_BYTES = MIN_COLOUR_BYTES
_AS_IT_CAME = int(np.iinfo(np.int64).min)
"""In place of a row's send time: its first bytes do not follow from its columns, and are kept apart."""
_FATES = {fate: fate.name.lower() for fate in Fate}
_CAUSE_WORDS = {cause: cause.name.lower() for cause in Cause}


class History:
    """`depth` rows for each client, in the place number modulo depth. Pool thread only.

    depth: a power of two. payload_bytes: how many of each datagram's bytes are kept, 23 at least. A row takes
    4 + payload_bytes bytes, and memory only once it is written: the first 23 bytes of a measured colour follow from its
    session, number, time and colour. Of any other datagram they take 23 bytes more.
    """

    def __init__(self, capacity: int, depth: int = 256, payload_bytes: int = 24) -> None:
        if depth & (depth - 1):
            raise ValueError(f"the history's depth is a power of two, not {depth}")
        self.depth = depth
        self.payload_bytes = payload_bytes
        row = np.dtype(
            [
                ("number", np.uint32),  # modulo 2**32: what is a ring apart cannot be mistaken
                ("received_unix_ns", np.int64),
                ("sent_unix_ns", np.int64),
                ("size_bytes", np.uint16),
                ("cell", np.uint8, (4,)),
                ("duplicates", np.uint8),
                ("rest", np.uint8, (payload_bytes - _HEAD_BYTES,)),
            ]
        )
        self._rows: npt.NDArray[np.void] = np.zeros(capacity * depth, row)
        self._opaque = self._rows.view(np.dtype((np.void, row.itemsize)))  # copied whole, not field by field
        self._cells = self._rows["cell"]
        self._heads = np.zeros((capacity * depth, _HEAD_BYTES), np.uint8)
        self._session_id = np.zeros(capacity, np.uint32)
        self._top = np.full(capacity, -1, np.int64)
        self._mask = depth - 1
        self._width = 0
        self._scratch = np.zeros(256, row)

    @property
    def nbytes(self) -> int:
        """Bytes that are taken when every row holds a measured colour."""
        return int(self._rows.nbytes)

    def reset(self, slots: I32Column) -> None:
        """New clients in these slots."""
        for slot in slots[self._top[slots] >= 0].tolist():
            self._opaque.view(np.uint8).reshape(len(self._top), -1)[slot] = 0
        self._top[slots] = -1
        self._session_id[slots] = 0

    def begin_session(self, slots: I32Column, session_id: U32Column) -> None:
        """Numbers begin anew, so rows of the same number must not be mixed up. session_id: uint32[k]."""
        self.reset(slots)
        self._session_id[slots] = session_id

    # -- writing

    def record(
        self,
        slot: I32Column,
        extended: I64Column,
        received_unix_ns: I64Column,
        length: I32Column,
        rows: Rows,
        rgb: U8Column,
        flags: U8Column,
        sent_unix_ns: I64Column | None = None,
    ) -> None:
        """One batch in order of arrival, as the ledger judged it.

        rows: uint8[n, >= 23]. rgb: uint8[n, 3]. flags: the ledger's, uint8[n]. sent_unix_ns: int64[n], if every row is
        a valid colour of the session that its client has begun, with this number, send time and first pixel.
        """
        if sent_unix_ns is None:
            sent_unix_ns = np.full(len(slot), _AS_IT_CAME, np.int64)
        if (flags == NEW).all():
            self._write(slot, extended, received_unix_ns, length, rows, rgb, flags, sent_unix_ns)
            return
        new = np.flatnonzero((flags & NEW) != 0)
        if len(new):
            self._write(
                slot[new], extended[new], received_unix_ns[new], length[new], rows[new], rgb[new], flags[new],
                sent_unix_ns[new],
            )  # fmt: skip
        again = np.flatnonzero(flags & DUPLICATE)
        if len(again):
            self._count_duplicates(slot[again], extended[again])

    def _write(
        self,
        slot: I32Column,
        extended: I64Column,
        received_unix_ns: I64Column,
        length: I32Column,
        rows: Rows,
        rgb: U8Column,
        flags: U8Column,
        sent_unix_ns: I64Column,
    ) -> None:
        count = len(slot)
        if count > len(self._scratch):
            self._scratch = np.zeros(2 * count, self._rows.dtype)
        block = self._scratch[:count]
        width = min(self.payload_bytes, rows.shape[1])
        self._width = max(self._width, width)
        block["number"] = extended
        block["received_unix_ns"] = received_unix_ns
        block["size_bytes"] = length
        rest = block["rest"]
        rest[:, : width - _HEAD_BYTES] = rows[:, _HEAD_BYTES:width]
        rest[:, width - _HEAD_BYTES :] = 0
        cell = block["cell"]
        cell[:, :3] = rgb
        # REORDERED is the cell's own bit; LATE is RECEIVED + 2
        cell[:, 3] = Fate.RECEIVED | (flags & REORDERED) | ((flags & LATE) >> 2)
        at = slot * np.int64(self.depth) + (extended & self._mask)
        block["sent_unix_ns"] = sent_unix_ns
        apart = (sent_unix_ns == _AS_IT_CAME) | (rows[:, FLAGS_AT] != 0)
        if apart.any():
            block["sent_unix_ns"][apart] = _AS_IT_CAME
            self._heads[at[apart]] = rows[apart, :_HEAD_BYTES]
        self._opaque[at] = block.view(self._opaque.dtype)
        np.maximum.at(self._top, slot, extended)

    def _count_duplicates(self, slot: I32Column, extended: I64Column) -> None:
        for at in self._places(slot, extended).tolist():
            row = self._rows[at]
            row["duplicates"] = min(int(row["duplicates"]) + 1, 255)
            row["cell"][3] |= CELL_DUPLICATE

    def _places(self, slot: I32Column, extended: I64Column) -> I64Column:
        """Where the numbers are that were received, as far as they are still kept."""
        at = slot * np.int64(self.depth) + (extended & self._mask)
        rows = self._rows[at]
        known: I64Column = at[(rows["number"] == extended.astype(np.uint32)) & ((rows["cell"][:, 3] & 1) != 0)]
        return known

    def mark_lost(self, slot: I32Column, extended: I64Column, cause: U8Column) -> None:
        """These numbers were declared lost, or their cause is known now. What was received stays so."""
        np.maximum.at(self._top, slot, extended)
        kept = extended > self._top[slot] - self.depth
        slot, extended, cause = slot[kept], extended[kept], cause[kept]
        at = slot * np.int64(self.depth) + (extended & self._mask)
        number = extended.astype(np.uint32)
        here = self._rows[at]
        received = (here["number"] == number) & ((here["cell"][:, 3] & 1) != 0)
        at, number, cause = at[~received], number[~received], cause[~received]
        block = np.zeros(len(at), self._rows.dtype)
        block["number"] = number
        block["cell"][:, 3] = Fate.LOST | (cause << CELL_CAUSE_SHIFT)
        self._opaque[at] = block.view(self._opaque.dtype)

    def mark_corrupt(self, slot: I32Column, extended: I64Column) -> None:
        """These numbers were damaged on their way, if they have arrived."""
        at = self._places(slot, extended)
        self._cells[at, 3] |= CELL_CORRUPT

    # -- reading

    def cells(self, slots: I32Column) -> U8Column:
        """uint8[k, 256, 4], oldest first, the newest last: what was received last, and what surrounds it.

        Those that arrived say how many seconds began before them: the lanes' scale of time.
        """
        number = self._top[slots][:, None] + np.arange(1 - CELLS, 1)
        at = slots[:, None] * np.int64(self.depth) + (number & self._mask)
        cells: U8Column = self._cells[at]
        absent = (self._rows["number"][at] != number.astype(np.uint32)) | (cells[:, :, 3] == 0)
        if self.depth < CELLS:
            absent |= np.arange(CELLS) < CELLS - self.depth
        arrived = ~absent & ((cells[:, :, 3] & 1) != 0)
        cells[:, :, 3] |= _seconds_begun(self._rows["received_unix_ns"][at], arrived) << CELL_SECONDS_SHIFT
        cells[absent] = CELL_IN_FLIGHT
        begun = np.arange(CELLS) >= CELLS - self.depth
        cells[(number < 0) | ~begun] = 0
        return cells

    def newest_size_bytes(self, slot: int) -> int | None:
        """Length of the client's newest datagram; None if there is none, or if it was lost."""
        top = int(self._top[slot])
        row = self._rows[slot * self.depth + (top & self._mask)]
        came = top >= 0 and int(row["number"]) == top & 0xFFFFFFFF and bool(row["cell"][3] & 1)
        return int(row["size_bytes"]) if came else None

    def rows(self, slot: int, limit: int, next_sequence: int, *, shared_clock: bool = False) -> list[dict[str, Any]]:
        """One client's last datagrams as bodies, newest last; what was sent but has not come is in flight.

        next_sequence: the first number that is not sent yet. shared_clock: whether a delay can be told.
        """
        limit = min(limit, self.depth)
        top = int(self._top[slot])
        # where a link holds back more than the history is deep, show at least as much of what has come
        end = max(top + 1, min(next_sequence, top + 1 + limit // 2))
        numbers = np.arange(max(0, end - limit), end)
        at = slot * self.depth + (numbers & self._mask)
        rows = self._rows[at]
        known = (rows["number"] == numbers.astype(np.uint32)) & (rows["cell"][:, 3] != 0)
        return [
            self._body(number, row, self._payload(slot, place, row), shared_clock) if there else _in_flight(number)
            for number, place, row, there in zip(numbers.tolist(), at.tolist(), rows, known.tolist(), strict=True)
        ]

    def _payload(self, slot: int, place: int, row: np.void) -> bytes:
        """The first bytes of a datagram, as they arrived."""
        sent_unix_ns = int(row["sent_unix_ns"])
        if sent_unix_ns == _AS_IT_CAME:
            head = self._heads[place].tobytes()
        else:
            session_id, number, rgb = int(self._session_id[slot]), int(row["number"]), row["cell"][:3].tobytes()
            head = encode_colour(Colour(session_id, number, sent_unix_ns, rgb))
        payload: bytes = head + row["rest"].tobytes()
        return payload[: min(int(row["size_bytes"]), self._width)]

    def _body(self, number: int, row: np.void, payload: bytes, shared_clock: bool) -> dict[str, Any]:
        red, green, blue, state = row["cell"].tolist()
        fate, cause = Fate(state & CELL_FATE_MASK), Cause(state >> CELL_CAUSE_SHIFT)
        if fate == Fate.LOST:
            return _in_flight(number) | {"fate": "lost", "cause": _CAUSE_WORDS[cause] if cause else None}
        measured = len(payload) >= HEADER_BYTES and payload[0] == MAGIC
        sent_ns = sent_at_of(payload) if measured else None
        received_ns = int(row["received_unix_ns"])
        return {
            "sequence": number if measured else None,
            "fate": _FATES[fate],
            "cause": None,
            "colour": nearest_name((red, green, blue)),
            "rgb": hex_of((red, green, blue)),
            "sent_at_ns": sent_ns,
            "received_at_ns": received_ns,
            "delay_ms": (received_ns - sent_ns) / NS_PER_MS if sent_ns is not None and shared_clock else None,
            "duplicates": int(row["duplicates"]) if measured else None,
            "reordered": bool(state & CELL_REORDERED) if measured else None,
            "corrupt": bool(state & CELL_CORRUPT) if measured else None,
            "size_bytes": int(row["size_bytes"]),
            "payload_hex": payload.hex(),
        }


def _seconds_begun(received_unix_ns: I64Column, arrived: BoolColumn) -> U8Column:
    """How many whole seconds of the wall clock began since the latest arrival before, row by row: uint8[k, n].

    0 where nothing arrived, and for the first arrival of a row; at most CELL_MOST_SECONDS.
    """
    second = np.where(arrived, received_unix_ns // NS_PER_S, 0)
    latest = np.maximum.accumulate(second, axis=1)
    before = np.zeros_like(latest)
    before[:, 1:] = latest[:, :-1]
    begun: U8Column = np.where(before > 0, np.clip(second - before, 0, CELL_MOST_SECONDS), 0).astype(np.uint8)
    return begun


def _in_flight(number: int) -> dict[str, Any]:
    """A datagram that did not arrive."""
    unknown = ("colour", "rgb", "sent_at_ns", "received_at_ns", "delay_ms", "size_bytes", "payload_hex")
    return {
        "sequence": number,
        "fate": "in_flight",
        "cause": None,
        **dict.fromkeys(unknown),
        "duplicates": 0,
        "reordered": False,
        "corrupt": False,
    }
