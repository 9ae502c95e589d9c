"""`udprism doctor`: what on this machine would keep it from starting, or make its figures wrong."""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer

from udprism.cli.flags import flag, read_settings
from udprism.columns.types import NS_PER_MS, NS_PER_S, NS_PER_US
from udprism.errors import BindError
from udprism.settings import Settings, reachable_host
from udprism.udp.arrivals import best_receiver
from udprism.udp.releaser import Releaser
from udprism.udp.sockets import bind_server

MAX_DATAGRAM_BYTES = 20 + 3 * 480
IP_AND_UDP_BYTES = 28
"""IPv4 and UDP headers; IPv6 takes 20 more, so that the three last colours of the very largest do not fit 1500."""
SPARE_DESCRIPTORS = 512
"""For browsers, the server's sockets, the database, and files that the interpreter opens."""
_GOOD_CLOCKS = {"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "xen"}
_COARSE_CLOCK_NS = 100 * NS_PER_US
_ROUND_TRIPS = 1_000
_ROUND_TRIP_WAIT_S = 0.25
_PROCESS_WITHIN_S = 2.0


class Verdict(Enum):
    """OK; NOTE: it works, within the bounds that the finding names; FAIL: it would not start, or show wrong figures."""

    OK = "ok"
    NOTE = "note"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Finding:
    """The result of one check. means: its impact. mend: how to fix it."""

    verdict: Verdict
    saw: str
    means: str = ""
    mend: str = ""


Check = Callable[[Settings], Finding]


def check_running(settings: Settings) -> Finding | None:
    """What a udprism that runs at these addresses says of itself; None if none does."""
    address = f"http://{settings.http}"
    request = urllib.request.Request(f"{address}/readyz")
    if settings.token:
        request.add_header("Authorization", f"Bearer {settings.token}")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the question is about this machine
    try:
        with direct.open(request, timeout=2) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        with error:
            text = error.read()
    except (OSError, http.client.HTTPException):  # nobody, or a program that speaks something else
        return None
    try:
        body = json.loads(text)
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    if body.get("type") == "urn:udprism:problem:token":
        saw = f"a udprism runs at {address}, and its token is needed to ask whether it is ready"
        return Finding(Verdict.NOTE, saw, "its own checks are not seen here", "UDPRISM_TOKEN=… udprism doctor")
    if "checks" not in body:
        return None
    bad = [f"{check['name']}: {check['detail']}" for check in body["checks"] if not check["ok"]]
    if bad:
        return Finding(Verdict.FAIL, f"the udprism at {address} is not ready", "; ".join(bad), "see its log")
    return Finding(Verdict.OK, f"a udprism runs at {address} and is ready")


def check_stream(settings: Settings) -> Finding:
    """Whether the running server answers `connect` with a colour."""
    host, port = settings.udp_address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(3)
        began_ns = time.monotonic_ns()
        try:
            sock.connect((reachable_host(host), port))
            sock.send(b"connect rate_hz=10")
            colour = sock.recv(2048).decode("ascii", "replace")
            sock.send(b"disconnect")
        except OSError as error:
            return Finding(
                Verdict.FAIL,
                f"no colour came from UDP {settings.udp}: {error}",
                "raw clients would see nothing",
                "is a firewall between them? On Linux: nft list ruleset",
            )
    return Finding(
        Verdict.OK, f"connect brought {colour!r} after {(time.monotonic_ns() - began_ns) / NS_PER_MS:.0f} ms"
    )


def check_udp_port(settings: Settings) -> Finding:
    """Whether the server's sockets can be bound."""
    host, port = settings.udp_address
    try:
        sockets = bind_server(host, port, settings.receive_buffer_bytes)
    except BindError as error:
        return Finding(Verdict.FAIL, str(error), "serve would end with exit code 3", "give it another --udp HOST:PORT")
    for sock in sockets:
        sock.close()
    return Finding(Verdict.OK, f"UDP {settings.udp} can be bound")


def check_http_port(settings: Settings) -> Finding:
    """Whether the page's port can be bound."""
    host, port = settings.http_address
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as sock:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            saw = f"cannot bind HTTP {settings.http}: {error.strerror or error}"
            return Finding(Verdict.FAIL, saw, "serve would end with exit code 3", "give it another --http HOST:PORT")
    return Finding(Verdict.OK, f"HTTP {settings.http} can be bound")


def check_descriptors(settings: Settings) -> Finding:
    """Whether each hosted client can have its socket."""
    if sys.platform == "win32":
        return Finding(Verdict.OK, "this system sets no limit on descriptors")
    import resource

    needed = settings.clients + settings.max_viewers + SPARE_DESCRIPTORS
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        return Finding(
            Verdict.FAIL,
            f"at most {hard} descriptors for {settings.clients} clients, which need {needed}",
            f"only {max(0, hard - needed + settings.clients)} hosted clients fit",
            f"ulimit -n {needed}   (as root, or in /etc/security/limits.conf)",
        )
    limit = "any number" if hard == resource.RLIM_INFINITY else str(hard)
    return Finding(Verdict.OK, f"{limit} of descriptors allowed, {needed} needed for {settings.clients} clients")


def check_receive_buffer(settings: Settings) -> Finding:
    """Whether the kernel grants the receive buffer that the server asks for."""
    wanted = settings.receive_buffer_bytes
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted)
        granted = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    if sys.platform == "linux":
        granted //= 2  # socket(7): the kernel doubles what was asked, for its own bookkeeping, and tells the double
    if granted < wanted:
        return Finding(
            Verdict.NOTE,
            f"a receive buffer of {granted} bytes is granted, {wanted} are wanted",
            "bursts may be dropped by the kernel; such datagrams are counted under receiver_kernel",
            f"sysctl -w net.core.rmem_max={wanted}",
        )
    return Finding(Verdict.OK, f"a receive buffer of {wanted} bytes is granted")


