"""Receivers: every implementation must keep the same promises."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from udprism.columns.arrivals import Arrivals
from udprism.columns.types import NS_PER_S
from udprism.udp.arrivals import PollReceiver, Receiver, best_receiver
from udprism.udp.sockets import report_errors, sockaddr_row
from udprism.udp.uring import UringReceiver

WIDTH = 24
BATCH = 512
Make = Callable[..., Receiver]


def make_uring(capacity=64, width=WIDTH, max_batch=BATCH, coalesce_s=0.0, max_buffers=16_384) -> Receiver:
    try:
        return UringReceiver(capacity, width, max_batch, coalesce_s, max_buffers=max_buffers)
    except OSError as error:
        pytest.skip(f"no io_uring here: {error}")


def make_stamped(capacity=64, width=WIDTH, max_batch=BATCH, coalesce_s=0.0, max_buffers=None) -> Receiver:
    if sys.platform != "linux":
        pytest.skip("no kernel stamps here")
    return PollReceiver(width, max_batch, coalesce_s, linux=True)


def make_plain(capacity=64, width=WIDTH, max_batch=BATCH, coalesce_s=0.0, max_buffers=None) -> Receiver:
    return PollReceiver(width, max_batch, coalesce_s, linux=False)


@pytest.fixture(params=[make_uring, make_stamped, make_plain])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    made: list[Receiver] = []

    def one(**options: float) -> Receiver:
        made.append(request.param(**options))
        return made[-1]

    yield one
    for receiver in made:
        receiver.close()


@pytest.fixture
def receiver(make: Make) -> Receiver:
    return make()


@pytest.fixture
def open_socket() -> Iterator[Callable[..., socket.socket]]:
    opened: list[socket.socket] = []

    def one(family: socket.AddressFamily = socket.AF_INET, host: str = "127.0.0.1") -> socket.socket:
        opened.append(socket.socket(family, socket.SOCK_DGRAM))
        opened[-1].bind((host, 0))
        return opened[-1]

    yield one
    for sock in opened:
        sock.close()


@pytest.fixture
def sender(open_socket: Callable[..., socket.socket]) -> socket.socket:
    return open_socket()


def take(receiver: Receiver, count: int, deadline_s: float = 5.0) -> list[tuple[int, bytes, int, int]]:
    """Polls until `count` datagrams have come: (slot, the row's bytes, length, stamp)."""
    taken: list[tuple[int, bytes, int, int]] = []
    end = time.monotonic() + deadline_s
    while len(taken) < count and time.monotonic() < end:
        taken += listed(receiver.poll(0.1))
    return taken


def listed(arrivals: Arrivals) -> list[tuple[int, bytes, int, int]]:
    columns = zip(
        arrivals.slot.tolist(),
        arrivals.rows,
        arrivals.length.tolist(),
        arrivals.received_unix_ns.tolist(),
        strict=True,
    )
    return [(slot, bytes(row[:length]), length, stamp) for slot, row, length, stamp in columns]


def errors_of(receiver: Receiver, deadline_s: float = 5.0) -> list[tuple[int, int]]:
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        receiver.poll(0.1)
        if receiver.errors:
            return receiver.errors
    return []


def stamped_by_kernel(receiver: Receiver) -> bool:
    return not isinstance(receiver, PollReceiver) or receiver.stamps


def test_datagrams_of_one_socket_come_in_order_and_of_all_under_their_slots(receiver, open_socket, sender):
    sockets = {slot: open_socket() for slot in (0, 7, 63)}
    for slot, sock in sockets.items():
        receiver.add(sock, slot)
    receiver.poll(0)
    for number in range(100):
        for slot, sock in sockets.items():
            sender.sendto(b"%d/%d" % (slot, number), sock.getsockname())
    taken = take(receiver, 300)
    for slot in sockets:
        assert [data for at, data, _, _ in taken if at == slot] == [b"%d/%d" % (slot, n) for n in range(100)]


def test_stamps_lie_between_send_and_receipt_and_are_not_the_instant_of_the_poll(receiver, open_socket, sender):
    sock = open_socket()
    receiver.add(sock, 5)
    receiver.poll(0)
    before_ns = []
    for _ in range(3):
        before_ns.append(time.time_ns())
        sender.sendto(b"x", sock.getsockname())
    time.sleep(0.05)  # on a busy machine the kernel itself hands them on, and stamps them, only after the send
    polling_ns = time.time_ns()
    taken = take(receiver, 3)
    polled_ns = time.time_ns()
    assert len(taken) == 3
    for (_, _, _, stamp), earliest_ns in zip(taken, before_ns, strict=True):
        assert earliest_ns <= stamp <= (polling_ns if stamped_by_kernel(receiver) else polled_ns)


def test_a_datagram_longer_than_a_row_is_cut_off_and_says_so(receiver, open_socket, sender):
    sock = open_socket()
    receiver.add(sock, 1)
    for size in (WIDTH, WIDTH + 1, 1400, 0, 3):
        sender.sendto(bytes(range(200)) * 7 if size == 1400 else b"a" * size, sock.getsockname())
    taken = take(receiver, 5)
    assert [length > WIDTH for _, _, length, _ in taken] == [False, True, True, False, False]
    assert [length for _, _, length, _ in taken if length <= WIDTH] == [WIDTH, 0, 3]
    assert taken[2][1] == bytes(range(WIDTH))


def test_a_socket_goes_on_after_a_datagram_without_bytes(receiver, open_socket, sender):
    sock = open_socket()
    receiver.add(sock, 1)
    for data in (b"", b"1", b"", b"2"):
        sender.sendto(data, sock.getsockname())
        assert [row[1] for row in take(receiver, 1)] == [data]


def test_nothing_of_a_removed_socket_is_reported_even_where_its_slot_is_used_again(receiver, open_socket, sender):
    old, new = open_socket(), open_socket()
    receiver.add(old, 3)
    receiver.poll(0)
    for _ in range(20):
        sender.sendto(b"old", old.getsockname())
    receiver.remove(old, 3)
    receiver.add(new, 3)
    sender.sendto(b"old", old.getsockname())
    old.close()
    sender.sendto(b"new", new.getsockname())
    assert [(slot, data) for slot, data, _, _ in take(receiver, 1)] == [(3, b"new")]
    assert len(receiver.poll(0)) == 0
    assert receiver.errors == []


def test_a_socket_that_was_added_and_removed_before_any_poll_leaves_no_trace(receiver, open_socket, sender):
    sock, reused = open_socket(), open_socket()
    receiver.add(sock, 2)
    receiver.remove(sock, 2)
    sock.close()
    receiver.add(reused, 4)
    sender.sendto(b"x", reused.getsockname())
    assert [slot for slot, _, _, _ in take(receiver, 1)] == [4]
    assert receiver.errors == []


def test_a_removed_socket_frees_its_port(receiver, open_socket):
    sock = open_socket()
    address = sock.getsockname()
    receiver.add(sock, 0)
    receiver.poll(0)
    receiver.remove(sock, 0)
    sock.close()
    receiver.poll(0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(address)


def test_thousands_of_sockets_are_heard(make, open_socket, sender):
    count = 5000
    receiver = make(capacity=count, max_batch=1024)
    sockets = [open_socket() for _ in range(count)]
    for slot, sock in enumerate(sockets):
        receiver.add(sock, slot)
    receiver.poll(0)
    for round_ in range(2):
        for slot, sock in enumerate(sockets):
            sender.sendto(b"%d %d" % (slot, round_), sock.getsockname())
        taken = take(receiver, count, deadline_s=20)
        assert sorted(data for _, data, _, _ in taken) == sorted(b"%d %d" % (slot, round_) for slot in range(count))
        assert all(data == b"%d %d" % (slot, round_) for slot, data, _, _ in taken)
    for slot, sock in enumerate(sockets):
        receiver.remove(sock, slot)
    sender.sendto(b"x", sockets[9].getsockname())
    assert len(receiver.poll(0)) == 0


def test_a_burst_larger_than_batch_and_buffers_arrives_whole_and_in_order(make, open_socket, sender):
    receiver = make(max_batch=32, max_buffers=64)
    sockets = [open_socket() for _ in range(8)]
    for slot, sock in enumerate(sockets):
        receiver.add(sock, slot)
    receiver.poll(0)
    for number in range(100):
        for sock in sockets:
            sender.sendto(b"%d" % number, sock.getsockname())
    sizes: list[int] = []
    taken: list[tuple[int, bytes, int, int]] = []
    end = time.monotonic() + 10
    while len(taken) < 800 and time.monotonic() < end:
        arrivals = receiver.poll(0.1)
        sizes.append(len(arrivals))
        taken += listed(arrivals)
        assert receiver.behind or len(taken) == 800
    assert max(sizes) <= 32
    for slot in range(8):
        assert [data for at, data, _, _ in taken if at == slot] == [b"%d" % number for number in range(100)]
    assert receiver.errors == []
    receiver.poll(0)
    assert not receiver.behind


def test_a_refused_send_is_reported_under_its_slot_and_the_socket_goes_on(receiver, open_socket):
    peer, sock = open_socket(), open_socket()
    address = peer.getsockname()
    sock.connect(address)
    receiver.add(sock, 6)
    receiver.poll(0)
    peer.close()
    for _ in range(2):
        sock.send(b"anyone?", socket.MSG_DONTWAIT)
        assert errors_of(receiver) == [(6, errno.ECONNREFUSED)]
    receiver.poll(0)
    assert receiver.errors == []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
        back.bind(address)
        back.sendto(b"back", sock.getsockname())
        assert [(slot, data) for slot, data, _, _ in take(receiver, 1)] == [(6, b"back")]


@pytest.mark.skipif(sys.platform != "linux", reason="the error queue is Linux's")
def test_an_unconnected_socket_reports_each_refusal_once_and_does_not_spin(make, open_socket):
    receiver = make(coalesce_s=0.001)
    peer, sock = open_socket(), open_socket()
    nobody = peer.getsockname()
    peer.close()
    report_errors(sock)
    receiver.add(sock, 4, "127.0.0.1")
    receiver.poll(0)
    for _ in range(3):
        sock.sendto(b"anyone?", socket.MSG_DONTWAIT, nobody)
        assert errors_of(receiver) == [(4, errno.ECONNREFUSED)]
    begun_s, begun_cpu_s = time.monotonic(), time.thread_time()
    for _ in range(5):
        receiver.poll(0.05)
        assert receiver.errors == []
    assert time.thread_time() - begun_cpu_s < 0.5 * (time.monotonic() - begun_s)


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_an_unconnected_socket_hears_only_the_address_that_it_asked(receiver, open_socket, family, host):
    try:
        right, unconnected, other = (open_socket(family, host) for _ in range(3))
    except OSError:
        pytest.skip("no IPv6 here")
    receiver.add(unconnected, 8, host)
    receiver.add(other, 9, "127.9.9.9" if family == socket.AF_INET else "fe80::1%lo")
    receiver.poll(0)
    for number in range(3):
        right.sendto(b"not from 127.9.9.9", other.getsockname())
        right.sendto(b"%d" % number, unconnected.getsockname())
    assert [(slot, data) for slot, data, _, _ in take(receiver, 3)] == [(8, b"0"), (8, b"1"), (8, b"2")]
    receiver.remove(other, 9)
    receiver.add(other, 9)
    right.sendto(b"any", other.getsockname())
    assert [(slot, data) for slot, data, _, _ in take(receiver, 1)] == [(9, b"any")]


def test_poll_waits_no_longer_than_asked_and_returns_nothing(receiver, open_socket):
    receiver.add(open_socket(), 0)
    begun_s = time.monotonic()
    assert len(receiver.poll(0.05)) == 0
    assert time.monotonic() - begun_s >= 0.045
    assert len(receiver.poll(0)) == 0


def test_wake_ends_a_poll_each_time(receiver):
    for _ in range(3):
        begun_s = time.monotonic()
        thread = threading.Thread(target=receiver.wake)
        thread.start()
        receiver.poll(30)
        thread.join()
        assert time.monotonic() - begun_s < 15


def test_a_wake_before_the_poll_is_not_forgotten_and_ten_thousand_are_one(receiver):
    for _ in range(10_000):
        receiver.wake()
    begun_s = time.monotonic()
    receiver.poll(30)
    assert time.monotonic() - begun_s < 15
    assert len(receiver.poll(0.01)) == 0


def test_datagrams_gather_while_there_is_traffic(make, open_socket, sender):
    receiver = make(coalesce_s=0.2)
    sock = open_socket()
    receiver.add(sock, 0)
    receiver.poll(0)
    stop = threading.Event()

    def send() -> None:
        while not stop.wait(0.001):
            sender.sendto(b"x", sock.getsockname())

    thread = threading.Thread(target=send)
    thread.start()
    try:
        # On a busy machine the sender itself may pause for a whole wait, so one batch may be small: none gathers if
        # each datagram is a batch of its own.
        sizes = [len(receiver.poll(1.0)) for _ in range(12)]
    finally:
        stop.set()
        thread.join()
    assert sorted(sizes[1:])[len(sizes[1:]) // 2] > 5


def test_another_thread_can_take_over(receiver, open_socket, sender):
    sock = open_socket()
    receiver.add(sock, 1)
    receiver.poll(0)
    sender.sendto(b"early", sock.getsockname())
    taken: list[tuple[int, bytes, int, int]] = []
    thread = threading.Thread(target=lambda: taken.extend(take(receiver, 1)))
    thread.start()
    thread.join()
    sender.sendto(b"late", sock.getsockname())
    taken += take(receiver, 1)
    assert [(slot, data) for slot, data, _, _ in taken] == [(1, b"early"), (1, b"late")]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
@pytest.mark.parametrize("make_one", [make_uring, make_stamped, make_plain])
def test_close_gives_all_descriptors_back_and_leaves_the_sockets_alone(make_one, open_socket, sender):
    sock = open_socket()
    before = set(os.listdir("/proc/self/fd"))
    receiver = make_one()
    receiver.add(sock, 0)
    sender.sendto(b"x", sock.getsockname())
    assert len(take(receiver, 1)) == 1
    receiver.close()
    assert set(os.listdir("/proc/self/fd")) == before
    sender.sendto(b"y", sock.getsockname())
    sock.settimeout(5)
    assert sock.recv(10) == b"y"


def test_the_pool_of_buffers_is_bounded_whatever_the_width():
    for width in (24, 64, 1472):
        receiver = make_uring(width=width)
        assert isinstance(receiver, UringReceiver)
        assert receiver._ring.pool.nbytes <= 24 << 20
        receiver.close()


FORBID_IO_URING = """
import ctypes, struct
from udprism.udp.arrivals import best_receiver

# Seccomp, as containers do it: load the system call's number; 425 (io_uring_setup) answers EPERM, others pass.
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (6, 0, 0, 0x50001), (6, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
filter = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(code)))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, filter, 0, 0) == 0
print(best_receiver(16, 24, 512, 0.0).description)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux's")
def test_where_io_uring_is_forbidden_the_next_best_is_taken_and_says_why():
    ran = subprocess.run([sys.executable, "-c", FORBID_IO_URING], capture_output=True, text=True, timeout=60)
    if ran.returncode and "AssertionError" in ran.stderr:
        pytest.skip("seccomp itself is forbidden here")
    assert ran.stdout == "epoll (io_uring: Operation not permitted)\n", ran.stderr


def test_the_best_receiver_of_this_machine_hears(open_socket, sender):
    receiver = best_receiver(16, WIDTH, BATCH, 0.0)
    sock = open_socket()
    receiver.add(sock, 15)
    sender.sendto(b"x", sock.getsockname())
    assert [(slot, data) for slot, data, _, _ in take(receiver, 1)] == [(15, b"x")]
    receiver.close()


def test_columns_have_the_shapes_and_types_of_a_batch(receiver, open_socket, sender):
    sock = open_socket()
    receiver.add(sock, 11)
    sender.sendto(b"\xc7" + bytes(22), sock.getsockname())
    end = time.monotonic() + 5
    while not len(arrivals := receiver.poll(0.1)):
        assert time.monotonic() < end
    columns = (arrivals.slot, arrivals.received_unix_ns, arrivals.length, arrivals.rows, arrivals.source)
    assert [column.dtype.name for column in columns] == ["int32", "int64", "int32", "uint8", "uint8"]
    assert arrivals.rows.shape == (1, WIDTH)
    assert abs(int(arrivals.received_unix_ns[0]) - time.time_ns()) < 5 * NS_PER_S


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_each_row_says_who_sent_it_as_the_kernel_does(receiver, open_socket, family, host):
    sock, senders = open_socket(family, host), [open_socket(family, host) for _ in range(3)]
    receiver.add(sock, 1)
    for sender in senders:
        sender.sendto(b"x", sock.getsockname())
    told: list[bytes] = []
    end = time.monotonic() + 5
    while len(told) < 3 and time.monotonic() < end:
        arrivals = receiver.poll(0.1)
        told += [row.tobytes() for row in arrivals.part(arrivals.length == 1).source]
    used = 28 if family == socket.AF_INET6 else 16
    expected = [sockaddr_row(sender.getsockname()[:2], family).tobytes() for sender in senders]
    assert [row[:used] for row in told] == [row[:used] for row in expected]
