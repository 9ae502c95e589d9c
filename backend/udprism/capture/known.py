"""Notes on each datagram by its key: sorted columns, into which new notes are merged once per turn."""

from __future__ import annotations

from typing import Final

import numpy as np

from udprism.columns.runs import runs_of
from udprism.columns.types import BoolColumn, I64Column, U16Column, U64Column

_NOTE_BYTES: Final = 8 + 2 + 8


class KnownNotes:
    """Notes by key; several of one add up, bit by bit."""

    def __init__(self) -> None:
        self._key = np.zeros(0, np.uint64)
        self._note = np.zeros(0, np.uint16)
        self._time_ns = np.zeros(0, np.int64)
        self._new: list[tuple[int, U64Column, U16Column]] = []
        self._new_count = 0

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return (len(self._key) + self._new_count) * _NOTE_BYTES

    def add(self, time_ns: int, key: U64Column, note: U16Column) -> None:
        """n notes, of keys in any order."""
        self._new.append((time_ns, key, note))
        self._new_count += len(key)

    def find(self, wanted: U64Column) -> tuple[BoolColumn, U16Column]:
        """For each wanted key whether there is a note of it, and the note; 0 if not."""
        self._merge()
        if not len(self._key):
            return np.zeros(len(wanted), np.bool_), np.zeros(len(wanted), np.uint16)
        at = self._places(wanted)
        known: BoolColumn = self._key[at] == wanted
        return known, np.where(known, self._note[at], np.uint16(0))

    def take(self, wanted: U64Column) -> tuple[BoolColumn, U16Column]:
        """As `find`; these notes go. wanted: sorted, which is much faster in a large table."""
        known, note = self.find(wanted)
        if known.any():
            stays = np.ones(len(self._key), np.bool_)
            stays[self._places(wanted[known])] = False
            self._keep(stays)
        return known, note

    def forget(self, before_ns: int) -> None:
        """Drop notes that are older."""
        self._merge()
        stays = self._time_ns >= before_ns
        if not stays.all():
            self._keep(stays)

    def _places(self, wanted: U64Column) -> I64Column:
        return np.minimum(np.searchsorted(self._key, wanted), len(self._key) - 1)

    def _keep(self, stays: BoolColumn) -> None:
        self._key, self._note, self._time_ns = self._key[stays], self._note[stays], self._time_ns[stays]

    def _merge(self) -> None:
        if not self._new:
            return
        counts = [len(key) for _, key, _ in self._new]
        key = np.concatenate([key for _, key, _ in self._new])
        note = np.concatenate([note for _, _, note in self._new])
        time_ns = np.repeat(np.array([time_ns for time_ns, _, _ in self._new], np.int64), counts)
        self._new, self._new_count = [], 0
        order = np.argsort(key, kind="stable")
        key, note, time_ns = key[order], note[order], time_ns[order]
        starts = runs_of(key.view(np.int64)).starts
        key, note = key[starts], np.bitwise_or.reduceat(note, starts)
        time_ns = np.maximum.reduceat(time_ns, starts)
        at = np.searchsorted(self._key, key)
        place = np.minimum(at, max(len(self._key) - 1, 0))
        again = self._key[place] == key if len(self._key) else np.zeros(len(key), np.bool_)
        self._note[place[again]] |= note[again]
        new = ~again
        self._key = np.insert(self._key, at[new], key[new])
        self._note = np.insert(self._note, at[new], note[new])
        self._time_ns = np.insert(self._time_ns, at[new], time_ns[new])


class FirstKeys:
    """By the upper half of a key, its session: the first key that was seen of it."""

    def __init__(self, most: int) -> None:
        """most: sessions that are kept; beyond them all are forgotten."""
        self._most = most
        self._session = np.zeros(0, np.int64)
        self._first = np.zeros(0, np.uint64)

    def see(self, key: U64Column) -> None:
        """Keys in any order. Those of a session that is known already change nothing."""
        if not len(key):
            return
        key = np.sort(key)
        first = key[runs_of(_session_of(key)).starts]
        session = _session_of(first)
        at = np.searchsorted(self._session, session)
        is_new = np.ones(len(session), np.bool_)
        if len(self._session):
            is_new = self._session[np.minimum(at, len(self._session) - 1)] != session
        if len(self._session) + int(np.count_nonzero(is_new)) > self._most:
            self._session, self._first, at = self._session[:0], self._first[:0], np.zeros_like(at)
            is_new[:] = True
        self._session = np.insert(self._session, at[is_new], session[is_new])
        self._first = np.insert(self._first, at[is_new], first[is_new])

    def since_then(self, key: U64Column) -> BoolColumn:
        """Whether each key is not before its session's first one; True of sessions that were never seen."""
        if not len(self._session):
            return np.ones(len(key), np.bool_)
        session = _session_of(key)
        at = np.minimum(np.searchsorted(self._session, session), len(self._session) - 1)
        since: BoolColumn = (key >= self._first[at]) | (self._session[at] != session)
        return since


def _session_of(key: U64Column) -> I64Column:
    return (key >> np.uint64(32)).astype(np.int64)
