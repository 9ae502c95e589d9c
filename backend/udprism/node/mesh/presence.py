"""Which nodes are there: what their heartbeats say, judged by the hearer's own clock. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

NodeState: TypeAlias = Literal["live", "late", "gone", "left", "twice", "unknown"]

LIVE_S: Final = 3.0
LATE_S: Final = 10.0
FORGET_S: Final = 3600.0
MAX_NODES: Final = 256
"""Ids that are remembered; further ones are counted and not shown."""


@dataclass
class NodeRecord:
    """One node's last heartbeat."""

    id: str
    heard_s: float
    body: Mapping[str, Any]
    instances: dict[str, float] = field(default_factory=dict)
    """When each of its instances was heard last. Two at once: a data directory was copied."""
    unreachable_s: float | None = None
    """When the NATS server reported that no one listens there; a later heartbeat cancels it."""

    @property
    def name(self) -> str:
        """Its name, or its id."""
        return str(self.body.get("name") or self.id)


class Presence:
    """All other nodes that were heard from."""

    def __init__(self, own_id: str, own_instance: str) -> None:
        self.own_id = own_id
        self.own_instance = own_instance
        self.left_out = 0
        """Heartbeats of nodes beyond MAX_NODES."""
        self._nodes: dict[str, NodeRecord] = {}
        self._double_s: float | None = None

    def hear(self, node_id: str, body: Mapping[str, Any], now_s: float) -> None:
        """A heartbeat. One of our own id from another instance makes this node `twice`."""
        instance = str(body.get("instance"))
        if node_id == self.own_id:
            if instance != self.own_instance:
                self._double_s = now_s
            return
        known = self._nodes.get(node_id)
        if known is None:
            self.forget_old(now_s)
            if len(self._nodes) >= MAX_NODES:
                self.left_out += 1
                return
            known = self._nodes[node_id] = NodeRecord(node_id, now_s, body)
        known.heard_s, known.body, known.unreachable_s = now_s, body, None
        if body.get("leaving"):
            known.instances.pop(instance, None)
        else:
            known.instances[instance] = now_s
        known.instances = {one: at_s for one, at_s in known.instances.items() if now_s - at_s <= LIVE_S}

    def nobody_listens(self, node_id: str, now_s: float) -> None:
        """The server has no subscriber for it: that is known before its heartbeat is missing."""
        if node_id in self._nodes:
            self._nodes[node_id].unreachable_s = now_s

    def state(self, node_id: str, now_s: float, *, cut_off: bool = False) -> NodeState:
        """Of a node that was heard. cut_off: this node has no connection, so nothing is known of the others.

        Raises: KeyError for a node that was not heard.
        """
        node = self._nodes[node_id]
        if sum(now_s - at_s <= LIVE_S for at_s in node.instances.values()) > 1:
            return "twice"
        if node.body.get("leaving"):
            return "left"
        age_s = now_s - node.heard_s
        if cut_off:
            return "unknown"
        if age_s > LATE_S:
            return "gone"
        return "late" if age_s > LIVE_S or node.unreachable_s is not None else "live"

    def is_double(self, now_s: float) -> bool:
        """Whether another process uses this node's id."""
        return self._double_s is not None and now_s - self._double_s <= LIVE_S

    def nodes(self) -> list[NodeRecord]:
        """All that are remembered, by name."""
        return sorted(self._nodes.values(), key=lambda node: (node.name, node.id))

    def recent(self, now_s: float) -> list[str]:
        """Ids that were heard lately. Every heartbeat carries them, so that a one-way failure shows."""
        return [id for id, node in self._nodes.items() if now_s - node.heard_s <= LIVE_S][:64]

    def find(self, word: str) -> list[NodeRecord]:
        """The node of this id, otherwise those of this name."""
        if word in self._nodes:
            return [self._nodes[word]]
        return [node for node in self._nodes.values() if node.name == word]

    def forget(self, node_id: str) -> bool:
        """Hide it until it is heard from again."""
        return self._nodes.pop(node_id, None) is not None

    def forget_old(self, now_s: float) -> None:
        """Forget those that have been gone for an hour."""
        self._nodes = {id: node for id, node in self._nodes.items() if now_s - node.heard_s <= FORGET_S}
