"""The newest value of each client, and what became of the others."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from udprism.columns.types import I32Column, U8Column
from udprism.ledger.fates import BEYOND, DUPLICATE, LATE, NEW, REORDERED
from udprism.ledger.latest import Latest


def slots_of(*slots: int) -> I32Column:
    return np.array(slots, np.int32)


def update(latest: Latest, slots: list[int], reds: list[int], flags: list[int] | None = None) -> None:
    rgb: U8Column = np.zeros((len(slots), 3), np.uint8)
    rgb[:, 0] = reds
    received = np.arange(len(slots), dtype=np.int64) + 1
    latest.update(slots_of(*slots), rgb, received, None if flags is None else np.array(flags, np.uint8))


def test_of_several_values_in_a_batch_the_last_one_stays() -> None:
    latest = Latest(3)
    update(latest, [1, 0, 1], [10, 20, 30])
    assert latest.rgba.tolist() == [[20, 0, 0, 255], [30, 0, 0, 255], [0, 0, 0, 0]]
    assert latest.version.tolist() == [1, 2, 0]
    assert latest.received_unix_ns.tolist() == [2, 3, 0]


def test_what_came_too_late_counts_but_does_not_replace_a_newer_colour() -> None:
    latest = Latest(1)
    update(latest, [0, 0, 0, 0, 0], [1, 2, 3, 4, 5], [NEW, NEW | REORDERED, NEW | LATE, DUPLICATE, BEYOND])
    assert latest.rgba[0, 0] == 1
    assert latest.version[0] == 3


def test_a_batch_without_anything_new_changes_nothing() -> None:
    latest = Latest(1)
    update(latest, [0], [9], [DUPLICATE])
    assert latest.rgba[0].tolist() == [0, 0, 0, 0]
    assert latest.version[0] == 0


@given(st.lists(st.one_of(st.none(), st.lists(st.integers(0, 3), min_size=1, max_size=300)), max_size=20))
def test_relayed_and_conflated_and_waiting_are_all_that_came(events: list[list[int] | None]) -> None:
    latest = Latest(4)
    came = np.zeros(4, np.int64)
    waiting = np.zeros(4, np.int64)
    frames_with = np.zeros(4, np.int64)
    for event in events:
        if event is None:
            latest.take_frame(4)
            frames_with += waiting > 0
            waiting[:] = 0
        else:
            update(latest, event, [7] * len(event))
            np.add.at(came, event, 1)
            np.add.at(waiting, event, 1)
        assert (latest.relayed + latest.conflated + waiting == came).all()
        assert (latest.relayed == frames_with).all()


def test_reset_forgets_one_client_and_no_other() -> None:
    latest = Latest(2)
    update(latest, [0, 1], [10, 20])
    latest.take_frame(2)
    latest.reset(slots_of(0))
    assert latest.rgba.tolist() == [[0, 0, 0, 0], [20, 0, 0, 255]]
    assert latest.version.tolist() == [0, 1]
    assert latest.relayed.tolist() == [0, 1]
    latest.take_frame(2)
    assert latest.relayed.tolist() == [0, 1]


def test_of_a_removed_client_what_its_viewers_got_stays_in_the_sums() -> None:
    latest = Latest(2)
    update(latest, [0, 0, 1], [10, 20, 30])
    latest.take_frame(2)
    latest.depart(slots_of(0))
    assert (latest.departed_relayed, latest.departed_conflated) == (1, 1)
    assert (latest.relayed.tolist(), latest.conflated.tolist()) == ([0, 1], [0, 0])
    assert latest.rgba[0].tolist() == [0, 0, 0, 0]
