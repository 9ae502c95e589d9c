"""The last numbers of each client: what `test_ledger` does not ask for by itself."""

from __future__ import annotations

import numpy as np
import pytest

from udprism.ledger.window import Window


def test_a_width_that_is_no_power_of_two_is_refused() -> None:
    with pytest.raises(ValueError, match="not 48"):
        Window(1, 48, 16)


def test_of_many_clients_at_once_only_those_advance_that_push_out_no_hole() -> None:
    window, slots = Window(2, 8, 16), np.arange(2)
    ahead, arrivals = np.array([3, 1]), np.zeros(2, np.int64)
    start = np.full(2, -1, np.int64)
    assert window.skip(slots, start, ahead, 5, arrivals).all()
    assert window.holes.tolist() == [2, 0]
    done = window.skip(slots, np.array([2, 0]), np.array([7, 7]), 6, arrivals)
    assert done.tolist() == [False, True]
    assert window.holes.tolist() == [2, 6], "the first client is as it was"


def test_where_every_advance_would_push_out_a_hole_nothing_is_done() -> None:
    window, slot = Window(1, 8, 16), np.zeros(1, np.int64)
    assert window.skip(slot, np.array([-1]), np.array([3]), 5, slot).all()
    assert not window.skip(slot, np.array([2]), np.array([7]), 6, slot).any()
    assert window.holes.tolist() == [2]
