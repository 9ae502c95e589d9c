"""Sessions that are over: what still comes of them, and what is still said of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.ledgers import START_NS, UNIX_NS, WINDOW, closes, counts_agree, declared, no_drops, slots_of, take
from udprism.columns.types import NS_PER_MS, NS_PER_S, I32Column, I64Column
from udprism.ledger import past
from udprism.ledger.fates import BEYOND, DUPLICATE, LATE, NEW, Cause
from udprism.ledger.ledger import Ledger

SLOT = slots_of(0)
FIRST, SECOND = 7, 8
LATER_NS = START_NS + 2 * NS_PER_S


def ledger_of(clients: int = 1, window: int = WINDOW) -> Ledger:
    ledger = Ledger(clients, window=window, loss_after_ns=NS_PER_S, loss_after_arrivals=16)
    ledger.reset(np.arange(clients, dtype=np.int32))
    return ledger


def begin(ledger: Ledger, session_id: int, *, in_process: bool = True, slot: int = 0) -> None:
    ledger.begin_session(slots_of(slot), np.array([in_process]), np.array([True]), np.array([session_id], np.uint32))


def left_behind(*, issued: int = 6, in_process: bool = True) -> Ledger:
    """Of its first session numbers 0 and 2 have come; it has a second one."""
    ledger = ledger_of()
    begin(ledger, FIRST, in_process=in_process)
    take(ledger, 0, 2)
    if in_process:
        ledger.set_sent(SLOT, np.array([issued]))
    begin(ledger, SECOND, in_process=in_process)
    return ledger


def settle(ledger: Ledger, receiver_drops: int = 0) -> None:
    """All that may still come has come."""
    if len(ledger.past):
        ledger.past.set_issued(FIRST, 0, over=True)
    for now_ns in (START_NS, LATER_NS, LATER_NS + NS_PER_S):
        ledger.expire(now_ns, lambda slots: np.full(len(slots), receiver_drops), 0)


def causes(ledger: Ledger, row: int = 0) -> dict[str, int]:
    return {
        cause.name.lower(): int(ledger.lost_by_cause[cause, row]) for cause in Cause if ledger.lost_by_cause[cause, row]
    }


def test_what_comes_of_an_earlier_session_is_received_once() -> None:
    ledger = left_behind()
    assert (ledger.sent[0], ledger.received[0], ledger.lost[0]) == (6, 2, 0)
    assert [ledger.past.take(0, FIRST, number) for number in (1, 5, 5, 2, 6)] == [
        NEW,
        NEW,
        DUPLICATE,
        DUPLICATE,
        BEYOND,
    ]
    assert (ledger.received[0], ledger.duplicates[0]) == (4, 2)
    assert ledger.past.take(0, 99, 0) is None
    assert closes(ledger)
    settle(ledger)
    assert causes(ledger) == {"unexplained": 2}
    assert ledger.past.take(0, FIRST, 3) is None
    assert closes(ledger)


def test_what_is_said_of_an_earlier_session_is_heard() -> None:
    ledger = left_behind()
    assert ledger.past.report_unsent(FIRST, 1, Cause.LINK)
    assert ledger.past.report_unsent(FIRST, 4, Cause.SENDER_KERNEL)
    assert ledger.past.report_unsent(FIRST, 2, Cause.LINK)  # it came after all
    assert ledger.past.report_corrupt(FIRST, 5)
    assert not ledger.past.report_unsent(99, 1, Cause.LINK)
    assert not ledger.past.report_corrupt(99, 1)
    assert causes(ledger) == {"link": 1, "sender_kernel": 1}
    settle(ledger, receiver_drops=1)
    assert causes(ledger) == {"link": 2, "sender_kernel": 1, "receiver_kernel": 1}
    assert closes(ledger)


def test_what_was_said_before_the_session_ended_goes_with_it() -> None:
    ledger = ledger_of()
    begin(ledger, FIRST)
    take(ledger, 0)
    ledger.set_sent(SLOT, np.array([4]))
    ledger.report_unsent(SLOT, np.array([3]), np.array([Cause.LINK], np.uint8))
    ledger.report_corrupt(SLOT, np.array([2]))
    begin(ledger, SECOND)
    assert causes(ledger) == {"link": 1}
    assert ledger.past.take(0, FIRST, 1) == NEW
    assert ledger.past.take(0, FIRST, 3) == NEW | LATE
    assert (causes(ledger), ledger.late[0]) == ({}, 1)
    settle(ledger)
    assert causes(ledger) == {"link": 1}
    assert closes(ledger)


def test_a_number_that_was_thought_to_be_held_back_may_still_come() -> None:
    ledger = ledger_of()
    begin(ledger, FIRST)
    ledger.set_sent(SLOT, np.array([4]))
    take(ledger, 0, 3)
    declared(ledger, LATER_NS, hold_ns=10 * NS_PER_S)
    assert causes(ledger) == {"link": 2}
    begin(ledger, SECOND)
    assert ledger.past.take(0, FIRST, 1) == NEW | LATE
    settle(ledger)
    assert causes(ledger) == {"unexplained": 1}
    assert closes(ledger)


def test_numbers_that_were_issued_before_the_sender_heard_the_end_count_as_sent() -> None:
    ledger = left_behind(issued=6)
    ledger.past.set_issued(FIRST, 8, over=False)
    assert (ledger.sent[0], ledger.received[0]) == (8, 2)
    assert ledger.past.take(0, FIRST, 7) == NEW
    ledger.expire(LATER_NS, no_drops, 0)
    ledger.expire(LATER_NS + 9 * NS_PER_S, no_drops, 0)
    assert ledger.lost[0] == 0, "more may still be issued"
    assert list(ledger.past.in_process()) == [FIRST]
    settle(ledger)
    assert ledger.lost[0] == 5
    assert closes(ledger)


def test_a_sender_elsewhere_is_followed_as_far_as_its_numbers_tell() -> None:
    ledger = left_behind(in_process=False)
    assert ledger.past.take(0, FIRST, 1) == NEW
    assert ledger.past.take(0, FIRST, 4) == NEW  # sent before the end, later than what had come by then
    assert (ledger.sent[0], ledger.received[0]) == (5, 4)
    settle(ledger)
    assert causes(ledger) == {"unknown_path": 1}
    assert closes(ledger)


def test_a_stranger_that_comes_again_leaves_two_accounts() -> None:
    ledger = left_behind(in_process=False)
    begin(ledger, FIRST, in_process=False)
    take(ledger, 0, 2)
    begin(ledger, SECOND, in_process=False)
    settle(ledger)
    assert (ledger.sent[0], ledger.received[0]) == (6, 4)
    assert causes(ledger) == {"unknown_path": 2}
    assert closes(ledger)


def test_the_same_client_twice_in_one_batch_of_new_sessions_ends_its_earlier_one_once() -> None:
    ledger = left_behind()
    sent, received = int(ledger.sent[0]), int(ledger.received[0])
    twice = slots_of(0, 0)
    take(ledger, *range(10))
    ledger.begin_session(twice, np.array([False, False]), np.array([True, True]), np.array([9, 10], np.uint32))
    assert (ledger.sent[0], ledger.received[0]) == (sent + 10, received + 10)


def test_a_removed_clients_account_goes_on_among_those_of_the_departed() -> None:
    ledger = ledger_of(2)
    begin(ledger, FIRST)
    begin(ledger, SECOND, slot=1)
    take(ledger, 0, 2, 2)
    take(ledger, 0, slot=1)
    ledger.set_sent(SLOT, np.array([5]))
    ledger.update_plain(slots_of(1, 1), np.zeros(2, np.int64))
    before = ledger.ever()
    ledger.depart(SLOT, no_drops, 0)
    assert ledger.ever() == before | {"departed_sent": 5, "departed_received": 2}
    totals = ledger.totals()
    assert (totals["sent"], totals["received"]) == (3, 3)
    departed = totals["departed"]
    assert (departed["sent"], departed["received"], departed["in_flight"], departed["duplicates"]) == (5, 2, 3, 1)
    assert ledger.past.report_unsent(FIRST, 1, Cause.LINK)
    settle(ledger)
    departed = ledger.totals()["departed"]
    assert (departed["lost"], departed["in_flight"]) == (3, 0)
    # what nobody dropped on the way found its client's socket closed
    assert {word: count for word, count in departed["lost_by_cause"].items() if count} == {
        "link": 1,
        "receiver_kernel": 2,
    }
    ledger.reset(SLOT)
    assert ledger.totals()["departed"] == departed, "a new client in the same slot"


def test_a_removed_client_that_had_plain_streams_alone_stands_beside_the_sums() -> None:
    ledger = ledger_of()
    ledger.update_plain(slots_of(0, 0), np.zeros(2, np.int64))
    ledger.depart(SLOT, no_drops, 0)
    totals = ledger.totals()
    assert (totals["received_plain"], totals["departed"]["received_plain"]) == (0, 2)
    assert (totals["departed"]["received"], ledger.ever()["received"]) == (0, 2)


def test_what_finds_no_room_is_lost_at_once_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "MAX_NUMBERS", 3)
    ledger = left_behind(issued=6)
    assert ledger.reports_forgotten == 4
    ledger.expire(START_NS, no_drops, 0)
    assert causes(ledger) == {"unexplained": 4}
    assert closes(ledger)


# -- against the truth


@dataclass
class Sender:
    """Our own server and its link, for one client: every number comes, late or twice, or is reported; in its time."""

    rng: Random
    session_id: int = 0
    issued: int = 0
    ended: dict[int, int] = field(default_factory=dict)
    heard_of: set[int] = field(default_factory=set)
    """Sessions that the client has had: one that is over before that is nobody's."""
    truth: dict[tuple[int, int], str] = field(default_factory=dict)
    on_the_way: list[tuple[int, int, int]] = field(default_factory=list)
    """(when it comes, session id, number)."""
    to_report: list[tuple[int, int, int]] = field(default_factory=list)

    def begin(self) -> None:
        if self.session_id:
            self.ended[self.session_id] = self.issued
        self.session_id += 1
        self.issued = 0

    def send(self, now_ns: int, most_delay_ns: int) -> None:
        key = self.session_id, self.issued
        self.issued += 1
        comes_ns = now_ns + self.rng.randint(0, most_delay_ns)
        if self.rng.random() < 0.2:
            self.truth[key] = "lost"
            self.to_report.append((comes_ns, *key))
            return
        self.truth[key] = "comes"
        self.on_the_way.append((comes_ns, *key))
        if self.rng.random() < 0.1:
            self.on_the_way.append((now_ns + self.rng.randint(0, most_delay_ns), *key))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=150)
