"""Jitter's three shapes as tables of equally likely values in units of jitter_ms, as the kernel's netem keeps them.

Source: iproute2's netem/normal.c and netem/pareto.c, net/sched/sch_netem.c (tabledist). netem's Pareto has shape 3,
is shifted by 1.5, stretched by 4/3 and cut at 4: its mean is -0.033 and its standard deviation 0.82 jitters, and ours
are the same on purpose.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from udprism.columns.types import F64Column, U8Column, U64Column

TABLE_BITS = 12
DISTRIBUTIONS = ("uniform", "normal", "pareto")
"""Their places in the table."""
_WORD_BITS = 32


def _tables() -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    chance = (np.arange(1 << TABLE_BITS) + 0.5) / (1 << TABLE_BITS)
    normal = NormalDist()
    return np.stack(
        (
            2 * chance - 1,
            np.array([normal.inv_cdf(float(part)) for part in chance]),
            np.minimum(((1 - chance) ** (-1 / 3) - 1.5) * (4 / 3), 4.0),
        )
    )


TABLES = _tables()
"""float64[3, 4096], read only."""
TABLES.flags.writeable = False


def deviation(distribution: U8Column, words: U64Column) -> F64Column:
    """float64[n]: how far from its mean a datagram's delay lies, in jitters.

    distribution: uint8[n], index into DISTRIBUTIONS. words: uint64[n] of 32 random bits each.
    """
    away: F64Column = TABLES[distribution, words >> np.uint64(_WORD_BITS - TABLE_BITS)]
    return away
