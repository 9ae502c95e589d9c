"""Parts of a batch keep its columns together."""

from __future__ import annotations

import numpy as np
import pytest

from udprism.columns.arrivals import SOCKADDR_BYTES, Arrivals
from udprism.columns.types import BoolColumn, I64Column


@pytest.mark.parametrize("which", [np.array([2, 0], np.int64), np.array([True, False, True])])
def test_a_part_has_the_same_rows_of_every_column(which: I64Column | BoolColumn) -> None:
    number = np.arange(3)
    batch = Arrivals(
        number.astype(np.int32),
        number * 10,
        (number + 1).astype(np.int32),
        np.tile(number.astype(np.uint8)[:, None], 4),
        np.tile(number.astype(np.uint8)[:, None], SOCKADDR_BYTES),
    )
    part = batch.part(which)
    expected = number[which].tolist()
    assert len(part) == 2
    assert part.slot.tolist() == expected
    assert part.received_unix_ns.tolist() == [10 * one for one in expected]
    assert part.length.tolist() == [one + 1 for one in expected]
    assert part.rows[:, 3].tolist() == part.source[:, SOCKADDR_BYTES - 1].tolist() == expected
    part.rows[:] = 9
    assert batch.rows[:, 0].tolist() == [0, 1, 2], "a part is a copy"
