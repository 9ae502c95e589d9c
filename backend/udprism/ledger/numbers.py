"""Sequence numbers that wrap, and their extension to numbers that do not.

On the wire a number has 32 bits and is compared by RFC 1982 (SERIAL_BITS = 32). Within a session it is *extended*:
the same number plus 2**32 for each time it has wrapped (RFC 3550 appendix A.1 does so with 16 bits).
"""

from __future__ import annotations

SEQUENCES = 1 << 32
_HALF = SEQUENCES >> 1


def distance(sequence: int, origin: int) -> int:
    """How far `sequence` is ahead of `origin`, both modulo 2**32: -2**31 … 2**31 - 1, negative if it is behind.

    RFC 1982 section 3.2 leaves a distance of exactly 2**31 undefined; here it is behind.
    """
    return ((sequence - origin + _HALF) & (SEQUENCES - 1)) - _HALF


def extend(sequence: int, highest: int) -> int:
    """The number nearest to `highest` (extended) that `sequence` (modulo 2**32) can stand for. May be negative."""
    return highest + distance(sequence, highest)
