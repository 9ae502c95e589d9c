"""The receivers' thread: its loop, its table of flows, and their senders."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from udprism.columns.types import NS_PER_MS, NS_PER_S, Clock
from udprism.errors import RequestError
from udprism.ledger.heard import HeardFlows
from udprism.ledger.history import History
from udprism.ledger.ledger import Ledger
from udprism.settings import Settings
from udprism.udp.arrivals import best_receiver
from udprism.udp.endpoints.art_poll import ArtPolls
from udprism.udp.endpoints.receiver import ReceiverEndpoint
from udprism.udp.loop import Loop, Timer
from udprism.udp.multicast import GroupSocket
from udprism.udp.networks import own_networks
from udprism.udp.peers import Peers
from udprism.udp.retries import Retries
from udprism.udp.sight import HearingTap
from udprism.wire.artnet import Artnet
from udprism.wire.format import Format

FLOW: Final = "f-"
"""Ids of received flows begin so; no others do."""
ROW_BYTES: Final = 2048
"""Bytes read of each datagram: all of it, unless it is longer than an Ethernet frame."""
MAX_RECEIVERS: Final = 64
MAX_SOCKETS: Final = 1024
"""Sockets of all receivers: one each, and one more per multicast group."""
FORGOTTEN_AFTER_NS: Final = 600 * NS_PER_S
"""A flow is forgotten this long after its last datagram."""
_MOST_ARRIVALS: Final = 2048
_SWEEP_NS: Final = 250 * NS_PER_MS


class Listening:
    """Started with the first receiver: without receivers it costs nothing."""

    def __init__(
        self, settings: Settings, clock: Clock, given_up: Callable[[BaseException | None], None] = lambda error: None
    ) -> None:
        capacity = settings.max_flows
        self.flows = HeardFlows(
            capacity,
            Ledger(
                capacity,
                window=settings.history_datagrams,
                loss_after_ns=round(settings.loss_after_s * NS_PER_S),
                loss_after_arrivals=settings.loss_after_arrivals,
            ),
            History(capacity, settings.history_datagrams, settings.history_payload_bytes),
            width=ROW_BYTES,
            silent_after_ns=round(settings.silent_after_s * NS_PER_S),
            begun_ns=clock.now_ns(),
            keeps_timeline=settings.history_over_time,
        )
        self.peers = Peers(capacity, np.random.default_rng())
        self.retries = Retries()
        self.tap = HearingTap()
        """The recordings' tap."""
        self._clock = clock
        self.loop = Loop(
            "udprism-listen",
            best_receiver(MAX_SOCKETS, ROW_BYTES, _MOST_ARRIVALS, settings.coalesce_ms / 1000),
            MAX_SOCKETS,
            clock,
            given_up,
        )
        self.loop.add(_Keeper(self, clock))
        self.loop.add(self.retries)
        self.loop.thread.start()

    def new_id(self) -> str:
        """Of a flow: never used again."""
        return f"{FLOW}{secrets.token_hex(6)}"

    def endpoint(
        self, receiver_id: str, form: Format, sock: socket.socket, groups: Sequence[GroupSocket] = ()
    ) -> ReceiverEndpoint:
        """A receiver on these sockets, which are bound; heard from `open` on. groups: of multicast groups."""
        answering = ArtPolls(sock, own_networks) if form.name == Artnet.name else None
        return ReceiverEndpoint(
            receiver_id, form, sock, self.flows, self.peers, self.new_id, own_networks, answering, groups, self.tap
        )

    # -- the loop's thread only

    def open(self, endpoint: ReceiverEndpoint) -> None:
        """Listen from now on. Raises: RequestError if there are too many."""
        socks = (endpoint.sock, *endpoint.groups)
        if not self.loop.has_room_for(len(socks)):
            raise RequestError(
                f"at most {MAX_SOCKETS} sockets: one per receiver and per universe that comes by multicast",
                kind="too-many-receivers",
            )
        for sock in socks:
            endpoint.heard_as(sock, self.loop.hear(endpoint, sock))
        self.loop.add(endpoint)

    def close(self, endpoint: ReceiverEndpoint) -> None:
        """Stop listening, and forget the receiver's flows."""
        for sock, slot in zip((endpoint.sock, *endpoint.groups), list(endpoint.ways), strict=True):
            self.loop.unhear(sock, slot)
        self.loop.remove(endpoint)
        endpoint.end(self._clock.now_ns())
        endpoint.forget_flows()


class _Keeper(Timer):
    """`loop.Endpoint` without a socket: sweeps all flows."""

    def __init__(self, listening: Listening, clock: Clock) -> None:
        self._listening, self._clock = listening, clock
        self._due_ns = 0

    def next_due_ns(self) -> int:
        return self._due_ns

    def act(self, now_ns: int) -> None:
        self._due_ns = now_ns + _SWEEP_NS
        flows, peers = self._listening.flows, self._listening.peers
        for slot in flows.silent_since(now_ns - FORGOTTEN_AFTER_NS):
            flows.remove(slot)
            peers.forget(slot)
        has_read_all = not self._listening.loop.receiver.behind
        flows.sweep(now_ns, self._clock.unix_ns(), has_read_all=has_read_all)

    def end(self, now_ns: int) -> None:
        """Nothing is open."""
