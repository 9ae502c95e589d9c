"""Streams of datagrams over loopback, measured at their arrival: a program of its own, to be run where `tc` impairs.

`python one_way.py SECONDS [LINK]` prints one JSON object. LINK is a link's REST body: the datagrams go through this
project's model before they are sent. Without it they are sent at once, and the kernel does what it was told to.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from dataclasses import dataclass, field

import numpy as np

from udprism.link.delay_line import DelayLine
from udprism.link.link import Link
from udprism.link.model import LinkModel

STREAMS = 40
RATE_HZ = 100
TICK_NS = 2_500_000
"""A quarter of the streams sends in each tick."""
LATE_NS = 1_000_000
"""A tick that is sent later than this changes the distances between datagrams, and so which overtakes which."""
AFTER_NS = 300_000_000
"""How long the last datagrams are waited for."""
PERCENTILES = (5, 25, 50, 75, 95, 99)
_HEADER = struct.Struct("!IIq")
_STAMP = struct.Struct("@qq")


@dataclass
class Seen:
    """What arrived."""

    delay_ms: list[float] = field(default_factory=list)
    received: set[tuple[int, int]] = field(default_factory=set)
    highest: dict[int, int] = field(default_factory=dict)
    reordered: int = 0
    late_ms: list[float] = field(default_factory=list)
    """By how much the delay line was emptied too late: the machine's doing, not the model's."""

    def take(self, receiver: socket.socket) -> None:
        """Everything that has arrived."""
        while True:
            try:
                data, ancillary, _, _ = receiver.recvmsg(64, 64)
            except BlockingIOError:
                return
            seconds, nanoseconds = _STAMP.unpack(ancillary[0][2])
            stream, sequence, sent_unix_ns = _HEADER.unpack(data[: _HEADER.size])
            if (stream, sequence) in self.received:
                continue
            self.received.add((stream, sequence))
            self.delay_ms.append((seconds * 1_000_000_000 + nanoseconds - sent_unix_ns) / 1e6)
            if sequence < self.highest.get(stream, -1):
                self.reordered += 1
            self.highest[stream] = max(sequence, self.highest.get(stream, -1))


def main(seconds: float, link: Link | None) -> None:
    """Send, receive, print."""
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    receiver.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
    receiver.bind(("127.0.0.1", 0))
    receiver.setblocking(False)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.connect(receiver.getsockname())

    model, line = LinkModel(STREAMS), DelayLine(65_536, 64)
    every = np.arange(STREAMS, dtype=np.int32)
    model.assign(every, link, every.astype(np.uint64))
    seen, sent, late_ticks = Seen(), 0, 0
    start_ns = time.monotonic_ns()
    for tick in range(round(seconds * 1e9 / TICK_NS)):
        due_ns = start_ns + tick * TICK_NS
        while True:  # at least once a tick, so that a slow machine does not overfill the receiver's buffer
            now_ns = time.monotonic_ns()
            seen.late_ms += _release(line, now_ns, sender)
            seen.take(receiver)
            if now_ns >= due_ns:
                break
            time.sleep(min(0.0005, (due_ns - now_ns) / 1e9))
        late_ticks += now_ns - due_ns > LATE_NS
        slots = every[tick % 4 :: 4]
        rows = np.zeros((len(slots), 23), np.uint8)
        for row, slot in zip(rows, slots, strict=True):
            row[: _HEADER.size] = list(_HEADER.pack(slot, tick // 4, time.time_ns()))
        verdict = model.judge(slots, np.full(len(slots), tick // 4), np.full(len(slots), 23, np.int32), now_ns)
        left = ~verdict.dropped
        line.push(
            verdict.release_ns[left],
            slots[left],
            np.zeros(left.sum(), np.int64),
            np.full(left.sum(), 23, np.int32),
            rows[left],
            np.zeros(left.sum(), np.bool_),
        )
        seen.late_ms += _release(line, now_ns, sender)
        sent += len(slots)
    end_ns = time.monotonic_ns() + AFTER_NS
    while (now_ns := time.monotonic_ns()) < end_ns:
        seen.late_ms += _release(line, now_ns, sender)
        seen.take(receiver)
        time.sleep(0.0005)
    print(
        json.dumps(
            {
                "sent": sent,
                "received": len(seen.received),
                "reordered": seen.reordered,
                "late_ticks": late_ticks / (sent / STREAMS * 4),
                "delay_ms": np.percentile(seen.delay_ms, PERCENTILES).round(2).tolist(),
                "late_ms": np.percentile(seen.late_ms, PERCENTILES).round(2).tolist(),
            }
        )
    )


def _release(line: DelayLine, now_ns: int, sender: socket.socket) -> list[float]:
    """Send what is due; answers how late each of them is, in milliseconds."""
    due = line.take_due(now_ns)
    for row in due.rows:
        sender.send(row)
    line.give_back(due)
    return ((now_ns - due.release_ns) / 1e6).tolist()


if __name__ == "__main__":
    main(float(sys.argv[1]), Link.from_body(json.loads(sys.argv[2])) if len(sys.argv) > 2 else None)