def check_receiver(settings: Settings) -> Finding:
    """How hosted clients' datagrams would be received."""
    receiver = best_receiver(1, MAX_DATAGRAM_BYTES, 64, settings.coalesce_ms / 1000)
    receiver.close()
    return judge_receiver(receiver.description)


def judge_receiver(description: str) -> Finding:
    """What a receiver's description means for a program with thousands of clients."""
    saw = f"datagrams are received through {description}"
    if description == "io_uring":
        return Finding(Verdict.OK, saw)
    return Finding(
        Verdict.NOTE,
        saw,
        "about a quarter of what io_uring would carry, which matters from 50,000 datagrams/s",
        "Linux 6.12, sysctl -w kernel.io_uring_disabled=0, or docker run --security-opt seccomp=unconfined …",
    )


def check_link(settings: Settings) -> Finding:
    """Whether delayed datagrams would leave on time."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        releaser = Releaser.where_possible([sock], 1, MAX_DATAGRAM_BYTES)
        if releaser is None:
            return judge_link(False, 1)
        releaser.want(True)
        until_s = time.monotonic() + _PROCESS_WITHIN_S
        while not releaser.ready and time.monotonic() < until_s:
            releaser.settle(time.monotonic_ns())
            time.sleep(0.001)
        ready = releaser.ready
        releaser.close()
        return judge_link(ready, len(os.sched_getaffinity(0)))


def judge_link(ready: bool, processors: int) -> Finding:
    """What it means for delays whether the link's process can be started, and how many processors there are."""
    means = "the delays that a link adds are accurate to some milliseconds only"
    if not ready:
        return Finding(
            Verdict.NOTE,
            "delayed datagrams are sent by the server's thread, which has other work as well",
            means,
            "64-bit Linux, with permission to start a process",
        )
    if processors < 2:
        return Finding(Verdict.NOTE, "the link's process shares the only processor", means, "allow it a second one")
    return Finding(Verdict.OK, "delayed datagrams are sent by a separate process with a processor of its own")


def check_ipv6(settings: Settings) -> Finding:
    """Whether ::1 can be used beside 127.0.0.1."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError as error:
        return Finding(
            Verdict.NOTE,
            f"no IPv6 on loopback: {error.strerror or error}",
            "programs that resolve localhost to ::1 first hear nothing",
            "sysctl -w net.ipv6.conf.lo.disable_ipv6=0, or write 127.0.0.1",
        )
    return Finding(Verdict.OK, "IPv6 works on loopback")


def check_container(settings: Settings, root: Path = Path("/")) -> Finding:
    """Whether a container's network stands between clients and server."""
    if not any((root / mark).exists() for mark in (".dockerenv", "run/.containerenv")):
        return Finding(Verdict.OK, "not in a container: source addresses arrive as they are")
    return Finding(
        Verdict.NOTE,
        "in a container: a published port rewrites source addresses",
        "all clients outside seem to come from the bridge's gateway and share its limits; their own addresses are lost",
        "docker run --network host …",
    )


def check_clock(settings: Settings, root: Path = Path("/")) -> Finding:
    """Whether the clock is fine enough and cheap enough for delays in microseconds."""
    step_ns = clock_step_ns(time.time_ns)
    if step_ns > _COARSE_CLOCK_NS:
        saw = f"the clock moves in steps of {step_ns / NS_PER_US:.0f} µs"
        return Finding(Verdict.FAIL, saw, "delay and jitter below that are noise", "use another clock source")
    try:
        source = (root / "sys/devices/system/clocksource/clocksource0/current_clocksource").read_text().strip()
    except OSError:
        return Finding(Verdict.OK, f"the clock moves in steps of {step_ns} ns")
    if source not in _GOOD_CLOCKS:
        return Finding(
            Verdict.NOTE,
            f"the kernel's clock source is {source}: each reading is a system call or a device access",
            "high rates cost more than they should, and delays gain some microseconds",
            "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource",
        )
    return Finding(Verdict.OK, f"clock source {source}, steps of {step_ns} ns")


