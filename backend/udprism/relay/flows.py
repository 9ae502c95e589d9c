"""The sockets towards the target, one for each flow: opened, changed on demand, and asked what was refused."""

from __future__ import annotations

import errno
import logging
import socket
import struct
from typing import NamedTuple

import numpy as np

from udprism.columns.types import Address, U8Column
from udprism.relay import layout
from udprism.relay.fronts import Front, answer_control
from udprism.relay.memory import DOWN, UP, Count, Memory
from udprism.relay.messages import Routes
from udprism.relay.port import Port
from udprism.udp.sockets import NAME_BYTES, sockaddr_row, source_address

log = logging.getLogger(__name__)

_FLOW_BUFFER_BYTES = 1 << 20
_MSG_ERRQUEUE = 0x2000
_MOST_ERRORS = 512


class Told(NamedTuple):
    """One entry of an error queue: what happened, and the datagram that it happened to, as far as it was given back."""

    error: int
    data: bytes
    address: Address | None


class Flows:
    """Relay's loop only. `offsets`: by slot of the port, those of the clients' sockets behind those of the flows."""

    def __init__(
        self,
        memory: Memory,
        port: Port,
        routes: Routes,
        fronts: list[Front],
        target: Address,
        *,
        any_port: bool,
        keep_ttl: bool,
        dont_fragment: bool,
    ) -> None:
        self.family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self.target_row: U8Column = sockaddr_row(target, self.family)
        self.any_port = any_port
        self.sockets: dict[int, socket.socket] = {}
        self._memory, self._port, self._routes, self._fronts, self._target = memory, port, routes, fronts, target
        self._keep_ttl, self._dont_fragment = keep_ttl, dont_fragment
        self._source: str | None = None
        """The address from which datagrams left to the target, as of the last look."""
        self.follow_route()
        slots = memory.rows + len(fronts)
        self.tos_at, self.ttl_at = np.zeros(slots, np.int64), np.zeros(slots, np.int64)
        for place, front in enumerate(fronts):
            self.tos_at[memory.rows + place], self.ttl_at[memory.rows + place] = front.offsets.tos, front.offsets.ttl

    def open(self, slot: int) -> bool:
        """A socket for a flow whose row says whose it is, and the port that it had before; False if there is none."""
        try:
            opened = self._open_socket(int(self._memory.flows["local_port"][slot]))
        except OSError as error:
            log.warning("no socket for a new flow: %s", error.strerror or error)
            return False
        self._install(slot, *opened)
        self._answer_to_client(slot)
        return True

    def _open_socket(
        self, wanted_port: int, instead_of: socket.socket | None = None
    ) -> tuple[socket.socket, layout.Offsets]:
        """instead_of: a socket that has this port now, and is about to be closed."""
        sock = socket.socket(self.family, socket.SOCK_DGRAM)
        try:
            if instead_of is not None:  # for as long as there are both
                for one in (instead_of, sock):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            host = "::" if self.family == socket.AF_INET6 else "0.0.0.0"
            if self.family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            offsets = layout.prepare(
                sock, ttl=self._keep_ttl, dont_fragment=self._dont_fragment, buffer_bytes=_FLOW_BUFFER_BYTES
            )
            if wanted_port or self.any_port:
                try:
                    sock.bind((host, wanted_port))
                except OSError:  # another program has taken it by now: then any other
                    sock.bind((host, 0))
            if not self.any_port:  # a connected socket receives from the target only
                sock.connect(self._target)
            if instead_of is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        except OSError:
            sock.close()
            raise
        return sock, offsets

    def _install(self, slot: int, sock: socket.socket, offsets: layout.Offsets) -> None:
        routes, up = self._routes, 2 * slot + UP
        self.sockets[slot] = sock
        self.tos_at[slot], self.ttl_at[slot] = offsets.tos, offsets.ttl
        routes.fd[up], routes.six[up] = sock.fileno(), self.family == socket.AF_INET6
        routes.name[up], routes.control_bytes[up] = self.target_row, 0
        routes.name_bytes[up] = NAME_BYTES[self.family] if self.any_port else 0
        flow = self._memory.flows[slot]
        flow["local_port"], flow["far_port"] = sock.getsockname()[1], self._target[1]
        self._port.watch(sock.fileno(), slot)

    def _answer_to_client(self, slot: int) -> None:
        flow, routes, down = self._memory.flows[slot], self._routes, 2 * slot + DOWN
        front = self._fronts[int(flow["front"])]
        routes.fd[down], routes.six[down] = front.sock.fileno(), front.six
        routes.name[down], routes.name_bytes[down] = flow["client"], NAME_BYTES[front.sock.family]
        control = answer_control(front, flow["asked"])
        routes.control[down, : len(control)] = np.frombuffer(control, np.uint8)
        routes.control_bytes[down] = len(control)

    def asked(self, slot: int, where: U8Column) -> None:
        """A datagram of this flow came to this address of ours: answers leave from there. Wildcard fronts only."""
        flow = self._memory.flows[slot]
        if (flow["asked"][: len(where)] != where).any():
            flow["asked"][: len(where)] = where
            self._answer_to_client(slot)

    def follow(self, slot: int, name: U8Column) -> None:
        """The target's machine answered this flow from another port: send to that one from now on."""
        self._routes.name[2 * slot + UP, : len(name)] = name
        (self._memory.flows[slot]["far_port"],) = struct.unpack_from("!H", name.tobytes(), 2)

    def rebind(self, slot: int) -> bool:
        """Change this flow's port, as a NAT does after it forgot a mapping. Returns False if no socket is available."""
        try:
            fresh = self._open_socket(0)
        except OSError:
            return False
        self.close(slot)
        self._install(slot, *fresh)
        self._memory.counts[Count.REBINDS] += 1
        return True

    def follow_route(self) -> None:
        """Reopen all flows' sockets, on their ports, if datagrams to the target now leave from another address.

        A connected socket keeps the address that it began with, although this machine may have another one by now.
        Call it now and then.
        """
        if self.any_port:  # not connected: the kernel chooses for each datagram
            return
        try:
            source = source_address(self._target)
        except OSError:
            return  # there is no way to the target now
        moved = self._source in (None, source) or all(self._move(slot) for slot in list(self.sockets))
        if moved:  # otherwise the rest is tried again
            self._source = source

    def _move(self, slot: int) -> bool:
        try:
            fresh = self._open_socket(int(self._memory.flows["local_port"][slot]), self.sockets[slot])
        except OSError:
            return False
        self.close(slot)
        self._install(slot, *fresh)
        return True

    def close(self, slot: int) -> None:
        """Close this flow's socket."""
        sock = self.sockets.pop(slot)
        self._port.forget(sock.fileno(), slot)
        sock.close()

    def refused(self, sock: socket.socket) -> list[Told]:
        """Empty a socket's error queue and clear what is pending, so that the next datagram is not its victim."""
        told = []
        for _ in range(_MOST_ERRORS):
            try:
                data, ancillary, _, address = sock.recvmsg(2048, 512, _MSG_ERRQUEUE | socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError:
                continue  # the pending error itself; reading it clears it
            number = errno.ECONNREFUSED
            for level, kind, content in ancillary:
                if (level, kind) in (
                    (socket.IPPROTO_IP, layout.IP_RECVERR),
                    (socket.IPPROTO_IPV6, layout.IPV6_RECVERR),
                ):
                    (number,) = struct.unpack_from("=I", content)
            told.append(Told(number, data, (address[0], address[1]) if address else None))
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return told
