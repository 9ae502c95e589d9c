"""What a witness reports, what is overdue, and which causes these losses get."""

from __future__ import annotations

import numpy as np
import pytest

from support.ledgers import START_NS, WINDOW, closes, counts_agree, declared, ledger_of, no_drops, take
from udprism.columns.types import NS_PER_S, I32Column, I64Column
from udprism.ledger import losses
from udprism.ledger.fates import LATE, NEW, REORDERED, Cause
from udprism.ledger.ledger import Ledger

SLOT = np.zeros(1, np.int32)
LATER_NS = START_NS + 2 * NS_PER_S


def report(ledger: Ledger, *numbers: int, cause: Cause = Cause.LINK) -> list[int]:
    """Answers which are lost now."""
    count = len(numbers)
    taken = ledger.report_unsent(
        np.zeros(count, np.int32), np.array(numbers, np.int64), np.full(count, cause, np.uint8)
    )
    return taken.extended.tolist()


def damaged(ledger: Ledger, *numbers: int) -> list[int]:
    """Returns those reported until now that have come, or never will."""
    return ledger.report_corrupt(np.zeros(len(numbers), np.int32), np.array(numbers, np.int64)).number.tolist()


def causes(ledger: Ledger, slot: int = 0) -> dict[str, int]:
    return {
        cause.name.lower(): int(ledger.lost_by_cause[cause, slot])
        for cause in Cause
        if ledger.lost_by_cause[cause, slot]
    }


def test_a_reported_hole_is_lost_at_once_by_its_cause() -> None:
    ledger = ledger_of(in_process=True)
    take(ledger, 0, 3)
    assert report(ledger, 1) == [1]
    assert report(ledger, 2, cause=Cause.SENDER_KERNEL) == [2]
    assert causes(ledger) == {"link": 1, "sender_kernel": 1}
    assert (ledger.body(0)["in_flight"], ledger.sent[0]) == (0, 4)
    assert declared(ledger, LATER_NS) == []


def test_reports_of_the_next_numbers_are_taken_before_anything_arrives() -> None:
    ledger = ledger_of(in_process=True)
    assert report(ledger, 0, 1, 2) == [0, 1, 2]
    assert (ledger.highest[0], ledger.received[0], ledger.lost[0]) == (2, 0, 3)
    outcome = take(ledger, 3)
    assert outcome.flags.tolist() == [NEW]
    assert closes(ledger)


def test_a_report_beyond_what_has_come_waits_for_its_turn() -> None:
    ledger = ledger_of(in_process=True)
    take(ledger, 0)
    assert report(ledger, 3) == []
    assert ledger.lost[0] == 0
    outcome = take(ledger, 1, 2, 4)  # what lies before it was on its way all the time
    assert outcome.flags.tolist() == [NEW, NEW, NEW]
    assert [number for _, number, _ in declared(ledger, START_NS)] == [3]
    assert causes(ledger) == {"link": 1}


def test_waiting_reports_are_taken_in_one_go_once_the_gap_is_filled() -> None:
    ledger = ledger_of(in_process=True)
    assert report(ledger, 1, 3, 2) == []
    assert report(ledger, 0) == [0, 1, 2, 3]


def test_a_report_of_what_has_come_changes_nothing() -> None:
    ledger = ledger_of(in_process=True)
    take(ledger, 0, 1)
    assert report(ledger, 0) == []
    assert (ledger.lost[0], ledger.received[0]) == (0, 2)


def test_a_report_that_comes_after_the_declaration_moves_the_loss_to_its_cause() -> None:
    ledger = ledger_of(in_process=True)
    take(ledger, 0, 2)
    declared(ledger, LATER_NS)
    assert causes(ledger) == {"unexplained": 1}
    assert report(ledger, 1, cause=Cause.SENDER_KERNEL) == [1]
    assert causes(ledger) == {"sender_kernel": 1}
    assert ledger.lost[0] == 1


@pytest.mark.parametrize("before_expiry", [True, False])
def test_a_report_of_what_has_left_the_window_still_finds_its_loss(before_expiry: bool) -> None:
    ledger = ledger_of(in_process=True)
    take(ledger, 0, *range(2, 2 + 2 * WINDOW))
    if not before_expiry:
        declared(ledger, START_NS)
        assert causes(ledger) == {"unexplained": 1}
    report(ledger, 1)
    declared(ledger, START_NS)
    assert causes(ledger) == {"link": 1}
    assert closes(ledger)


