"""This node among the others: its heartbeat, the nodes it knows, its requests and its answers. Event loop only.

Nothing is sent unasked but a heartbeat per second. Two connections: control, and bulk for what is large, so that a
picture on a thin path delays no heartbeat.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from nats.aio.msg import Msg

import udprism
from udprism.errors import RequestError
from udprism.node.mesh import subjects
from udprism.node.mesh.asks import Answer, Asks, Unanswered
from udprism.node.mesh.commands import Commands
from udprism.node.mesh.fates import Fates
from udprism.node.mesh.offset import ClockOffset
from udprism.node.mesh.plan import MeshPlan
from udprism.node.mesh.presence import NodeRecord, Presence
from udprism.node.mesh.received import Received, Reply
from udprism.node.mesh.service import Request, Service
from udprism.node.mesh.transport import Connection
from udprism.node.mesh.window import AskingWindow

log = logging.getLogger(__name__)

HEARTBEAT_S: Final = 1.0
READ_S: Final = 5.0
PICTURE_S: Final = 5.0
MAX_HEARTBEAT_BYTES: Final = 8 << 10
Status = Callable[[], Awaitable[Mapping[str, Any]]]


class Mesh:
    """One node's part. `start` and `stop` once each, on the event loop that everything here belongs to."""

    def __init__(self, plan: MeshPlan, instance: str, received: Received, status: Status) -> None:
        """instance: of this process. status: what the heartbeat says of this node beside its name."""
        self.plan = plan
        self.instance = instance
        self.presence = Presence(plan.id, instance)
        self.window = AskingWindow()
        self.offsets: dict[str, ClockOffset] = {}
        self.commands = Commands(self._tell)
        self.service = Service(plan.remote, instance, received, lambda: self.presence.is_double(time.monotonic()))
        self.fates = Fates(plan.id, self.presence.nodes, self._ask_fates)
        self._status = status
        self._number = 0
        self._bad_heartbeats = 0
        self._small, self._large = Asks(plan.id), Asks(plan.id)
        service, me = self.service, plan.id
        self._control = Connection(
            plan,
            "control",
            {
                subjects.here("*"): self._hear,
                subjects.do(me, "*"): lambda message: service.hear_command(self._control, message),
                subjects.ask(me, "*", "fates"): lambda message: service.hear_fates(self._control, message),
                self._small.subscription: self._small.hear,
            },
            self._small.lost,
        )
        self._bulk = Connection(
            plan,
            "bulk",
            {
                subjects.ask(me, "*", "read"): lambda message: service.hear_read(self._bulk, message),
                subjects.ask(me, "*", "picture"): lambda message: service.hear_picture(self._bulk, message),
                self._large.subscription: self._large.hear,
            },
            self._large.lost,
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin; returns at once. A server that is not there is tried for as long as it takes."""
        for work in (self._control.run(), self._bulk.run(), self.fates.run(), self._beat()):
            self._tasks.append(asyncio.create_task(work))

    async def stop(self) -> None:
        """Tell the others that this node leaves, and end."""
        beat = self._tasks.pop()
        beat.cancel()
        await asyncio.gather(beat, return_exceptions=True)
        self._control.send(subjects.here(self.plan.id), await self._heartbeat(leaving=True))
        await self._control.flushed(0.5)
        await self.service.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- who is there

    async def _beat(self) -> None:
        due_s = time.monotonic()
        while True:
            if self._control.is_up:
                self._control.send(subjects.here(self.plan.id), await self._heartbeat(leaving=False))
            due_s = max(due_s + HEARTBEAT_S, time.monotonic())
            await asyncio.sleep(due_s - time.monotonic())

    async def _heartbeat(self, *, leaving: bool) -> bytes:
        self._number += 1
        body: dict[str, Any] = {
            "name": self.plan.name,
            "instance": self.instance,
            "version": udprism.__version__,
            "number": self._number,
            "remote": self.plan.remote,
            "heard": self.presence.recent(time.monotonic()),
            "leaving": leaving,
        }
        if not leaving:
            body |= await self._status()
        return json.dumps(body).encode()

    async def _hear(self, message: Msg) -> None:
        try:
            sender = subjects.sender_of(message.subject)
            if len(message.data) > MAX_HEARTBEAT_BYTES:
                raise subjects.BadMeshMessage("too large")
            body = json.loads(message.data)
            if not isinstance(body, dict):
                raise subjects.BadMeshMessage("json")
        except (ValueError, RecursionError):
            self._bad_heartbeats += 1
            return
        self.presence.hear(sender, body, time.monotonic())

    @property
    def cut_off_s(self) -> float | None:
        """For how long this node itself has had no connection; None while it has one."""
        return None if self._control.is_up else time.monotonic() - self._control.since_s

    @property
    def trouble(self) -> str | None:
        """Why it has none."""
        return self._control.trouble

    @property
    def round_trip_s(self) -> float | None:
        """To the NATS server."""
        return self._control.round_trip_s

    def find(self, word: str) -> NodeRecord | None:
        """The node of this id or name; None for this one. Raises: RequestError (404; 409 for a name of several)."""
        if word in (self.plan.id, self.plan.name):
            return None
        found = self.presence.find(word)
        if not found:
            raise RequestError(f"no node of this id or name is known: {word}", field="node", kind="no-node")
        if len(found) > 1:
            ids = ", ".join(node.id for node in found)
            raise RequestError(f"several nodes have this name: use an id ({ids})", field="node", kind="name-taken")
        return found[0]

    # -- asking

    async def read(self, node: NodeRecord, request: Request) -> tuple[Reply, float]:
        """A node's answer to a GET of the REST API, and its age: since when it was asked, by this clock.

        Raises: RequestError (503, 403).
        """
        answer = await self.ask(node, "read", _read_body(request), READ_S)
        header = answer.header
        reply = Reply(int(header["status"]), str(header["type"]), answer.body)
        return reply, answer.answered_s - answer.asked_s

    async def picture(self, node: NodeRecord, asked: Mapping[str, Any]) -> Answer:
        """What a page of that node would be sent next. Raises: RequestError (503, 403)."""
        while not self.window.has_room:
            await self._room()
        self.window.asked()
        try:
            answer = await self.ask(node, "picture", json.dumps(asked).encode(), PICTURE_S)
        except BaseException:
            self.window.given_up()
            self._made_room()
            raise
        self.window.answered(answer.answered_s - answer.asked_s, answer.answered_s, len(self.presence.nodes()))
        self._made_room()
        return answer

    _waiters: tuple[asyncio.Future[None], ...] = ()

    async def _room(self) -> None:
        """Wait until an ask has ended: first come, first served, which is the node with the oldest picture."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters = (*self._waiters, future)
        await future

    def _made_room(self) -> None:
        for future in self._waiters:
            if not future.done():
                future.set_result(None)
        self._waiters = ()

    async def ask(self, node: NodeRecord, kind: str, body: bytes, deadline_s: float) -> Answer:
        """Send a node a request that changes nothing. Raises: RequestError (503, 403)."""
        return await self._ask(self._large, self._bulk, node, kind, body, deadline_s)

    async def _ask_fates(self, node: NodeRecord, body: bytes, deadline_s: float) -> Answer:
        return await self._ask(self._small, self._control, node, "fates", body, deadline_s)

    async def _ask(
        self, asks: Asks, connection: Connection, node: NodeRecord, kind: str, body: bytes, deadline_s: float
    ) -> Answer:
        subject = subjects.ask(node.id, self.plan.id, kind)
        try:
            answer = await asks.ask(connection, subject, body, deadline_s)
        except Unanswered as error:
            if error.why == "nobody":
                self.presence.nobody_listens(node.id, time.monotonic())
            raise RequestError(f"{node.name} does not answer ({error.why})", kind="node-unreachable") from None
        refused = answer.header.get("refused")
        if refused == "remote-off":
            raise RequestError(f"{node.name} does not show others anything (`--remote off`)", kind="remote-off")
        if refused is not None:
            raise RequestError(f"{node.name} is too busy", kind="busy")
        self._learn_offset(node.id, answer)
        return answer

    def _learn_offset(self, node_id: str, answer: Answer) -> None:
        received, sent = answer.header.get("received_unix_s"), answer.header.get("sent_unix_s")
        if isinstance(received, float) and isinstance(sent, float):
            offset = self.offsets.setdefault(node_id, ClockOffset())
            answered_unix_s = answer.asked_unix_s + (answer.answered_s - answer.asked_s)
            offset.add(answer.asked_unix_s, received, sent, answered_unix_s, answer.answered_s)

    async def _tell(self, node_id: str, body: bytes, deadline_s: float) -> Answer:
        return await self._small.ask(self._control, subjects.do(node_id, self.plan.id), body, deadline_s)

    async def do(self, node: NodeRecord, request: Request, command_id: str | None = None) -> Reply:
        """Change something there, once or never. Raises: RequestError; see `Commands.do`."""
        if self.presence.is_double(time.monotonic()):
            raise RequestError("another process uses this node's id: stop one of the two", kind="never-done")
        return await self.commands.do(node.id, str(node.body.get("instance")), request, command_id)

    # -- what can be read of all that

    def counters(self) -> dict[str, Any]:
        """Figures for /metrics."""
        now_s = time.monotonic()
        cut_off = self.cut_off_s is not None
        states = {node.id: self.presence.state(node.id, now_s, cut_off=cut_off) for node in self.presence.nodes()}
        return {
            "node_up": {id: int(state == "live") for id, state in states.items()},
            "node_heard_seconds": {node.id: now_s - node.heard_s for node in self.presence.nodes()},
            "nats_connections_total": {"control": self._control.made, "bulk": self._bulk.made},
            "nats_dropped_total": {"control": self._control.dropped, "bulk": self._bulk.dropped},
            "asks_total": dict(self._small.outcomes + self._large.outcomes),
            "asks_served_total": dict(self.service.counts),
            "asking_window": self.window.width,
            "node_commands_total": dict(self.commands.outcomes),
            "node_commands_unknown": self.commands.unknown,
            "fates_bad_total": self.fates.bad,
            "heartbeats_refused_total": self._bad_heartbeats + self.presence.left_out,
            **self._offsets(now_s),
        }

    def _offsets(self, now_s: float) -> dict[str, dict[str, float]]:
        best = {id: offset.best(now_s) for id, offset in self.offsets.items()}
        known = {id: one for id, one in best.items() if one is not None}
        return {
            "clock_offset_seconds": {id: one.ahead_s for id, one in known.items()},
            "clock_offset_bound_seconds": {id: one.bound_s for id, one in known.items()},
        }


def _read_body(request: Request) -> bytes:
    return json.dumps({"method": request.method, "path": request.path, "query": request.query}).encode()