def clock_step_ns(read_ns: Callable[[], int], readings: int = 2_000) -> int:
    """The smallest step that a clock was seen to make; 0 if it did not move at all."""
    values = [read_ns() for _ in range(readings)]
    until_ns = time.monotonic_ns() + NS_PER_S // 4
    while values[-1] == values[0] and time.monotonic_ns() < until_ns:
        values.append(read_ns())
    steps = [after - before for before, after in pairwise(values) if after > before]
    return min(steps, default=_COARSE_CLOCK_NS * 1_000)


def check_clock_jumps(settings: Settings, watched_s: float = 0.5) -> Finding:
    """Whether the wall clock is being set while we look."""
    before = time.time_ns() - time.monotonic_ns()
    time.sleep(watched_s)
    moved_ns = abs(time.time_ns() - time.monotonic_ns() - before)
    if moved_ns > NS_PER_MS:
        return Finding(
            Verdict.FAIL,
            f"the wall clock was set by {moved_ns / NS_PER_MS:.1f} ms within {watched_s} s",
            "one-way delays jump with it",
            "let one time service slew it: chronyd or systemd-timesyncd, not both",
        )
    return Finding(Verdict.OK, "the wall clock runs evenly")


def check_mtu(settings: Settings, root: Path = Path("/")) -> Finding:
    """Whether the largest datagram leaves every interface in one piece."""
    small: list[str] = []
    smallest = 1 << 16
    for interface in sorted((root / "sys/class/net").glob("*")):
        try:
            mtu = int((interface / "mtu").read_text())
            state = (interface / "operstate").read_text().strip()
        except (OSError, ValueError):
            continue
        if state != "down" and mtu < MAX_DATAGRAM_BYTES + IP_AND_UDP_BYTES:
            small.append(f"{interface.name} {mtu}")
            smallest = min(smallest, mtu)
    if small:
        fits = (smallest - IP_AND_UDP_BYTES - 20) // 3
        return Finding(
            Verdict.NOTE,
            f"small MTU: {', '.join(small)}",
            "larger datagrams travel there in fragments, and one lost fragment loses the whole datagram",
            f"ask for at most colours={fits} over that interface",
        )
    return Finding(Verdict.OK, f"datagrams of {MAX_DATAGRAM_BYTES} bytes pass every interface whole")


def check_round_trips(settings: Settings) -> Finding:
    """A thousand datagrams there and back over loopback: none may be lost."""
    times_ns: list[int] = []
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
    ):
        for sock in (near, far):
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(_ROUND_TRIP_WAIT_S)
        for number in range(_ROUND_TRIPS):
            sent_ns = time.monotonic_ns()
            try:
                near.sendto(number.to_bytes(4, "big"), far.getsockname())
                data, source = far.recvfrom(64)
                far.sendto(data, source)
                if int.from_bytes(near.recv(64), "big") == number:
                    times_ns.append(time.monotonic_ns() - sent_ns)
            except OSError:
                if number - len(times_ns) > 10:
                    break
    return judge_round_trips(times_ns)


def judge_round_trips(times_ns: list[int]) -> Finding:
    """What the times of those that came back, out of _ROUND_TRIPS, say."""
    lost = _ROUND_TRIPS - len(times_ns)
    if lost:
        return Finding(
            Verdict.FAIL,
            f"{lost} of {_ROUND_TRIPS} datagrams over loopback did not come back",
            "loss would be shown that no network made",
            "look for rules that drop: nft list ruleset; tc qdisc show dev lo",
        )
    times_ns = sorted(times_ns)
    p50_us, p99_us = (times_ns[len(times_ns) * part // 100] / NS_PER_US for part in (50, 99))
    saw = f"{_ROUND_TRIPS} round trips over loopback: none lost, p50 {p50_us:.0f} µs, p99 {p99_us:.0f} µs"
    if p99_us > 5_000:
        return Finding(Verdict.NOTE, saw, "the machine is busy: delays are its own", "end what else is running: top")
    return Finding(Verdict.OK, saw)


def examine(settings: Settings) -> Iterator[Finding]:
    """All findings, in the order in which they should be read."""
    running = check_running(settings)
    first: list[Check] = [check_udp_port, check_http_port]
    if running is not None:
        yield running
        first = [check_stream]
    rest: list[Check] = [check_descriptors, check_receive_buffer, check_receiver, check_link, check_ipv6]
    rest += [check_container, check_clock, check_clock_jumps, check_mtu, check_round_trips]
    for check in (*first, *rest):
        yield check(settings)


def doctor(
    udp: Annotated[str | None, flag("udp")] = None,
    http: Annotated[str | None, flag("http")] = None,
    clients: Annotated[int | None, flag("clients")] = None,
) -> None:
    """Check this machine, before a start or beside a running udprism; exit code 1 if figures would be wrong."""
    settings = read_settings(udp=udp, http=http, clients=clients)
    failed = 0
    for finding in examine(settings):
        print(f"{finding.verdict.value:5} {finding.saw}", flush=True)
        if finding.means:
            print(f"      impact: {finding.means}")
        if finding.mend:
            print(f"      fix:    {finding.mend}", flush=True)
        failed += finding.verdict is Verdict.FAIL
    raise typer.Exit(1 if failed else 0)