def test_waiting_reports_are_bounded_and_what_is_forgotten_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "MAX_PENDING_REPORTS", 10)
    ledger = ledger_of(in_process=True)
    report(ledger, *range(5, 25))
    assert ledger.reports_forgotten == 10
    take(ledger, *range(5))
    declared(ledger, START_NS)
    assert ledger.lost[0] == 10
    report(ledger, *range(17, 25))
    assert ledger.reports_forgotten == 10  # there is room again
    ledger.reset(SLOT)
    ledger.begin_session(SLOT, np.array([True]), np.array([True]))
    report(ledger, *range(5, 15))
    assert ledger.reports_forgotten == 10


def test_the_end_of_a_stream_is_lost_by_time_alone() -> None:
    ledger = ledger_of(in_process=True)
    take(ledger, 0, 1)
    ledger.set_sent(SLOT, np.array([5]))
    assert ledger.body(0)["in_flight"] == 3
    assert declared(ledger, START_NS) == []
    assert declared(ledger, START_NS + NS_PER_S - 1) == []
    assert [number for _, number, _ in declared(ledger, START_NS + NS_PER_S)] == [2, 3, 4]
    assert ledger.body(0)["in_flight"] == 0
    assert counts_agree(ledger)


def test_the_end_of_a_stream_waits_for_what_the_link_may_hold() -> None:
    ledger = ledger_of(in_process=True)
    take(ledger, 0)
    ledger.set_sent(SLOT, np.array([2]))
    assert declared(ledger, START_NS, 5 * NS_PER_S) == []
    assert declared(ledger, START_NS + 5 * NS_PER_S, 0) == []
    assert len(declared(ledger, START_NS + 6 * NS_PER_S, 0)) == 1


def test_a_long_end_of_a_stream_costs_no_more_than_a_window() -> None:
    ledger = ledger_of(in_process=True)
    take(ledger, 0)
    ledger.set_sent(SLOT, np.array([1_000_001]))
    declared(ledger, START_NS)
    assert len(declared(ledger, LATER_NS)) == WINDOW
    assert ledger.lost[0] == 1_000_000
    assert ledger.body(0)["in_flight"] == 0
    assert closes(ledger)


def test_a_straggler_of_a_lost_end_is_late_and_not_reordered() -> None:
    ledger = ledger_of(in_process=True)
    take(ledger, 0)
    ledger.set_sent(SLOT, np.array([4]))
    declared(ledger, START_NS)
    declared(ledger, LATER_NS)
    assert take(ledger, 2, 1).flags.tolist() == [NEW | LATE, NEW | LATE | REORDERED]
    assert closes(ledger)


def test_what_a_link_may_hold_back_is_lost_to_the_link_until_it_comes() -> None:
    ledger = ledger_of(in_process=True)
    take(ledger, 0, 3)
    ledger.set_sent(SLOT, np.array([4]))
    assert declared(ledger, START_NS, NS_PER_S) == []
    overdue_ns = START_NS + NS_PER_S * 11 // 10
    assert [cause for *_, cause in declared(ledger, overdue_ns, NS_PER_S)] == [Cause.LINK, Cause.LINK]
    take(ledger, 1)
    assert causes(ledger) == {"link": 1}
    assert declared(ledger, LATER_NS, 0) == []
    # it can come no more, and nobody said why
    assert declared(ledger, LATER_NS + 2 * NS_PER_S, 0) == [(0, 2, Cause.UNEXPLAINED)]
    assert causes(ledger) == {"unexplained": 1}
    assert ledger.lost[0] == 1
    assert counts_agree(ledger)


@pytest.mark.parametrize("step", [1, 2, 20])
def test_what_is_held_back_beyond_the_window_stays_the_links(step: int) -> None:
    """Overwritten in order, by small gaps of many clients at once, and by large ones."""
    clients = 20
    ledger = ledger_of(clients, in_process=True, loss_after_arrivals=1)
    for slot in range(clients):
        take(ledger, 0, 3, slot=slot)
    ledger.set_sent(np.arange(clients, dtype=np.int32), np.full(clients, 1_000))
    assert len(declared(ledger, START_NS, 60 * NS_PER_S)) == 2 * clients
    for number in range(3 + step, 200, step):
        stamps = np.full(clients, START_NS)
        slots = np.arange(clients, dtype=np.int32)
        ledger.update(slots, np.full(clients, number, np.uint32), stamps, stamps, START_NS)
        declared(ledger, START_NS, 60 * NS_PER_S)
        assert counts_agree(ledger)
    assert causes(ledger)["link"] >= 2
    assert closes(ledger)


