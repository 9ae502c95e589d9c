"""When datagrams of one tick enter the link, and when they leave it; a clock that stands still, and a real socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import numpy as np
import pytest

from support.clock import FakeClock
from udprism.core import wire
from udprism.core.commands import Connect
from udprism.core.delay_line import DelayLine
from udprism.core.link import Link
from udprism.core.link_model import LinkModel
from udprism.core.sessions import Grant, SessionTable
from udprism.core.types import NS_PER_MS, I32Column
from udprism.core.witness import Witness
from udprism.udp.departures import PACE_NS, Departures
from udprism.udp.sockets import sockaddr_row

SESSIONS = 200
EVERYBODY: I32Column = np.arange(SESSIONS, dtype=np.int32)


class Rig:
    """So many measured sessions, all of which lead to one socket."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.sender, self.receiver = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self.receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.receiver.bind(("127.0.0.1", 0))
        self.receiver.settimeout(5)
        ids = iter(range(1, 1 + SESSIONS))
        self.table = SessionTable(SESSIONS, 10, 4, lambda: next(ids))
        row = sockaddr_row(self.receiver.getsockname(), socket.AF_INET)
        for port in range(SESSIONS):
            address, grant = ("127.0.0.1", 1024 + port), Grant("loopback", None, None)
            self.table.connect(address, row, 0, Connect(measured=True), grant, 0, 0)
        self.departures = Departures(
            [self.sender],
            self.table,
            Witness(self.table.session_id, self.table.next_sequence, {}, {}, {}, 100),
            LinkModel(SESSIONS),
            DelayLine(50_000, wire.MAX_DATAGRAM_BYTES),
            self.clock,
            np.random.default_rng(1),
        )

    def impair(self, link: Link) -> None:
        for slot in EVERYBODY.tolist():
            self.departures.assign_link(slot, link, slot)

    def send(self, apart_ns: int = 0) -> None:
        """A tick of everybody, who were due so far apart, the last one now."""
        due_ns = self.clock.now_ns() - apart_ns * (SESSIONS - 1 - EVERYBODY.astype(np.int64))
        self.departures.send_due(EVERYBODY, due_ns, self.clock.now_ns())

    def heard(self, count: int) -> list[wire.Colour]:
        """The next datagrams; no more of them wait."""
        colours = [wire.decode_datagram(self.receiver.recv(100)) for _ in range(count)]
        assert self.waits_for_nothing()
        return [colour for colour in colours if isinstance(colour, wire.Colour)]

    def waits_for_nothing(self) -> bool:
        self.receiver.setblocking(False)
        try:
            self.receiver.recv(100)
        except BlockingIOError:
            return True
        finally:
            self.receiver.settimeout(5)
        return False


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.sender.close()
    made.receiver.close()


def test_datagrams_of_one_tick_enter_a_link_one_after_the_other_and_say_so(rig: Rig) -> None:
    rig.impair(Link(delay_ms=50))
    begun_ns, begun_unix_ns = rig.clock.now_ns(), rig.clock.unix_ns()
    rig.send()
    held = rig.departures.line.take_due(begun_ns + 60 * NS_PER_MS)
    entered_ns = held.release_ns - 50 * NS_PER_MS - begun_ns
    assert entered_ns.tolist() == [PACE_NS * place for place in range(SESSIONS)]
    stamps = held.rows[:, 12:20].copy().view(">i8")[:, 0]
    assert (stamps - begun_unix_ns).tolist() == entered_ns.tolist()


def test_datagrams_enter_a_link_as_far_apart_as_they_were_due(rig: Rig) -> None:
    rig.impair(Link(delay_ms=50))
    rig.send(apart_ns=20_000)
    entered_ns = rig.departures.line.take_due(rig.clock.now_ns() + 60 * NS_PER_MS).release_ns - 50 * NS_PER_MS
    assert (entered_ns - rig.clock.now_ns()).tolist() == [20_000 * place for place in range(SESSIONS)]


