"""Waking a thread that waits for sockets."""

from __future__ import annotations

import select

from udprism.udp.wake import Wake


def is_set(wake: Wake) -> bool:
    return bool(select.select([wake.reader], [], [], 0)[0])


def test_it_is_set_until_it_is_cleared_however_often_it_was_set() -> None:
    wake = Wake()
    assert not is_set(wake)
    for _ in range(100_000):  # more than the pair has room for
        wake.set()
    assert is_set(wake)
    wake.clear()
    assert not is_set(wake)
    wake.set()
    assert is_set(wake)
    wake.close()


def test_setting_a_closed_one_does_nothing() -> None:
    wake = Wake()
    wake.close()
    wake.set()
