"""Parts of what leaves together."""

from __future__ import annotations

import numpy as np

from udprism.columns.outgoing import Outgoing
from udprism.columns.types import I64Column, Rows


def stamp(rows: Rows, sent_unix_ns: int | I64Column) -> None:
    """Writes nothing."""


def test_a_part_has_the_same_rows_of_every_column_and_is_stamped_alike() -> None:
    slots = np.arange(3, dtype=np.int32)
    batch = Outgoing(slots, np.arange(3) + 100, slots + 5, np.tile(slots.astype(np.uint8)[:, None], 8), stamp)
    part = batch.part(np.array([2, 1]))
    assert part.flow.tolist() == [2, 1]
    assert part.number.tolist() == [102, 101]
    assert part.length.tolist() == [7, 6]
    assert part.rows[:, 0].tolist() == [2, 1]
    assert part.stamp is stamp
