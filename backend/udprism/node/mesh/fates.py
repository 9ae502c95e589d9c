"""Asks nodes that serve this one's clients what became of their datagrams, four times per second. Event loop."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Protocol

from udprism.errors import RequestError
from udprism.node.mesh.asks import Answer
from udprism.node.mesh.presence import NodeRecord

log = logging.getLogger(__name__)

ASK_S: Final = 0.25
RETRY_S: Final = 1.0
DEADLINE_S: Final = 2.0
LINGER_S: Final = 10.0
"""A node that has ended the last of our sessions is asked for so long: it still has to say so."""

Ask = Callable[[NodeRecord, bytes, float], Awaitable[Answer]]


class Hearer(Protocol):
    """Stores what nodes reported, and knows what is missing."""

    async def wanted(self, node_id: str) -> dict[str, Any]: ...

    async def hear(self, node_id: str, body: bytes) -> None: ...


class Fates:
    """One question at a time per node."""

    def __init__(self, own_id: str, nodes: Callable[[], Iterable[NodeRecord]], ask: Ask) -> None:
        self.hearer: Hearer | None = None
        self.bad = 0
        """How many replies could not be read."""
        self._own_id = own_id
        self._nodes = nodes
        self._ask = ask
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._served_s: dict[str, float] = {}
        self._not_before_s: dict[str, float] = {}

    async def run(self) -> None:
        """For ever."""
        try:
            while True:
                self._turn(time.monotonic())
                await asyncio.sleep(ASK_S)
        finally:
            for task in self._asking.values():
                task.cancel()

    def _turn(self, now_s: float) -> None:
        nodes = {node.id: node for node in self._nodes()}
        for id, node in nodes.items():
            serves = node.body.get("serves")
            if isinstance(serves, list) and self._own_id in serves:
                self._served_s[id] = now_s
        for id, at_s in list(self._served_s.items()):
            if now_s - at_s > LINGER_S or id not in nodes:
                del self._served_s[id]
                self._not_before_s.pop(id, None)
            elif id not in self._asking and now_s >= self._not_before_s.get(id, 0.0):
                task = self._asking[id] = asyncio.create_task(self._hear(nodes[id]))
                task.add_done_callback(lambda _, id=id: self._asking.pop(id))  # type: ignore[misc]

    async def _hear(self, node: NodeRecord) -> None:
        if self.hearer is None:
            return
        try:
            wanted = await self.hearer.wanted(node.id)
            answer = await self._ask(node, json.dumps(wanted).encode(), DEADLINE_S)
            await self.hearer.hear(node.id, answer.body)
        except RequestError:  # it is away, or too busy: what it has to say it keeps
            self._not_before_s[node.id] = time.monotonic() + RETRY_S
        except ValueError as error:
            self.bad += 1
            self._not_before_s[node.id] = time.monotonic() + RETRY_S
            log.debug("cannot decode what node %s reports about datagrams: %s", node.name, error)
        except Exception:  # as for questions: one answer's bug is logged, and costs this answer only
            log.exception("a bug while handling what node %s reports about datagrams", node.name)
            self._not_before_s[node.id] = time.monotonic() + RETRY_S
