"""The delay line: everything leaves once, in its order, at its time; what does not fit is told."""

import heapq

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from udprism.columns.types import NEVER_NS
from udprism.link.delay_line import DelayLine, DueDatagrams


def push(line: DelayLine, release_ns: list[int], slot: int = 0, *, first: int = 0, dropped: bool = False) -> list[bool]:
    n = len(release_ns)
    sequence = np.arange(first, first + n)
    rows = np.zeros((n, 8), np.uint8)
    rows[:, 0] = sequence % 251
    return line.push(
        np.array(release_ns, np.int64),
        np.full(n, slot, np.int32),
        sequence,
        np.full(n, 8, np.int32),
        rows,
        np.full(n, dropped),
    ).tolist()


def leave(line: DelayLine, until_ns: int) -> list[int]:
    """Numbers of those that are due, whose places are free afterwards."""
    due = line.take_due(until_ns)
    numbers: list[int] = due.sequence.tolist()
    line.give_back(due)
    return numbers


def test_nothing_leaves_before_its_time_and_all_of_it_at_its_time() -> None:
    line = DelayLine(10, 8)
    push(line, [100])
    assert leave(line, 99) == []
    assert line.next_release_ns == 100
    assert leave(line, 100) == [0]
    assert leave(line, NEVER_NS - 1) == []
    assert line.next_release_ns == NEVER_NS


def test_a_datagram_comes_out_as_it_went_in() -> None:
    line = DelayLine(10, 32)
    rows = np.arange(2 * 20, dtype=np.uint8).reshape(2, 20)
    line.push(
        np.array([7, 5]),
        np.array([3, 4], np.int32),
        np.array([1 << 40, 2]),
        np.array([20, 11], np.int32),
        rows,
        np.array([False, True]),
    )
    due = line.take_due(10)
    assert due.release_ns.tolist() == [5, 7]
    assert due.slot.tolist() == [4, 3]
    assert due.sequence.tolist() == [2, 1 << 40]
    assert due.length.tolist() == [11, 20]
    assert due.dropped.tolist() == [True, False]
    assert (due.rows == rows[::-1]).all()


def test_what_came_out_keeps_its_place_until_that_is_given_back() -> None:
    line = DelayLine(1, 8)
    push(line, [1], first=5)
    due = line.take_due(1)
    assert push(line, [2], first=6) == [True]
    assert due.rows[0, 0] == 5
    line.give_back(due)
    assert push(line, [2], first=7) == [False]
    assert due.rows[0, 0] == 7


def test_what_is_put_back_leaves_as_if_it_had_never_been_out() -> None:
    line = DelayLine(10, 8)
    push(line, [20, 30, 30])
    due = line.take_due(100, 2)
    assert len(due) == 2
    assert due.sequence.tolist() == [0, 1]
    assert line.next_release_ns == 30
    line.put_back(due)
    assert line.next_release_ns == 20
    assert leave(line, 100) == [0, 1, 2]


def test_of_equal_times_the_first_pushed_leaves_first() -> None:
    line = DelayLine(10, 8)
    push(line, [50, 10, 50], first=0)
    assert leave(line, 10) == [1]
    # The place that has just become free lies before the places of those who wait already.
    push(line, [50, 50], first=3)
    assert leave(line, 50) == [0, 2, 3, 4]


def test_a_full_line_tells_what_did_not_fit_and_keeps_the_rest() -> None:
    line = DelayLine(3, 8)
    assert push(line, [1, 2], first=0) == [False, False]
    assert push(line, [3, 4, 5], first=2) == [False, True, True]
    assert push(line, [6], first=9) == [True]
    assert len(line) == 3
    assert leave(line, 10) == [0, 1, 2]


def test_forgetting_a_slot_takes_out_its_datagrams_alone() -> None:
    line = DelayLine(10, 8)
    push(line, [30, 20], slot=1, first=0)
    push(line, [10, 40], slot=2, first=2)
    assert line.take_slot(1).sequence.tolist() == [0, 1]
    assert line.next_release_ns == 10
    assert leave(line, 100) == [2, 3]
    assert len(line.take_slot(1)) == 0


