"""Sequence numbers of 32 bits: order by RFC 1982, and the number without wrap."""

from __future__ import annotations

import numpy as np

from udprism.core.types import I64Column, U32Column

BITS = 32


def extend(sequence: U32Column, nearest: I64Column) -> I64Column:
    """The number congruent to `sequence` (uint32[n]) modulo 2**32 that lies nearest to `nearest` (int64[n]).

    Of two that are equally near, the lower one (RFC 1982 section 3.2 leaves that case open). May be negative: a number
    from before a session's first.
    """
    return nearest + (sequence - nearest.astype(np.uint32)).view(np.int32)
