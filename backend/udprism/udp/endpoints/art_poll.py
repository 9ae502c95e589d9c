"""Replies to Art-Net's polls, so that consoles find a receiver.

A reply is 17 times as long as its poll, so a forged sender could make us flood a victim: replies go to this machine and
its own networks only, once per second to each address, and a few per second in all.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Final

from udprism.columns.types import NS_PER_S, Address, Rows
from udprism.udp.networks import Network
from udprism.udp.sockets import address_of_row, source_address
from udprism.wire.artnet import Op, PollReply, encode_poll_reply, operation_of

REPLIES_A_SECOND: Final = 16
"""In total."""
UNIVERSES: Final = (0, 1, 2, 3)
"""Those that a reply offers: one reply has room for four of one subnet."""
_RECENT: Final = 256


class ArtPolls:
    """`receiver.Answering`. The loop's thread only; counters may be read from any."""

    def __init__(self, sock: socket.socket, networks: Callable[[], Sequence[Network]]) -> None:
        self.answered = 0
        self.withheld = 0
        self._sock, self._networks = sock, list(networks())
        self._answered_ns: dict[Address, int] = {}
        self._second = self._in_second = 0

    def answer(self, data: bytes, source: Rows, now_ns: int) -> None:
        """See `receiver.Answering`."""
        if operation_of(data) != Op.POLL:
            return
        asker = address_of_row(source, self._sock.family)
        if not self._may_answer(asker, now_ns):
            self.withheld += 1
            return
        host, port = self._sock.getsockname()[:2]
        try:
            own = source_address(asker) if ipaddress.ip_address(host).is_unspecified else host
            reply = PollReply(ipaddress.IPv4Address(own).packed, port, UNIVERSES, sent=self.answered)
            self._sock.sendto(encode_poll_reply(reply), socket.MSG_DONTWAIT, asker)
        except (OSError, ValueError):  # no one there, no route, or an IPv6 address, which a reply cannot name
            self.withheld += 1
        else:
            self.answered += 1

    def _may_answer(self, asker: Address, now_ns: int) -> bool:
        ip = ipaddress.ip_address(asker[0])
        if not (ip.is_loopback or any(ip in network for network in self._networks)):
            return False
        second = now_ns // NS_PER_S
        if second != self._second:
            self._second, self._in_second = second, 0
        if self._in_second >= REPLIES_A_SECOND or now_ns - self._answered_ns.get(asker, -NS_PER_S) < NS_PER_S:
            return False
        if len(self._answered_ns) >= _RECENT:
            self._answered_ns.clear()
        self._answered_ns[asker] = now_ns
        self._in_second += 1
        return True
