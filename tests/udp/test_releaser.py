"""What a link holds back, let go by a process of its own: real sockets, a real process, a real clock."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from support.way_out import SESSIONS, WayOut
from udprism.columns.types import NEVER_NS, NS_PER_MS, NS_PER_S
from udprism.ledger.fates import Cause
from udprism.link.delay_line import DelayLine
from udprism.link.link import Link
from udprism.udp.clock import SystemClock
from udprism.udp.releaser import DelayedBatch, Releaser
from udprism.udp.sockets import sockaddr_row

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="shared memory by memfd and sendmmsg are Linux's")

ROW_BYTES = 32
BROADCAST = ("255.255.255.255", 9)
"""Where a socket may not send that has not asked for it."""


class Rig:
    """A releaser, its line, a socket of either family, and somebody who listens to both."""

    def __init__(self) -> None:
        families = (socket.AF_INET, socket.AF_INET6)
        self.senders = [socket.socket(family, socket.SOCK_DGRAM) for family in families]
        self.receivers = [socket.socket(family, socket.SOCK_DGRAM) for family in families]
        for receiver, host in zip(self.receivers, ("127.0.0.1", "::1"), strict=True):
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            receiver.bind((host, 0))
            receiver.settimeout(5)
        for sender in self.senders:
            sender.setblocking(False)
        self.releaser = Releaser(self.senders, 4096, ROW_BYTES)
        self.line = DelayLine(4096, ROW_BYTES, self.releaser.rows)

    def close(self) -> None:
        self.releaser.close()
        for sock in self.senders + self.receivers:
            sock.close()

    def make_ready(self) -> None:
        self.releaser.want(True)
        self.settle_until(lambda: self.releaser.ready)

    def settle_until(self, holds: Callable[[], bool]) -> None:
        """What comes back meanwhile is nobody's affair."""
        deadline_s = time.monotonic() + 10
        while not holds():
            assert time.monotonic() < deadline_s
            self.releaser.settle(time.monotonic_ns())
            time.sleep(0.001)

    def back(self) -> DelayedBatch:
        """The next block that is done."""
        deadline_s = time.monotonic() + 10
        while not (back := self.releaser.settle(time.monotonic_ns())):
            assert time.monotonic() < deadline_s
            time.sleep(0.001)
        (held,) = back
        return held

    def hold(self, release_ns: list[int], index: int = 0) -> DelayedBatch:
        """Datagrams 0, 1, … that leave then through that socket."""
        count = len(release_ns)
        rows = np.zeros((count, 4), np.uint8)
        rows[:] = np.arange(count, dtype=">u4").view(np.uint8).reshape(count, 4)
        slot, sequence = np.arange(count, dtype=np.int32), np.arange(count, dtype=np.int64)
        length, dropped = np.full(count, 4, np.int32), np.zeros(count, np.bool_)
        self.line.push(np.array(release_ns, np.int64), slot, sequence, length, rows, dropped)
        return DelayedBatch(self.line.take_due(max(release_ns)), index, np.ones(count, np.uint32))

    def hand_over(self, held: DelayedBatch, refused: tuple[int, ...] = ()) -> None:
        """To the one who listens, but for those that the kernel will refuse."""
        family = socket.AddressFamily(self.senders[held.socket_index].family)
        names = np.tile(sockaddr_row(self.receivers[held.socket_index].getsockname()[:2], family), (len(held.due), 1))
        for place in refused:
            names[place] = sockaddr_row(BROADCAST, family)
        assert self.releaser.hand_over(held, names)

    def hear(self, count: int, index: int = 0) -> list[tuple[int, int]]:
        """The next datagrams: which, and when."""
        heard = [(self.receivers[index].recv(100), time.monotonic_ns()) for _ in range(count)]
        return [(int.from_bytes(data, "big"), at_ns) for data, at_ns in heard]


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


def soon_ns(ms: float) -> int:
    return time.monotonic_ns() + round(ms * NS_PER_MS)


