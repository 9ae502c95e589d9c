"""The colours of one tick: a random one for each session that is due, encoded together with those of its encoding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from udprism.columns.outgoing import Outgoing
from udprism.columns.runs import distinct
from udprism.columns.types import I32Column, I64Column
from udprism.serving.sessions import Encoding, SessionTable
from udprism.wire import colours as palette
from udprism.wire import measured as wire


class Encoder:
    """Issues numbers and makes datagrams, `max_batch` at a time. Server thread only."""

    def __init__(self, table: SessionTable, rng: np.random.Generator, max_batch: int) -> None:
        self.made = 0
        """Datagrams so far. Any thread."""
        self._table = table
        self._rng = rng
        self._max_batch = max_batch
        self._scratch = np.zeros(max_batch * wire.MAX_DATAGRAM_BYTES, np.uint8)

    def batches(self, slot: I32Column, now_ns: int) -> Iterator[tuple[I64Column | slice, Outgoing]]:
        """One datagram for each slot (each at most once), as (which of the slots, their datagrams).

        A batch's rows are overwritten by the next one: send it first.
        """
        encodings = self._table.encoding[slot]
        if (encodings == encodings[0]).all():
            for start in range(0, len(slot), self._max_batch):
                which = slice(start, start + self._max_batch)
                yield which, self._encode(self._table.encodings[encodings[0]], slot[which], now_ns)
            return
        for number in distinct(encodings):
            places = np.flatnonzero(encodings == number)
            for start in range(0, len(places), self._max_batch):
                some = places[start : start + self._max_batch]
                yield some, self._encode(self._table.encodings[number], slot[some], now_ns)

    def _encode(self, encoding: Encoding, slot: I32Column, now_ns: int) -> Outgoing:
        table, count = self._table, len(slot)
        sequence = table.issue(slot, now_ns)
        self.made += count
        if not encoding.measured:
            words, lengths, colours = palette.plain_rows(encoding.palette, encoding.line_feed)
            index = self._rng.integers(0, len(colours), count)
            table.recent.put(slot, sequence, colours[index])
            return Outgoing(slot, sequence, lengths[index], words[index])
        colours = palette.colours_of(encoding.palette)
        rgb = colours[self._rng.integers(0, len(colours), (count, encoding.colours))]
        table.recent.put(slot, sequence, rgb[:, 0])
        width = wire.HEADER_BYTES + 3 * encoding.colours
        rows = self._scratch[: count * width].reshape(count, width)
        wire.encode_colours(rows, table.session_id[slot], sequence, 0, rgb)
        return Outgoing(slot, sequence, np.full(count, width, np.int32), rows, wire.stamp)
