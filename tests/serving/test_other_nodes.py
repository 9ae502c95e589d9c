"""What other nodes tell of their sends, taken into the ledger of hosted clients."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from support.ledgers import START_NS, UNIX_NS, no_drops
from udprism.columns.types import NEVER_NS, NS_PER_MS, NS_PER_S
from udprism.ledger import remote_send_log
from udprism.ledger.fates import Cause
from udprism.ledger.history import History
from udprism.ledger.latest import Latest
from udprism.ledger.ledger import Ledger
from udprism.ledger.rates import Rates
from udprism.ledger.remote_send_log import RemoteSendLog
from udprism.ledger.send_log import CORRUPT, FateReport
from udprism.ledger.timeline import Timeline, ledger_totals
from udprism.serving import other_nodes
from udprism.serving.book import ClientColumns
from udprism.serving.clients import ClientTable, HostedClient, Mode
from udprism.serving.other_nodes import OtherNodes

EAST = "n-00000001"


class Play:
    """One hosted client here, its session at a remote send log."""

    def __init__(self) -> None:
        self.ledger = Ledger(4, window=64, loss_after_ns=NS_PER_S, loss_after_arrivals=16)
        timeline = Timeline(4, START_NS, partial(ledger_totals, self.ledger), keep_flows=False)
        self.columns = ClientColumns(ClientTable(4), self.ledger, History(4), Rates(4), Latest(4), timeline)
        client = HostedClient("c-a", "a", "far", ("127.0.0.1", 9), True, Mode.MEASURED, 10.0, 1, True, True)
        self.slot = self.columns.table.add(client, NS_PER_S, START_NS)
        self.column = np.array([self.slot], np.int32)
        self.columns.reset(self.column, START_NS)
        self.there = RemoteSendLog(4)
        self.next_sequence = np.zeros(4, np.int64)
        self.nodes = OtherNodes(self.columns, no_drops)
        self.instance = "first"

    def session(self, session_id: int, slot: int = 0) -> None:
        """Begins there."""
        self.there.connected(slot, session_id, f"{EAST}.c-a")

    def adopt(self, session_id: int) -> None:
        """Its first datagram has come here."""
        no = np.array([False])
        self.ledger.begin_session(self.column, no, no, np.array([session_id], np.uint32))

    def take(self, *numbers: int, now_ns: int = START_NS) -> None:
        count = len(numbers)
        received = np.full(count, UNIX_NS + now_ns)
        slots = np.full(count, self.slot, np.int32)
        self.ledger.update(slots, np.array(numbers, np.uint32), received - NS_PER_MS, received, now_ns)

    def drop(self, session_id: int, *numbers: int, slot: int = 0, cause: int = Cause.LINK) -> None:
        slots, ids = np.full(len(numbers), slot, np.int32), np.full(len(numbers), session_id, np.uint32)
        self.there.report(FateReport.of(slots, ids, np.array(numbers, np.int64), cause))

    def ask(self, *issued: int, left_until_ns: int = 1000, released_by_ns: int = -NEVER_NS) -> None:
        """issued: by slot there."""
        self.next_sequence[: len(issued)] = issued
        wanted = self.nodes.wanted(EAST)
        since, named = (0, 0) if wanted["instance"] != self.instance else (wanted["since"], wanted["named"])
        times_ns = left_until_ns, released_by_ns
        self.nodes.hear(EAST, self.there.word(EAST, self.instance, since, named, self.next_sequence, times_ns))

    def causes(self, after_s: float) -> dict[str, int]:
        for later_s in (0, 1.5, 3):
            self.ledger.expire(START_NS + round((after_s + later_s) * NS_PER_S), no_drops, 0)
        rows = self.ledger.lost_by_cause[:, self.slot]
        return {cause.name.lower(): int(rows[cause]) for cause in Cause if rows[cause]}


def test_what_never_left_there_is_the_link_s_and_the_rest_is_the_path_s() -> None:
    play = Play()
    play.session(7)
    play.drop(7, 0)  # told before the client has heard anything
    play.ask(1)
    play.adopt(7)
    play.take(2, 5)
    play.drop(7, 3)
    assert play.causes(2) == {"unknown_path": 4}
    play.ask(6)
    assert play.nodes.told == 1
    assert play.causes(4) == {"link": 2, "path": 2}
    assert play.ledger.body(play.slot)["sent"] == 6


def test_what_the_link_there_still_holds_is_not_put_down_to_the_path() -> None:
    play = Play()
    play.session(7)
    play.adopt(7)
    play.take(0, 2)
    play.ask(3, left_until_ns=100, released_by_ns=500)
    assert play.causes(2) == {"awaiting": 1}
    play.ask(3, left_until_ns=500, released_by_ns=900)
    assert play.causes(2) == {"awaiting": 1}
    play.drop(7, 1)
    play.ask(3, left_until_ns=501, released_by_ns=900)
    assert play.causes(2) == {"link": 1}


def test_a_node_that_begins_anew_leaves_no_loss_waiting() -> None:
    play = Play()
    play.session(7)
    play.adopt(7)
    play.take(0, 2)
    play.ask(1)
    assert play.causes(2) == {"awaiting": 1}
    play.there, play.instance = RemoteSendLog(4), "second"
    play.session(9)
    play.ask(0)
    assert play.causes(4) == {"unknown_path": 1}
    assert play.nodes.told == 0


def test_a_client_s_earlier_session_is_told_of_too() -> None:
    play = Play()
    play.session(7)
    play.adopt(7)
    play.take(0, 4)
    play.ask(1)
    play.session(8, slot=1)
    play.adopt(8)
    play.drop(7, 2)
    play.there.end(0, 5)
    play.ask(0)
    assert play.causes(4) == {"link": 1, "path": 2}
    assert play.ledger.past.told() == {}


def test_somebody_else_s_session_is_no_client_s() -> None:
    play = Play()
    play.there.connected(0, 7, f"{EAST}.c-b")
    play.session(9, slot=1)
    play.adopt(7)
    play.take(0, 2)
    play.ask(3)
    assert play.nodes.told == 0
    assert play.causes(2) == {"unknown_path": 1}


def test_fates_that_were_forgotten_there_make_causes_unknown() -> None:
    play = Play()
    play.session(7)
    play.adopt(7)
    play.ask(0)
    play.take(0, 2)
    word = play.there.word(EAST, "first", 0, 0, np.full(4, 3), (1000, -NEVER_NS))
    play.nodes.hear(EAST, word._replace(oldest=5, next=5))
    assert play.nodes.missing == 1
    assert play.causes(2) == {"unknown_path": 1}


def test_a_damaged_datagram_is_the_link_s() -> None:
    play = Play()
    play.session(7)
    play.adopt(7)
    play.take(0, 2)
    play.drop(7, 1, cause=CORRUPT)
    play.ask(3)
    assert play.causes(2) == {"link": 1}


def play_with_two_sessions() -> Play:
    """Of session 7 numbers 1, 2 and 3 are lost; the client has gone on to session 8, and 7 goes on there."""
    play = Play()
    play.session(7)
    play.adopt(7)
    play.take(0, 4)
    play.ask(1)
    play.session(8, slot=1)
    play.adopt(8)
    return play


def test_damage_in_an_earlier_session_is_no_word_of_a_loss() -> None:
    play = play_with_two_sessions()
    play.drop(7, 1, cause=CORRUPT)
    play.drop(7, 2)
    play.there.end(0, 5)
    play.ask(0)
    assert play.causes(4) == {"link": 1, "path": 2}


def test_a_node_that_begins_anew_says_no_more_of_earlier_sessions() -> None:
    play = play_with_two_sessions()
    play.ask(1, 0)
    assert play.causes(2) == {}
    assert play.ledger.past.told() == {7: 5}
    play.there, play.instance = RemoteSendLog(4), "second"
    play.ask(0)
    assert play.causes(8) == {"unknown_path": 3}
    assert play.ledger.past.told() == {}


def test_fates_of_an_earlier_session_that_were_forgotten_there_make_its_causes_unknown() -> None:
    play = play_with_two_sessions()
    play.ask(1)
    word = play.there.word(EAST, "first", 0, 0, np.array([5, 0, 0, 0]), (1000, -NEVER_NS))
    play.nodes.hear(EAST, word._replace(oldest=5, next=5))
    assert play.causes(4) == {"unknown_path": 3}
    assert play.ledger.past.told() == {}


def test_an_earlier_session_that_was_forgotten_there_unsaid_has_no_known_causes() -> None:
    play = play_with_two_sessions()
    play.ask(1, 0)
    play.there = RemoteSendLog(4)
    play.session(8, slot=1)
    play.ask(0, 0)
    assert play.causes(4) == {"unknown_path": 3}
    assert play.ledger.past.told() == {}


@pytest.mark.parametrize("moves_on", [False, True])
def test_what_is_held_back_of_a_session_that_is_over_is_awaited(moves_on: bool) -> None:
    play = Play()
    play.session(7)
    play.adopt(7)
    play.take(0, 4)
    play.ask(2, left_until_ns=100, released_by_ns=500)
    play.there.end(0, 5)
    if moves_on:
        play.session(8, slot=1)
        play.adopt(8)
    play.ask(0, 0, left_until_ns=200, released_by_ns=900)  # says that 7 is over
    assert play.causes(2) == ({} if moves_on else {"awaiting": 3})
    play.ask(0, 0, left_until_ns=501, released_by_ns=900)
    assert play.causes(8) == ({} if moves_on else {"path": 1, "awaiting": 2})
    play.drop(7, 3)
    play.ask(0, 0, left_until_ns=901, released_by_ns=-NEVER_NS)
    assert play.causes(14) == {"link": 1, "path": 2}
    assert play.ledger.past.told() == {}


def test_of_a_session_of_which_nothing_is_open_nothing_more_is_heard() -> None:
    play = Play()
    play.session(7)
    play.adopt(7)
    play.take(0, 1)
    play.ask(2)
    play.session(8, slot=1)
    play.adopt(8)
    play.take(0)
    play.ask(2, 1)
    play.drop(7, 5)
    play.ask(2, 1)
    assert play.causes(2) == {}
    assert play.nodes.told == 1


def test_a_client_that_was_forgotten_meanwhile_disturbs_nothing() -> None:
    play = play_with_two_sessions()
    play.ask(1)
    play.columns.reset(play.column, START_NS)
    play.there.end(0, 5)
    play.ask(0)
    assert play.causes(2) == {}


def test_too_many_fates_before_the_first_datagram_make_causes_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_nodes, "MAX_EARLY", 2)
    play = Play()
    play.session(7)
    play.drop(7, 0, 1, 2)
    play.ask(3)
    play.adopt(7)
    play.take(3)
    play.ask(4)
    assert play.causes(2) == {"unknown_path": 3}


def test_a_session_that_ended_before_its_first_datagram_came_takes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_nodes, "MAX_EARLY", 2)
    play = Play()
    play.session(7)
    play.drop(7, 0, 1)
    play.ask(2)
    play.there.end(0, 2)
    play.session(8, slot=1)
    play.ask(0)
    play.ask(0)  # 7 is told of no more
    play.drop(8, 0, 1, slot=1)
    play.ask(2)
    play.adopt(8)
    play.take(2)
    play.ask(3)
    assert play.causes(2) == {"link": 2}


def test_nothing_is_put_down_to_the_path_while_more_is_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_send_log, "MAX_TOLD", 1)
    play = Play()
    play.session(7)
    play.adopt(7)
    play.take(0, 3)
    play.drop(7, 1)
    play.drop(7, 2)
    play.ask(4)
    assert play.causes(2) == {"link": 1, "awaiting": 1}
    play.ask(4)
    assert play.causes(4) == {"link": 2}
