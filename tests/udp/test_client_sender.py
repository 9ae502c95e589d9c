"""When hosted clients ask, how many of them at once, and what one hears for all. Real sockets, a clock of our own."""

from __future__ import annotations

import errno
import socket
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from support.clock import FakeClock
from udprism.columns.arrivals import Arrivals
from udprism.columns.types import NEVER_NS, NS_PER_S, Address, I32Column
from udprism.ledger.ledger import Ledger
from udprism.serving.clients import MAX_PROBERS, ClientTable, HostedClient, Mode, State
from udprism.serving.routes import Route
from udprism.udp.client_sender import MAX_CONNECTS_HZ, ClientSender
from udprism.udp.client_sockets import ClientSockets

CLIENTS = MAX_PROBERS + 30
SILENT_AFTER_NS = 2 * NS_PER_S


class DeafReceiver:
    description = "deaf"
    behind = False

    def __init__(self) -> None:
        self.errors: list[tuple[int, int]] = []

    def add(self, sock: socket.socket, slot: int, source_ip: str | None = None) -> None:
        sock.setblocking(False)

    def remove(self, sock: socket.socket, slot: int) -> None:
        pass

    def poll(self, timeout_s: float) -> Arrivals:
        raise NotImplementedError

    def wake(self) -> None:
        pass

    def close(self) -> None:
        pass


