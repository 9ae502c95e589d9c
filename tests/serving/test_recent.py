"""The last colours of each session, and the raw clients that left."""

from __future__ import annotations

from itertools import count

import numpy as np

from udprism.columns.arrivals import SOCKADDR_BYTES
from udprism.node.bodies.sessions import left_bodies, session_body
from udprism.serving.commands import Connect
from udprism.serving.recent import COLOURS, LEFT
from udprism.serving.sessions import ServiceTerms, SessionTable

LOOPBACK = ServiceTerms("loopback", None, None)
NS_PER_S = 1_000_000_000


def serve(table: SessionTable, port: int, datagrams: int) -> int:
    started = table.connect(("127.0.0.1", port), np.zeros(SOCKADDR_BYTES, np.uint8), 0, Connect(), LOOPBACK, 0, 0)
    assert started is not None
    slot = np.array([started[0]], np.int32)
    for number in range(datagrams):
        table.recent.put(slot, table.issue(slot, number * NS_PER_S), np.array([[number % 256, 0, 7]], np.uint8))
    return started[0]


def make(sessions: int = 4) -> SessionTable:
    ids = count(1)
    return SessionTable(sessions, 10, 4, lambda: next(ids))


def test_the_newest_colours_are_kept_oldest_first() -> None:
    table = make()
    slot, few = serve(table, 5000, COLOURS + 3), serve(table, 5001, 2)
    assert [red for red, _, _ in table.recent.of(slot, COLOURS + 3).tolist()] == list(range(3, COLOURS + 3))
    assert table.recent.newest(slot, COLOURS + 3) == (COLOURS + 2, 0, 7)
    assert session_body(table, few, 0)["recent_rgb"] == "000007010007"
    assert session_body(table, serve(table, 5002, 0), 0)["recent_rgb"] == ""


def test_who_left_stays_in_the_list_as_it_was() -> None:
    table = make()
    for port in range(5000, 5000 + LEFT + 2):
        slot = serve(table, port, 3)
        table.recent.remember(table, slot, False)
        table.end(slot)
    bodies = left_bodies(table, 9 * NS_PER_S)
    assert len(bodies) == LEFT
    newest = bodies[0]
    assert (newest["address"], newest["sent"], newest["left_ms"]) == (f"127.0.0.1:{5000 + LEFT + 1}", 3, 7000)
    assert newest["recent_rgb"] == "000007010007020007"


def test_a_hosted_client_that_ends_is_not_among_those_who_left() -> None:
    table = make()
    table.recent.remember(table, serve(table, 5000, 3), True)
    assert left_bodies(table, 0) == []
