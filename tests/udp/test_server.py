"""The colour server on real sockets."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import pytest

from support.namespaces import namespace
from udprism.columns.types import NS_PER_MS, NS_PER_S
from udprism.ledger.fates import Cause
from udprism.ledger.send_log import SendLog
from udprism.link.delay_line import DelayLine
from udprism.link.link import Link
from udprism.link.model import LinkModel
from udprism.serving.admission import Admission
from udprism.serving.commands import parse_retry
from udprism.serving.encoder import Encoder
from udprism.serving.sessions import SessionTable
from udprism.udp.clock import SystemClock
from udprism.udp.outlet import MAX_BATCH, Outlet
from udprism.udp.releaser import Releaser
from udprism.udp.server import ColourServer
from udprism.udp.sockets import bind_server, drain_error_queue
from udprism.udp.thread import ThreadState
from udprism.udp.threads_engine import ThreadsEngine
from udprism.wire import measured as wire
from udprism.wire.colours import NAMES

T = TypeVar("T")


@dataclass
class Rig:
    server: ColourServer
    port: int

    def client(self, *, connected: bool = True) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
        if connected:
            sock.connect(("127.0.0.1", self.port))
        return sock

    def ask(self, work: Callable[[], T]) -> T:
        return self.server.inbox.submit(work).result(5)


def make(
    engine: str = "batch",
    rate_hz: float = 50,
    *,
    start: bool = True,
    host: str = "127.0.0.1",
    lease_ns: int = NS_PER_S,
    with_releaser: bool = False,
) -> Rig:
    sockets = bind_server(host, 0, 1 << 20)
    ids = iter(range(1, 1_000_000))
    table = SessionTable(2000, rate_hz, 4, lambda: next(ids))
    send_log = SendLog(
        table.session_id, table.next_sequence, table.slot_of_id, table.slot_of_address, table.ended, 10_000
    )
    port = sockets[0].getsockname()[1]
    admission = Admission(
        bytes(32),
        own_ports=[port],
        beyond_loopback=False,
        lan_lease_ns=lease_ns,
        lease_ns=lease_ns,
        max_remote_sessions=10,
    )
    releaser = Releaser(sockets, 1000, wire.MAX_DATAGRAM_BYTES) if with_releaser else None
    outlet = Outlet(
        sockets,
        table,
        send_log,
        LinkModel(2000),
        DelayLine(1000, wire.MAX_DATAGRAM_BYTES, None if releaser is None else releaser.rows),
        SystemClock(),
        releaser,
    )
    encoder = Encoder(table, np.random.default_rng(1), MAX_BATCH)
    threads = ThreadsEngine(table, encoder, outlet, SystemClock()) if engine == "threads" else None
    server = ColourServer(sockets, table, admission, encoder, outlet, send_log, SystemClock(), engine=threads)
    if start:
        server.thread.start()
    return Rig(server, port)


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = make()
    yield made
    made.server.stop()


def colour(client: socket.socket) -> wire.Colour:
    datagram = wire.decode_datagram(client.recv(2000))
    assert isinstance(datagram, wire.Colour)
    return datagram


def all_that_waits(client: socket.socket) -> list[bytes]:
    client.setblocking(False)
    heard = []
    with contextlib.suppress(OSError):
        while True:
            heard.append(client.recv(2000))
    return heard


def until(condition: Callable[[], object], within_s: float = 5) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.005)


def test_one_connect_is_served_for_ever_from_the_port_it_came_to(rig: Rig) -> None:
    with rig.client() as client:
        client.send(b"connect")
        words = [client.recv(100).decode() for _ in range(30)]
    assert set(words) <= set(NAMES[:6])


def test_a_connect_that_ends_in_a_line_feed_hears_lines(rig: Rig) -> None:
    with rig.client() as client:
        client.send(b"connect\n")
        assert client.recv(100).endswith(b"\n")


def test_a_second_connect_never_starts_a_second_stream(rig: Rig) -> None:
    with rig.client() as client:
        for _ in range(5):
            client.send(b"connect v=1 rate_hz=100")
        sequences = [colour(client).sequence for _ in range(50)]
        assert sequences == list(range(50))
        assert len(rig.server.table) == 1


def test_a_measured_stream_counts_from_zero_and_carries_session_and_send_time(rig: Rig) -> None:
    with rig.client() as client:
        client.send(b"connect v=1 colours=3")
        before_ns = time.time_ns()
        first = wire.decode_datagram(client.recv(100))
        assert isinstance(first, wire.Colour)
        assert first.sequence == 0
        assert len(first.pixels) == 9
        assert abs(first.sent_at_unix_ns - before_ns) < 5 * NS_PER_S
        assert rig.server.table.slot_of_id[first.session_id] == 0


def test_disconnect_ends_the_stream_at_once(rig: Rig) -> None:
    with rig.client() as client:
        client.send(b"connect")
        client.recv(100)
        client.send(b"disconnect\r\n")
        until(lambda: len(rig.server.table) == 0)


def test_a_port_that_is_gone_ends_its_session_and_no_other(rig: Rig) -> None:
    with rig.client() as stays:
        stays.send(b"connect v=1 rate_hz=200")
        stays.recv(100)
        leaving = [rig.client() for _ in range(50)]
        for client in leaving:
            client.send(b"connect v=1 rate_hz=200")
            client.recv(100)
        for client in leaving:
            client.close()
        until(lambda: len(rig.server.table) == 1)
        seen = [colour(stays).sequence for _ in range(100)]
        assert seen == list(range(seen[0], seen[0] + 100)), "the healthy client missed a datagram"
        assert rig.server.outlet.refused == 0


def test_a_response_is_recorded_with_the_colour_that_it_answers_and_never_answered(rig: Rig) -> None:
    with rig.client() as client:
        client.send(b"connect rate_hz=0.5")
        asked = client.recv(100).decode()
        client.send(b"merah\n")
        until(lambda: rig.server.table.sessions[0].responses)
        response = rig.server.table.sessions[0].responses[0]
        assert (response.text, response.colour) == ("merah", asked)
        assert response.answered_after_ns > 0


def test_response_whose_first_letter_begins_as_the_magic_does_is_a_response_all_the_same(rig: Rig) -> None:
    with rig.client() as client:
        client.send(b"connect")
        client.recv(100)
        client.send("ǀred".encode())
        until(lambda: rig.server.table.sessions[0].responses)
        assert rig.server.table.sessions[0].responses[0].text == "ǀred"


def test_bad_datagrams_are_counted_by_reason_and_dropped_in_silence(rig: Rig) -> None:
    with rig.client() as client:
        client.settimeout(0.2)
        bad = [
            b"",
            b"\xff\xfe half \xc3",
            bytes(9000),
            b"\xc7",
            b"\xc7\x02" + bytes(30),
            b"connect rate_hz=0",
            b"hello",
        ]
        for data in bad:
            client.send(data)
        strange = wire.Report(12345, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        client.send(wire.encode_report(strange))
        until(lambda: sum(rig.server.handler.drops.values()) == len(bad) + 1)
        with pytest.raises(TimeoutError):
            client.recv(100)
    assert rig.server.handler.drops["unknown-session"] == 1
    assert rig.server.thread.state == ThreadState.RUNNING
    assert rig.server.thread.restarts == 0


def test_two_servers_pointed_at_each_other_by_a_forged_datagram_fall_silent(rig: Rig) -> None:
    other = make()
    try:
        # What a forger can do is make one server believe that the other said connect: say it from the other's socket.
        other.server.sockets[0].sendto(b"connect rate_hz=1000", ("127.0.0.1", rig.port))
        until(lambda: len(rig.server.table) == 1)
        until(lambda: other.server.handler.drops["server-text"] > 5)
        assert len(other.server.table) == 0
        assert other.server.outlet.sent == 0
        # Forge the other half as well: what each hears from the other, only a server says, and the first to have heard
        # it sixteen times ends its session.
        rig.server.sockets[0].sendto(b"connect rate_hz=1000", ("127.0.0.1", other.port))
        until(lambda: other.server.handler.commands == 1 and not (len(rig.server.table) and len(other.server.table)))
    finally:
        other.server.stop()


def test_a_report_is_acknowledged_with_the_same_bytes_but_the_type(rig: Rig) -> None:
    with rig.client() as client:
        client.send(b"connect v=1 rate_hz=0.5")
        session_id = colour(client).session_id
        report = wire.Report(session_id, 7, 123456789, 1, 2, 3, 4, 5, 6, 7)
        client.send(wire.encode_report(report))
        answer = wire.decode_datagram(client.recv(100))
        assert answer == wire.ReportAck(report)
        assert rig.server.table.sessions[0].report == report


def test_stop_says_bye_to_measured_clients_only() -> None:
    rig = make()
    with rig.client() as measured, rig.client() as plain:
        measured.send(b"connect v=1 rate_hz=0.5")
        plain.send(b"connect rate_hz=0.5")
        measured.recv(100)
        plain.recv(100)
        rig.server.stop()
        bye = wire.decode_datagram(measured.recv(100))
        assert isinstance(bye, wire.Bye)
        assert bye.reason == wire.ByeReason.SHUTDOWN
        assert all(data[:1] != wire.MAGIC_BYTE for data in all_that_waits(plain))


def test_ipv6_loopback_is_served_by_the_same_server(rig: Rig) -> None:
    if len(rig.server.sockets) == 1:
        pytest.skip("this machine has no ::1")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect(("::1", rig.port))
        client.send(b"connect")
        assert client.recv(100).decode() in NAMES


class Elsewhere(NamedTuple):
    """An address of this machine that the routing table would not choose to speak to itself from."""

    bind: str
    host: str
    client: str


LOOPBACK_4 = Elsewhere("0.0.0.0", "127.0.0.2", "127.0.0.1")
OTHER_4 = Elsewhere("0.0.0.0", "192.0.2.9", "192.0.2.1")
OTHER_6 = Elsewhere("::", "2001:db8::9", "2001:db8::1")


@pytest.fixture(params=[LOOPBACK_4, OTHER_4, OTHER_6], ids=lambda one: one.host)
def elsewhere(request: pytest.FixtureRequest) -> Iterator[Elsewhere]:
    """Where there are such addresses: on this machine, or in a namespace of their own."""
    if request.param == LOOPBACK_4:
        yield LOOPBACK_4
        return
    with namespace() as machine:
        for address in ("192.0.2.1/24", "192.0.2.9/24", "2001:db8::1/64", "2001:db8::9/64"):
            machine.ip(f"addr add {address} dev lo nodad" if ":" in address else f"addr add {address} dev lo")
        with machine.entered():
            yield request.param


def asking(where: Elsewhere, port: int) -> socket.socket:
    """A client that hears whom it asked, and nobody else: as netcat does."""
    sock = socket.socket(socket.AF_INET6 if ":" in where.host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(5)
    sock.bind((where.client, 0))
    sock.connect((where.host, port))
    return sock


def connect(client: socket.socket, words: bytes) -> bytes:
    """The first datagram of the stream; a token is sent back where one is wanted."""
    client.send(words)
    answer = client.recv(100)
    if answer.startswith(b"retry"):
        client.send(words + b" token=" + parse_retry(answer).encode())
        answer = client.recv(100)
    return answer


@pytest.mark.peer
@pytest.mark.parametrize("with_releaser", [False, True], ids=["thread", "process"])
def test_everything_leaves_from_the_address_that_was_asked(elsewhere: Elsewhere, with_releaser: bool) -> None:
    rig = make(host=elsewhere.bind, lease_ns=60 * NS_PER_S, with_releaser=with_releaser)
    try:
        with asking(elsewhere, rig.port) as plain, asking(elsewhere, rig.port) as client:
            assert connect(plain, b"connect").decode() in NAMES
            first = wire.decode_datagram(connect(client, b"connect v=1"))
            report = wire.encode_report(wire.Report(first.session_id, 0, 1, 0, 0, 0, 0, 0, 0, 0))
            client.send(report)
            while (answer := client.recv(100)) != wire.acknowledge(report):
                assert isinstance(wire.decode_datagram(answer), wire.Colour)
            rig.ask(lambda: rig.server.links.put_default(Link(delay_ms=80)))
            if with_releaser:
                until(lambda: rig.server.outlet.releaser_state[0])
            changed_unix_ns = time.time_ns()
            while (held := colour(client)).sent_at_unix_ns < changed_unix_ns:
                pass
            assert time.time_ns() - held.sent_at_unix_ns >= 80 * NS_PER_MS
            rig.ask(lambda: rig.server.links.put_default(None))
            rig.server.stop()
            assert wire.Bye in {type(wire.decode_datagram(data)) for data in all_that_waits(client)}
    finally:
        rig.server.stop()


def test_a_session_that_asks_another_address_from_the_same_port_hears_from_that_one() -> None:
    rig = make(host="0.0.0.0")
    try:
        with rig.client(connected=False) as client:
            for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
                client.sendto(b"connect", (host, rig.port))
                heard_from = {client.recvfrom(100)[1] for _ in range(20)}
                assert (host, rig.port) in heard_from
            assert len(rig.server.table) == 1
    finally:
        rig.server.stop()


def test_the_threads_engine_speaks_from_the_address_that_was_asked() -> None:
    rig = make("threads", host="0.0.0.0")
    try:
        with rig.client(connected=False) as client:
            client.sendto(b"connect", ("127.0.0.2", rig.port))
            assert client.recvfrom(100)[1][0] == "127.0.0.2"
    finally:
        rig.server.stop()


def test_an_error_of_a_wildcard_socket_still_tells_whose_it_is() -> None:
    rig = make(host="0.0.0.0")
    try:
        with rig.client(connected=False) as healthy:
            gone = rig.client(connected=False)
            for client in (healthy, gone):
                client.sendto(b"connect", ("127.0.0.2", rig.port))
                client.recv(100)
            gone.close()
            until(lambda: len(rig.server.table) == 1)
            assert healthy.recv(100)
    finally:
        rig.server.stop()


def test_what_the_link_drops_is_told_to_the_witness_by_sequence_number(rig: Rig) -> None:
    with rig.client() as client:
        client.send(b"connect v=1 rate_hz=500 name=drops")
        session_id = colour(client).session_id
        link = Link.from_body({"loss_ratio": 0.3, "seed": 5})
        address = client.getsockname()
        slot = rig.server.table.slot_of_address[address]
        rig.ask(lambda: rig.server.links.put_slot(slot, link))
        heard = {colour(client).sequence for _ in range(200)}
        rig.ask(lambda: rig.server.links.put_slot(slot, None))
        dropped = {
            int(sequence)
            for report in rig.server.send_log.take()
            for sequence, cause, who in zip(report.sequence, report.cause, report.session_id, strict=True)
            if cause == Cause.LINK and who == session_id
        }
        while max(heard) < max(dropped):
            heard.add(colour(client).sequence)
        first = min(heard)
        assert {number for number in range(first, max(heard)) if number not in heard} == {
            d for d in dropped if d > first
        }
        assert dropped


def test_a_delay_holds_each_datagram_back_and_loses_none(rig: Rig) -> None:
    with rig.client() as client:
        client.send(b"connect v=1 rate_hz=100")
        client.recv(100)
        rig.ask(lambda: rig.server.links.put_default(Link.from_body({"delay_ms": 100})))
        seen: list[int] = []
        delays: list[float] = []
        while len(seen) < 60:
            late = colour(client)
            seen.append(late.sequence)
            delays.append((time.time_ns() - late.sent_at_unix_ns) / 1e6)
    assert seen == list(range(seen[0], seen[0] + 60))
    assert min(delays[-40:]) > 95


def test_what_a_link_holds_of_a_stream_that_was_changed_for_the_other_never_leaves(rig: Rig) -> None:
    with rig.client() as client:
        client.send(b"connect v=1")
        colour(client)
        rig.ask(lambda: rig.server.links.put_default(Link(delay_ms=200)))
        until(lambda: len(rig.server.outlet.line) > 2)
        rig.ask(lambda: rig.server.links.put_default(None))
        client.send(b"connect")
        while client.recv(2000)[:1] == wire.MAGIC_BYTE:
            pass
        assert len(rig.server.outlet.line) == 0
        assert all(client.recv(2000)[:1] != wire.MAGIC_BYTE for _ in range(20))


def test_the_threads_engine_answers_from_another_port_and_a_connect_is_idempotent() -> None:
    rig = make("threads")
    try:
        with rig.client(connected=False) as client:
            for _ in range(3):
                client.sendto(b"connect", ("127.0.0.1", rig.port))
            sources = {client.recvfrom(100)[1] for _ in range(20)}
            assert len(sources) == 1
            assert ("127.0.0.1", rig.port) not in sources
            client.sendto(b"disconnect", ("127.0.0.1", rig.port))
            until(lambda: len(rig.server.table) == 0)
    finally:
        rig.server.stop()


@pytest.fixture
def threads() -> Iterator[Rig]:
    made = make("threads")
    yield made
    made.server.stop()


def test_a_link_holds_for_a_client_with_a_thread_of_its_own_and_the_witness_hears_of_it(threads: Rig) -> None:
    with threads.client(connected=False) as client:
        client.sendto(b"connect v=1 rate_hz=100", ("127.0.0.1", threads.port))
        session_id = colour(client).session_id
        threads.ask(lambda: threads.server.links.put_default(Link(delay_ms=60)))
        changed_unix_ns = time.time_ns()
        while (held := colour(client)).sent_at_unix_ns < changed_unix_ns:
            pass
        assert time.time_ns() - held.sent_at_unix_ns >= 60 * NS_PER_MS
        threads.ask(lambda: threads.server.links.put_default(Link(blackout=True)))
        reports = threads.server.send_log.take()
        until(lambda: reports.extend(threads.server.send_log.take()) or sum(len(one.sequence) for one in reports) >= 20)
        assert {int(one) for report in reports for one in report.session_id} == {session_id}
        assert {int(one) for report in reports for one in report.cause} == {Cause.LINK}
        all_that_waits(client)
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(2000)
        client.settimeout(5)
        threads.ask(lambda: threads.server.links.put_default(None))
        colour(client)
        assert threads.server.outlet.sent > 0


@pytest.mark.skipif(sys.platform != "linux", reason="the error queue is Linux's")
def test_a_client_with_a_thread_that_is_gone_is_reaped_and_its_address_served_again(threads: Rig) -> None:
    with threads.client(connected=False) as client:
        address = client.getsockname()
        client.sendto(b"connect rate_hz=200", ("127.0.0.1", threads.port))
        client.recv(100)
    until(lambda: len(threads.server.table) == 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(address)
        again.settimeout(5)
        again.sendto(b"connect", ("127.0.0.1", threads.port))
        assert again.recv(100).decode() in NAMES
        assert threads.server.thread.restarts == 0
    until(lambda: not any(one.name.startswith("udprism-stream") for one in threading.enumerate()), 10)


@pytest.mark.skipif(sys.platform != "linux", reason="the error queue is Linux's")
def test_each_of_many_clients_that_are_gone_is_known_though_the_error_queue_is_short() -> None:
    rig = make(start=False)
    server, (sock, *_) = rig.server, rig.server.sockets
    gone: set[tuple[str, int]] = set()
    for _ in range(200):
        with rig.client() as client:
            gone.add(client.getsockname())
            client.send(b"connect v=1")
            server.handler.read(0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # room for two or three errors
    everybody = np.fromiter(server.table.sessions, np.int32)
    server.send_due(everybody, server.table.due_ns[everybody], SystemClock().now_ns())
    told = server.outlet.take_unreachable() + [one.address for one in drain_error_queue(sock)]
    server.stop()
    assert set(told) == gone


def test_a_server_that_is_behind_with_what_its_link_holds_skips_ticks_and_holds_no_more() -> None:
    rig = make(rate_hz=1000, start=False)
    server = rig.server
    with rig.client() as client:
        client.send(b"connect v=1")
        until(lambda: server.handler.read(0) or server.table.sessions)
        server.links.put_default(Link(delay_ms=5000))  # nothing is due while a busy machine runs this
        server._tick(max(SystemClock().now_ns(), int(server.table.due_ns[0])))
        assert len(server.outlet.line) == 1
        late_ns = SystemClock().now_ns() + 5020 * NS_PER_MS  # 20 of them behind
        server.outlet.release = lambda now_ns: None  # type: ignore[method-assign]  # a kernel that takes no more
        server._tick(late_ns)
        assert len(server.outlet.line) == 1
        del server.outlet.release
        server._tick(late_ns)
        assert int(server.table.next_sequence[0]) == 2
        assert server.skipped_ticks > 20
    server.stop()


def test_after_it_stood_still_the_server_first_hears_who_renewed_and_then_ends_leases(rig: Rig) -> None:
    table, clock = rig.server.table, SystemClock()

    def lease_ends(in_s: float) -> None:
        table.lease_deadline_ns[0] = clock.now_ns() + round(in_s * NS_PER_S)

    with rig.client() as client:
        client.send(b"connect")
        client.recv(100)
        rig.ask(lambda: lease_ends(0.2))
        rig.ask(lambda: time.sleep(1.5))  # the fault itself
        assert rig.ask(lambda: len(table)) == 1
        rig.ask(lambda: lease_ends(0.2))
        until(lambda: not len(table))