def test_whatever_order_things_come_and_are_said_in_the_sums_close_and_end_at_the_truth(seed: int) -> None:
    rng = Random(seed)
    sender, ledger = Sender(rng), ledger_of(window=256)  # as many as are sent within the longest delay
    ledger.ask_sender = lambda slots: np.full(
        len(slots),
        sender.issued
        if sender.session_id == ledger.session[0]
        else sender.ended.get(int(ledger.session[0]), int(ledger.issued[0])),
    )
    most_delay_ns = rng.choice([0, 20 * NS_PER_MS, 400 * NS_PER_MS])
    now_ns, received, ever = START_NS, 0, ledger.ever()
    departed = rng.random() < 0.3
    for turn in range(rng.randint(2, 120)):
        now_ns += 10 * NS_PER_MS
        if turn == 0 or rng.random() < 0.05:
            sender.begin()
        for _ in range(rng.randint(0, 3)):
            sender.send(now_ns, most_delay_ns)
        arrive(ledger, sender, now_ns)
        if rng.random() < 0.3:
            hear(ledger, sender, now_ns, most_delay_ns)
        assert not sender.heard_of or closes(ledger)
        assert ledger.lost_by_cause[Cause.UNEXPLAINED, 0] == 0
        assert ledger.received[0] >= received
        received = int(ledger.received[0])
    if departed:
        ledger.depart(SLOT, no_drops, most_delay_ns)
        sender.ended[sender.session_id] = sender.issued
        sender.on_the_way.clear()
    for _ in range(60):
        now_ns += 100 * NS_PER_MS
        arrive(ledger, sender, now_ns)
        hear(ledger, sender, now_ns, most_delay_ns)
        now = ledger.ever()
        assert all(now[name] >= ever[name] for name in now)
        ever = now
    assert counts_agree(ledger)
    if not sender.heard_of:
        return
    row = ledger.departed if departed else 0
    sums = ledger.totals()["departed"] if departed else ledger.body(0)
    assert (sums["in_flight"], sums["lost_by_cause"]["unexplained"]) == (0, 0)
    assert sums["sent"] == sums["received"] + sums["lost"]
    known = {key: what for key, what in sender.truth.items() if key[0] in sender.heard_of}
    if not departed:
        assert sums["sent"] == len(known)
        assert sums["received"] == sum(what == "comes" for what in known.values())
        assert ledger.lost_by_cause[Cause.LINK, row] == sum(what == "lost" for what in known.values())


