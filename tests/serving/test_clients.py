"""Hosted clients' table: attempts, timers, silence, the roster. No socket, no sleep."""

from __future__ import annotations

from udprism.columns.types import NEVER_NS, NS_PER_S
from udprism.serving.clients import ClientTable, HostedClient, Mode, State


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
