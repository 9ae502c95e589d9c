"""What the server of the same process says of its own sends, in the ledger of its clients. No socket, no thread."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from itertools import count

import numpy as np

from support.ledgers import START_NS, UNIX_NS, closes, no_drops, slots_of, take
from udprism.columns.arrivals import SOCKADDR_BYTES
from udprism.columns.types import NS_PER_S, Address
from udprism.ledger.fates import NEW, Cause
from udprism.ledger.history import History
from udprism.ledger.latest import Latest
from udprism.ledger.ledger import Ledger
from udprism.ledger.rates import Rates
from udprism.ledger.send_log import CORRUPT, FateReport, SendLog
from udprism.ledger.timeline import Timeline, ledger_totals
from udprism.serving.book import ClientColumns
from udprism.serving.clients import ClientTable, HostedClient, Mode, State
from udprism.serving.commands import Connect
from udprism.serving.own_server import OwnServer
from udprism.serving.sessions import ServiceTerms, SessionTable

CLIENTS = 3
MEASURED = Connect(measured=True)
LONG_AGO_NS = START_NS + 60 * NS_PER_S


def client_columns() -> ClientColumns:
    ledger = Ledger(CLIENTS, window=64, loss_after_ns=NS_PER_S, loss_after_arrivals=16)
    timeline = Timeline(CLIENTS, START_NS, partial(ledger_totals, ledger), keep_flows=True)
    return ClientColumns(ClientTable(CLIENTS), ledger, History(CLIENTS, 64), Rates(CLIENTS), Latest(CLIENTS), timeline)


@dataclass
class Process:
    """The server's sessions and the clients' columns, with the send log between them."""

    sessions: SessionTable = field(default_factory=lambda: SessionTable(4, 10, 4, count(11).__next__))
    columns: ClientColumns = field(default_factory=client_columns)
    send_log: SendLog = field(init=False)
    own: OwnServer = field(init=False)

    def __post_init__(self) -> None:
        table = self.sessions
        self.send_log = SendLog(
            table.session_id, table.next_sequence, table.slot_of_id, table.slot_of_address, table.ended, 8
        )
        self.own = OwnServer(self.columns, self.send_log)

    @property
    def ledger(self) -> Ledger:
        return self.columns.ledger

    def host(self, number: int, mode: Mode = Mode.AUTO, *, falls_back: bool = False) -> int:
        """A hosted client that asks, from the local port 5000 + number."""
        local = address_of(number)
        one = HostedClient(
            f"c-{number}", f"n-{number}", "", local, True, mode, 10, 1, True, falls_back=falls_back, local=local
        )
        slot = self.columns.table.add(one, 3 * NS_PER_S, START_NS)
        self.columns.reset(slots_of(slot), START_NS)
        return slot

    def serve(self, number: int) -> int:
        """The server opens a session for that client; returns its id."""
        terms = ServiceTerms("loopback", None, None)
        served = self.sessions.connect(address_of(number), np.zeros(SOCKADDR_BYTES, np.uint8), 0, MEASURED, terms, 0, 0)
        assert served is not None
        return int(self.sessions.session_id[served[0]])

    def begin(self, slot: int, session_id: int) -> None:
        """The client takes up this session, as the pool does it."""
        self.columns.table.session_id[slot] = session_id
        slots, ids = slots_of(slot), np.array([session_id], np.uint32)
        where = self.own.find(slots, ids)
        self.ledger.begin_session(slots, where >= 0, np.array([True]), ids)
        self.own.begun(slots, where)

    def send(self, session_id: int, times: int = 1) -> None:
        for _ in range(times):
            self.sessions.issue(np.array([self.sessions.slot_of_id[session_id]], np.int32), 0)

    def end(self, session_id: int) -> None:
        self.sessions.end(self.sessions.slot_of_id[session_id])

    def say(self, server_slot: int, session_id: int, *rows: tuple[int, int]) -> None:
        """The server's thread reports (number, cause) of one of its sessions."""
        count = len(rows)
        self.send_log.report(
            FateReport(
                np.full(count, server_slot, np.int32),
                np.full(count, session_id, np.uint32),
                np.array([number for number, _ in rows], np.int64),
                np.array([cause for _, cause in rows], np.uint8),
            )
        )

    def hear(self) -> None:
        """All that was said, in the pool's order."""
        reports = self.own.take_reports()
        self.own.hear_issued()
        self.own.hear_fates(reports)

    def settle(self) -> None:
        """So late that nothing can come any more."""
        for now_ns in (LONG_AGO_NS, LONG_AGO_NS + 2 * NS_PER_S):
            self.ledger.expire(now_ns, no_drops, 0)

    def causes(self, slot: int = 0) -> dict[str, int]:
        return {
            one.name.lower(): int(self.ledger.lost_by_cause[one, slot])
            for one in Cause
            if self.ledger.lost_by_cause[one, slot]
        }


def address_of(number: int) -> Address:
    return "127.0.0.1", 5000 + number


def served() -> tuple[Process, int]:
    """One client of the server, with a session whose numbers count."""
    process = Process()
    process.host(0)
    session_id = process.serve(0)
    process.begin(0, session_id)
    return process, session_id


def test_a_number_that_never_left_is_lost_for_the_cause_that_was_said() -> None:
    process, session_id = served()
    process.send(session_id, 5)
    process.say(0, session_id, (1, Cause.LINK))
    process.say(0, session_id, (3, Cause.SENDER_KERNEL))
    take(process.ledger, 0, 2, 4)
    process.hear()
    assert (process.ledger.sent_of(slots_of(0))[0], process.ledger.received[0]) == (5, 3)
    assert process.causes() == {"link": 1, "sender_kernel": 1}
    assert closes(process.ledger)