class Rig:
    """Clients of one target, which hears what they say and answers nothing."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.table = ClientTable(2 * CLIENTS)
        ledger = Ledger(2 * CLIENTS, window=256, loss_after_ns=NS_PER_S, loss_after_arrivals=64)
        rng = np.random.default_rng(7)
        self.sockets = ClientSockets(self.table, DeafReceiver(), 4096, None, {})
        self.looked_up: list[str] = []
        self.sender = ClientSender(self.table, ledger, self.sockets, Counter(), clock, rng, self.looked_up.append)
        self.target = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.target.bind(("127.0.0.1", 0))
        self.target.setblocking(False)

    def add(self, count: int, address: Address | None = None) -> I32Column:
        host, port = address or self.target.getsockname()
        slots = []
        for _ in range(count):
            number = len(self.table)
            client = HostedClient(
                f"c-{number}", f"client-{number}", f"{host}:{port}", (host, port), True, Mode.AUTO, 10, 1, True
            )
            slot = self.table.add(client, SILENT_AFTER_NS, self.clock.now_ns())
            (sock,) = self.sockets.open_all([client])
            self.sender.welcome(slot, sock, Route([(host, port)]))
            slots.append(slot)
        return np.array(slots, np.int32)

    def add_by_name(self, count: int, target: str) -> I32Column:
        """Clients of a target that has to be looked up."""
        slots = []
        for _ in range(count):
            number = len(self.table)
            client = HostedClient(f"c-{number}", f"client-{number}", target, ("", 0), False, Mode.AUTO, 10, 1, True)
            slots.append(self.table.add(client, SILENT_AFTER_NS, self.clock.now_ns()))
            self.sender.welcome(slots[-1], None, Route(is_name=True))
        return np.array(slots, np.int32)

    def asked(self, seconds: float) -> dict[Address, list[bytes]]:
        """What the target hears in so many seconds, by who says it."""
        heard: dict[Address, list[bytes]] = {}
        end_ns = self.clock.now_ns() + round(seconds * NS_PER_S)
        self._hear(heard)
        while (wake_ns := self.table.next_timer_ns()) <= end_ns:
            self.clock.advance_ns(max(0, wake_ns - self.clock.now_ns()))
            self.sender.on_timers(self.table.due(self.clock.now_ns()), self.clock.now_ns())
            self._hear(heard)
        self.clock.advance_ns(end_ns - self.clock.now_ns())
        return heard

    def _hear(self, heard: dict[Address, list[bytes]]) -> None:
        while True:
            try:
                data, source = self.target.recvfrom(2048)
            except BlockingIOError:
                return
            heard.setdefault(source, []).append(data)

    def go_live(self, slots: I32Column) -> None:
        self.table.state[slots] = State.LIVE
        self.table.last_arrival_ns[slots] = self.clock.now_ns()


@pytest.fixture
def rig(clock: FakeClock) -> Iterator[Rig]:
    rig = Rig(clock)
    yield rig
    rig.sockets.close_all()
    rig.target.close()


def test_target_that_answers_nobody_is_soon_asked_by_a_few_only(rig: Rig) -> None:
    rig.add(CLIENTS)
    assert len(rig.asked(1.9)) == CLIENTS
    rig.asked(5)
    assert len(rig.asked(20)) == MAX_PROBERS


def test_few_clients_all_go_on_asking(rig: Rig) -> None:
    rig.add(MAX_PROBERS)
    rig.asked(7)
    assert len(rig.asked(5)) == MAX_PROBERS


def test_whoever_is_held_back_asks_once_a_minute_all_the_same(rig: Rig) -> None:
    rig.add(CLIENTS)
    rig.asked(7)
    assert len(rig.asked(60)) == CLIENTS


def test_all_ask_within_a_moment_once_one_of_them_is_answered(rig: Rig) -> None:
    slots = rig.add(CLIENTS)
    rig.asked(7)
    rig.go_live(slots[:1])
    rig.sender.answered(slots[:1], rig.clock.now_ns())
    assert len(rig.asked(0.3)) >= CLIENTS - 1


def test_after_one_is_answered_the_others_first_ask_for_the_measured_stream(rig: Rig) -> None:
    slots = rig.add(CLIENTS)
    rig.asked(7)
    rig.table.attempts[slots] = 4  # some minutes later
    rig.go_live(slots[:1])
    rig.sender.answered(slots[:1], rig.clock.now_ns())
    held_back = [said for said in rig.asked(1).values() if len(said) == 1]
    assert len(held_back) >= CLIENTS - MAX_PROBERS
    assert sum(said[0].startswith(b"connect v=1") for said in held_back) >= CLIENTS - MAX_PROBERS - 1


def test_nobody_falls_back_from_a_target_of_which_another_has_a_measured_stream(rig: Rig) -> None:
    slots = rig.add(3)
    rig.table.stream[slots[0]] = Mode.MEASURED
    said = []
    for _ in range(20):
        rig.go_live(slots[:1])
        rig.table.timer_ns[slots[0]] = NEVER_NS
        said += [data for heard in rig.asked(1).values() for data in heard]
    assert len(said) > 10
    assert all(data.startswith(b"connect v=1") for data in said)


def test_target_that_answers_some_is_asked_by_all_others_at_their_own_pace(rig: Rig) -> None:
    slots = rig.add(CLIENTS)
    rig.asked(0.1)
    later: set[Address] = set()
    for turn in range(24):
        rig.go_live(slots[:1])
        heard = rig.asked(0.5)
        if turn >= 12:
            later |= heard.keys()
    assert len(later) >= CLIENTS - 1


def test_what_one_client_is_told_holds_for_all_of_its_target_and_for_nobody_else(rig: Rig) -> None:
    slots = rig.add(CLIENTS)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        elsewhere = rig.add(3, other.getsockname())
        live = rig.add(2)
        rig.go_live(live)
        rig.asked(1.5)
        rig.go_live(live)
        rig.sender.on_error(int(slots[5]), errno.ECONNREFUSED)
    assert set(rig.table.state[slots]) == {State.REFUSED}
    assert set(rig.table.state[elsewhere]) == {State.CONNECTING}
    assert set(rig.table.state[live]) == {State.LIVE}


def test_thousands_that_fall_silent_are_held_back_before_their_first_try(rig: Rig) -> None:
    slots = rig.add(CLIENTS)
    rig.asked(0.1)
    rig.go_live(slots)
    rig.clock.advance_ns(SILENT_AFTER_NS + 1)
    rig.sender.fell_silent(slots, rig.clock.now_ns())
    assert MAX_PROBERS <= len(rig.asked(1.2)) < MAX_PROBERS + 10


def test_client_whose_target_refuses_no_more_says_so_and_falls_back_after_two_more_tries(rig: Rig) -> None:
    (slot,) = rig.add(1).tolist()
    for _ in range(5):
        heard = rig.asked((rig.table.next_timer_ns() - rig.clock.now_ns()) / NS_PER_S)
        assert all(data.startswith(b"connect v=1") for said in heard.values() for data in said)
        rig.sender.on_error(slot, errno.ECONNREFUSED)
        assert rig.table.state[slot] == State.REFUSED
    said = [data for heard in rig.asked(20).values() for data in heard]
    assert rig.table.state[slot] == State.CONNECTING
    assert [data == b"connect" for data in said[:4]] == [False, False, False, True]


def test_name_is_looked_up_once_for_all_its_clients_and_they_ask_as_soon_as_it_is_found(rig: Rig) -> None:
    slots = rig.add_by_name(CLIENTS, "somewhere:5000")
    assert rig.asked(0.5) == {}
    assert rig.looked_up == ["somewhere:5000"]
    assert set(rig.table.state[slots]) == {State.CONNECTING}
    rig.sender.found("somewhere:5000", [rig.target.getsockname()], rig.clock.now_ns())
    assert len(rig.asked(0.5)) == CLIENTS


def test_clients_of_a_name_that_is_not_found_say_why_and_have_it_looked_up_again_until_it_is(rig: Rig) -> None:
    slots = rig.add_by_name(3, "somewhere:5000")
    rig.asked(0.1)
    for times in range(2, 5):
        rig.sender.not_found("somewhere:5000", "no such name", rig.clock.now_ns())
        assert set(rig.table.state[slots]) == {State.ERROR}
        assert {rig.table.clients[slot].error for slot in slots.tolist()} == {"no such name"}
        rig.asked((rig.table.next_timer_ns() - rig.clock.now_ns()) / NS_PER_S + 0.001)
        assert len(rig.looked_up) == times
    rig.sender.found("somewhere:5000", [rig.target.getsockname()], rig.clock.now_ns())
    assert len(rig.asked(0.5)) == 3
    assert set(rig.table.state[slots]) == {State.CONNECTING}
    assert {rig.table.clients[slot].error for slot in slots.tolist()} == {None}


def test_paused_client_of_a_name_that_is_not_found_stays_paused(rig: Rig) -> None:
    slots = rig.add_by_name(1, "somewhere:5000")
    rig.asked(0.1)
    rig.table.state[slots], rig.table.timer_ns[slots] = State.PAUSED, NEVER_NS
    rig.sender.not_found("somewhere:5000", "no such name", rig.clock.now_ns())
    rig.sender.found("somewhere:5000", [rig.target.getsockname()], rig.clock.now_ns())
    assert rig.asked(40) == {}
    assert set(rig.table.state[slots]) == {State.PAUSED}


def test_name_with_an_address_that_refuses_is_asked_at_its_next_one_and_there_alone(rig: Rig) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        nobody = gone.getsockname()
    (slot,) = rig.add_by_name(1, "two:5000").tolist()
    rig.asked(0.1)
    rig.sender.found("two:5000", [nobody, rig.target.getsockname()], rig.clock.now_ns())
    assert rig.asked(0.001) == {}
    rig.sender.on_error(slot, errno.ECONNREFUSED)
    said = [data for heard in rig.asked(0.3).values() for data in heard]
    assert len(said) == 1
    assert rig.table.clients[slot].address == rig.target.getsockname()
    said += [data for heard in rig.asked(15).values() for data in heard]
    assert [data == b"connect" for data in said[:4]] == [False, False, True, False], "as at a target of one address"


def test_name_whose_addresses_are_silent_is_asked_at_each_in_turn_for_both_streams(rig: Rig) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        other.setblocking(False)
        rig.add_by_name(1, "two:5000")
        rig.asked(0.1)
        rig.sender.found("two:5000", [other.getsockname(), rig.target.getsockname()], rig.clock.now_ns())
        heard = [data for said in rig.asked(40).values() for data in said]
        elsewhere = [other.recv(2048) for _ in range(4)]
    assert b"connect" in heard[:4]
    assert b"connect" in elsewhere
    assert heard[0].startswith(b"connect v=1")


def test_address_that_answered_is_asked_first_by_all_clients_of_the_name(rig: Rig) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        slots = rig.add_by_name(20, "two:5000")
        rig.asked(0.1)
        rig.sender.found("two:5000", [other.getsockname(), rig.target.getsockname()], rig.clock.now_ns())
        assert rig.asked(0.5) == {}
        assert len(rig.asked(1)) == 20  # their second try
        rig.go_live(slots[:1])
        rig.sender.answered(slots[:1], rig.clock.now_ns())
        heard = rig.asked(1)
    assert len(heard) >= 19


def test_address_that_this_machine_cannot_send_to_is_no_trouble_while_there_is_another(rig: Rig) -> None:
    (slot,) = rig.add_by_name(1, "two:5000").tolist()
    rig.asked(0.1)
    unsendable = ("255.255.255.255", 5000)  # EACCES without SO_BROADCAST
    rig.sender.found("two:5000", [unsendable, rig.target.getsockname()], rig.clock.now_ns())
    assert len(rig.asked(0.2)) == 1
    assert rig.table.state[slot] == State.CONNECTING


def test_name_is_looked_up_again_when_its_address_stays_silent(rig: Rig) -> None:
    rig.add_by_name(1, "somewhere:5000")
    rig.asked(0.1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        rig.sender.found("somewhere:5000", [other.getsockname()], rig.clock.now_ns())
        assert rig.asked(20) == {}
        assert len(rig.looked_up) in (2, 3)
        rig.sender.found("somewhere:5000", [rig.target.getsockname()], rig.clock.now_ns())
        assert rig.asked(10)


def test_client_whose_only_address_refuses_asks_at_its_own_pace(rig: Rig) -> None:
    (slot,) = rig.add(1).tolist()
    tries = 0
    for _ in range(40):
        tries += sum(len(said) for said in rig.asked(0.5).values())
        rig.sender.on_error(slot, errno.ECONNREFUSED)
    assert tries <= 20


def test_hostile_server_that_asks_for_proof_draws_no_more_than_the_cap(rig: Rig) -> None:
    slots = rig.add(CLIENTS)
    for slot in slots.tolist():
        rig.table.clients[slot].loopback = False
    rig.asked(0.1)
    for number in range(200):
        for slot in slots.tolist():
            if rig.sender.rules.may_prove(slot, f"{number:011}"):
                rig.sender.prove(slot, rig.clock.now_ns())
    sent = sum(len(said) for said in rig.asked(0).values())
    assert CLIENTS + sent <= MAX_CONNECTS_HZ
    assert sent <= 2 * CLIENTS
