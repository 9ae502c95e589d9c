"""A relay's thread: it reads, judges, sends, and executes the program's commands."""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import socket
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from udprism.columns.types import NS_PER_MS, NS_PER_S
from udprism.errors import UdprismError
from udprism.link.link import Link, client_key
from udprism.link.model import LinkModel
from udprism.link.rules import Rule, Rules
from udprism.relay import few
from udprism.relay.accounts import Accounts
from udprism.relay.carrier import Carrier
from udprism.relay.epoll_port import EpollPort
from udprism.relay.flows import Flows
from udprism.relay.fronts import network_of, open_fronts
from udprism.relay.memory import DIRECTIONS, DOWN, UP, Count, Memory, State, Sum
from udprism.relay.messages import Routes
from udprism.relay.plan import Plan
from udprism.relay.port import Port
from udprism.relay.ring_port import RingPort
from udprism.relay.sender import Sender
from udprism.relay.sight import RelayTap
from udprism.relay.table import Table
from udprism.udp.control import receive
from udprism.udp.networks import own_networks
from udprism.udp.sight_queue import SightQueue
from udprism.udp.sockets import header_bytes

log = logging.getLogger(__name__)

_GATHER_NS = 2 * NS_PER_MS
"""With a link that holds datagrams back, they are read so far apart: the kernel's stamp says when each one entered."""
_ROUND_NS = NS_PER_MS // 5
"""What is held leaves so far apart at most: each look at it costs some 0.05 ms."""
_SWEEP_NS = NS_PER_S // 2
_MAX_COMMAND_BYTES = 64 << 10