@pytest.mark.parametrize("index", [0, 1], ids=["IPv4", "IPv6"])
def test_each_leaves_in_its_turn_and_none_before_its_time(rig: Rig, index: int) -> None:
    rig.make_ready()
    begin_ns = soon_ns(100)
    release_ns = [begin_ns + place * NS_PER_MS // 4 for place in range(600)]
    held = rig.hold(release_ns, index)
    rig.hand_over(held)
    heard = rig.hear(600, index)
    assert [which for which, _ in heard] == list(range(600))
    assert all(at_ns >= release_ns[which] for which, at_ns in heard)
    assert rig.back() is held
    assert held.done == 600
    assert len(held.refused) == 0


def test_what_is_handed_over_later_may_leave_earlier(rig: Rig) -> None:
    rig.make_ready()
    late, early = rig.hold([soon_ns(200)] * 3), rig.hold([soon_ns(50)] * 2)
    rig.hand_over(late)
    rig.hand_over(early)
    assert rig.back() is early
    assert (early.done, late.done) == (2, 0)
    assert rig.releaser.next_release_ns == rig.releaser.last_release_ns == late.last_release_ns
    assert rig.back() is late
    assert late.done == 3


def test_it_is_told_what_the_kernel_refused(rig: Rig) -> None:
    rig.make_ready()
    held = rig.hold([soon_ns(20)] * 10)
    rig.hand_over(held, refused=(0, 4, 9))
    assert rig.back() is held
    assert held.refused.tolist() == [0, 4, 9]
    assert [which for which, _ in rig.hear(7)] == [1, 2, 3, 5, 6, 7, 8]


def test_an_error_of_somebody_who_is_gone_costs_nobody_else_a_datagram(rig: Rig) -> None:
    rig.make_ready()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        nobody = sockaddr_row(gone.getsockname(), socket.AF_INET)
    rig.senders[0].setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR, as the server's sockets have it
    held = rig.hold([soon_ns(20)] * 100)
    names = np.tile(sockaddr_row(rig.receivers[0].getsockname(), socket.AF_INET), (100, 1))
    names[::3] = nobody
    assert rig.releaser.hand_over(held, names)
    assert [which for which, _ in rig.hear(66)] == [which for which in range(100) if which % 3]
    assert rig.back() is held
    assert len(held.refused) == 0


def test_more_than_there_is_room_for_is_not_taken(rig: Rig) -> None:
    rig.make_ready()
    taken = [rig.hold([soon_ns(30_000)]) for _ in range(63)]
    for held in taken:
        assert rig.releaser.has_room
        rig.hand_over(held)
    assert not rig.releaser.has_room, "two sockets may need a block each"


def test_what_a_dead_process_had_left_comes_back_and_another_one_takes_it(rig: Rig) -> None:
    rig.make_ready()
    held = rig.hold([soon_ns(1)] * 5 + [soon_ns(30_000)] * 5)
    rig.hand_over(held)
    rig.settle_until(lambda: held.done == 5)
    os.kill(process_of(rig.releaser), signal.SIGKILL)
    assert rig.back() is held
    assert held.done == 5
    assert not rig.releaser.ready
    rest = DelayedBatch(held.due.part(slice(5, None)), 0, held.session_id[5:])
    rig.releaser.settle(
        time.monotonic_ns() + 10 * NS_PER_S
    )  # not at once: one that dies at once would be started for ever
    rig.settle_until(lambda: rig.releaser.ready)
    assert rig.releaser.starts == 2
    rest.due.release_ns[:] = time.monotonic_ns()
    rig.hand_over(rest)
    assert [which for which, _ in rig.hear(10)] == list(range(10))


def test_one_that_hangs_is_replaced(rig: Rig) -> None:
    rig.make_ready()
    held, process = rig.hold([soon_ns(10)]), process_of(rig.releaser)
    os.kill(process, signal.SIGSTOP)
    rig.hand_over(held)
    assert rig.releaser.settle(held.last_release_ns + NS_PER_S) == []
    assert rig.releaser.settle(held.last_release_ns + 3 * NS_PER_S) == [held]
    assert held.done == 0
    assert not Path(f"/proc/{process}").exists()


def test_where_it_cannot_be_started_somebody_else_has_to_send(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    rig.releaser.want(True)
    assert rig.releaser.settle(time.monotonic_ns()) == []
    assert not rig.releaser.ready
    assert not rig.releaser.hand_over(rig.hold([soon_ns(1)]), np.zeros((1, 28), np.uint8))


def test_ctrl_c_is_not_for_it_and_the_end_of_the_program_is(rig: Rig) -> None:
    rig.make_ready()
    process = process_of(rig.releaser)
    os.kill(process, signal.SIGINT)
    held = rig.hold([soon_ns(20)])
    rig.hand_over(held)
    assert len(rig.hear(1)) == 1
    rig.releaser.close()
    assert not Path(f"/proc/{process}").exists()


def test_it_ends_with_a_program_that_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import socket, time\n"
        "from udprism.udp.releaser import Releaser\n"
        "releaser = Releaser([socket.socket(socket.AF_INET, socket.SOCK_DGRAM)], 8, 32)\n"
        "releaser.want(True)\n"
        "while not releaser.ready:\n"
        "    releaser.settle(time.monotonic_ns())\n"
        "print(releaser._process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        process = int(killed.stdout.readline())
        os.kill(process, 0)
        killed.kill()
    deadline_s = time.monotonic() + 5
    while is_running(process):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_it_has_a_processor_to_itself_while_a_link_is_on(rig: Rig) -> None:
    everywhere = os.sched_getaffinity(0)
    if len(everywhere) < 2:
        pytest.skip("there is one processor only")
    rig.make_ready()
    alone = os.sched_getaffinity(process_of(rig.releaser))
    assert len(alone) == 1
    assert os.sched_getaffinity(0) == everywhere - alone
    rig.releaser.want(False)
    assert os.sched_getaffinity(0) == everywhere
    rig.releaser.want(True)
    assert os.sched_getaffinity(0) == everywhere - alone
    os.kill(process_of(rig.releaser), signal.SIGKILL)
    rig.settle_until(lambda: not rig.releaser.ready)
    assert os.sched_getaffinity(0) == everywhere


def process_of(releaser: Releaser) -> int:
    assert releaser._process is not None
    return releaser._process.pid


def is_running(process: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


# -- under the server's outlet


@pytest.fixture
def way() -> Iterator[WayOut[SystemClock]]:
    made = WayOut(SystemClock(), with_releaser=True)
    yield made
    made.close()


def release_until(way: WayOut[SystemClock], holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline_s
        way.outlet.release(way.clock.now_ns())
        time.sleep(0.001)


def make_ready(way: WayOut[SystemClock], link: Link) -> Releaser:
    way.impair(link)
    assert way.releaser is not None
    release_until(way, lambda: way.releaser is not None and way.releaser.ready)
    return way.releaser


def test_a_link_s_datagrams_all_leave_and_their_places_are_free_again(way: WayOut[SystemClock]) -> None:
    make_ready(way, Link(delay_ms=80, jitter_ms=40, duplicate_ratio=0.5))
    for _ in range(10):
        way.send()
    release_until(way, lambda: len(way.outlet.line) == 0)
    assert way.outlet.sent > 10 * SESSIONS
    assert way.outlet.next_release_ns == NEVER_NS
    heard = way.heard(way.outlet.sent)
    assert {(one.session_id, one.sequence) for one in heard} == {(1 + n, k) for n in range(SESSIONS) for k in range(10)}


def test_what_the_link_dropped_is_told_in_its_turn(way: WayOut[SystemClock]) -> None:
    make_ready(way, Link(delay_ms=200, loss_ratio=0.5, seed=3))
    begun_ns, told = way.clock.now_ns(), 0
    way.send()
    while told + way.outlet.sent < SESSIONS:
        way.outlet.release(way.clock.now_ns())
        for report in way.send_log.take():
            assert way.clock.now_ns() > begun_ns + 200 * NS_PER_MS, "not before it would have left"
            assert set(report.cause.tolist()) == {Cause.LINK}
            told += len(report.sequence)
        assert way.clock.now_ns() < begun_ns + 10 * NS_PER_S
        time.sleep(0.005)
    assert told == int(way.table.unsent_link.sum())
    assert 50 < told < 150
    assert len(way.heard(way.outlet.sent)) == SESSIONS - told


def test_when_the_process_dies_the_thread_sends_but_not_to_a_session_that_ended(
    way: WayOut[SystemClock],
) -> None:
    releaser = make_ready(way, Link(delay_ms=300))
    way.send()
    release_until(way, lambda: way.outlet.line.next_release_ns == NEVER_NS)  # all is handed over
    way.outlet.forget(7)
    way.table.end(7)
    os.kill(process_of(releaser), signal.SIGKILL)
    release_until(way, lambda: len(way.outlet.line) == 0)
    heard = sorted(one.session_id for one in way.heard(SESSIONS - 1))
    assert heard == [n for n in range(1, 1 + SESSIONS) if n != 8]
    (report,) = way.send_log.take()
    assert (report.session_id.tolist(), report.cause.tolist()) == ([8], [Cause.LINK])


def test_nothing_overtakes_what_the_process_has_but_what_the_link_lets_overtake(way: WayOut[SystemClock]) -> None:
    """A queue lets the first of each burst leave at once, while the process may be late with the one before it."""
    releaser = make_ready(way, Link(rate_kbit_s=400))
    process, heard = process_of(releaser), []
    for _ in range(20):
        os.kill(process, signal.SIGSTOP)
        way.send()
        way.send()
        time.sleep(0.01)
        way.send()
        os.kill(process, signal.SIGCONT)
        release_until(way, lambda: len(way.outlet.line) == 0)
        heard += way.heard(3 * SESSIONS)
    for session_id in range(1, 1 + SESSIONS):
        assert [one.sequence for one in heard if one.session_id == session_id] == list(range(60))
