"""A UDP relay on loopback that loses datagrams by chance and writes down what it was given and what it lost."""

from __future__ import annotations

import random
import selectors
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from udprism.wire import measured as wire


class LossyRelay:
    """Everything towards the target passes; of measured colours the other way a share is lost.

    seen, dropped: numbers by session id.
    """

    def __init__(self, target: tuple[str, int], loss_ratio: float, seed: int) -> None:
        self.seen: defaultdict[int, set[int]] = defaultdict(set)
        self.dropped: defaultdict[int, set[int]] = defaultdict(set)
        self.loss_ratio = loss_ratio
        self._rng = random.Random(seed)
        self._target = target
        self._front = _bound()
        self.address: tuple[str, int] = self._front.getsockname()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._front, selectors.EVENT_READ, None)
        self._flows: dict[tuple[str, int], socket.socket] = {}
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ, self)
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="lossy relay", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select():
                if key.data is None:
                    self._forward()
                elif key.data is not self:
                    self._return(self._flows[key.data], key.data)

    def _forward(self) -> None:
        while True:
            try:
                data, client = self._front.recvfrom(2048)
            except BlockingIOError:
                return
            flow = self._flows.get(client)
            if flow is None:
                flow = self._flows[client] = _bound()
                flow.connect(self._target)
                self._selector.register(flow, selectors.EVENT_READ, client)
            flow.send(data)

    def _return(self, flow: socket.socket, client: tuple[str, int]) -> None:
        while True:
            try:
                data = flow.recv(2048)
            except (BlockingIOError, ConnectionRefusedError):
                return
            if len(data) > 2 and data[0] == wire.MAGIC and data[2] == wire.Kind.COLOUR:
                colour = wire.decode_datagram(data)
                assert isinstance(colour, wire.Colour)
                self.seen[colour.session_id].add(colour.sequence)
                if self._rng.random() < self.loss_ratio:
                    self.dropped[colour.session_id].add(colour.sequence)
                    continue
            self._front.sendto(data, client)

    def close(self) -> None:
        self._ended = True
        self._wake.send(b"e")
        self._thread.join()
        for sock in (self._front, self._wake, self._woken, *self._flows.values()):
            sock.close()


@contextmanager
def lossy_relay(target: tuple[str, int], loss_ratio: float, seed: int = 1) -> Iterator[LossyRelay]:
    relay = LossyRelay(target, loss_ratio, seed)
    try:
        yield relay
    finally:
        relay.close()


def _bound() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock
