"""Hosted clients' table: attempts, timers, silence, the roster. No socket, no sleep."""

from __future__ import annotations

import numpy as np

from support.ledgers import slots_of
from udprism.columns.types import NEVER_NS, NS_PER_S
from udprism.serving.clients import (
    MAX_PROBERS,
    UNANSWERED_BEFORE_FALLBACK,
    ClientTable,
    HostedClient,
    Mode,
    State,
)


def client(number: int) -> HostedClient:
    return HostedClient(
        id=f"c-{number}",
        name=f"client-{number:03d}",
        target="127.0.0.1:12345",
        address=("127.0.0.1", 12345),
        loopback=True,
        mode=Mode.AUTO,
        rate_hz=10,
        colours=1,
        connected=True,
    )


def test_only_live_clients_fall_silent_and_only_after_their_own_time() -> None:
    table = ClientTable(4)
    quick, slow, paused = (table.add(client(number), 2 * NS_PER_S, 0) for number in range(3))
    table.state[[quick, slow]] = State.LIVE
    table.state[paused] = State.PAUSED
    table.last_arrival_ns[[quick, slow, paused]] = 10 * NS_PER_S
    table.silent_after_ns[slow] = 300 * NS_PER_S
    assert table.fell_silent(12 * NS_PER_S).tolist() == []
    assert table.fell_silent(12 * NS_PER_S + 1).tolist() == [quick]


def test_a_removed_slot_is_free_again_and_has_no_timer() -> None:
    table = ClientTable(2)
    slot = table.add(client(1), NS_PER_S, 5)
    assert table.due(5).tolist() == [slot]
    table.remove(slot)
    assert table.next_timer_ns() == NEVER_NS
    assert table.state[slot] == State.FREE
    assert table.add(client(2), NS_PER_S, 5) == slot


def test_the_roster_version_grows_with_every_change() -> None:
    table = ClientTable(4)
    versions = [table.roster_version]
    slot = table.add(client(1), NS_PER_S, 0)
    versions.append(table.roster_version)
    table.touch([slot])
    versions.append(table.roster_version)
    table.remove(slot)
    versions.append(table.roster_version)
    assert versions == sorted(set(versions))
    assert list(table.removals) == [(versions[-1], slot)]


def table_of(count: int, *, silent: int = 0) -> ClientTable:
    """Clients of one target, all with a socket; the last `silent` ones have tried and had no answer."""
    table = ClientTable(count)
    for number in range(count):
        table.add(client(number), 2 * NS_PER_S, 0)
    table.has_socket[:] = True
    table.state[count - silent :] = State.SILENT
    return table


def test_a_new_name_finds_the_client_and_the_old_one_does_not() -> None:
    table = table_of(1)
    table.rename(0, "lamp")
    assert (table.slot_of_name, table.clients[0].name, len(table)) == ({"lamp": 0}, "lamp", 1)


def test_those_who_wait_for_one_target_are_found_by_any_of_them() -> None:
    table = table_of(5)
    table.target[4] += 1
    table.state[1] = State.LIVE
    table.timer_ns[2] = NEVER_NS
    assert table.waiting(slots_of(0)).tolist() == [0, 3]
    assert table.waiting(slots_of(4)).tolist() == [4]


def test_of_thousands_that_wait_for_one_target_only_some_ask() -> None:
    table = table_of(MAX_PROBERS + 8, silent=MAX_PROBERS + 8)
    every = np.arange(len(table), dtype=np.int32)
    assert np.flatnonzero(table.held_back(every, 0)).tolist() == list(range(MAX_PROBERS, MAX_PROBERS + 8))
    table.state[0], table.last_arrival_ns[0] = State.LIVE, 10 * NS_PER_S
    assert not table.held_back(every, 10 * NS_PER_S).any(), "their target is heard"
    assert not table.held_back(slots_of(0), 0).any(), "one with a stream asks nothing"
    few = table_of(3, silent=3)
    assert not few.held_back(np.arange(3, dtype=np.int32), 0).any()


def test_the_first_two_tries_are_a_client_s_own() -> None:
    table = table_of(MAX_PROBERS + 8)
    every = np.arange(len(table), dtype=np.int32)
    assert not table.held_back(every, 0).any()
    table.attempts[:] = UNANSWERED_BEFORE_FALLBACK
    assert table.held_back(every, 0).sum() == 8


def test_a_target_speaks_measured_if_another_client_has_such_a_stream_of_it() -> None:
    table = table_of(4)
    table.target[3] += 1
    every = np.arange(4, dtype=np.int32)
    assert table.speak_measured(every).tolist() == [False] * 4
    table.state[0], table.stream[0] = State.LIVE, Mode.MEASURED
    assert table.speak_measured(every).tolist() == [True, True, True, False]
    assert table.speak_measured(slots_of(0)).tolist() == [False], "it has its own"
