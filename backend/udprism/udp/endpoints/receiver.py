"""Listens on a port in one format: every sender's datagrams become flows."""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

import numpy as np

from udprism.columns.arrivals import Arrivals
from udprism.columns.types import NEVER_NS, NS_PER_S, I32Column, I64Column, Rows, U8Column, U64Column, format_address
from udprism.ledger.heard import FlowState, Heard, HeardFlows
from udprism.udp.multicast import GroupSocket
from udprism.udp.networks import Network
from udprism.udp.peers import UNKNOWN, Peers, names_of
from udprism.udp.sight import HearingTap, endpoint_of
from udprism.udp.sockets import address_of_row
from udprism.wire.format import Decoded, Format, Mark

log = logging.getLogger(__name__)

NEW_FLOWS_A_SECOND: Final = 64
"""From one address beyond loopback: such an address may be forged."""
JOINED_AGAIN_EVERY_NS: Final = 5 * NS_PER_S
"""Multicast groups: the kernel forgets who is in one when the interface goes away."""
IDLE_ENOUGH_NS: Final = 10 * NS_PER_S
"""A flow that has been silent for this long may make room for a new one."""
_MOST_CONTROLS_A_BATCH: Final = 64
_RECENT_ADDRESSES: Final = 4096


class Answering(Protocol):
    """Replies to a format's control datagrams, such as a poll, and counts what it did."""

    @property
    def answered(self) -> int:
        """Replies that left."""

    @property
    def withheld(self) -> int:
        """Those that were not answered, because the sender is not trusted or there is no route."""

    def answer(self, data: bytes, source: Rows, now_ns: int) -> None:
        """One control datagram, and its sender's struct sockaddr."""


