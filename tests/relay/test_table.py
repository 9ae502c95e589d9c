"""Who becomes a flow: bounds, networks, and clients that are told apart by all of their address."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator

import numpy as np
import pytest

from udprism.columns.types import NS_PER_S, Rows
from udprism.relay.memory import Count, Memory, State, Sum
from udprism.relay.table import IDLE_ENOUGH_NS, NEW_FLOWS_A_SECOND, PORT_KEPT_NS, Table
from udprism.udp.sockets import sockaddr_row

NOW_NS = 1_000 * NS_PER_S


@pytest.fixture
def memory() -> Iterator[Memory]:
    file, memory = Memory.create(200)
    yield memory
    os.close(file)


def table_of(memory: Memory, network: str = "10.0.0.0/8") -> Table:
    def open_flow(slot: int) -> bool:
        memory.flows["local_port"][slot] = memory.flows["local_port"][slot] or 40_000 + slot
        memory.flows["born_ns"][slot] = NOW_NS
        return True

    table = Table(memory, [ipaddress.ip_network(network)], open_flow, lambda slot: table.forget(slot, NOW_NS))
    return table


def names(*addresses: tuple[str, int]) -> Rows:
    rows = np.zeros((len(addresses), 32), np.uint8)
    for row, address in enumerate(addresses):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        rows[row, :28] = sockaddr_row(address, family)
    return rows


def find(table: Table, *addresses: tuple[str, int], now_ns: int = NOW_NS) -> list[int]:
    found: list[int] = table.find(names(*addresses), ":" in addresses[0][0], 0, now_ns).tolist()
    return found


@pytest.mark.parametrize("hosts", [("127.0.0.1", "127.0.0.2"), ("::1", "fe80::1")])
def test_address_and_port_tell_clients_apart_in_any_batch(memory: Memory, hosts: tuple[str, str]) -> None:
    table = table_of(memory, "fe80::/10" if ":" in hosts[0] else "127.0.0.0/8")
    clients = [(host, port) for host in hosts for port in (5000, 5001, 65_535)]
    first = find(table, *clients, *clients)
    assert first[:6] == first[6:]
    assert sorted(first[:6]) == [1, 2, 3, 4, 5, 6]
    assert find(table, *reversed(clients)) == first[:6][::-1]
    assert memory.flows["ordinal"][first[:6]].tolist() == list(range(6))


def test_what_an_ipv6_client_writes_beside_its_address_is_not_part_of_it(memory: Memory) -> None:
    table = table_of(memory, "::/0")
    rows = names(("::1", 5000), ("::1", 5000))
    rows[1, 4:8] = 7  # flow information
    rows[1, 28:] = 9  # behind the structure
    assert len(set(table.find(rows, True, 0, NOW_NS).tolist())) == 1


def test_networks_that_are_not_allowed_are_turned_away_and_counted(memory: Memory) -> None:
    table = table_of(memory)
    assert find(table, ("192.0.2.1", 5000), ("10.1.2.3", 5000)) == [0, 1]
    assert memory.counts[Count.TURNED_AWAY_NETWORK] == 1
    assert memory.counts[Count.FLOWS_BEGUN] == 1


def test_an_address_beyond_loopback_begins_so_many_flows_a_second(memory: Memory) -> None:
    table = table_of(memory)
    clients = [("10.0.0.9", 5000 + number) for number in range(NEW_FLOWS_A_SECOND + 5)]
    found = find(table, *clients)
    assert found.count(0) == 5
    assert memory.counts[Count.TURNED_AWAY_RATE] == 5
    assert find(table, ("10.0.0.10", 5000))[0] > 0, "another address is another matter"
    assert find(table, clients[-1], now_ns=NOW_NS + NS_PER_S)[0] > 0


def test_a_full_table_turns_away_unless_somebody_may_go(memory: Memory) -> None:
    table = table_of(memory, "127.0.0.0/8")
    clients = [("127.0.0.1", 5000 + number) for number in range(200)]
    assert 0 not in find(table, *clients)
    memory.flows["state"][1:] = State.BOTH
    memory.ledger[Sum.HEARD_NS] = NOW_NS
    memory.flows["born_ns"] = NOW_NS - 100 * NS_PER_S
    assert find(table, ("127.0.0.1", 9000)) == [0]
    assert memory.counts[Count.TURNED_AWAY_FULL] == 1
    memory.ledger[Sum.HEARD_NS, 2 * 17 : 2 * 17 + 2] = NOW_NS - IDLE_ENOUGH_NS
    assert find(table, ("127.0.0.1", 9000)) == [17]
    memory.flows["state"][17] = State.BOTH
    memory.flows["state"][30] = State.ONE_WAY
    assert find(table, ("127.0.0.1", 9001)) == [30], "one-way flows may go at once"
    assert memory.counts[Count.FLOWS_ENDED_FOR_ROOM] == 2


def test_a_client_that_comes_back_gets_the_port_that_it_had_for_ten_minutes(memory: Memory) -> None:
    table = table_of(memory, "127.0.0.0/8")
    (slot,) = find(table, ("127.0.0.1", 5000))
    memory.flows["local_port"][slot] = 41_234
    table.forget(slot, NOW_NS)
    (again,) = find(table, ("127.0.0.1", 5000), now_ns=NOW_NS + PORT_KEPT_NS)
    assert memory.flows["local_port"][again] == 41_234
    table.forget(again, NOW_NS)
    (late,) = find(table, ("127.0.0.1", 5000), now_ns=NOW_NS + PORT_KEPT_NS + 1)
    assert memory.flows["local_port"][late] != 41_234


def test_the_sums_of_a_flow_that_ended_stay(memory: Memory) -> None:
    table = table_of(memory, "127.0.0.0/8")
    (slot,) = find(table, ("127.0.0.1", 5000))
    memory.ledger[Sum.TAKEN, 2 * slot] = 7
    table.forget(slot, NOW_NS)
    assert memory.read().ledger[Sum.TAKEN].sum() == 7
    assert find(table, ("127.0.0.1", 5000)) == [slot]
    assert memory.ledger[Sum.TAKEN, 2 * slot] == 0