def test_the_last_release_is_that_of_the_longest_wait() -> None:
    line = DelayLine(10, 8)
    assert line.last_release_ns == -NEVER_NS
    push(line, [30, 70, 20])
    assert line.last_release_ns == 70
    line.take_due(70)
    assert line.last_release_ns == -NEVER_NS


class PlainLine:
    """The same, one datagram at a time, from a heap."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held: list[tuple[int, int, int, int]] = []
        self.pushed = 0

    def push(self, release_ns: int, slot: int, sequence: int) -> bool:
        if len(self.held) == self.capacity:
            return True
        heapq.heappush(self.held, (release_ns, self.pushed, slot, sequence))
        self.pushed += 1
        return False

    def pop_due(self, now_ns: int, at_most: int) -> list[tuple[int, int, int]]:
        due: list[tuple[int, int, int]] = []
        while self.held and self.held[0][0] <= now_ns and len(due) < at_most:
            release_ns, _, slot, sequence = heapq.heappop(self.held)
            due.append((release_ns, slot, sequence))
        return due

    def forget(self, slot: int) -> list[tuple[int, int, int]]:
        gone = sorted((row for row in self.held if row[2] == slot), key=lambda row: row[1])
        self.held = [row for row in self.held if row[2] != slot]
        heapq.heapify(self.held)
        return [(release_ns, slot, sequence) for release_ns, _, slot, sequence in gone]


def triples(due: DueDatagrams) -> list[tuple[int, int, int]]:
    return list(zip(due.release_ns.tolist(), due.slot.tolist(), due.sequence.tolist(), strict=True))


steps = st.one_of(
    st.tuples(st.just("push"), st.lists(st.tuples(st.integers(0, 50), st.integers(0, 3)), min_size=1, max_size=8)),
    st.tuples(st.just("pop"), st.tuples(st.integers(0, 20), st.integers(0, 9), st.integers(0, 9))),
    st.tuples(st.just("forget"), st.integers(0, 3)),
)


@given(st.integers(1, 12), st.lists(steps, max_size=30))
def test_the_line_does_what_a_heap_does(capacity: int, moves: list[tuple[str, object]]) -> None:
    line, plain = DelayLine(capacity, 4), PlainLine(capacity)
    now_ns = sequence = 0
    for name, what in moves:
        if name == "push":
            assert isinstance(what, list)
            n = len(what)
            release_ns = [now_ns + wait for wait, _ in what]
            numbers = list(range(sequence, sequence + n))
            sequence += n
            overflow = line.push(
                np.array(release_ns, np.int64),
                np.array([slot for _, slot in what], np.int32),
                np.array(numbers, np.int64),
                np.full(n, 4, np.int32),
                np.array(numbers, np.uint32).view(np.uint8).reshape(n, 4),
                np.zeros(n, np.bool_),
            )
            slots = [slot for _, slot in what]
            assert overflow.tolist() == [plain.push(*row) for row in zip(release_ns, slots, numbers, strict=True)]
        elif name == "pop":
            # Some are taken out ahead of their time, and those that have not left by the next move are put back.
            assert isinstance(what, tuple)
            wait_ns, at_most, left = what
            now_ns += wait_ns
            due = line.take_due(now_ns, at_most)
            assert due.rows.view(np.uint32).ravel().tolist() == due.sequence.tolist() or not len(due)
            assert triples(due)[:left] == plain.pop_due(now_ns, min(at_most, left))
            line.give_back(due.part(slice(left)))
            line.put_back(due.part(slice(left, None)))
        else:
            assert isinstance(what, int)
            gone = line.take_slot(what)
            assert triples(gone) == plain.forget(what)
            line.give_back(gone)
        assert len(line) == len(plain.held)
        assert line.next_release_ns == (plain.held[0][0] if plain.held else NEVER_NS)


def test_what_is_due_can_be_given_back_and_put_back_apart() -> None:
    line = DelayLine(10, 8)
    push(line, [20, 30, 40])
    due = line.take_due(100)
    line.give_back(due.part(slice(0, 1)))
    line.put_back(due.part(np.array([1, 2])))
    assert leave(line, 100) == [1, 2]
