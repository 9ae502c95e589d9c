"""Runs other nodes' requests and commands here, as far as `--remote` permits. Event loop."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, NamedTuple

from nats.aio.msg import Msg

from udprism.errors import RequestError
from udprism.node import store
from udprism.node.events import changed_by
from udprism.node.mesh import subjects
from udprism.node.mesh.received import Received, Reply, is_command_id
from udprism.node.mesh.transport import Connection

log = logging.getLogger(__name__)

MAX_AT_ONCE: Final = 32
"""Questions and commands of all nodes that are worked on at once; more are refused."""
_READS: Final = ("GET",)
_CHANGES: Final = ("POST", "PATCH", "PUT", "DELETE")


class Request(NamedTuple):
    """One request of the REST API, as another node passed it on."""

    method: str
    path: str
    query: str
    body: bytes


Answerer = Callable[[Request], Awaitable[Reply]]
"""Runs a request of the REST API on this node, and returns its reply."""
Pictures = Callable[[str, dict[str, Any]], Awaitable[bytes]]
"""What a page would be sent next, for a viewer of the node of this id."""


class Service:
    """A node's half that others send requests to."""

    def __init__(self, remote: str, instance: str, received: Received, is_double: Callable[[], bool]) -> None:
        """is_double: whether another process speaks under our id; then nothing may be changed."""
        self.answer_request: Answerer | None = None
        self.take_picture: Pictures | None = None
        self.tell_fates: Pictures | None = None
        """What became of datagrams to clients of the node of this id."""
        self.put_reply: Callable[[str, str], Awaitable[None]] | None = None
        self.counts: Counter[str] = Counter()
        self._remote = remote
        self._instance = instance
        self._received = received
        self._is_double = is_double
        self._running: dict[str, asyncio.Task[Reply]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._newest: dict[tuple[str, str], asyncio.Task[None]] = {}

    # -- what comes in; each returns at once

    async def hear_read(self, connection: Connection, message: Msg) -> None:
        """A question for the REST API."""
        self._start(self._read(connection, message), connection, message)

    async def hear_picture(self, connection: Connection, message: Msg) -> None:
        """A question for a picture. Per viewer the newest one counts: an older one that still waits is given up."""
        try:
            sender, asked = subjects.sender_of(message.subject), _object(message.data)
        except subjects.BadMeshMessage:
            self.counts["bad"] += 1
            return
        key = sender, str(asked.get("viewer"))
        before = self._newest.pop(key, None)
        if before is not None:
            before.cancel()
        task = self._start(self._picture(connection, message, sender, asked), connection, message)
        if task is not None:
            self._newest[key] = task
            task.add_done_callback(lambda done: self._newest.pop(key, None) if self._newest.get(key) is done else None)

    async def hear_fates(self, connection: Connection, message: Msg) -> None:
        """A question for what became of datagrams to clients of the asker."""
        self._start(self._fates(connection, message), connection, message)

    async def hear_command(self, connection: Connection, message: Msg) -> None:
        """A command, or its cancelling."""
        self._start(self._command(connection, message), connection, message)

    def _start(
        self, work: Coroutine[Any, Any, None], connection: Connection, message: Msg
    ) -> asyncio.Task[None] | None:
        if len(self._tasks) >= MAX_AT_ONCE:
            work.close()
            self.counts["busy"] += 1
            self._send(connection, message, {"refused": "busy"}, b"")
            return None
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        if isinstance(task.exception(), subjects.BadMeshMessage):
            self.counts["bad"] += 1
            return
        log.error("a bug in answering another node", exc_info=task.exception())
        self.counts["bug"] += 1

    # -- the work

    async def _read(self, connection: Connection, message: Msg) -> None:
        received_unix_s = time.time_ns() / 1e9
        request = _request(_object(message.data), _READS)
        if self._remote == "off" or self.answer_request is None:
            self._send(connection, message, {"refused": "remote-off"}, b"")
            return
        reply = await self.answer_request(request)
        self.counts["reads"] += 1
        header = {"status": reply.status, "type": reply.media_type, "received_unix_s": received_unix_s}
        self._send(connection, message, header, reply.body)

    async def _picture(self, connection: Connection, message: Msg, sender: str, asked: dict[str, Any]) -> None:
        received_unix_s = time.time_ns() / 1e9
        if self._remote == "off" or self.take_picture is None:
            self._send(connection, message, {"refused": "remote-off"}, b"")
            return
        try:
            body = await self.take_picture(sender, asked)
        except RequestError as error:
            self._send(connection, message, {"refused": error.kind}, b"")
            return
        self.counts["pictures"] += 1
        self._send(connection, message, {"received_unix_s": received_unix_s}, body)

    async def _fates(self, connection: Connection, message: Msg) -> None:
        received_unix_s = time.time_ns() / 1e9
        sender, asked = subjects.sender_of(message.subject), _object(message.data)
        if self._remote == "off" or self.tell_fates is None:
            self._send(connection, message, {"refused": "remote-off"}, b"")
            return
        try:
            body = await self.tell_fates(sender, asked)
        except RequestError as error:
            self._send(connection, message, {"refused": error.kind}, b"")
            return
        self.counts["fates"] += 1
        self._send(connection, message, {"received_unix_s": received_unix_s}, body)

    async def _command(self, connection: Connection, message: Msg) -> None:
        sender, asked, now_s = subjects.sender_of(message.subject), _object(message.data), time.monotonic()
        command_id = asked.get("id")
        if not is_command_id(command_id):
            raise subjects.BadMeshMessage("command")
        assert isinstance(command_id, str)
        if self._remote != "on":
            self._send(connection, message, {"standing": "refused", "refused": "remote-off"}, b"")
            return
        if asked.get("cancel"):
            standing = self._received.cancel(command_id, now_s)
        elif asked.get("instance") != self._instance or self._is_double():
            # Sent to a process that is no more, or to one of two: what says `never` later must be right.
            self._send(connection, message, {"standing": "other-instance"}, b"")
            return
        else:
            request = _request(asked, _CHANGES)
            standing = self._received.begin(command_id, now_s)
            if standing == "new":
                log.info("node %s commands: %s %s", sender, request.method, request.path)
                self._running[command_id] = asyncio.create_task(self._do(sender, command_id, request))
                standing = "running"
        if standing == "running":
            await asyncio.shield(self._running[command_id])
            standing = "done"
        reply = self._received.reply(command_id) if standing == "done" else None
        header: dict[str, Any] = {"standing": standing}
        if reply is not None:
            header |= {"status": reply.status, "type": reply.media_type}
        self._send(connection, message, header, b"" if reply is None else reply.body)

    async def _do(self, sender: str, command_id: str, request: Request) -> Reply:
        assert self.answer_request is not None
        store.command.set(command_id)  # this task's context alone
        changed_by.set(f"node {sender}")
        try:
            reply = await self.answer_request(request)
        except Exception as error:  # as the web server does: one request's bug is logged and answered with 500
            log.error("a bug in a command from another node", exc_info=error)
            reply = Reply(500, "application/json", b"{}")
        store.command.set(None)
        self._received.finish(command_id, reply)
        del self._running[command_id]
        self.counts["commands"] += 1
        if self.put_reply is not None:
            await self.put_reply(command_id, kept_text(reply))
        return reply

    def _send(self, connection: Connection, message: Msg, header: dict[str, Any], body: bytes) -> None:
        header |= {"instance": self._instance, "sent_unix_s": time.time_ns() / 1e9}
        for part in subjects.packed(header, body):
            connection.send(message.reply, part)

    async def close(self) -> None:
        """End what is being worked on, but not a change in the middle."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._running.values(), return_exceptions=True)


def kept_text(reply: Reply) -> str:
    """As the store keeps it."""
    return json.dumps([reply.status, reply.media_type, reply.body.decode(errors="replace")])


def kept_reply(text: str | None) -> Reply | None:
    """The opposite of `kept_text`; None if it is none."""
    try:
        status, media_type, body = json.loads(text or "null")
        return Reply(int(status), str(media_type), str(body).encode())
    except (TypeError, ValueError):
        return None


def _object(data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        raise subjects.BadMeshMessage("json") from None
    if not isinstance(body, dict):
        raise subjects.BadMeshMessage("json")
    return body


def _request(asked: dict[str, Any], methods: tuple[str, ...]) -> Request:
    method, path, query, body = (asked.get(name, "") for name in ("method", "path", "query", "body"))
    texts = all(isinstance(one, str) for one in (method, path, query, body))
    if not texts or method not in methods or not path.startswith("/api/") or path.startswith("/api/nodes"):
        raise subjects.BadMeshMessage("request")
    return Request(method, path, query, body.encode(errors="surrogatepass"))