class Loop:
    """Owns everything of one relay. The thread that makes it runs it."""

    def __init__(self, plan: Plan, memory: Memory, fronts: Sequence[socket.socket], control: socket.socket) -> None:
        self._plan, self._memory, self._control = plan, memory, control
        self._fronts = open_fronts(fronts, plan.keep_ttl)
        self.port = best_port(memory.rows + len(self._fronts))
        routes = Routes(memory.width)
        self._flows = Flows(
            memory,
            self.port,
            routes,
            self._fronts,
            plan.target,
            any_port=plan.any_port,
            keep_ttl=plan.keep_ttl,
            dont_fragment=plan.dont_fragment,
        )
        networks = [ipaddress.ip_network(text) for text in plan.allow_from] or own_networks()
        self._table = Table(memory, networks, self._begin_flow, self._end_flow)
        self._model = LinkModel(memory.width)
        accounts = Accounts(memory, keep_payload=plan.keep_payload)
        self._sender = Sender(memory, self.port, self._fronts, self._flows, self._table, routes, accounts)
        self._carrier, self._few = self._make_carriers(routes, accounts)
        self._links = [plan.up, plan.down]
        self._own_links: dict[int, Link] = {}
        self._idle_ns = round(plan.idle_s * NS_PER_S)
        self._gathers = False
        self._left = self._refused = np.zeros(memory.rows, np.int64)
        """At the last sweep, of each flow upwards."""
        self._now_ns = time.monotonic_ns()
        self._resume()
        self.port.listen_to(control.fileno())
        for place, front in enumerate(self._fronts):
            self.port.watch(front.sock.fileno(), memory.rows + place, many=True)

    def _make_carriers(self, routes: Routes, accounts: Accounts) -> tuple[Carrier, few.Few]:
        """What carries batches, and what carries a handful."""
        carrier = Carrier(
            self._memory,
            self.port,
            self._fronts,
            self._flows,
            self._table,
            routes,
            self._model,
            Rules(self._plan.rules, self._memory.width, self._memory.rule_hits),
            accounts,
            self._sender,
            RelayTap(self._memory, self._fronts, self._flows, self.port.pool),
            keep_ttl=self._plan.keep_ttl,
        )
        return carrier, few.Few(
            self._memory,
            self.port,
            self._fronts,
            self._flows,
            self._table,
            self._model,
            carrier,
            self._sender,
            accounts,
            keep_payload=self._plan.keep_payload,
        )

    def _resume(self) -> None:
        """Take over the flows of a process that died, with their ports: a client does not notice."""
        self._memory.take_over()
        self._table.resume()

    # -- the loop

    def run(self) -> None:
        """Serve until the program is gone, or ends it."""
        next_sweep_ns = last_release_ns = 0
        carrier, port, held = self._carrier, self.port, self._carrier.held
        while True:
            now_ns = time.monotonic_ns()
            wake_ns = min(next_sweep_ns, max(held.next_release_ns, last_release_ns + _ROUND_NS))
            wait_ns = max(0, wake_ns - now_ns)
            gather_ns = min(_GATHER_NS, wait_ns) if self._gathers else 0
            arrived = port.wait(wait_ns / NS_PER_S, gather_ns / NS_PER_S)
            self._now_ns = now_ns = time.monotonic_ns()
            for slot, _ in port.errors:
                self._sender.hear_errors_of(slot)
            if held.next_release_ns <= now_ns:
                carrier.release(now_ns)
                last_release_ns = now_ns
            n = len(arrived)
            if n:
                unix_ns = time.time_ns()
                if n > few.MOST or carrier.tap.any or not self._few.carry(arrived, now_ns, unix_ns):
                    carrier.carry(arrived, now_ns, unix_ns)
            self._sender.write_down_refused()
            if port.called and not self._obey():
                return
            if now_ns >= next_sweep_ns:
                self._sweep(now_ns)
                next_sweep_ns = now_ns + _SWEEP_NS

    def _sweep(self, now_ns: int) -> None:
        """Follow the route, end what is idle; what is refused no more is refused no more."""
        self._flows.follow_route()
        ledger, state = self._memory.ledger, self._memory.flows["state"]
        left, refused = ledger[Sum.LEFT, UP::2].copy(), ledger[Sum.REFUSED, UP::2].copy()
        lives = (state == State.REFUSED) & (left > self._left) & (refused == self._refused)
        state[lives] = np.where(ledger[Sum.TAKEN, DOWN::2][lives] > 0, State.BOTH, State.ONE_WAY)
        self._left, self._refused = left, refused
        heard_ns = self._table.heard_ns()
        for slot in self._table.used():
            if now_ns - int(heard_ns[slot]) >= self._idle_ns:
                self._end_flow(slot)
                self._memory.counts[Count.FLOWS_ENDED_IDLE] += 1

    # -- flows

    def _begin_flow(self, slot: int) -> bool:
        flow = self._memory.flows[slot]
        flow["born_ns"] = flow["born_ns"] or self._now_ns
        if not self._flows.open(slot):
            return False
        if network_of(flow["client"]).is_loopback:
            flow["proven"] = 1
        elif not flow["proven"]:
            self._carrier.unproven.add(slot)
        for direction in (UP, DOWN):
            key = client_key(f"{self._plan.name}/{DIRECTIONS[direction]}/{int(flow['ordinal'])}")
            self._carrier.keys[2 * slot + direction] = key
        self._few.forget(slot)
        self._apply_links([slot])
        self._carrier.rules.forget(np.array([2 * slot, 2 * slot + 1], np.int32))
        return True

    def _end_flow(self, slot: int) -> None:
        self._memory.open_sums()
        self._carrier.end(slot)
        self._flows.close(slot)
        self._few.forget(slot)
        self._own_links.pop(2 * slot, None)
        self._own_links.pop(2 * slot + 1, None)
        self._table.forget(slot, self._now_ns)
        self._memory.close_sums()

    def _apply_links(self, slots: Sequence[int]) -> None:
        for slot in slots:
            for direction in (UP, DOWN):
                column = 2 * slot + direction
                link = self._own_links.get(column, self._links[direction])
                self._few.forget(slot)
                if link.is_off and not self._model.active:
                    continue
                front = self._fronts[int(self._memory.flows["front"][slot])]
                family = self._flows.family if direction == UP else front.sock.family
                which, key = np.array([column], np.int32), self._carrier.keys[column : column + 1]
                if not self._model.active:
                    self._memory.ledger[Sum.HIGHEST] = self._memory.ledger[Sum.TAKEN]
                self._model.assign(which, link, key, header_bytes=header_bytes(family))
        self._gathers = self._model.active and bool(
            self._model.holds(np.arange(self._memory.width, dtype=np.int32)).any()
        )

    # -- what the program asks

    def _obey(self) -> bool:
        """Execute a command. Returns False if the program is gone."""
        while True:
            try:
                record, files = receive(self._control, _MAX_COMMAND_BYTES, 1, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return True
            except ConnectionError:
                return False
            if not record:
                return False
            command = json.loads(record)
            try:
                answer: dict[str, Any] = {"done": self._do(command, files)}
            except UdprismError as error:
                answer = {"refused": str(error)}
            for file in files:
                os.close(file)
            self._control.send(json.dumps({**answer, "number": command["number"]}).encode())
            if command["do"] == "stop":
                return False

    def _do(self, command: dict[str, Any], files: Sequence[int]) -> Any:
        flow = command.get("flow")
        slots = [slot for slot in self._table.used() if flow is None or self._memory.flows["ordinal"][slot] == flow]
        what = command["do"]
        if what == "link":
            direction = DIRECTIONS.index(command["direction"])
            link = None if command["link"] is None else Link.from_body(command["link"])
            if flow is None:
                self._links[direction] = Link() if link is None else link
                for column in [column for column in self._own_links if column % 2 == direction and command.get("all")]:
                    del self._own_links[column]
            for slot in slots if flow is not None else ():
                self._own_links.pop(2 * slot + direction, None)
                if link is not None:
                    self._own_links[2 * slot + direction] = link
            self._apply_links(slots)
        elif what == "rules":
            self._memory.rule_hits[:] = 0
            rules = [Rule.from_body(rule) for rule in command["rules"]]
            self._carrier.rules = Rules(rules, self._memory.width, self._memory.rule_hits)
        elif what == "rebind":
            return sum(self._flows.rebind(slot) for slot in slots)
        elif what == "end":
            for slot in slots:
                self._end_flow(slot)
        elif what == "reset":
            for slot in slots:
                self._end_flow(slot)
            before = {"ledger": self._memory.ledger[:, :2].tolist(), "counts": self._memory.counts.tolist()}
            self._memory.open_sums()
            self._table.next_ordinal = 0
            self._memory.ledger[:, :2] = 0
            self._memory.counts[:] = 0
            self._memory.rule_hits[:] = 0
            self._memory.close_sums()
            return before
        elif what == "record":
            self._carrier.tap.begin(command["id"], SightQueue(files[0]), command["wanted"])
        elif what == "stop recording":
            self._carrier.tap.end(command["id"])
        elif what == "idle":
            self._idle_ns = round(command["idle_s"] * NS_PER_S)
        return len(slots)

    def close(self) -> None:
        """Close all sockets."""
        for sock in self._flows.sockets.values():
            sock.close()


def best_port(slots: int) -> Port:
    """The faster one if the kernel has and allows io_uring: it takes half the processor time of the other."""
    try:
        return RingPort(slots)
    except OSError as error:
        return EpollPort(f"epoll (io_uring: {error.strerror or error})")
