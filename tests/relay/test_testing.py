"""`udprism.testing`, as a developer uses it; and what a relay says of what it did."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from udprism.errors import BindError, RequestError
from udprism.testing import Burst, Link, Rule, Sums, UdpRelay

NUMBER = struct.Struct("!I")


@pytest.fixture
def target() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(10)
        yield sock


@pytest.fixture
def client() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        yield sock


def closes(sums: Sums) -> bool:
    return sums.in_ == sums.out + sums.lost + sums.held


def heard(sock: socket.socket) -> list[int]:
    """All numbers that wait."""
    numbers = []
    sock.setblocking(False)
    try:
        while True:
            numbers.append(NUMBER.unpack(sock.recv(100))[0])
    except BlockingIOError:
        sock.settimeout(10)
        return numbers


def wait_for(done: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 20
    while not done():
        assert time.monotonic() < until_s


def send_numbers(client: socket.socket, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        client.send(NUMBER.pack(number))


def test_the_same_seed_loses_the_same_datagrams(target: socket.socket, client: socket.socket) -> None:
    runs = []
    for _ in range(3):
        with UdpRelay(to=target.getsockname(), up=Link(loss_ratio=0.05, seed=7), down=Link(delay_ms=5)) as relay:
            client.connect(relay.address)
            send_numbers(client, 300)
            wait_for(lambda relay=relay: relay.up.in_ == 300)  # type: ignore[misc]
            got = heard(target)
            up = relay.flows[0].up
            assert up.lost_by_cause == {"link": 300 - len(got)}
            assert closes(up)
            lost = [one.number for one in relay.datagrams() if one.fate == "lost"]
            assert lost == sorted(set(range(300)) - set(got))[-len(lost) :]
            runs.append(got)
    assert runs[0] == runs[1] == runs[2]
    assert 0 < 300 - len(runs[0]) < 60


def test_answers_are_delayed_on_their_way_alone(target: socket.socket, client: socket.socket) -> None:
    with UdpRelay(to=target.getsockname(), down=Link(delay_ms=60)) as relay:
        client.connect(relay.address)
        client.send(b"ping")
        _, address = target.recvfrom(100)
        sent_s = time.monotonic()
        target.sendto(b"pong", address)
        wait_for(lambda: relay.down.in_ == 1)
        if time.monotonic() - sent_s < 0.05:
            assert relay.down.held == 1
            assert relay.datagrams(0, "down")[0].fate == "held"
        assert client.recv(100) == b"pong"
        assert time.monotonic() - sent_s >= 0.06
        flow = relay.flows[0]
        assert (flow.state, flow.up.out, flow.down.out, flow.down.held) == ("both", 1, 1, 0)
        (record,) = relay.datagrams(0, "down")
        assert (record.fate, record.data) == ("forwarded", b"pong")
        assert record.delay_ms == pytest.approx(60, abs=0.01)


def test_figures_are_there_when_the_relay_has_ended(target: socket.socket, client: socket.socket) -> None:
    with UdpRelay(to=target.getsockname(), up=Link(loss_ratio=1)) as relay:
        client.connect(relay.address)
        send_numbers(client, 5)
        wait_for(lambda: relay.up.in_ == 5)
    assert relay.flows[0].up.lost_by_cause == {"link": 5}
    assert relay.flows[0].client == client.getsockname()


def test_everything_that_a_link_can_do_is_told_of_each_datagram(target: socket.socket, client: socket.socket) -> None:
    link = Link(loss_ratio=0.1, duplicate_ratio=0.1, corrupt_ratio=0.1, delay_ms=3, jitter_ms=2, seed=3)
    with UdpRelay(to=target.getsockname(), up=link) as relay:
        client.connect(relay.address)
        client.send(bytes(100))
        for number in range(1, 200):
            client.send(NUMBER.pack(number) + bytes(96))
        wait_for(lambda: relay.up.in_ == 200 and relay.up.held == 0)
        up, told = relay.flows[0].up, relay.datagrams()
        assert closes(up)
        assert up.lost == sum(one.fate == "lost" and one.cause == "link" for one in told)
        assert up.duplicated == sum(one.duplicated for one in told)
        assert up.corrupted == sum(one.corrupted for one in told)
        assert min(up.lost, up.duplicated, up.corrupted) > 5
        target.setblocking(False)
        arrived = 0
        damaged = 0
        try:
            while True:
                data = target.recv(200)
                arrived += 1
                damaged += any(data[4:]) or NUMBER.unpack(data[:4])[0] > 199
        except BlockingIOError:
            pass
        assert arrived == up.out + up.duplicated
        assert damaged > 5


def test_a_queue_that_is_full_is_another_cause_than_the_link(target: socket.socket, client: socket.socket) -> None:
    with UdpRelay(to=target.getsockname(), up=Link(rate_kbit_s=50, queue_datagrams=5)) as relay:
        client.connect(relay.address)
        send_numbers(client, 60)
        wait_for(lambda: relay.up.in_ == 60)
        up = relay.up
        assert set(up.lost_by_cause) == {"queue"}
        assert up.lost > 30
        assert closes(up)


def has_taken(relay: UdpRelay, count: int) -> bool:
    return relay.up.in_ == count


def test_a_path_with_a_smaller_mtu_swallows_large_datagrams_alone(target: socket.socket, client: socket.socket) -> None:
    with UdpRelay(to=target.getsockname(), up=Link(mtu_bytes=128)) as relay:  # 20 bytes of IP's header and 8 of UDP's
        client.connect(relay.address)
        for number in range(40):  # one by one
            client.send(bytes(100 if number % 2 else 101))
            wait_for(partial(has_taken, relay, number + 1))
        for number in range(400):  # many at once
            client.send(bytes(100 if number % 2 else 101))
        wait_for(lambda: relay.up.in_ == 440)
        assert (relay.up.out, relay.up.lost_by_cause) == (220, {"link": 220})
        assert relay.up.bytes_out == 22_000


def test_rules_choose_datagrams_and_count_them(target: socket.socket, client: socket.socket) -> None:
    rules = [Rule("drop", "up", nth=3), Rule("duplicate", "up", every=10), Rule("hold", value="00000005", hold_ms=40)]
    with UdpRelay(to=target.getsockname(), rules=rules) as relay:
        client.connect(relay.address)
        send_numbers(client, 20)
        wait_for(lambda: relay.up.in_ == 20 and relay.up.held == 0)
        got = heard(target)
        assert sorted(got) == sorted([*(n for n in range(20) if n != 2), 9, 19])
        assert got[-1] == 5
        assert relay.rule_hits == [1, 2, 1]
        relay.set_rules()
        send_numbers(client, 5)
        wait_for(lambda: relay.up.in_ == 25)
        assert heard(target) == list(range(5))


def test_a_rebind_changes_the_port_and_nothing_else(target: socket.socket, client: socket.socket) -> None:
    with UdpRelay(to=target.getsockname()) as relay:
        client.connect(relay.address)
        client.send(b"before")
        before = target.recvfrom(100)[1]
        assert before[1] == relay.flows[0].local_port
        assert relay.rebind() == 1
        client.send(b"after")
        data, after = target.recvfrom(100)
        assert data == b"after"
        assert after != before
        assert after[1] == relay.flows[0].local_port
        target.sendto(b"answer", after)
        assert client.recv(100) == b"answer"
        assert len(relay.flows) == 1


def test_refused_datagrams_are_told_one_by_one_and_the_flow_lives_again(client: socket.socket) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        address = closed.getsockname()
    with UdpRelay(to=address) as relay:
        client.connect(relay.address)
        for number in range(30):
            client.send(NUMBER.pack(number))
        wait_for(lambda: relay.up.in_ == 30 and relay.up.refused >= 30)
        (flow,) = relay.flows
        assert (flow.state, flow.up.refused, flow.up.out) == ("refused", 30, 30)
        assert [one.number for one in relay.datagrams() if one.refused] == list(range(30))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target:
            target.bind(address)
            target.settimeout(10)
            client.send(b"again")
            data, source = target.recvfrom(100)
            target.sendto(data, source)
            assert client.recv(100) == b"again"
            assert relay.flows[0].state == "both"


def test_a_flow_ends_when_it_is_idle_either_way_and_its_client_gets_the_same_port(
    target: socket.socket, client: socket.socket
) -> None:
    with UdpRelay(to=target.getsockname(), idle_s=0.8) as relay:
        client.connect(relay.address)
        client.send(b"one")
        first = target.recvfrom(100)[1]
        for _ in range(4):  # the target alone keeps it
            time.sleep(0.4)
            target.sendto(b"still here", first)
            assert client.recv(100) == b"still here"
        assert len(relay.flows) == 1
        wait_for(lambda: not relay.flows)
        assert relay.up.in_ == 1
        assert relay.down.out == 4
        client.send(b"two")
        assert target.recvfrom(100)[1] == first


def test_when_all_places_are_taken_the_one_way_flow_that_was_idle_longest_goes(target: socket.socket) -> None:
    with UdpRelay(to=target.getsockname(), max_flows=3) as relay:
        clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(5)]
        try:
            for client in clients[:3]:
                client.connect(relay.address)
                client.send(b"x")
                _, address = target.recvfrom(100)
                if client is clients[0]:
                    target.sendto(b"answered", address)
                    client.recv(100)
            for client in clients[3:]:
                client.connect(relay.address)
                client.send(b"x")
                target.recvfrom(100)
            kept = [flow.client for flow in relay.flows]
            assert kept == [clients[number].getsockname() for number in (0, 3, 4)]
        finally:
            for client in clients:
                client.close()


def test_sums_close_at_every_read_under_a_flood(target: socket.socket) -> None:
    link = Link(loss_ratio=0.1, burst=Burst(0.02, 0.3), delay_ms=200, jitter_ms=50, duplicate_ratio=0.05, seed=1)
    ended = threading.Event()

    def flood(address: tuple[str, int]) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(address)
            while not ended.wait(0.002):
                for _ in range(10):
                    client.send(bytes(random.randrange(200)))

    with UdpRelay(to=target.getsockname(), up=link, down=Link(loss_ratio=0.5)) as relay:
        threads = [threading.Thread(target=flood, args=(relay.address,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            wait_for(lambda: relay.up.held > 0)
            for _ in range(300):
                snapshot = relay._started.read()
                taken, left, by_link, queue, kernel, held = snapshot.ledger[:6]
                assert (taken == left + by_link + queue + kernel + held).all()
        finally:
            ended.set()
            for thread in threads:
                thread.join()


def test_a_process_that_dies_is_replaced_with_its_flows_and_their_ports(
    target: socket.socket, client: socket.socket
) -> None:
    with UdpRelay(to=target.getsockname(), up=Link(loss_ratio=0.5, seed=2)) as relay:
        client.connect(relay.address)
        send_numbers(client, 50)
        wait_for(lambda: relay.up.in_ == 50)
        port, lost = relay.flows[0].local_port, relay.up.lost
        pid = relay._started.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not relay._started.alive)
        relay._started.watch()
        send_numbers(client, 50, 50)
        wait_for(lambda: relay.up.in_ == 100)
        (flow,) = relay.flows
        assert flow.local_port == port
        assert relay.up.lost > lost
        assert closes(relay.up)
        got = heard(target)
    with UdpRelay(to=target.getsockname(), up=Link(loss_ratio=0.5, seed=2)) as relay:
        client.connect(relay.address)
        send_numbers(client, 100)
        wait_for(lambda: relay.up.in_ == 100)
        assert heard(target) == got, "numbers go on where they were, and so do fates"


def test_a_relay_to_its_own_listener_forwards_nothing(client: socket.socket) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        address = probe.getsockname()
    with pytest.raises(RequestError, match="itself"), UdpRelay(to=address, listen=address):
        pass


def test_a_port_that_is_taken_is_an_error(target: socket.socket) -> None:
    with pytest.raises(BindError), UdpRelay(to=("127.0.0.1", 5000), listen=target.getsockname()):
        pass


def test_a_link_that_makes_no_sense_is_refused(target: socket.socket) -> None:
    with pytest.raises(RequestError):
        UdpRelay(to=target.getsockname(), up=Link(loss_ratio=1.5))


def test_it_works_in_an_event_loop_too(target: socket.socket) -> None:
    async def talk() -> None:
        async with UdpRelay(to=target.getsockname()) as relay:
            loop = asyncio.get_running_loop()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.setblocking(False)
                client.connect(relay.address)
                await loop.sock_sendall(client, b"hello")
                data, address = await asyncio.to_thread(target.recvfrom, 100)
                target.sendto(data, address)
                assert await asyncio.wait_for(loop.sock_recv(client, 100), 10) == b"hello"

    asyncio.run(talk())


def test_the_fixture_starts_relays_that_end_with_the_test(
    udp_relay: Callable[..., UdpRelay], target: socket.socket, client: socket.socket
) -> None:
    relay = udp_relay(to=target.getsockname(), up=Link(loss_ratio=1))
    client.connect(relay.address)
    client.send(b"lost")
    wait_for(lambda: relay.up.lost == 1)