class ReceiverEndpoint:
    """`loop.Endpoint` for one bound socket, and for one more per multicast group. The loop's thread only.

    ways: the address that each socket is bound to, as text, by its slot on the loop.
    drops: datagrams that belong to no flow, by reason. controls: well-formed ones that are for the endpoint alone.
    error: why its multicast groups cannot be heard now; None if they can.
    """

    def __init__(
        self,
        receiver_id: str,
        form: Format,
        sock: socket.socket,
        flows: HeardFlows,
        peers: Peers,
        new_id: Callable[[], str],
        networks: Callable[[], Sequence[Network]],
        answering: Answering | None = None,
        groups: Iterable[GroupSocket] = (),
        tap: HearingTap | None = None,
    ) -> None:
        """networks: those beyond loopback whose senders are heard; read again when one is met that is in none.

        tap: what recordings see.
        """
        self._tap = HearingTap() if tap is None else tap
        self._endpoints: dict[int, U8Column] = {}
        self.id, self.form, self.sock, self.groups = receiver_id, form, sock, tuple(groups)
        self.ways: dict[int, str] = {}
        self.datagrams = 0
        self.controls = 0
        self.drops: Counter[str] = Counter()
        self.error: str | None = None
        self._flows, self._peers = flows, peers
        self._new_id, self._read_networks, self._networks = new_id, networks, list(networks())
        self.answering = answering
        self._six = sock.family == socket.AF_INET6
        host, port = sock.getsockname()[:2]
        self.address = (str(host), int(port))
        self._begun: dict[str, tuple[int, int]] = {}
        self._read_again_ns = 0
        self._join_again_ns = 0 if self.groups else NEVER_NS

    # -- loop.Endpoint

    def take(self, arrivals: Arrivals, now_ns: int) -> None:
        """See `loop.Endpoint`."""
        self.datagrams += len(arrivals)
        decoded = self.form.decode(arrivals.rows, arrivals.length)
        if not decoded.all_valid:
            self._set_aside(decoded, arrivals, now_ns)
            kept = np.flatnonzero(decoded.valid)
            if not len(kept):
                return
            arrivals, decoded = arrivals.part(kept), decoded.only(kept)
        slot = self._find(arrivals, decoded, now_ns)
        if (slot == UNKNOWN).any():
            kept = np.flatnonzero(slot != UNKNOWN)
            if not len(kept):
                return
            slot, arrivals, decoded = slot[kept], arrivals.part(kept), decoded.only(kept)
        flags = self._flows.account(slot, arrivals, decoded, self.form.payload_at, now_ns)
        if self._tap.recorders:
            self._tap.heard(slot, self._flows.slot_of_id, arrivals, self._endpoints[int(arrivals.slot[0])], flags)

    def fail(self, error: int, now_ns: int) -> None:
        """See `loop.Endpoint`."""
        if error not in (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH):
            self.drops["error"] += 1

    def next_due_ns(self) -> int:
        """See `loop.Endpoint`."""
        return self._join_again_ns

    def act(self, now_ns: int) -> None:
        """Join the groups again that the kernel has forgotten."""
        self._join_again_ns = now_ns + JOINED_AGAIN_EVERY_NS
        before, self.error = self.error, None
        for group in self.groups:
            try:
                group.join()
            except OSError as error:
                self.error = f"cannot hear multicast on {group.interface}: {error.strerror or error}"
        if self.error not in (before, None):
            log.warning("the receiver %s %s", self.id, self.error)

    def end(self, now_ns: int) -> None:
        """Close the sockets. The flows stay until `forget_flows`."""
        for sock in (self.sock, *self.groups):
            sock.close()

    def heard_as(self, sock: socket.socket, slot: int) -> None:
        """What comes to this socket, one of its own, has this slot from now on."""
        address = sock.getsockname()[:2]
        self.ways[slot], self._endpoints[slot] = format_address(address), endpoint_of(address)

    # -- flows

    def forget_flows(self) -> None:
        """Forget all of this receiver's flows."""
        for slot in [slot for slot, flow in self._flows.flows.items() if flow.receiver_id == self.id]:
            self._flows.remove(slot)
            self._peers.forget(slot)

    def _set_aside(self, decoded: Decoded, arrivals: Arrivals, now_ns: int) -> None:
        rejected = ~(decoded.valid | decoded.control)
        if rejected.any():
            for reason, count in enumerate(np.bincount(decoded.reason[rejected]).tolist()):
                if count:
                    self.drops[self.form.reasons[reason]] += count
        controls = np.flatnonzero(decoded.control)
        self.controls += len(controls)
        if self.answering is not None:
            for row in controls[:_MOST_CONTROLS_A_BATCH].tolist():
                data = arrivals.rows[row, : arrivals.length[row]].tobytes()
                self.answering.answer(data, arrivals.source[row], now_ns)

    def _find(self, arrivals: Arrivals, decoded: Decoded, now_ns: int) -> I32Column:
        names = names_of(arrivals.source, decoded.key, int(arrivals.slot[0]), self._six)
        slot = self._peers.find(names)
        missing = np.flatnonzero(slot == UNKNOWN)
        if len(missing):
            self._begin_some(missing, slot, names, arrivals, decoded, now_ns)
        return slot

    def _begin_some(
        self,
        missing: I64Column,
        slot: I32Column,
        names: U64Column,
        arrivals: Arrivals,
        decoded: Decoded,
        now_ns: int,
    ) -> None:
        """Begin flows for these rows, one by one, and fill in their slots."""
        begun: dict[bytes, int] = {}
        is_full = False
        for row in missing.tolist():
            name = names[:, row].tobytes()
            if name not in begun:
                is_full = is_full or (self._flows.is_full and not self._make_room(now_ns))
                if is_full:
                    self.drops["full"] += 1
                    continue
                one = self._begin(row, names, arrivals, decoded, now_ns)
                if one == UNKNOWN:  # and counted; its sender's next datagram may be another matter
                    continue
                begun[name] = one
            slot[row] = begun[name]

    def _begin(self, row: int, names: U64Column, arrivals: Arrivals, decoded: Decoded, now_ns: int) -> int:
        if decoded.marks[row] & Mark.ENDS:
            self.drops["goodbye"] += 1
            return UNKNOWN
        source = address_of_row(arrivals.source[row], self.sock.family)
        if not self._may_begin(source[0], now_ns):
            return UNKNOWN
        data = arrivals.rows[row, : arrivals.length[row]].tobytes()
        words = _printable(self.form.flow_name(data))
        sender = format_address(source)
        name = f"{words} from {sender}" if words else sender
        to = self.ways[int(arrivals.slot[row])]
        slot = self._flows.add(Heard(self._new_id(), self.id, self.form, name, sender, to, now_ns), now_ns)
        self._peers.put(slot, names[:, row])
        return slot

    def _may_begin(self, host: str, now_ns: int) -> bool:
        ip = ipaddress.ip_address(host)
        if ip.is_loopback:
            return True
        if not self._is_near(ip, now_ns):
            self.drops["network"] += 1
            return False
        second, begun = self._begun.get(host, (0, 0))
        if second != now_ns // NS_PER_S:
            second, begun = now_ns // NS_PER_S, 0
            if len(self._begun) >= _RECENT_ADDRESSES:
                self._begun.clear()
        self._begun[host] = second, begun + 1
        if begun >= NEW_FLOWS_A_SECOND:
            self.drops["rate"] += 1
            return False
        return True

    def _is_near(self, ip: ipaddress.IPv4Address | ipaddress.IPv6Address, now_ns: int) -> bool:
        """Whether it is in a network that is heard. These are read again at most once per second."""
        if any(ip in network for network in self._networks):
            return True
        if now_ns < self._read_again_ns:
            return False
        self._networks, self._read_again_ns = list(self._read_networks()), now_ns + NS_PER_S
        return any(ip in network for network in self._networks)

    def _make_room(self, now_ns: int) -> bool:
        slot = self._flows.idlest()
        if self._flows.state[slot] == FlowState.LIVE or now_ns - self._flows.last_ns[slot] < IDLE_ENOUGH_NS:
            return False
        self._flows.remove(slot)
        self._peers.forget(slot)
        return True


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "�" for letter in text)
