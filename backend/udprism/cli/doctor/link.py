"""How datagrams would be received here, and whether a link's delays would be right."""

from __future__ import annotations

import os
import socket
import sys
import time

from udprism.cli.doctor.finding import Finding, Severity
from udprism.settings import Settings
from udprism.udp.arrivals import best_receiver
from udprism.udp.releaser import Releaser
from udprism.wire.measured import MAX_DATAGRAM_BYTES

_PROCESS_WITHIN_S = 2.0


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
            Severity.NOTE,
            f"a receive buffer of {granted} bytes is granted, {wanted} are wanted",
            "bursts may be dropped by the kernel; such datagrams are counted under receiver_kernel",
            f"sysctl -w net.core.rmem_max={wanted}",
        )
    return Finding(Severity.OK, f"a receive buffer of {wanted} bytes is granted")


def check_receiver(settings: Settings) -> Finding:
    """How hosted clients' datagrams would be received."""
    receiver = best_receiver(1, MAX_DATAGRAM_BYTES, 64, settings.coalesce_ms / 1000)
    receiver.close()
    return judge_receiver(receiver.description)


def judge_receiver(description: str) -> Finding:
    """What a receiver's description means for a program with thousands of clients."""
    saw = f"datagrams are received through {description}"
    if description == "io_uring":
        return Finding(Severity.OK, saw)
    return Finding(
        Severity.NOTE,
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
            Severity.NOTE,
            "delayed datagrams are sent by the server's thread, which has other work as well",
            means,
            "64-bit Linux, with permission to start a process",
        )
    if processors < 2:
        return Finding(Severity.NOTE, "the link's process shares the only processor", means, "allow it a second one")
    return Finding(Severity.OK, "delayed datagrams are sent by a separate process with a processor of its own")