def test_what_was_due_long_ago_enters_a_link_soon(rig: Rig) -> None:
    rig.impair(Link(delay_ms=50))
    rig.send(apart_ns=NS_PER_MS)
    held = rig.departures.line.take_due(rig.clock.now_ns() + 110 * NS_PER_MS)
    assert held.slot.tolist() == EVERYBODY.tolist()


def test_a_link_lets_go_what_is_due_and_nothing_before_its_time(rig: Rig) -> None:
    rig.impair(Link(delay_ms=50))
    rig.send()
    half_ns = 50 * NS_PER_MS + PACE_NS * (SESSIONS // 2)
    rig.departures.release(rig.clock.advance_ns(half_ns - 1))
    first = rig.heard(SESSIONS // 2)
    rig.departures.release(rig.clock.advance_ns(50 * NS_PER_MS))
    second = rig.heard(SESSIONS // 2)
    assert [colour.session_id for colour in first + second] == list(range(1, 1 + SESSIONS))


def test_whatever_is_added_meanwhile_each_leaves_in_its_time(rig: Rig) -> None:
    rig.impair(Link(delay_ms=6, jitter_ms=6, seed=3))
    dice, pieces = np.random.default_rng(7), []
    for _ in range(60):
        if dice.random() < 0.2:
            rig.send(apart_ns=10_000)
        sent, next_ns = rig.departures.sent, rig.departures.next_release_ns
        rig.departures.release(rig.clock.advance(dice.choice([0.0001, 0.0005, 0.003])))
        pieces.append(rig.departures.sent - sent)
        assert (pieces[-1] > 0) == (next_ns <= rig.clock.now_ns()), "at its time, and not before"
        assert rig.departures.next_release_ns > rig.clock.now_ns()
    rig.departures.release(rig.clock.advance(1))
    assert rig.departures.sent == int(rig.table.next_sequence.sum())
    assert len(rig.departures.line) == 0
    assert sum(piece > 0 for piece in pieces) > 20, "they left in many pieces"


def test_what_waits_for_a_session_that_ends_never_leaves_though_it_was_ready(rig: Rig) -> None:
    rig.impair(Link(delay_ms=5))
    rig.send(apart_ns=20_000)
    rig.departures.release(rig.clock.advance_ns(5 * NS_PER_MS))  # the first leaves, and the others are ready
    assert len(rig.heard(1)) == 1
    rig.departures.forget(100)
    rig.table.end(100)
    rig.departures.release(rig.clock.advance(1))
    heard = [colour.session_id for colour in rig.heard(SESSIONS - 2)]
    assert heard == [one for one in range(2, SESSIONS + 1) if one != 101]


def test_whatever_the_ticks_nobody_overtakes_himself_and_a_shift_grows_short_again(rig: Rig) -> None:
    """Streams of 1,000 Hz, whose every tick is late by something else."""
    rig.impair(Link(delay_ms=2000))
    dice, began_ns = np.random.default_rng(5), rig.clock.now_ns()
    due_ns = began_ns + 5_000 * EVERYBODY.astype(np.int64)
    for turn in range(150):
        late_ns = int(dice.integers(0, 8 * NS_PER_MS)) if turn < 20 else 0
        now_ns = max(rig.clock.now_ns(), int(due_ns.max()) + late_ns)
        rig.clock.advance_ns(now_ns - rig.clock.now_ns())
        due_ns += (now_ns - due_ns) // NS_PER_MS * NS_PER_MS
        rig.departures.send_due(EVERYBODY, due_ns, now_ns)
        due_ns += NS_PER_MS
    held = rig.departures.line.take_due(now_ns + 2100 * NS_PER_MS)
    for slot in range(SESSIONS):
        assert held.sequence[held.slot == slot].tolist() == list(range(150)), slot
    last_ns = held.release_ns[-SESSIONS:] - 2000 * NS_PER_MS
    assert int(last_ns.max()) <= now_ns + 2 * NS_PER_MS


def test_without_a_delay_a_link_holds_nobody_up(rig: Rig) -> None:
    rig.impair(Link(corrupt_ratio=1.0))
    rig.send()
    assert len(rig.heard(SESSIONS)) == SESSIONS
    assert len(rig.departures.line) == 0
