"""Sessions: who is served, how fast, until when. No socket, no sleep."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from udprism.columns.arrivals import SOCKADDR_BYTES
from udprism.columns.types import NEVER_NS, NS_PER_S, Address
from udprism.node.bodies.sessions import session_body
from udprism.serving.commands import Connect
from udprism.serving.sessions import STRIKES_TO_END, ServiceTerms, SessionTable

LOOPBACK = ServiceTerms("loopback", None, None)
REMOTE = ServiceTerms("remote", 60 * NS_PER_S, 20.0)
MEASURED = Connect(measured=True)
NOWHERE = np.zeros(SOCKADDR_BYTES, np.uint8)


def make(max_sessions: int = 8, rate_hz: float = 10) -> SessionTable:
    ids = count(1)
    return SessionTable(max_sessions, rate_hz, 4, lambda: next(ids))


def connect(
    table: SessionTable,
    address: Address,
    command: Connect = MEASURED,
    terms: ServiceTerms = LOOPBACK,
    now_ns: int = 0,
) -> int:
    served = table.connect(address, NOWHERE, 0, command, terms, now_ns, 0)
    assert served is not None
    return served[0]


def test_a_second_connect_renews_the_session_and_keeps_its_number_and_sequence() -> None:
    table = make()
    slot = connect(table, ("127.0.0.1", 5000))
    table.issue(np.array([slot], np.int32), 0)
    first_id = int(table.session_id[slot])
    assert connect(table, ("127.0.0.1", 5000), Connect(measured=True, rate_hz=99)) == slot
    assert (int(table.session_id[slot]), int(table.next_sequence[slot])) == (first_id, 1)
    assert table.sessions[slot].rate_hz == 99


def test_asking_for_the_other_stream_starts_a_new_session() -> None:
    table = make()
    before = int(table.session_id[connect(table, ("127.0.0.1", 5000))])
    slot = connect(table, ("127.0.0.1", 5000), Connect())
    assert int(table.session_id[slot]) != before
    assert len(table) == 1


def test_sessions_are_found_by_words_that_are_all_there() -> None:
    table = make()
    named = Connect(measured=True, name="North-1")
    mine, plain = connect(table, ("127.0.0.1", 5000), named), connect(table, ("127.0.0.1", 5001), Connect())
    hosted = {("127.0.0.1", 5000): "North-1"}

    def found(query: str) -> list[int]:
        return list(table.matching(query, hosted))

    assert found("") == found(" ") == [mine, plain]
    assert found("north") == found("NORTH measured") == found("hosted") == found(":5000") == [mine]
    assert found("raw plain") == [plain]
    hosted["127.0.0.1", 5001] = "south"
    assert found("raw") == []
    assert found("south") == [plain]
    del hosted["127.0.0.1", 5001]
    assert found("raw north") == []
    assert found(f"s-{int(table.session_id[plain]):08x}") == [plain]
    assert found("s-ffffffff") == []


def test_a_session_that_has_ended_leaves_its_last_number_and_of_old_ones_only_so_many_do() -> None:
    table = make(max_sessions=2)
    for port in (5000, 5001, 5002):
        slot = connect(table, ("127.0.0.1", port))
        for _ in range(port - 4998):
            table.issue(np.array([slot], np.int32), 0)
        table.end(slot)
    assert table.ended == {2: 3, 3: 4}


def test_phases_are_spread_so_that_a_tick_is_no_burst() -> None:
    table = make(max_sessions=100, rate_hz=10)
    for port in range(5000, 5100):
        connect(table, ("127.0.0.1", port))
    gaps_ns = np.diff(np.sort(table.due_ns))
    assert gaps_ns.max() < NS_PER_S // 10 // 20, "more than a twentieth of the period without a datagram"


def test_who_is_due_next_is_known_however_it_came_to_be() -> None:
    table = make(max_sessions=20, rate_hz=10)
    assert table.next_due_ns() == NEVER_NS
    slots = [connect(table, ("127.0.0.1", port)) for port in range(5000, 5020)]

    def agrees() -> bool:
        return table.next_due_ns() == min(int(ns) for ns in table.due_ns)

    assert agrees()
    for slot in slots[:3]:
        table.end(slot)
        assert agrees()
    connect(table, ("127.0.0.1", 5010), Connect(measured=True, rate_hz=500))
    assert agrees()
    for _ in range(10):
        now_ns = table.next_due_ns() + 1
        table.advance(table.due(now_ns), now_ns)
        assert agrees()


def test_missed_ticks_are_skipped_and_never_made_up() -> None:
    table = make(rate_hz=10)
    slot = connect(table, ("127.0.0.1", 5000))
    table.due_ns[slot] = 0
    due = table.due(5 * NS_PER_S)
    due_ns, lag_ns, skipped = table.advance(due, 5 * NS_PER_S + 7)
    assert (lag_ns, skipped) == (5 * NS_PER_S + 7, 50)
    assert due_ns.tolist() == [5 * NS_PER_S], "the datagram is the last one that was due"
    assert table.due_ns[slot] == table.next_due_ns() == 51 * NS_PER_S // 10, "the phase is kept"
    assert len(table.due(5 * NS_PER_S)) == 0


def test_a_lease_expires_exactly_one_duration_after_its_last_renewal() -> None:
    table = make()
    slot = connect(table, ("192.0.2.1", 5000), terms=REMOTE)
    table.heard(slot, 7 * NS_PER_S)
    assert len(table.expired(67 * NS_PER_S - 1)) == 0
    assert table.expired(67 * NS_PER_S).tolist() == [slot]


def test_a_loopback_session_has_no_lease() -> None:
    table = make()
    slot = connect(table, ("127.0.0.1", 5000))
    assert len(table.expired(NEVER_NS - 1)) == 0
    assert session_body(table, slot, 0)["lease_ends_in_s"] is None


def test_a_rate_is_capped_by_the_grant() -> None:
    table = make()
    slot = connect(table, ("192.0.2.1", 5000), Connect(measured=True, rate_hz=1000), REMOTE)
    assert table.sessions[slot].rate_hz == 20


def test_two_strikes_end_a_session_and_any_word_from_the_client_forgives_them() -> None:
    table = make()
    slot = connect(table, ("127.0.0.1", 5000))
    for _ in range(STRIKES_TO_END - 1):
        assert not table.strike(slot)
    table.heard(slot, 0)
    outcomes = [table.strike(slot) for _ in range(STRIKES_TO_END)]
    assert outcomes == [False] * (STRIKES_TO_END - 1) + [True]


def test_a_full_table_serves_nobody_else() -> None:
    table = make(max_sessions=2)
    connect(table, ("127.0.0.1", 5000))
    connect(table, ("127.0.0.1", 5001))
    assert table.connect(("127.0.0.1", 5002), NOWHERE, 0, Connect(), LOOPBACK, 0, 0) is None
    assert connect(table, ("127.0.0.1", 5001)) == 1, "a renewal needs no room"


def test_a_response_carries_the_colour_that_it_answers() -> None:
    table = make()
    slot = connect(table, ("127.0.0.1", 5000))
    slots = np.array([slot], np.int32)
    table.recent.put(slots, table.issue(slots, 10), np.array([[255, 0, 0]], np.uint8))
    table.respond(slot, "merah", 1_000_010, 0)
    body = session_body(table, slot, 0)
    assert body["responses"] == [{"text": "merah", "colour": "red", "answered_after_ms": 1.0, "unix_ms": 0}]


def test_only_so_many_responses_are_kept() -> None:
    table = make()
    slot = connect(table, ("127.0.0.1", 5000))
    for number in range(100):
        table.respond(slot, str(number), 0, 0)
    assert [response.text for response in table.sessions[slot].responses] == ["96", "97", "98", "99"]


@pytest.mark.parametrize("rate_hz", [0.01, 1.0, 1000.0])
def test_the_first_datagram_comes_within_a_second_whatever_the_rate(rate_hz: float) -> None:
    table = make(max_sessions=100)
    for port in range(100):
        slot = connect(table, ("127.0.0.1", 5000 + port), Connect(measured=True, rate_hz=rate_hz))
        assert 0 <= table.due_ns[slot] < NS_PER_S


class Sessions(RuleBasedStateMachine):
    """The table against a dictionary: every index agrees with every other after any order of events."""

    def __init__(self) -> None:
        super().__init__()
        self.table = make(max_sessions=5)
        self.model: dict[Address, bool] = {}

    addresses = st.tuples(st.sampled_from(["127.0.0.1", "192.0.2.1"]), st.integers(5000, 5006))

    @rule(address=addresses, measured=st.booleans())
    def connects(self, address: Address, measured: bool) -> None:
        terms = LOOPBACK if address[0] == "127.0.0.1" else REMOTE
        served = self.table.connect(address, NOWHERE, 0, Connect(measured=measured), terms, 0, 0)
        if address in self.model or len(self.model) < 5:
            assert served is not None
            assert served[1] == (self.model.get(address) != measured)
            self.model[address] = measured
        else:
            assert served is None

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def ends(self, data: st.DataObject) -> None:
        address = data.draw(st.sampled_from(sorted(self.model)))
        self.table.end(self.table.slot_of_address[address])
        del self.model[address]

    @invariant()
    def indexes_agree(self) -> None:
        table = self.table
        assert set(table.slot_of_address) == set(self.model)
        assert set(table.slot_of_address.values()) == set(table.sessions) == set(table.slot_of_id.values())
        assert table.remote == sum(address[0] != "127.0.0.1" for address in self.model)
        for host in ("127.0.0.1", "192.0.2.1"):
            assert table.sessions_of(host) == sum(address[0] == host for address in self.model)
        due = table.due(NEVER_NS - 1).tolist()
        assert set(due) == set(table.sessions), "who has a session is due, and nobody else"
        for address, measured in self.model.items():
            assert table.sessions[table.slot_of_address[address]].encoding.measured == measured


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_a_host_s_sessions_are_counted_until_they_end() -> None:
    table = make()
    slots = [connect(table, ("127.0.0.1", port)) for port in (5000, 5001)]
    connect(table, ("127.0.0.2", 5000))
    assert (table.sessions_of("127.0.0.1"), table.sessions_of("127.0.0.9")) == (2, 0)
    table.end(slots[0])
    assert table.sessions_of("127.0.0.1") == 1


def test_a_session_id_that_is_zero_or_taken_is_drawn_again() -> None:
    ids = iter([7, 0, 7, 9])
    table = SessionTable(4, 10, 4, lambda: next(ids))
    slots = [connect(table, ("127.0.0.1", port)) for port in (5000, 5001)]
    assert table.session_id[slots].tolist() == [7, 9]


def test_ticks_beyond_the_next_one_are_overdue() -> None:
    table = make(rate_hz=10)
    slot = connect(table, ("127.0.0.1", 5000))
    due_ns = int(table.due_ns[slot])
    assert table.overdue(due_ns - 1) == 0
    assert table.overdue(due_ns) == 0
    assert table.overdue(due_ns + 3 * NS_PER_S // 10) == 3


def test_grace_lengthens_leases_that_end_within_it_and_shortens_none() -> None:
    table = make()
    short = connect(table, ("192.0.2.1", 5000), terms=REMOTE)
    long = connect(table, ("127.0.0.1", 5000))
    table.give_grace(90 * NS_PER_S)
    assert table.expired(89 * NS_PER_S).tolist() == []
    assert table.expired(90 * NS_PER_S).tolist() == [short]
    assert table.lease_deadline_ns[long] == NEVER_NS