def test_what_left_damaged_counts_as_corrupt_once_it_has_come() -> None:
    process, session_id = served()
    process.send(session_id, 2)
    process.say(0, session_id, (0, CORRUPT))
    take(process.ledger, 0)
    process.hear()
    process.hear()
    assert process.ledger.corrupt[0] == 1


def test_a_damaged_datagram_that_comes_after_its_report_counts_although_nothing_is_reported_any_more() -> None:
    process, session_id = served()
    process.send(session_id, 1)
    process.say(0, session_id, (0, CORRUPT))
    process.hear()
    assert process.ledger.corrupt[0] == 0
    take(process.ledger, 0)
    process.hear()
    assert process.ledger.corrupt[0] == 1


def test_a_session_of_which_its_client_has_heard_nothing_is_found_by_the_client_s_address() -> None:
    process = Process()
    waits, plain, elsewhere = process.host(0), process.host(1, Mode.PLAIN), process.host(2, falls_back=True)
    assert process.own.unheard()[0].tolist() == []
    ids = [process.serve(number) for number in range(3)]
    slots, found = process.own.unheard()
    assert (slots.tolist(), found.tolist()) == ([waits], ids[:1])
    process.begin(waits, ids[0])
    assert process.own.unheard()[0].tolist() == []
    process.columns.table.state[[plain, elsewhere]] = State.PAUSED
    process.own.forget(slots_of(waits))
    assert process.own.unheard()[0].tolist() == [], "the very session that it has"


def test_a_session_id_of_another_client_is_not_the_server_s_word_on_this_one() -> None:
    process, session_id = served()
    stranger = process.host(1)
    assert process.own.serves(0, session_id)
    assert not process.own.serves(stranger, session_id)
    assert not process.own.serves(0, 99)
    both = np.array([session_id, session_id], np.uint32)
    assert process.own.find(slots_of(0, stranger), both).tolist() == [0, -1]


def test_numbers_that_were_issued_before_the_end_count_as_sent_and_those_of_the_next_do_not() -> None:
    process, session_id = served()
    process.send(session_id, 4)
    take(process.ledger, 0, 1)
    process.end(session_id)
    process.hear()
    process.hear()  # nothing more is said of it
    assert process.ledger.sent_of(slots_of(0))[0] == 4
    process.settle()
    assert (process.ledger.received[0], process.ledger.lost[0]) == (2, 2)
    assert closes(process.ledger)


def test_what_is_said_of_a_session_that_its_client_has_left_goes_to_that_one() -> None:
    process, first = served()
    process.send(first, 6)
    take(process.ledger, 0, 1)
    process.end(first)
    second = process.serve(0)
    process.say(0, first, (2, Cause.LINK), (3, CORRUPT))
    process.begin(0, second)
    process.send(second, 1)
    process.say(0, second, (0, Cause.LINK))
    process.hear()
    assert process.causes() == {"link": 2}
    assert process.ledger.past.take(0, first, 3) == NEW
    assert process.ledger.corrupt[0] == 1
    process.hear()
    process.settle()
    assert process.causes() == {"link": 2, "unexplained": 2}
    assert list(process.ledger.past.in_process()) == []
    assert closes(process.ledger)


def test_a_session_that_still_goes_on_at_the_server_may_be_issued_more() -> None:
    process, first = served()
    process.send(first, 2)
    process.ledger.begin_session(slots_of(0), np.array([False]), np.array([True]), np.array([99], np.uint32))
    process.send(first, 3)
    process.hear()
    assert process.ledger.sent_of(slots_of(0))[0] == 5
    assert list(process.ledger.past.in_process()) == [first]


def test_another_client_s_session_in_the_server_s_slot_takes_no_report_of_the_earlier_one() -> None:
    process, first = served()
    other = process.host(1)
    process.send(first, 3)
    take(process.ledger, 0)
    process.end(first)
    second = process.serve(1)
    assert process.sessions.slot_of_id[second] == 0, "the same slot of the server"
    process.begin(other, second)
    process.send(second, 2)
    process.say(0, first, (1, Cause.LINK))
    process.say(0, second, (0, Cause.SENDER_KERNEL))
    process.hear()
    assert (process.causes(0), process.causes(other)) == ({"link": 1}, {"sender_kernel": 1})
    process.say(0, 99, (0, Cause.LINK))  # nobody's
    process.hear()
    assert (process.causes(0), process.causes(other)) == ({"link": 1}, {"sender_kernel": 1})


def test_the_ledger_asks_how_many_numbers_there_were_when_a_session_ends_at_the_client() -> None:
    process, first = served()
    process.send(first, 3)
    process.end(first)
    process.begin(0, process.serve(0))
    assert process.ledger.sent_of(slots_of(0))[0] == 3


def test_a_link_s_time_is_the_witness_s() -> None:
    process, _ = served()
    process.send_log.hold_ns, process.send_log.next_release_ns = 7, UNIX_NS
    assert (process.own.hold_ns, process.own.left_until_ns) == (7, UNIX_NS)


def test_a_session_that_another_is_about_to_replace_is_asked_for_later() -> None:
    process, first = served()
    process.send(first, 2)
    process.ledger.begin_session(slots_of(0), np.array([False]), np.array([True]), np.array([99], np.uint32))
    process.send(first, 3)
    process.sessions.session_id[0] = 77  # the server's thread is between its columns and its index
    process.hear()
    assert process.ledger.sent_of(slots_of(0))[0] == 2
    process.sessions.session_id[0] = first
    process.hear()
    assert process.ledger.sent_of(slots_of(0))[0] == 5
