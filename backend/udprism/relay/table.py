"""Maps client addresses to flows, by one search for a whole batch, and decides who may become a flow."""

from __future__ import annotations

import ipaddress
import socket
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np

from udprism.columns.types import NEVER_NS, NS_PER_S, I32Column, I64Column, Rows, U64Column
from udprism.relay.fronts import network_of
from udprism.relay.memory import Count, Memory, State, Sum

NEW_FLOWS_A_SECOND = 64
"""From one address beyond loopback: another program's protocol cannot prove an address."""
IDLE_ENOUGH_NS = 10 * NS_PER_S
"""A flow that has been idle in both directions for this long may make room for a new one."""
PORT_KEPT_NS = 600 * NS_PER_S
_PORTS_KEPT = 16_384
_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9))
_FLOWINFO = np.uint64(0xFFFF_FFFF)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def keys_of(names: U64Column, six: bool) -> U64Column:
    """uint64[n]: a word for each client address. names: uint64[n, 4], struct sockaddr.

    IPv4: family, port and address, which is all of it. IPv6: a mixture; `Table.find` compares what it finds.
    """
    if not six:
        return names[:, 0]
    key: U64Column = names[:, 0] & _FLOWINFO
    for word in (1, 2, 3):
        part = names[:, word] if word < 3 else names[:, word] & _FLOWINFO  # what lies behind the scope is not ours
        key = (key ^ part) * _MIX[word - 1]
        key ^= key >> np.uint64(29)
    return key