def test_what_was_not_sent_yet_is_not_lost_for_good() -> None:
    """A link that damages headers makes a number of one that is far ahead: what lies between has not been sent."""
    ledger = ledger_of(in_process=True)
    take(ledger, 0, 20)
    ledger.set_sent(SLOT, np.array([2]))
    now_ns = LATER_NS
    declared(ledger, START_NS)
    declared(ledger, now_ns)
    assert causes(ledger) == {"link": 18, "unexplained": 1}  # number 1 was sent
    assert damaged(ledger, 2) == [2]
    for sent in range(4, 21):
        ledger.set_sent(SLOT, np.array([sent]))
        take(ledger, sent - 1, now_ns=now_ns)
        now_ns += 2 * NS_PER_S
        declared(ledger, now_ns)
        assert causes(ledger)["unexplained"] == 1
    assert ledger.late[0] == 17
    assert causes(ledger) == {"link": 1, "unexplained": 1}  # number 2 came as something else
    assert counts_agree(ledger)


def test_damage_that_is_heard_of_after_the_declaration_is_still_the_links_doing() -> None:
    ledger = ledger_of(in_process=True)
    take(ledger, 0, 2)
    declared(ledger, LATER_NS)
    assert causes(ledger) == {"unexplained": 1}
    assert damaged(ledger, 1) == [1]
    assert causes(ledger) == {"link": 1}


def test_a_sender_elsewhere_has_no_link_that_we_know_of() -> None:
    ledger = ledger_of(in_process=False)
    take(ledger, 0, 2)
    assert declared(ledger, LATER_NS, 10 * NS_PER_S) == [(0, 1, Cause.UNKNOWN_PATH)]


class Kernel:
    """Drops by socket, and which sockets were asked for."""

    def __init__(self, *drops: int) -> None:
        self.drops = np.array(drops, np.int64)
        self.asked: list[int] = []

    def __call__(self, slots: I32Column) -> I64Column:
        self.asked += slots.tolist()
        return self.drops[slots]


def expire(ledger: Ledger, now_ns: int, kernel: Kernel) -> None:
    ledger.expire(now_ns, kernel, 0)


def test_as_many_holes_as_the_kernel_dropped_are_the_receivers_the_oldest_first() -> None:
    ledger = ledger_of(3, in_process=True)
    for slot in (0, 1):
        take(ledger, 0, 4, slot=slot)
    take(ledger, 0, slot=2)
    kernel = Kernel(2, 0, 7)
    expire(ledger, LATER_NS, kernel)
    assert causes(ledger) == {"receiver_kernel": 2, "unexplained": 1}
    assert causes(ledger, 1) == {"unexplained": 3}
    assert kernel.asked == [0, 1]  # nothing of the third is missing


def test_a_drop_explains_one_loss_only() -> None:
    ledger = ledger_of(in_process=True)
    kernel = Kernel(1)
    take(ledger, 0, 2)
    expire(ledger, LATER_NS, kernel)
    take(ledger, 4)
    expire(ledger, LATER_NS + 2 * NS_PER_S, kernel)
    assert causes(ledger) == {"receiver_kernel": 1, "unexplained": 1}


def test_a_drop_whose_datagram_came_after_all_is_free_for_another() -> None:
    ledger = ledger_of(in_process=True)
    kernel = Kernel(1)
    take(ledger, 0, 2)
    expire(ledger, LATER_NS, kernel)
    take(ledger, 1, 4)
    expire(ledger, LATER_NS + 2 * NS_PER_S, kernel)
    assert causes(ledger) == {"receiver_kernel": 1}


def test_a_new_socket_counts_its_drops_from_zero() -> None:
    ledger = ledger_of(in_process=True)
    kernel = Kernel(5)
    take(ledger, 0, 6)
    expire(ledger, LATER_NS, kernel)
    kernel.drops[0] = 1
    take(ledger, 8)
    expire(ledger, LATER_NS + 2 * NS_PER_S, kernel)
    assert causes(ledger) == {"receiver_kernel": 6}


def test_an_overflow_of_thousands_is_accounted_for_to_the_datagram() -> None:
    ledger = ledger_of(in_process=True)
    take(ledger, *range(300))
    ledger.set_sent(SLOT, np.array([10_000]))
    take(ledger, 9_998, 9_999)
    expire(ledger, LATER_NS, Kernel(9_698))
    body = ledger.body(0)
    assert (body["sent"], body["received"], body["in_flight"]) == (10_000, 302, 0)
    assert causes(ledger) == {"receiver_kernel": 9_698}


def test_what_the_link_dropped_among_the_last_ones_leaves_the_kernels_drops_to_others() -> None:
    ledger = ledger_of(in_process=True)
    take(ledger, 0)
    ledger.set_sent(SLOT, np.array([6]))
    assert report(ledger, 2, 3) == []  # 1 may still come
    kernel = Kernel(3)
    for seconds in range(4):
        expire(ledger, LATER_NS + 2 * seconds * NS_PER_S, kernel)
    assert causes(ledger) == {"link": 2, "receiver_kernel": 3}