def have(ledger: Ledger, sender: Sender) -> None:
    begin(ledger, sender.session_id)
    sender.heard_of.add(sender.session_id)


def arrive(ledger: Ledger, sender: Sender, now_ns: int) -> None:
    """What has come by now, in one batch or several, as the pool takes it."""
    come = sorted(one for one in sender.on_the_way if one[0] <= now_ns)
    sender.on_the_way = [one for one in sender.on_the_way if one[0] > now_ns]
    for _, session_id, number in come:
        if session_id == sender.session_id and ledger.session[0] != session_id:
            have(ledger, sender)
        if session_id == ledger.session[0]:
            received = np.array([UNIX_NS + now_ns])
            ledger.update(SLOT, np.array([number], np.uint32), received, received, now_ns)
        else:
            known = (NEW, NEW | LATE, DUPLICATE) if session_id in sender.heard_of else (None,)
            assert ledger.past.take(0, session_id, number) in known


def hear(ledger: Ledger, sender: Sender, now_ns: int, hold_ns: int) -> None:
    """As `OwnServer` does it."""
    if sender.session_id != ledger.session[0] and sender.session_id not in sender.ended:
        have(ledger, sender)
    issued: I64Column = np.array([sender.issued])
    slots: I32Column = SLOT
    if sender.session_id == ledger.session[0]:
        ledger.set_sent(slots, issued)
    for session_id in ledger.past.in_process():
        over = session_id in sender.ended
        ledger.past.set_issued(session_id, sender.ended.get(session_id, sender.issued), over=over)
    said = [one for one in sender.to_report if one[0] <= now_ns]
    sender.to_report = [one for one in sender.to_report if one[0] > now_ns]
    for _, session_id, number in said:
        if session_id == ledger.session[0]:
            ledger.report_unsent(slots, np.array([number]), np.array([Cause.LINK], np.uint8))
        else:
            assert ledger.past.report_unsent(session_id, number, Cause.LINK) == (session_id in sender.heard_of)
    ledger.expire(now_ns, no_drops, hold_ns)


