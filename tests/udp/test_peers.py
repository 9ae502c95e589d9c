"""Who a datagram is from: every part of a sender's name counts, and nothing else does."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from udprism.columns.types import U64Column
from udprism.udp.peers import UNKNOWN, Peers, names_of
from udprism.udp.sockets import sockaddr_row


def name(host: str, port: int, key: int = 0, sock: int = 0, flowinfo: int = 0, scope: int = 0) -> U64Column:
    six = ":" in host
    row = sockaddr_row((host, port), socket.AF_INET6 if six else socket.AF_INET)
    if six:
        row[4:8] = np.frombuffer(flowinfo.to_bytes(4, "big"), np.uint8)
        row[24:28] = np.frombuffer(scope.to_bytes(4, "little"), np.uint8)
    return names_of(row.reshape(1, -1), np.array([key], np.uint64), sock, six)


SENDERS = [
    name("127.0.0.1", 5000),
    name("127.0.0.1", 5001),
    name("127.0.0.2", 5000),
    name("127.0.0.1", 5000, key=1),
    name("127.0.0.1", 5000, key=1 << 63),
    name("127.0.0.1", 5000, sock=1),
    name("::1", 5000, sock=2),
    name("::2", 5000, sock=2),
    name("1::1", 5000, sock=2),
    name("fe80::1", 5000, sock=2, scope=1),
    name("fe80::1", 5000, sock=2, scope=2),
]


@pytest.fixture
def peers() -> Peers:
    known = Peers(64, np.random.default_rng(1))
    for slot, one in enumerate(SENDERS):
        known.put(slot, one[:, 0])
    return known


def test_each_sender_is_found_in_one_search_however_alike_they_are(peers: Peers) -> None:
    assert peers.find(np.concatenate(SENDERS, axis=1)).tolist() == list(range(len(SENDERS)))


def test_who_was_never_put_or_is_forgotten_is_unknown(peers: Peers) -> None:
    assert Peers(4, np.random.default_rng()).find(SENDERS[0]).tolist() == [UNKNOWN]
    assert peers.find(name("127.0.0.3", 5000)).tolist() == [UNKNOWN]
    peers.forget(1)
    assert peers.find(np.concatenate(SENDERS[:3], axis=1)).tolist() == [0, UNKNOWN, 2]


def test_flow_information_and_the_rubbish_behind_an_ipv4_address_change_nothing(peers: Peers) -> None:
    assert peers.find(name("::1", 5000, sock=2, flowinfo=7)).tolist() == [6]
    row = sockaddr_row(("127.0.0.1", 5000), socket.AF_INET)
    row[16:] = 255
    assert peers.find(names_of(row.reshape(1, -1), np.zeros(1, np.uint64), 0, False)).tolist() == [0]


def test_an_equal_hash_of_another_sender_is_not_that_sender() -> None:
    known = Peers(8, np.random.default_rng(2))
    known.put(0, SENDERS[0][:, 0])
    known.find(SENDERS[0])
    known._hashes[:] = known._hash(SENDERS[1])
    assert known.find(SENDERS[1]).tolist() == [UNKNOWN]
