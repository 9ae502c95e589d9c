"""Items that are read ahead: the same ones, in their order, and never too many."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from itertools import count

import pytest

from udprism.udp.read_ahead import read_ahead


def test_the_items_come_in_their_order_and_then_it_ends() -> None:
    with read_ahead(iter(range(1000)), 3) as items:
        assert list(items) == list(range(1000))


def test_what_the_source_raises_comes_after_the_items_before_it() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise ValueError("cut")

    with read_ahead(source(), 10) as items:
        assert next(items) == 1
        with pytest.raises(ValueError, match="cut"):
            next(items)


def test_leaving_early_ends_the_thread_and_restores_the_switch_interval() -> None:
    before = threading.active_count(), sys.getswitchinterval()
    with read_ahead(count(), 4) as items:
        assert [next(items) for _ in range(10)] == list(range(10))
    assert (threading.active_count(), sys.getswitchinterval()) == before


def test_no_more_than_asked_is_read_ahead() -> None:
    read = []
    full = threading.Event()

    def source() -> Iterator[int]:
        for number in range(100):
            read.append(number)
            if number == 5:
                full.set()
            yield number

    with read_ahead(source(), 4) as items:
        assert next(items) == 0
        assert full.wait(10)
        assert len(read) <= 7  # taken, waiting, and one that finds no room
