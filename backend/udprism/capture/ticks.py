"""pcapng's times: ticks of an interface's own length, as nanoseconds."""

from __future__ import annotations

from typing import Final

import numpy as np

from udprism.capture.packets import UNKNOWN_NS
from udprism.columns.types import NS_PER_S, I64Column, U64Column

DEFAULT_RESOLUTION: Final = 6
"""if_tsresol of an interface that has none: microseconds."""
_BINARY: Final = 0x80
_NS_DIGITS: Final = 9
_U64_DIGITS: Final = 19
_U64_BITS: Final = 64
_HALF_BITS: Final = 32
_MAX_NS: Final = (1 << 63) - 1
_MAX_OFFSET_S: Final = 1 << 33


def to_ns(ticks: U64Column, resolution: int, offset_s: int) -> I64Column:
    """int64[n]: Unix nanoseconds, rounded down; UNKNOWN_NS if that is no int64 (from the year 2262 on).

    resolution: the byte of if_tsresol, 10**-r s, or 2**-(r - 128) s from 128 on. offset_s: if_tsoffset.
    """
    if abs(offset_s) > _MAX_OFFSET_S:
        return np.full(len(ticks), UNKNOWN_NS)
    offset_ns = offset_s * NS_PER_S
    most = _MAX_NS - offset_ns  # below 2**64
    unsigned = _binary(ticks, resolution - _BINARY, most) if resolution & _BINARY else _decimal(ticks, resolution, most)
    nanoseconds = (unsigned + np.uint64(offset_ns % (1 << _U64_BITS))).view(np.int64)
    too_late = unsigned > np.uint64(most)
    if too_late.any():
        nanoseconds[too_late] = UNKNOWN_NS
    return nanoseconds


def _decimal(ticks: U64Column, digits: int, most: int) -> U64Column:
    """uint64[n]: ticks of 10**-digits s in ns; above `most` if it is too many."""
    if digits > _NS_DIGITS:
        excess = digits - _NS_DIGITS
        return ticks // np.uint64(10**excess) if excess <= _U64_DIGITS else np.zeros_like(ticks)
    return _times(ticks, 10 ** (_NS_DIGITS - digits), most)


def _binary(ticks: U64Column, bits: int, most: int) -> U64Column:
    """uint64[n]: ticks of 2**-bits s in ns; above `most` if it is too many."""
    if bits >= _U64_BITS:
        return _fraction(ticks, bits)
    seconds_ns = _times(ticks >> np.uint64(bits), NS_PER_S, most)
    return seconds_ns + _fraction(ticks & np.uint64((1 << bits) - 1), bits)


def _fraction(ticks: U64Column, bits: int) -> U64Column:
    """uint64[n]: floor(ticks * 10**9 / 2**bits) for ticks < 2**bits, in two halves because the product has 94 bits."""
    if bits <= _HALF_BITS:
        return ticks * np.uint64(NS_PER_S) >> np.uint64(bits)
    half = np.uint64(_HALF_BITS)
    low = (ticks & np.uint64((1 << _HALF_BITS) - 1)) * np.uint64(NS_PER_S)
    product = (ticks >> half) * np.uint64(NS_PER_S) + (low >> half)
    return product >> np.uint64(min(bits - _HALF_BITS, _U64_BITS - 1))


def _times(ticks: U64Column, factor: int, most: int) -> U64Column:
    """uint64[n]: ticks * factor; above `most`, and not wrapped, if that is too much."""
    return np.minimum(ticks, np.uint64(most // factor + 1)) * np.uint64(factor)
