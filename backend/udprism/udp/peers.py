"""Who a datagram is from: socket, source address and key, to the flow of that sender. A whole batch by one search."""

from __future__ import annotations

import socket
from typing import Final

import numpy as np

from udprism.columns.types import I32Column, Rows, U64Column

WORDS: Final = 5
"""Of a sender's name: family, port and IPv4 address or IPv6 scope; an IPv6 address (2); the key; the socket."""
_LOW: Final = np.uint64(0xFFFF_FFFF)
_SHIFT: Final = np.uint64(32)
_FOLD: Final = np.uint64(29)
UNKNOWN: Final = -1


def names_of(source: Rows, key: U64Column, sock: int, six: bool) -> U64Column:
    """uint64[WORDS, n]: what tells each datagram's sender apart.

    source: uint8[n, 28], as `Arrivals.source`. key: uint64[n], as `Decoded.key`. sock: the socket's slot. six: its
    family is IPv6; then the flow information, which a sender may change, is left out.
    """
    names = np.zeros((WORDS, len(source)), np.uint64)
    if six:
        words = np.ascontiguousarray(source[:, :24]).view(np.uint64)
        scope = np.ascontiguousarray(source[:, 24:28]).view(np.uint32)[:, 0].astype(np.uint64)
        names[0] = (words[:, 0] & _LOW) | (scope << _SHIFT)
        names[1], names[2] = words[:, 1], words[:, 2]
    else:
        names[0] = np.ascontiguousarray(source[:, :8]).view(np.uint64)[:, 0]
    names[3] = key
    names[4] = sock
    return names


def is_six(sock: socket.socket) -> bool:
    """Whether senders to this socket have IPv6 addresses."""
    return sock.family == socket.AF_INET6


class Peers:
    """Flows by sender. One thread only.

    An equal hash is not enough, so names are compared. Senders choose keys and ports; rng keeps them from choosing
    ones of equal hashes, of which one only would be found.
    """

    def __init__(self, capacity: int, rng: np.random.Generator) -> None:
        self._mix = rng.integers(0, 1 << 63, WORDS, np.uint64) * np.uint64(2) + np.uint64(1)
        self._names = np.zeros((WORDS, capacity), np.uint64)
        self._hash_of = np.zeros(capacity, np.uint64)
        self._used = np.zeros(capacity, np.bool_)
        self._hashes = np.zeros(0, np.uint64)
        self._slots = np.zeros(0, np.int32)
        self._is_stale = False

    def find(self, names: U64Column) -> I32Column:
        """int32[n]: each sender's flow; UNKNOWN where there is none."""
        if self._is_stale:
            self._sort()
        count = names.shape[1]
        if not len(self._slots):
            return np.full(count, UNKNOWN, np.int32)
        place = np.searchsorted(self._hashes, self._hash(names))
        np.minimum(place, len(self._hashes) - 1, out=place)
        slot: I32Column = self._slots[place]
        same = (self._names[0, slot] == names[0]) & (self._names[3, slot] == names[3])
        same &= self._names[4, slot] == names[4]
        if names[1].any() or names[2].any():
            same &= (self._names[1, slot] == names[1]) & (self._names[2, slot] == names[2])
        if not same.all():
            slot[~same] = UNKNOWN
        return slot

    def put(self, slot: int, name: U64Column) -> None:
        """`name`, uint64[WORDS], is this flow's sender from now on."""
        self._names[:, slot] = name
        self._hash_of[slot] = self._hash(name.reshape(WORDS, 1))[0]
        self._used[slot] = self._is_stale = True

    def forget(self, slot: int) -> None:
        """This flow has ended."""
        self._used[slot] = False
        self._is_stale = True

    def _sort(self) -> None:
        slots = np.flatnonzero(self._used).astype(np.int32)
        order = np.argsort(self._hash_of[slots], kind="stable")
        self._slots = slots[order]
        self._hashes = self._hash_of[self._slots]
        self._is_stale = False

    def _hash(self, names: U64Column) -> U64Column:
        hashed: U64Column = names[0] * self._mix[0]
        for word in range(1, WORDS):
            if names[word].any():
                hashed += names[word] * self._mix[word]
        hashed ^= hashed >> _FOLD
        hashed *= self._mix[0]
        hashed ^= hashed >> _FOLD
        return hashed
