"""Sightings on their way to the process that writes a recording: a ring of messages in shared memory.

One producer, which may be several threads of one process, and one consumer, which may be another process. Neither ever
waits for the other: what finds no room is counted. A message is whole before its bytes are counted as written, so a
producer or consumer that is killed leaves whole messages.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import threading
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, Final, NamedTuple, Self, TypeAlias

import numpy as np

from udprism.capture.sightings import Point, Seen
from udprism.columns.types import I64Column, U8Column, U16Column, U64Column

RING_BYTES: Final = 16 << 20
"""At 100,000 sightings per second more than a second's; memory is taken as it is used."""
_HEADER_BYTES: Final = 4096
_HEAD_WORDS: Final = 4
_ALIGN: Final = 8 * _HEAD_WORDS
"""Messages begin at multiples of it, so that a head always fits before the ring's end."""
_LARGEST_PART: Final = 8
"""A message takes at most this part of the ring, so that one batch does not wait for an empty ring."""


class _Word(IntEnum):
    WRITTEN = 0
    """Bytes since the beginning. The producer's; it never falls."""
    READ = 1
    """The same, the consumer's."""
    CLOSED = 2
    """No more sightings are taken."""
    OFFERED = 3
    """Sightings that were put into the ring, by point."""
    TURNED_AWAY = 5
    """Sightings that found no room, by point."""
    HOLD_NS = 7
    """For how long the producer's links may hold a datagram back."""


class _What(IntEnum):
    SENDER = Point.SENDER
    RECEIVER = Point.RECEIVER
    NOTES = 2
    SKIP = 3
    """The rest of the ring is empty; the next message is at its beginning."""


class Notes(NamedTuple):
    """What became of n datagrams. key: uint64[n]. note: uint16[n]."""

    key: U64Column
    note: U16Column


Message: TypeAlias = tuple[Point, Seen] | Notes


class SightQueue:
    """A `sight.Recorder` on one side, an iterator on the other."""

    def __init__(self, file: int) -> None:
        """file: see `create`; it may be closed afterwards."""
        pages = mmap.mmap(file, 0)
        self._words: I64Column = np.frombuffer(pages, np.int64, _HEADER_BYTES // 8)
        self._ring: U8Column = np.frombuffer(pages, np.uint8, offset=_HEADER_BYTES)
        self._lock = threading.Lock()

    @classmethod
    def create(cls, ring_bytes: int = RING_BYTES) -> tuple[int, Self]:
        """A new one, and the descriptor by which another process maps it."""
        if hasattr(os, "memfd_create"):
            file = os.memfd_create("udprism-sightings")
        else:
            with tempfile.TemporaryFile() as unnamed:
                file = os.dup(unnamed.fileno())
        os.ftruncate(file, _HEADER_BYTES + ring_bytes)
        return file, cls(file)

    # -- the producer

    def see(self, point: Point, seen: Seen) -> None:
        """Sightings, copied into the ring, or counted if there is no room."""
        if not len(seen) or self._words[_Word.CLOSED]:
            return
        columns = (seen.key, seen.time_ns, seen.addresses, seen.length, seen.kept, seen.note, seen.rows)
        size = _size(columns)
        if size > len(self._ring) // _LARGEST_PART and len(seen) > 1:
            half = np.arange(len(seen)) < len(seen) // 2
            self.see(point, seen.part(half))
            self.see(point, seen.part(~half))
            return
        with self._lock:
            taken = self._put(_What(point), len(seen), seen.rows.shape[1], columns, size)
            self._words[(_Word.OFFERED if taken else _Word.TURNED_AWAY) + point] += len(seen)

    def note(self, key: U64Column, note: U16Column) -> None:
        """What became of datagrams. If there is no room, the recording says that it does not know."""
        if len(key) and not self._words[_Word.CLOSED]:
            with self._lock:
                self._put(_What.NOTES, len(key), 0, (key, note), _size((key, note)))

    def _put(self, what: _What, count: int, width: int, columns: tuple[Any, ...], size: int) -> bool:
        ring, words = self._ring, self._words
        written = int(words[_Word.WRITTEN])
        at = written % len(ring)
        skipped = len(ring) - at if at + size > len(ring) else 0
        if skipped + size > len(ring) - (written - int(words[_Word.READ])):
            return False
        if skipped:
            self._write_head(at, _What.SKIP, 0, 0, skipped)
            at = 0
        self._write_head(at, what, count, width, size)
        at += 8 * _HEAD_WORDS
        for column in columns:
            ring[at : at + column.nbytes].view(column.dtype).reshape(column.shape)[...] = column
            at += column.nbytes
        words[_Word.WRITTEN] = written + skipped + size
        return True

    def _write_head(self, at: int, *words: int) -> None:
        self._ring[at : at + 8 * _HEAD_WORDS] = np.array(words, np.int64).view(np.uint8)

    def holds(self, hold_ns: int) -> None:
        """A link may hold datagrams back for so long: their fates are known later."""
        self._words[_Word.HOLD_NS] = max(int(self._words[_Word.HOLD_NS]), hold_ns)

    def close(self) -> None:
        """Take no more sightings, and do not count them as missed. Any thread, either side."""
        self._words[_Word.CLOSED] = 1

    # -- either side

    @property
    def offered(self) -> dict[Point, int]:
        """Sightings that found room, by point."""
        return {point: int(self._words[_Word.OFFERED + point]) for point in Point}

    @property
    def turned_away(self) -> dict[Point, int]:
        """Sightings that found none, by point."""
        return {point: int(self._words[_Word.TURNED_AWAY + point]) for point in Point}

    @property
    def hold_ns(self) -> int:
        """The longest that `holds` was told."""
        return int(self._words[_Word.HOLD_NS])

    # -- the consumer

    @property
    def written(self) -> int:
        """Until where `take` may read."""
        return int(self._words[_Word.WRITTEN])

    def take(self, until: int) -> Iterator[Message]:
        """All messages until then, each a copy; its room is free for others from the next one on."""
        ring, words = self._ring, self._words
        while (read := int(words[_Word.READ])) < until:
            at = read % len(ring)
            what, count, width, size = ring[at : at + 8 * _HEAD_WORDS].view(np.int64).tolist()
            if what != _What.SKIP:
                yield _message(what, count, width, ring[at + 8 * _HEAD_WORDS : at + size].copy())
            words[_Word.READ] = read + size


def _size(columns: tuple[Any, ...]) -> int:
    """Bytes that a message of these columns takes in the ring."""
    size: int = 8 * _HEAD_WORDS + sum(column.nbytes for column in columns)
    return size + -size % _ALIGN


def _message(what: int, count: int, width: int, data: U8Column) -> Message:
    if what == _What.NOTES:
        return Notes(data[: 8 * count].view(np.uint64), data[8 * count : 10 * count].view(np.uint16))
    parts: list[U8Column] = []
    at = 0
    for each in (8, 8, 36, 4, 4, 2, width):
        parts.append(data[at : at + each * count])
        at += each * count
    key, time_ns, addresses, length, kept, note, rows = parts
    seen = Seen(
        key.view(np.uint64),
        time_ns.view(np.int64),
        addresses.reshape(count, 36),
        length.view(np.int32),
        kept.view(np.int32),
        rows.reshape(count, width),
        note.view(np.uint16),
    )
    return Point(what), seen