class Table:
    """Flows by client address. Relay's loop only.

    open_flow: makes the sockets of a new flow; False if the system has none. end_flow: ends one, to make room.
    """

    def __init__(
        self,
        memory: Memory,
        networks: Sequence[Network],
        open_flow: Callable[[int], bool],
        end_flow: Callable[[int], None],
    ) -> None:
        self.memory = memory
        self.slot_of: dict[bytes, int] = {}
        """By what tells clients apart in their struct sockaddr, for the way without NumPy."""
        self.next_ordinal = 0
        self._networks = networks
        self._open_flow, self._end_flow = open_flow, end_flow
        self._free = list(range(memory.rows - 1, 0, -1))
        self._keys = np.zeros(0, np.uint64)
        self._slots = np.zeros(0, np.int32)
        self._stale = False
        self._key_of = np.zeros(memory.rows, np.uint64)
        self._used = np.zeros(memory.rows, np.bool_)
        self._ports: OrderedDict[bytes, tuple[int, int]] = OrderedDict()
        self._begun: dict[bytes, tuple[int, int]] = {}

    def find(self, names: Rows, six: bool, front: int, now_ns: int) -> I32Column:
        """int32[n]: each datagram's flow, begun if it is new; 0 for who was turned away.

        names: uint8[n, 32], struct sockaddr. front: the socket's place, the same for all.
        """
        words = names.view(np.uint64)
        keys = keys_of(words, six)
        found = self._search(keys)
        if six:
            same = self.memory.flows["client"][found] == names[:, :28]
            same[:, 4:8] = True  # the flow information does not identify a sender
            found[~same.all(axis=1)] = 0
        missing = np.flatnonzero(found == 0)
        if len(missing):
            for row in missing.tolist():
                found[row] = self.begin(names[row, :28], six, front, int(keys[row]), now_ns)
        return found

    def _search(self, keys: U64Column) -> I32Column:
        if self._stale:
            slots = np.flatnonzero(self._used).astype(np.int32)
            order = np.argsort(self._key_of[slots], kind="stable")
            self._slots, self._keys, self._stale = slots[order], self._key_of[slots][order], False
        if not len(self._keys):
            return np.zeros(len(keys), np.int32)
        if len(self._keys) == 1:
            return np.where(keys == self._keys[0], self._slots[0], 0).astype(np.int32)
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[place] == keys, self._slots[place], np.int32(0))

    def begin(self, client: Rows, six: bool, front: int, key: int, now_ns: int) -> int:
        """A new flow for this client, or the one it has by now; 0 if it was turned away, which is counted."""
        name = identity(client, six)
        known = self.slot_of.get(name)
        if known is not None:
            return known
        counts = self.memory.counts
        if not self._may_begin(client, now_ns):
            return 0
        if not self._free and not self._make_room(now_ns):
            counts[Count.TURNED_AWAY_FULL] += 1
            return 0
        slot = self._free.pop()
        self.memory.reach(slot)
        flow = self.memory.flows[slot]
        flow["client"], flow["front"], flow["ordinal"] = client, front, self.next_ordinal
        flow["local_port"], kept_until_ns = self._ports.pop(name, (0, 0))
        if kept_until_ns < now_ns:
            flow["local_port"] = 0
        if not self._open_flow(slot):
            self._free.append(slot)
            self.memory.flows[slot] = np.zeros((), self.memory.flows.dtype)
            counts[Count.TURNED_AWAY_SOCKET] += 1
            return 0
        flow["state"] = State.ONE_WAY
        self.next_ordinal += 1
        self.slot_of[name] = slot
        self._key_of[slot], self._used[slot], self._stale = key, True, True
        counts[Count.FLOWS_BEGUN] += 1
        return slot

    def resume(self) -> None:
        """Take over the rows that another process left in use."""
        flows = self.memory.flows
        for slot in np.flatnonzero(flows["state"] != State.FREE).tolist():
            client, six = flows["client"][slot], is_six(flows["client"][slot])
            self._free.remove(slot)
            if not self._open_flow(slot):
                self.memory.clear(slot)
                self._free.append(slot)
                continue
            padded = np.zeros(32, np.uint8)
            padded[:28] = client
            self._key_of[slot] = keys_of(padded.view(np.uint64).reshape(1, 4), six)[0]
            self._used[slot], self._stale = True, True
            self.slot_of[identity(client, six)] = slot
            self.next_ordinal = max(self.next_ordinal, int(flows["ordinal"][slot]) + 1)

    def _may_begin(self, client: Rows, now_ns: int) -> bool:
        ip = network_of(client)
        if ip.is_loopback:
            return True
        counts = self.memory.counts
        if not any(ip in network for network in self._networks):
            counts[Count.TURNED_AWAY_NETWORK] += 1
            return False
        second, begun = self._begun.get(ip.packed, (0, 0))
        if second != now_ns // NS_PER_S:
            second, begun = now_ns // NS_PER_S, 0
            if len(self._begun) > 4096:
                self._begun.clear()
        self._begun[ip.packed] = second, begun + 1
        if begun >= NEW_FLOWS_A_SECOND:
            counts[Count.TURNED_AWAY_RATE] += 1
            return False
        return True

    def _make_room(self, now_ns: int) -> bool:
        """End the flow that was idle longest, if it has one direction only or was idle for ten seconds."""
        heard_ns = self.heard_ns()
        may_go = self._used & ((self.memory.flows["state"] != State.BOTH) | (now_ns - heard_ns >= IDLE_ENOUGH_NS))
        if not may_go.any():
            return False
        idlest = int(np.where(may_go, heard_ns, NEVER_NS).argmin())
        self._end_flow(idlest)
        self.memory.counts[Count.FLOWS_ENDED_FOR_ROOM] += 1
        return True

    def heard_ns(self) -> I64Column:
        """int64[rows]: when each flow's last datagram of either direction came."""
        heard = self.memory.ledger[Sum.HEARD_NS].reshape(-1, 2).max(axis=1)
        latest: I64Column = np.maximum(heard, self.memory.flows["born_ns"])
        return latest

    def forget(self, slot: int, now_ns: int) -> None:
        """This flow has ended; its client gets the same port again for ten minutes."""
        flow = self.memory.flows[slot]
        name = identity(flow["client"], is_six(flow["client"]))
        self._ports[name] = int(flow["local_port"]), now_ns + PORT_KEPT_NS
        while len(self._ports) > _PORTS_KEPT:
            self._ports.popitem(last=False)
        del self.slot_of[name]
        self._used[slot], self._stale = False, True
        self.memory.clear(slot)
        self._free.append(slot)

    def used(self) -> list[int]:
        """The flows that there are, in the order in which they began."""
        slots = np.flatnonzero(self._used)
        ordered: list[int] = slots[np.argsort(self.memory.flows["ordinal"][slots])].tolist()
        return ordered


def identity(client: Rows, six: bool) -> bytes:
    """The bytes that identify this client: of IPv6 all but the flow information."""
    data = client.tobytes()
    return data[:4] + data[8:28] if six else data[:8]


def is_six(sockaddr: Rows) -> bool:
    """Whether a struct sockaddr is of IPv6."""
    return int(sockaddr[0]) == socket.AF_INET6