def test_our_own_kernels_drops_are_known_whoever_sent() -> None:
    ledger = ledger_of(in_process=False)
    take(ledger, 0, 3)
    expire(ledger, LATER_NS, Kernel(1))
    assert causes(ledger) == {"receiver_kernel": 1, "unknown_path": 1}


def test_a_damaged_datagram_counts_once_it_has_come() -> None:
    ledger = ledger_of(in_process=True)
    take(ledger, 0, 2)
    assert damaged(ledger, 0, 1, 2, 3) == [0, 2]
    assert ledger.corrupt[0] == 2
    take(ledger, 1)
    assert damaged(ledger) == [1]
    assert ledger.corrupt[0] == 3
    assert counts_agree(ledger)


def test_a_datagram_damaged_beyond_recognition_was_the_links_doing() -> None:
    ledger = ledger_of(in_process=True)
    take(ledger, 0, 2)
    assert damaged(ledger, 1) == []
    declared(ledger, LATER_NS)
    assert causes(ledger) == {"link": 1}
    assert damaged(ledger) == [1]
    assert ledger.corrupt[0] == 0


def test_a_tail_that_left_damaged_is_never_unexplained_not_even_for_a_moment() -> None:
    ledger = ledger_of(in_process=True)
    take(ledger, 0)
    ledger.set_sent(SLOT, np.array([2]))
    assert damaged(ledger, 1) == []
    declared(ledger, START_NS)
    declared(ledger, LATER_NS)
    assert causes(ledger) == {"link": 1}


def test_the_end_of_an_earlier_session_is_settled_by_its_reports_and_its_kernel() -> None:
    ledger = ledger_of(in_process=True)
    take(ledger, 0, 2)
    ledger.set_sent(SLOT, np.array([8]))
    report(ledger, 7)
    ledger.begin_session(SLOT, np.array([True]), np.array([True]))
    assert causes(ledger) == {"link": 1}
    ledger.expire(START_NS, Kernel(5), 0)
    assert causes(ledger) == {"link": 1, "receiver_kernel": 5}
    assert ledger.body(0)["in_flight"] == 0
    assert closes(ledger)


def test_a_report_that_waits_ends_with_its_session() -> None:
    ledger = ledger_of(in_process=True)
    report(ledger, 7)
    ledger.begin_session(SLOT, np.array([True]), np.array([True]))
    take(ledger, *range(7), 8)
    assert declared(ledger, START_NS) == []  # number 7 of this session is not lost
    assert causes(ledger) == {"link": 1, "unexplained": 7}  # the other one has no id: nothing of it can come any more


def test_expire_asks_for_nothing_where_nothing_is_open() -> None:
    ledger = ledger_of(2, in_process=True)
    take(ledger, 0, 1)
    kernel = Kernel(9, 9)
    expire(ledger, LATER_NS, kernel)
    assert kernel.asked == []
    assert ledger.expire(LATER_NS, no_drops, 0).slot.tolist() == []


def test_damage_to_another_client_s_datagrams_stays_with_that_client_when_a_session_ends() -> None:
    ledger = ledger_of(2, in_process=True)
    ledger.report_corrupt(np.ones(1, np.int32), np.array([0]))
    ledger.begin_session(SLOT, np.ones(1, np.bool_), np.ones(1, np.bool_))
    take(ledger, 0, slot=1)
    damaged(ledger)
    assert ledger.corrupt[:2].tolist() == [0, 1]


def test_a_report_from_before_the_first_number_that_came_says_nothing_new() -> None:
    ledger = ledger_of(in_process=False)
    take(ledger, 100)
    assert report(ledger, 99) == []
    assert (ledger.lost[0], ledger.sent[0]) == (0, 1)


def test_a_cause_that_comes_when_all_that_left_the_window_is_explained_changes_nothing() -> None:
    ledger = ledger_of(in_process=True)
    take(ledger, *range(WINDOW + 5))
    before = ledger.body(0)
    report(ledger, 0)  # it has come, and left the window
    assert ledger.body(0) == before
    assert closes(ledger)


def test_a_report_of_a_loss_from_before_anybody_told_changes_nothing() -> None:
    ledger = ledger_of()
    take(ledger, 0, 4)
    declared(ledger, START_NS + 2 * NS_PER_S)
    take(ledger, *range(5, 100))  # the losses leave the window
    ledger.of_told.begin(0, whole=True)
    ledger.report_unsent(np.zeros(1, np.int32), np.array([1]), np.array([Cause.LINK], np.uint8))
    assert (ledger.lost_by_cause[Cause.UNKNOWN_PATH, 0], ledger.lost[0]) == (3, 3)
    assert closes(ledger)
