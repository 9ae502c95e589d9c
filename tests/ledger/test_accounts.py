"""What the ledger says in bodies and reports: null where it cannot be known."""

from __future__ import annotations

import numpy as np
import pytest

from support.ledgers import START_NS, UNIX_NS, declared, ledger_of, take
from udprism.columns.types import NS_PER_MS, NS_PER_S
from udprism.ledger.ledger import Ledger

SLOT = np.zeros(1, np.int32)
LATER_NS = START_NS + 2 * NS_PER_S


def test_against_a_server_in_our_own_process_everything_is_known() -> None:
    ledger = ledger_of(in_process=True)
    take(ledger, 0, 2, 1, 1, 4)
    declared(ledger, LATER_NS)
    assert ledger.body(0) == {
        "sent": 5,
        "received": 4,
        "lost": 1,
        "in_flight": 0,
        "late": 0,
        "reordered": 1,
        "duplicates": 1,
        "corrupt": 0,
        "lost_by_cause": {
            "link": 0,
            "sender_kernel": 0,
            "receiver_kernel": 0,
            "unexplained": 1,
            "unknown_path": 0,
            "path": 0,
            "awaiting": 0,
        },
    }


def test_against_a_server_elsewhere_the_path_is_unknown_and_not_zero() -> None:
    ledger = ledger_of(in_process=False)
    take(ledger, 0, 2)
    declared(ledger, LATER_NS)
    body = ledger.body(0)
    assert body["corrupt"] is None
    assert body["lost_by_cause"] == {
        "link": None,
        "sender_kernel": None,
        "receiver_kernel": 0,
        "unexplained": None,
        "unknown_path": 1,
        "path": None,
        "awaiting": None,
    }


def test_of_a_plain_stream_only_what_came_is_known() -> None:
    ledger = Ledger(1, loss_after_ns=NS_PER_S, loss_after_arrivals=64)
    ledger.reset(SLOT)
    ledger.update_plain(np.zeros(3, np.int32), np.zeros(3, np.int64))
    body = ledger.body(0)
    assert body.pop("received") == 3
    assert set(body.pop("lost_by_cause").values()) == {None}
    assert set(body.values()) == {None}
    assert np.isnan(ledger.loss_ratio(SLOT)).all()
    assert ledger.anomalies(0) is None


def test_a_measured_stream_after_a_plain_one_still_closes() -> None:
    ledger = Ledger(1, loss_after_ns=NS_PER_S, loss_after_arrivals=64)
    ledger.reset(SLOT)
    ledger.update_plain(np.zeros(3, np.int32), np.zeros(3, np.int64))
    ledger.begin_session(SLOT, np.array([True]), np.array([True]))
    take(ledger, 0, 2)
    body = ledger.body(0)
    assert (body["sent"], body["received"], body["in_flight"]) == (6, 5, 1)


def test_totals_are_the_sums_of_measured_clients_and_plain_ones_stand_beside() -> None:
    ledger = ledger_of(3, in_process=True)
    take(ledger, 0, 2)
    take(ledger, 0, 1, slot=1)
    ledger.reset(np.array([2], np.int32))
    ledger.update_plain(np.full(4, 2, np.int32), np.zeros(4, np.int64))
    totals = ledger.totals()
    assert (totals["sent"], totals["received"], totals["in_flight"], totals["received_plain"]) == (5, 4, 1, 4)
    assert totals["lost_by_cause"]["link"] == 0
    assert set(totals) - {"received_plain", "departed"} == set(ledger.body(0))


def test_nobody_at_all_is_a_ledger_of_zeros() -> None:
    totals = Ledger(4, loss_after_ns=NS_PER_S, loss_after_arrivals=64).totals()
    for line in (totals.pop("departed"), totals):
        assert line.pop("lost_by_cause") == dict.fromkeys(
            ("link", "sender_kernel", "receiver_kernel", "unexplained", "unknown_path", "path", "awaiting"), 0
        )
        assert set(line.values()) == {0}


def test_a_report_covers_its_own_session_alone() -> None:
    ledger = ledger_of()
    take(ledger, 0, 2, 2, 1, 5)
    declared(ledger, LATER_NS)
    assert [int(column[0]) for column in ledger.report(SLOT)] == [5, 4, 2, 1, 1, 0, 0]
    ledger.begin_session(SLOT, np.array([False]), np.array([True]))
    assert [int(column[0]) for column in ledger.report(SLOT)] == [0] * 7
    take(ledger, 0, 1)
    assert [int(column[0]) for column in ledger.report(SLOT)] == [1, 2, 0, 0, 0, 0, 0]


def test_a_report_tells_jitter_in_microseconds_and_the_highest_number_as_on_the_wire() -> None:
    ledger = ledger_of()
    first = 2**32 - 1
    take(ledger, first, transit_ns=0)
    take(ledger, first + 1, transit_ns=16 * NS_PER_MS)
    declared(ledger, START_NS)
    assert ledger.jitter_ns[0] == NS_PER_MS
    highest, *_, jitter_us = ledger.report(SLOT)
    assert (int(highest[0]), int(jitter_us[0])) == (0, 1_000)


def test_loss_ratio_is_of_what_is_decided() -> None:
    ledger = ledger_of(2)
    take(ledger, 0, 2, 3)
    assert ledger.loss_ratio(np.arange(2, dtype=np.int32))[0] == 0
    declared(ledger, LATER_NS)
    assert ledger.loss_ratio(np.arange(2, dtype=np.int32))[0] == pytest.approx(1 / 4)
    assert np.isnan(ledger.loss_ratio(np.arange(2, dtype=np.int32))[1])


def test_delays_without_a_shared_clock_are_relative() -> None:
    ledger = ledger_of(shared_clock=False)
    take(ledger, 0, transit_ns=-UNIX_NS)
    take(ledger, 1, transit_ns=-UNIX_NS + NS_PER_MS)
    body = ledger.delays.body(0)
    assert (body["min"], body["max"]) == (0, 1)
    assert ledger.anomalies(0) == {"jumps": 0, "beyond_window": 0, "negative_delays": 0}


def test_a_client_takes_no_more_memory_than_was_promised() -> None:
    ledger = Ledger(1, window=256, loss_after_ns=NS_PER_S, loss_after_arrivals=64)
    assert ledger.nbytes_a_client <= 2.2 * 1024


def test_the_next_number_is_the_next_arrival_s_where_there_are_no_numbers() -> None:
    ledger = ledger_of(in_process=True)
    take(ledger, 0, 4)
    assert ledger.next_sequence(0) == 5
    ledger.set_sent(SLOT, np.array([9]))
    assert ledger.next_sequence(0) == 9
    plain = Ledger(1, loss_after_ns=NS_PER_S, loss_after_arrivals=64)
    plain.reset(SLOT)
    plain.update_plain(np.zeros(3, np.int32), np.zeros(3, np.int64))
    assert plain.next_sequence(0) == 3
    assert plain.anomalies(0) is None
    assert ledger.anomalies(0) == {"jumps": 0, "beyond_window": 0, "negative_delays": 0}


def test_sums_over_servers_elsewhere_say_what_is_unknown_and_delays_are_in_milliseconds() -> None:
    ledger = ledger_of(in_process=False)
    take(ledger, 0, 2, transit_ns=5 * NS_PER_MS)
    totals = ledger.totals()
    assert totals["corrupt"] is None
    assert totals["lost_by_cause"]["link"] is None
    ledger.delays.settle()
    (body,) = ledger.delay_bodies(SLOT)
    assert body["min"] == pytest.approx(5)
