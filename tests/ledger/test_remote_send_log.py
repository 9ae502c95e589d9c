"""What a colour server tells other nodes of their clients' sessions."""

from __future__ import annotations

import numpy as np
import pytest

from udprism.columns.types import NEVER_NS
from udprism.ledger import remote_send_log
from udprism.ledger.fates import Cause
from udprism.ledger.remote_send_log import RemoteSendLog, Word, decode, encode
from udprism.ledger.send_log import CORRUPT, FateReport

EAST, WEST = "n-00000001", "n-00000002"
NOTHING_HELD = (1000, -NEVER_NS)


def asked(of: RemoteSendLog, node: str = EAST, since: int = 0, named: int = 0) -> Word:
    return of.word(node, "i", since, named, np.arange(100, 110, dtype=np.int64), NOTHING_HELD)


def served() -> RemoteSendLog:
    """East's clients in slots 0 and 1, West's in 2, somebody's in 3."""
    of = RemoteSendLog(10)
    for slot, asker in enumerate((f"{EAST}.c-a", f"{EAST}.c-b", f"{WEST}.c-a", None)):
        of.connected(slot, 50 + slot, asker)
    return of


def report(of: RemoteSendLog, slot: int, *numbers: int, session_id: int | None = None, cause: int = Cause.LINK) -> None:
    ids = np.full(len(numbers), 50 + slot if session_id is None else session_id, np.uint32)
    of.report(FateReport.of(np.full(len(numbers), slot, np.int32), ids, np.array(numbers, np.int64), cause))


def fates(word: Word) -> list[tuple[int, int, int]]:
    columns = word.fate_session.tolist(), word.fate_number.tolist(), word.fate_cause.tolist()
    return list(zip(*columns, strict=True))


def test_each_node_hears_of_its_own_clients_and_of_no_others() -> None:
    of = served()
    report(of, 0, 7, 9)
    report(of, 2, 8, cause=Cause.SENDER_KERNEL)
    report(of, 3, 6)
    assert of.nodes == [EAST, WEST]
    east, west = asked(of), asked(of, WEST)
    assert east.names == {50: "c-a", 51: "c-b"}
    assert (east.session_id.tolist(), east.issued.tolist()) == ([50, 51], [100, 101])
    assert fates(east) == [(50, 7, Cause.LINK), (50, 9, Cause.LINK)]
    assert fates(west) == [(52, 8, Cause.SENDER_KERNEL)]
    assert of.kept == 3


def test_an_asker_goes_on_where_it_has_heard_and_may_ask_again() -> None:
    of = served()
    report(of, 0, 1, 2)
    first = asked(of)
    report(of, 1, 3, cause=CORRUPT)
    second = asked(of, since=first.next, named=first.named)
    assert (fates(second), second.names) == ([(51, 3, CORRUPT)], {})
    assert fates(asked(of, since=first.next)) == fates(second)
    assert fates(asked(of, since=1)) == [(50, 2, Cause.LINK), (51, 3, CORRUPT)]
    assert fates(asked(of, since=second.next)) == []


def test_a_session_that_has_ended_is_told_of_once_more_with_what_is_reported_of_it_later() -> None:
    of = served()
    before = asked(of)
    of.end(0, 77)
    report(of, 0, 5)
    word = asked(of, since=before.next, named=before.named)
    assert word.ended == [50]
    assert (word.session_id.tolist(), word.issued.tolist()) == ([51, 50], [101, 77])
    assert fates(word) == [(50, 5, Cause.LINK)]
    report(of, 0, 4)  # it was held back until now
    assert fates(asked(of, since=word.next, named=word.named)) == [(50, 4, Cause.LINK)]
    of.connected(0, 60, None)
    word = asked(of)
    report(of, 0, 6, session_id=60)
    assert fates(asked(of, since=word.next)) == []


def test_a_session_that_another_client_renews_is_that_one_s() -> None:
    of = served()
    named = asked(of).named
    of.connected(0, 50, f"{WEST}.c-z")
    assert asked(of, named=named).session_id.tolist() == [51]
    assert asked(of, WEST, named=named).names == {50: "c-z"}


def test_too_many_fates_push_the_oldest_out_which_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_send_log, "MAX_KEPT", 4)
    of = served()
    for number in range(6):
        report(of, 0, number)
    word = asked(of)
    assert word.oldest == 2
    assert [number for _, number, _ in fates(word)] == [2, 3, 4, 5]


def test_a_long_answer_goes_in_pieces_and_only_the_last_says_that_it_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_send_log, "MAX_TOLD", 2)
    of = served()
    for number in range(3):
        report(of, 0, number)
    first = asked(of)
    assert ([number for _, number, _ in fates(first)], first.left_until_ns) == ([0, 1], 0)
    second = asked(of, since=first.next)
    assert ([number for _, number, _ in fates(second)], second.left_until_ns) == ([2], 1000)


def test_an_answer_survives_its_journey_and_a_damaged_one_is_refused() -> None:
    of = served()
    report(of, 0, 7)
    data = encode(asked(of))
    word = decode(data)
    assert (word.names, word.session_id.tolist(), fates(word)) == ({50: "c-a", 51: "c-b"}, [50, 51], [(50, 7, 1)])
    for damaged in (
        b"",
        b"{}\n",
        data[:-1],
        data + b"x",
        data[:-1] + b"\x09",
        data.replace(b'"next": 1', b'"next": "'),
    ):
        with pytest.raises(ValueError, match="no word of a node"):
            decode(damaged)


def test_a_renewal_by_the_same_client_tells_its_name_no_second_time() -> None:
    of = served()
    named = asked(of).named
    of.connected(0, 50, f"{EAST}.c-a")
    assert asked(of, named=named).names == {}


def test_a_session_that_a_stranger_takes_over_is_told_of_no_more() -> None:
    of = served()
    of.connected(2, 52, None)
    report(of, 2, 5)
    assert of.nodes == [EAST]
    assert asked(of, WEST).session_id.tolist() == []
    assert of.kept == 0


def test_a_node_without_clients_here_is_served_no_more() -> None:
    of = served()
    of.end(2, 7)
    assert of.nodes == [EAST]
    assert asked(of, WEST).ended == [52]


@pytest.mark.parametrize("said", [b'"1"', b"1.0", b"true", b"null"])
def test_a_count_that_is_no_integer_is_refused(said: bytes) -> None:
    data = encode(asked(served()))
    with pytest.raises(ValueError, match="numbers"):
        decode(data.replace(b'"next": 0', b'"next": ' + said))
