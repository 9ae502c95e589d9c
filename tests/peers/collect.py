"""Run by itself: `python collect.py JSON` collects datagrams until its input ends, then prints them as JSON.

JSON: {"ports": […], "address": IP, "groups": […], "node": null | "plain" | "swapped" | "renamed"}. As an Art-Net
node it answers each ArtPoll; `swapped` writes the port big-endian, `renamed` has another name each time. Prints `ready`
once it listens; at the end [[ns since the first, port, from, hex], …].
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time
from typing import Any

from udprism.wire.artnet import PollReply, encode_poll_reply

QUIET_S = 0.3
"""So long without a datagram, after its input has ended, and it is over."""
RECEIVE_BYTES = 8 << 20
_SO_TIMESTAMPNS = 35  # asm-generic/socket.h


def listen(address: str, port: int, groups: list[str]) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    sock.bind(("", port))  # broadcasts and groups too
    for group in groups:
        member = struct.pack("4s4s", socket.inet_aton(group), socket.inet_aton(address))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
    return sock


def receive(sock: socket.socket) -> tuple[bytes, tuple[str, int], int]:
    """A datagram, its source, and the kernel's stamp: this process may be late, the stamp is not."""
    data, ancillary, _, source = sock.recvmsg(65_536, 64)
    seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
    return data, source, seconds * 1_000_000_000 + nanoseconds


def reply_to(sock: socket.socket, address: str, source: tuple[str, int], node: str, sent: int) -> None:
    """As a node that puts out universes 0 to 3."""
    reply = PollReply(socket.inet_aton(address), 6454, range(4), sent=sent)
    if node == "swapped":
        reply = reply._replace(port=13_849)
    elif node == "renamed":
        reply = reply._replace(long_name=f"name {sent}")
    sock.sendto(encode_poll_reply(reply), source)


def main() -> None:
    asked = json.loads(sys.argv[1])
    address, node = asked["address"], asked["node"]
    socks = {listen(address, port, asked["groups"]): port for port in asked["ports"]}
    print("ready", flush=True)
    found: list[list[Any]] = []
    replies, begun_ns, ended_s, last_s = 0, 0, 0.0, 0.0
    while not ended_s or time.monotonic() < max(ended_s, last_s) + QUIET_S:
        waiting: list[Any] = list(socks) if ended_s else [*socks, sys.stdin]
        ready, _, _ = select.select(waiting, [], [], QUIET_S)
        for one in ready:
            if one is sys.stdin:
                ended_s = time.monotonic()
                continue
            data, source, stamp_ns = receive(one)
            if source[0] == address:
                continue  # our own broadcast
            last_s = time.monotonic()
            begun_ns = begun_ns or stamp_ns
            found.append([stamp_ns - begun_ns, socks[one], source[0], data.hex()])
            if node and data[:10] == b"Art-Net\0\0\x20":
                reply_to(one, address, source, node, replies)
                replies += 1
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
