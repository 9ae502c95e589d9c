"""The last datagrams of each client, against a dictionary."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udprism.columns.types import NS_PER_MS, I32Column
from udprism.ledger.fates import (
    BEYOND,
    CELL_CAUSE_SHIFT,
    CELL_CORRUPT,
    CELL_DUPLICATE,
    CELL_MOST_SECONDS,
    CELL_REORDERED,
    CELL_SECONDS_SHIFT,
    DUPLICATE,
    LATE,
    NEW,
    REORDERED,
    Cause,
    Fate,
)
from udprism.ledger.history import CELLS, History
from udprism.wire import measured as wire

UNIX_NS = 1_700_000_000_000_000_000
WIDTH = 64


def slots_of(*slots: int) -> I32Column:
    return np.array(slots, np.int32)


def begun(capacity: int, depth: int = 256) -> History:
    history = History(capacity, depth)
    history.begin_session(np.arange(capacity, dtype=np.int32), np.full(capacity, 9, np.uint32))
    return history


def record(
    history: History, numbers: list[int], flags: list[int] | None = None, *, slot: int = 0, at_ms: int | None = None
) -> None:
    """Measured datagrams; number n is of colour (n, 1, 2), sent at UNIX_NS + n ms and half a millisecond on its way.

    Their session is 9, which `begun` has begun.
    """
    count = len(numbers)
    number = np.array(numbers, np.int64)
    sent = UNIX_NS + number * NS_PER_MS
    rgb = np.zeros((count, 1, 3), np.uint8)
    rgb[:, 0] = [[n % 256, 1, 2] for n in numbers]
    rows = np.full((count, WIDTH), 0xEE, np.uint8)  # behind a datagram's end there is rubbish
    packed = np.zeros((count, 23), np.uint8)
    wire.encode_colours(packed, np.full(count, 9, np.uint32), number, sent, rgb)
    rows[:, :23] = packed
    history.record(
        np.full(count, slot, np.int32),
        number,
        sent + NS_PER_MS // 2 if at_ms is None else np.full(count, UNIX_NS + at_ms * NS_PER_MS),
        np.full(count, 23, np.int32),
        rows,
        rgb[:, 0],
        np.array(flags if flags is not None else [NEW] * count, np.uint8),
        sent,
    )


def mark_lost(history: History, numbers: list[int], cause: Cause = Cause.LINK, *, slot: int = 0) -> None:
    history.mark_lost(
        np.full(len(numbers), slot, np.int32), np.array(numbers, np.int64), np.full(len(numbers), cause, np.uint8)
    )


def fates(history: History, next_sequence: int, limit: int = 256, slot: int = 0) -> list[tuple[int, str]]:
    return [(row["sequence"], row["fate"]) for row in history.rows(slot, limit, next_sequence)]


def test_a_row_says_everything_of_a_received_datagram() -> None:
    history = begun(2)
    record(history, [4])
    (row,) = [row for row in history.rows(0, 256, 5, shared_clock=True) if row["sequence"] == 4]
    assert row == {
        "sequence": 4,
        "fate": "received",
        "cause": None,
        "colour": "black",
        "rgb": "#040102",
        "sent_at_ns": UNIX_NS + 4 * NS_PER_MS,
        "received_at_ns": UNIX_NS + 4 * NS_PER_MS + NS_PER_MS // 2,
        "delay_ms": 0.5,
        "duplicates": 0,
        "reordered": False,
        "corrupt": False,
        "size_bytes": 23,
        "payload_hex": "c7010100" + "00000009" + "00000004" + f"{UNIX_NS + 4 * NS_PER_MS:016x}" + "040102",
    }


def test_without_a_shared_clock_a_row_has_no_delay() -> None:
    history = History(1)
    record(history, [0])
    assert history.rows(0, 1, 1)[0]["delay_ms"] is None
    assert history.rows(0, 1, 1)[0]["sent_at_ns"] == UNIX_NS


def test_what_was_sent_and_is_not_here_is_in_flight_and_all_rows_have_the_same_fields() -> None:
    history = History(1)
    record(history, [0, 1, 3])
    mark_lost(history, [1, 2])
    rows = history.rows(0, 256, 6)
    assert [(row["sequence"], row["fate"], row["cause"]) for row in rows] == [
        (0, "received", None),
        (1, "received", None),  # it came, whatever was said of it
        (2, "lost", "link"),
        (3, "received", None),
        (4, "in_flight", None),
        (5, "in_flight", None),
    ]
    assert len({tuple(sorted(row)) for row in rows}) == 1


def test_a_lost_number_that_comes_after_all_is_late_and_a_cause_can_change() -> None:
    history = History(1)
    record(history, [0, 3])
    mark_lost(history, [1, 2], Cause.UNEXPLAINED)
    mark_lost(history, [2], Cause.SENDER_KERNEL)
    record(history, [1], [NEW | REORDERED | LATE])
    rows = history.rows(0, 4, 4)
    assert [row["fate"] for row in rows] == ["received", "late", "lost", "received"]
    assert rows[1]["reordered"]
    assert rows[2]["cause"] == "sender_kernel"


def test_a_loss_from_before_the_history_changes_nothing_of_it() -> None:
    history = History(1, depth=64)
    record(history, list(range(100)))
    mark_lost(history, [0, 35])
    assert [fate for _, fate in fates(history, 100)] == ["received"] * 64
    mark_lost(history, list(range(100, 300)))  # more at once than there are places
    assert fates(history, 300) == [(number, "lost") for number in range(236, 300)]


def test_duplicates_are_counted_in_the_row_of_the_first_copy() -> None:
    history = History(1)
    record(history, [0, 1, 1, 1, 0, 7, 300], [NEW, NEW, DUPLICATE, DUPLICATE, DUPLICATE, NEW, BEYOND])
    assert [row["duplicates"] for row in history.rows(0, 8, 8)[:2]] == [1, 2]
    record(history, [1] * 300, [DUPLICATE] * 300)
    assert history.rows(0, 8, 8)[1]["duplicates"] == 255
    assert history.cells(slots_of(0))[0, CELLS - 7, 3] == Fate.RECEIVED | CELL_DUPLICATE
    assert fates(history, 8)[-1] == (7, "received")


def test_a_damaged_datagram_is_marked_where_it_has_come() -> None:
    history = History(1)
    record(history, [0, 1])
    mark_lost(history, [2])
    history.mark_corrupt(slots_of(0, 0, 0), np.array([1, 2, 3]))
    assert [row["corrupt"] for row in history.rows(0, 4, 4)] == [False, True, False, False]
    assert history.cells(slots_of(0))[0, -2:, 3].tolist() == [
        Fate.RECEIVED | CELL_CORRUPT,
        Fate.LOST | Cause.LINK << 5,
    ]


def test_a_plain_datagram_has_a_colour_and_no_number() -> None:
    history = History(1)
    rows = np.zeros((1, WIDTH), np.uint8)
    rows[0, :4] = list(b"red\n")
    history.record(
        slots_of(0), np.array([0]), np.array([UNIX_NS]), np.array([4], np.int32), rows,
        np.array([[255, 0, 0]], np.uint8), np.array([NEW], np.uint8),
    )  # fmt: skip
    (row,) = history.rows(0, 256, 1, shared_clock=True)
    assert (row["colour"], row["rgb"], row["payload_hex"], row["size_bytes"]) == ("red", "#ff0000", "7265640a", 4)
    for unknown in ("sequence", "sent_at_ns", "delay_ms", "duplicates", "reordered", "corrupt"):
        assert row[unknown] is None


def test_a_long_datagram_keeps_its_first_bytes_and_its_true_size() -> None:
    history = History(1, payload_bytes=24)
    rows = np.full((1, 1500), 0xAB, np.uint8)
    history.record(
        slots_of(0), np.array([0]), np.array([UNIX_NS]), np.array([1460], np.int32), rows,
        np.array([[1, 2, 3]], np.uint8), np.array([NEW], np.uint8),
    )  # fmt: skip
    row = history.rows(0, 1, 1)[0]
    assert row["size_bytes"] == 1460
    assert row["payload_hex"] == "ab" * 24


@pytest.mark.parametrize("sent_unix_ns", [UNIX_NS, 0, -1, -(2**63), 2**63 - 1])
@pytest.mark.parametrize("flags", [0, 1, 0x80])
@pytest.mark.parametrize(("size_bytes", "kept"), [(23, 23), (26, 26), (29, 26)])
def test_the_bytes_of_a_colour_are_kept_as_they_came(sent_unix_ns: int, flags: int, size_bytes: int, kept: int) -> None:
    history = History(2, payload_bytes=26)
    history.begin_session(slots_of(1), np.array([0x89ABCDEF], np.uint32))
    number = 2**32 + 5
    data = wire.encode_colour(wire.Colour(0x89ABCDEF, 5, sent_unix_ns, bytes(range(size_bytes - 20))))
    data = data[:3] + bytes((flags,)) + data[4:]
    rows = np.full((1, WIDTH), 0xEE, np.uint8)
    rows[0, : len(data)] = list(data)
    decoded = wire.decode_colours(rows, np.array([size_bytes], np.int32))
    assert decoded.all_valid
    history.record(
        slots_of(1), np.array([number]), np.array([UNIX_NS]), np.array([size_bytes], np.int32), rows,
        decoded.rgb, np.array([NEW], np.uint8), decoded.sent_at_unix_ns,
    )  # fmt: skip
    row = history.rows(1, 1, number + 1)[0]
    assert row["payload_hex"] == data[:kept].hex()
    assert row["sent_at_ns"] == sent_unix_ns


@pytest.mark.parametrize(("limit", "sent", "expected"), [(3, 10, [7, 8, 9]), (1, 10, [9]), (256, 10, list(range(10)))])
def test_the_newest_come_last_and_no_more_than_asked_for(limit: int, sent: int, expected: list[int]) -> None:
    history = History(1)
    record(history, list(range(10)))
    assert [number for number, _ in fates(history, sent, limit)] == expected


def test_a_link_that_holds_back_more_than_is_kept_does_not_hide_what_has_come() -> None:
    history = History(1)
    record(history, list(range(10)))
    shown = fates(history, 10_000, 16)
    assert [fate for _, fate in shown].count("received") == 8
    assert shown[7] == (9, "received")


def test_a_reset_or_a_new_session_forgets_one_client_and_no_other() -> None:
    history = History(2)
    record(history, [0, 1, 2])
    record(history, [0, 1, 2], slot=1)
    history.begin_session(slots_of(0), np.array([9], np.uint32))
    assert history.rows(0, 256, 0) == []
    assert not history.cells(slots_of(0)).any()
    assert len(history.rows(1, 256, 3)) == 3
    record(history, [2])
    assert fates(history, 3) == [(0, "in_flight"), (1, "in_flight"), (2, "received")]


def test_untouched_clients_cost_no_memory_and_rows_are_as_small_as_promised() -> None:
    history = History(100_000)
    history.reset(np.arange(100_000, dtype=np.int32))
    assert history.nbytes == 100_000 * 256 * 28


def test_a_history_need_not_be_as_deep_as_a_row_of_cells() -> None:
    history = History(1, depth=64)
    record(history, list(range(100)))
    cells = history.cells(slots_of(0))[0]
    assert not cells[: CELLS - 64].any()
    assert cells[CELLS - 64 :, 0].tolist() == list(range(36, 100))
    assert len(history.rows(0, 256, 100)) == 64


@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 400), st.sampled_from(["take", "lose", "again"])), max_size=300
    ),
    st.integers(0, 3),
)
@settings(max_examples=50)
def test_rows_and_cells_agree_with_a_dictionary(events: list[tuple[int, int, str]], turns: int) -> None:
    """Numbers far beyond 2**32 included."""
    first = turns * 2**32 - 200 if turns else 0
    history = History(2)
    known: dict[tuple[int, int], tuple[str, int]] = {}
    top = [-1, -1]
    for slot, offset, what in events:
        number = first + offset
        if top[slot] >= 0 and not top[slot] - 256 < number < top[slot] + 256:
            continue  # the ledger's window is no wider than the history is deep
        if what == "lose":
            mark_lost(history, [number], slot=slot)
            known.setdefault((slot, number), ("lost", 0))
        elif what == "again":
            if (slot, number) in known and known[slot, number][0] == "received":  # the ledger calls no other so
                record(history, [number], [DUPLICATE], slot=slot)
                known[slot, number] = ("received", known[slot, number][1] + 1)
            continue
        elif known.get((slot, number), ("lost", 0))[0] == "lost":
            record(history, [number], slot=slot)
            known[slot, number] = ("received", 0)
        top[slot] = max(top[slot], number)
    cells = history.cells(slots_of(0, 1))
    for slot in (0, 1):
        rows = history.rows(slot, 256, top[slot] + 1)
        expected: list[Any] = [
            (number, *known.get((slot, number), ("in_flight", 0)))
            for number in range(max(0, top[slot] - 255), top[slot] + 1)
        ]
        assert [(row["sequence"], row["fate"], row["duplicates"]) for row in rows] == expected
        second: int | None = None
        for place, (number, fate, duplicates) in enumerate(expected, start=CELLS - len(expected)):
            cell = cells[slot, place].tolist()
            if fate == "received":
                begun_s = 0 if second is None else min(number // 1000 - second, CELL_MOST_SECONDS)
                second = number // 1000  # number n was received n and a half milliseconds after a second began
                mark = (CELL_DUPLICATE if duplicates else 0) | begun_s << CELL_SECONDS_SHIFT
                assert cell == [number % 256, 1, 2, Fate.RECEIVED | mark]
            elif fate == "lost":
                assert cell == [0, 0, 0, Fate.LOST | Cause.LINK << 5]
            else:
                assert cell == [1, 0, 0, 0]
        assert not cells[slot, : CELLS - len(expected)].any()


def test_cells_say_how_many_seconds_began_before_them() -> None:
    history = begun(1)
    record(history, [0, 400, 1200])  # of a ring of 256; the number is also the millisecond of the wall clock
    record(history, [1201, 1202, 1203])
    record(history, [1204], [BEYOND])
    history.mark_lost(slots_of(0), np.array([1205]), np.array([Cause.LINK], np.uint8))
    cells = history.cells(slots_of(0))[0, :, 3]
    assert not (cells[:-1] >> CELL_SECONDS_SHIFT).any(), "no second began within 3 ms, and the first has none before"
    assert cells[-1] == Fate.LOST | Cause.LINK << CELL_CAUSE_SHIFT
    history.begin_session(slots_of(0), np.array([9], np.uint32))
    for number, at_ms in enumerate([100, 900, 1000, 1100, 4050, 4000, 90_000]):
        record(history, [number], at_ms=at_ms)
    begun_s = (history.cells(slots_of(0))[0, -7:, 3] >> CELL_SECONDS_SHIFT).tolist()
    assert begun_s == [0, 0, 1, 0, 3, 0, CELL_MOST_SECONDS], "an earlier arrival begins none, many are seven"


def test_cells_say_what_was_reordered() -> None:
    history = History(1)
    record(history, [1])
    record(history, [0], [NEW | REORDERED])
    assert history.cells(slots_of(0))[0, -2:, 3].tolist() == [Fate.RECEIVED | CELL_REORDERED, Fate.RECEIVED]


@pytest.mark.parametrize("depth", [3, 100])
def test_a_depth_that_is_no_power_of_two_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match=f"not {depth}"):
        History(1, depth)


def test_the_newest_datagram_s_size_is_unknown_before_one_came_and_after_one_was_lost() -> None:
    history = History(2, 16)
    assert history.newest_size_bytes(0) is None
    record(history, [0, 1])
    assert (history.newest_size_bytes(0), history.newest_size_bytes(1)) == (wire.HEADER_BYTES + 3, None)
    mark_lost(history, [2])
    assert history.newest_size_bytes(0) is None