def test_a_removed_client_is_forgotten_with_what_it_left_open() -> None:
    ledger = left_behind()
    ledger.reset(SLOT)
    assert not ledger.past.report_unsent(FIRST, 1, Cause.LINK)
    assert (len(ledger.past), ledger.lost[0]) == (0, 0)


def test_numbers_that_are_issued_late_and_find_no_room_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = left_behind()
    monkeypatch.setattr(past, "MAX_NUMBERS", 4)
    ledger.past.set_issued(FIRST, 60, over=True)
    assert ledger.past.forgotten == 54
    assert (ledger.sent[0], closes(ledger)) == (60, True)


def test_a_cause_of_a_number_that_had_left_the_window_still_explains_a_loss() -> None:
    ledger = ledger_of()
    begin(ledger, FIRST)
    ledger.set_sent(SLOT, np.array([WINDOW + 10]))
    take(ledger, 0, WINDOW + 9)
    begin(ledger, SECOND)
    assert ledger.past.report_unsent(FIRST, 3, Cause.LINK)
    assert causes(ledger) == {"link": 1}
    assert closes(ledger)


def test_damage_is_told_of_numbers_in_every_state() -> None:
    ledger = ledger_of()
    begin(ledger, FIRST)
    ledger.set_sent(SLOT, np.array([6]))
    take(ledger, 0, 3)
    declared(ledger, LATER_NS, hold_ns=10 * NS_PER_S)  # 1 and 2 may be held back
    begin(ledger, SECOND)
    for number in (0, 1, 4, 4):  # has come; held back; open; told already
        assert ledger.past.report_corrupt(FIRST, number)
    assert ledger.corrupt[0] == 1
    assert ledger.past.take(0, FIRST, 1) == NEW | LATE
    assert ledger.past.take(0, FIRST, 4) == NEW
    assert ledger.corrupt[0] == 3
    settle(ledger)
    assert closes(ledger)


def test_damage_that_explains_a_loss_is_the_link_s() -> None:
    ledger = ledger_of()
    begin(ledger, FIRST)
    ledger.set_sent(SLOT, np.array([4]))
    take(ledger, 0, 3)
    for now_ns in (LATER_NS, LATER_NS + NS_PER_S, LATER_NS + 2 * NS_PER_S):
        declared(ledger, now_ns)
    assert causes(ledger) == {"unexplained": 2}
    begin(ledger, SECOND)
    assert ledger.past.report_corrupt(FIRST, 1)
    assert causes(ledger) == {"unexplained": 1, "link": 1}


def told_of_two_sessions() -> Ledger:
    """Of the first session, of which another node tells, numbers 1 and 2 are lost and wait for its word."""
    ledger = ledger_of()
    begin(ledger, FIRST, in_process=False)
    ledger.of_told.begin(0, whole=True)
    take(ledger, 0, 3)
    declared(ledger, LATER_NS)
    begin(ledger, SECOND, in_process=False)
    return ledger


def test_a_word_of_what_has_come_or_of_nobody_s_session_changes_nothing() -> None:
    ledger = told_of_two_sessions()
    ledger.past.tell_unsent(FIRST, 0, Cause.LINK)
    ledger.past.tell_unsent(99, 1, Cause.LINK)
    assert causes(ledger) == {"awaiting": 2}


def test_nobody_tells_of_the_sessions_of_a_client_that_was_forgotten() -> None:
    ledger = told_of_two_sessions()
    assert ledger.past.told() == {FIRST: 4}
    ledger.reset(SLOT)
    assert ledger.past.told() == {}
    assert causes(ledger) == {}
