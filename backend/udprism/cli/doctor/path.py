"""What this machine's networks do to datagrams on their way."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from udprism.cli.doctor.finding import Finding, Severity
from udprism.columns.types import NS_PER_US
from udprism.settings import Settings
from udprism.udp.sockets import header_bytes
from udprism.wire.measured import HEADER_BYTES, MAX_DATAGRAM_BYTES

_HEADER_BYTES = header_bytes(socket.AF_INET)
"""IPv4 and UDP headers; IPv6 takes 20 more, so that the three last colours of the very largest do not fit 1500."""
_ROUND_TRIPS = 1_000
_ROUND_TRIP_WAIT_S = 0.25


def check_ipv6(settings: Settings) -> Finding:
    """Whether ::1 can be used beside 127.0.0.1."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError as error:
        return Finding(
            Severity.NOTE,
            f"no IPv6 on loopback: {error.strerror or error}",
            "programs that resolve localhost to ::1 first hear nothing",
            "sysctl -w net.ipv6.conf.lo.disable_ipv6=0, or write 127.0.0.1",
        )
    return Finding(Severity.OK, "IPv6 works on loopback")


def check_container(settings: Settings, root: Path = Path("/")) -> Finding:
    """Whether a container's network stands between clients and server."""
    if not any((root / mark).exists() for mark in (".dockerenv", "run/.containerenv")):
        return Finding(Severity.OK, "not in a container: source addresses arrive as they are")
    return Finding(
        Severity.NOTE,
        "in a container: a published port rewrites source addresses",
        "all clients outside seem to come from the bridge's gateway and share its limits; their own addresses are lost",
        "docker run --network host …",
    )


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
        if state != "down" and mtu < MAX_DATAGRAM_BYTES + _HEADER_BYTES:
            small.append(f"{interface.name} {mtu}")
            smallest = min(smallest, mtu)
    if small:
        fits = (smallest - _HEADER_BYTES - HEADER_BYTES) // 3
        return Finding(
            Severity.NOTE,
            f"small MTU: {', '.join(small)}",
            "larger datagrams travel there in fragments, and one lost fragment loses the whole datagram",
            f"ask for at most colours={fits} over that interface",
        )
    return Finding(Severity.OK, f"datagrams of {MAX_DATAGRAM_BYTES} bytes pass every interface whole")


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
    """The finding from the times of those that came back, out of _ROUND_TRIPS."""
    lost = _ROUND_TRIPS - len(times_ns)
    if lost:
        return Finding(
            Severity.FAIL,
            f"{lost} of {_ROUND_TRIPS} datagrams over loopback did not come back",
            "losses would be shown that no network caused",
            "look for rules that drop: nft list ruleset; tc qdisc show dev lo",
        )
    times_ns = sorted(times_ns)
    p50_us, p99_us = (times_ns[len(times_ns) * part // 100] / NS_PER_US for part in (50, 99))
    saw = f"{_ROUND_TRIPS} round trips over loopback: none lost, p50 {p50_us:.0f} µs, p99 {p99_us:.0f} µs"
    if p99_us > 5_000:
        return Finding(
            Severity.NOTE, saw, "the machine is busy: it causes delays of its own", "end other programs: top"
        )
    return Finding(Severity.OK, saw)
