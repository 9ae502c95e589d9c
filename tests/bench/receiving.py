"""Processor time that the receiving threads take per datagram: a hosted client's, and a foreign one's of 638 bytes.

`python tests/bench/receiving.py [UNIVERSES] [HZ] [SECONDS]`, on Linux: in turn, 1,000 hosted clients of our server at
44 per second each, and 1,000 universes of sACN at 44 per second from another process. Both are received, accounted for
and shown to a viewer that asks 10 times a second. Says too what the kernel dropped for want of room.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from udprism.node.bridge import Bridge
from udprism.settings import Settings

ROUNDS = 3
SETTLE_S = 3.0


def processor_s(thread: str) -> float:
    """Processor time of this process's thread of that name so far."""
    for task in Path("/proc/self/task").iterdir():
        if (task / "comm").read_text().strip() == thread[:15]:
            return int((task / "schedstat").read_text().split()[0]) / 1e9
    return 0.0


async def watched(bridge: Bridge, seconds: float) -> None:
    """A viewer that looks at the newest state ten times a second."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        await bridge.snapshot([])
        await asyncio.sleep(0.1)


async def ours(bridge: Bridge, flows: int, rate_hz: float, seconds: float) -> float:
    """Microseconds per datagram of hosted clients."""
    await bridge.clients.add(count=flows, rate_hz=rate_hz)
    await watched(bridge, SETTLE_S)
    before_s, before = processor_s("udprism-pool"), bridge.counters()["pool_datagrams_total"]
    await watched(bridge, seconds)
    cost = (processor_s("udprism-pool") - before_s) / (bridge.counters()["pool_datagrams_total"] - before)
    await bridge.clients.remove_many()
    return cost * 1e6


async def foreign(bridge: Bridge, flows: int, rate_hz: float, seconds: float) -> tuple[float, dict[str, Any], int]:
    """Microseconds per datagram of a receiver's flows, the receiver's body at the end, and how many were sent."""
    receiver = await bridge.receivers.add(None, "e131", "127.0.0.1:0")
    heard = bridge.counters()["receiver_datagrams_total"]
    length_s = SETTLE_S + seconds + 1
    words = (str(Path(__file__)), "send", receiver["listen"], str(flows), str(rate_hz), str(length_s))
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=asyncio.subprocess.PIPE)
    while bridge.counters()["receiver_datagrams_total"] == heard:  # a busy machine takes seconds to start a process
        await asyncio.sleep(0.05)
    await watched(bridge, SETTLE_S)
    before_s, before = processor_s("udprism-listen"), bridge.counters()["receiver_datagrams_total"]
    await watched(bridge, seconds)
    took_s = processor_s("udprism-listen") - before_s
    cost = took_s / (bridge.counters()["receiver_datagrams_total"] - before)
    said, _ = await process.communicate()
    await watched(bridge, 0.5)
    body = await bridge.receivers.get(receiver["id"])
    await bridge.receivers.remove(receiver["id"])
    return cost * 1e6, body, int(said)


async def compare(flows: int, rate_hz: float, seconds: float) -> None:
    bridge = Bridge(Settings(udp="127.0.0.1:0", http="127.0.0.1:0", ephemeral=True, clients=0, max_clients=flows))
    bridge.start()
    try:
        for _ in range(ROUNDS):
            own = await ours(bridge, flows, rate_hz, seconds)
            other, body, sent = await foreign(bridge, flows, rate_hz, seconds)
            print(
                f"ours {own:.2f} µs, foreign {other:.2f} µs: {other / own:.2f} ×; of {sent:,} foreign datagrams "
                f"{body['datagrams']:,} were received in {len(body['flows']):,} flows, {body['kernel_drops']:,} were "
                "dropped by the kernel",
                flush=True,
            )
    finally:
        bridge.stop()


def send(target: str, universes: int, rate_hz: float, seconds: float) -> int:
    """Frames of sACN, evenly over time; returns how many datagrams left."""
    import socket

    import numpy as np

    from udprism.udp.sockets import BatchSender, sockaddr_row
    from udprism.wire.format import Sending
    from udprism.wire.formats import FORMATS

    host, port = target.rsplit(":", 1)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    encoder = FORMATS["e131"].encoder(Sending(170, bytes(range(16))))
    assert encoder is not None
    rows, one = np.zeros((universes, encoder.width), np.uint8), np.zeros(1, np.int32)
    levels = np.random.default_rng(1).integers(0, 256, (1, 170, 3), np.uint8)
    length = encoder.encode(rows[:1], one, one.astype(np.uint32), one.astype(np.int64), levels).repeat(universes)
    rows[:] = rows[0]
    rows[:, 113:115] = np.arange(1, universes + 1).astype(">u2")[:, None].view(np.uint8)
    address = np.repeat(sockaddr_row((host, int(port)), socket.AF_INET)[None], universes, 0)
    sources, sender, sent, frame = np.zeros((universes, 40), np.uint8), BatchSender(sock, 64), 0, 0
    begun_s = time.monotonic()
    while time.monotonic() - begun_s < seconds:
        rows[:, 111], rows[:, 126] = frame % 256, frame % 251
        for begin in range(0, universes, 64):
            end = min(begin + 64, universes)
            due_s = begun_s + (frame + begin / universes) / rate_hz
            time.sleep(max(0.0, due_s - time.monotonic()))
            which = np.arange(begin, end, dtype=np.int32)
            sender.prepare(rows[begin:end], length[begin:end], address, which, sources=sources)
            at = 0
            while at < end - begin:
                left, error = sender.send(at, end - begin)
                sent, at = sent + left, at + left + (1 if error else 0)
        frame += 1
    return sent


if __name__ == "__main__":
    if sys.argv[1:2] == ["send"]:
        print(send(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5])))
    else:
        asked = sys.argv[1:] or ["1000", "44", "6"]
        asyncio.run(compare(int(asked[0]), float(asked[1]), float(asked[2])))
