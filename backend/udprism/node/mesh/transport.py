"""One connection to the NATS server, kept by throwing it away.

nats-py's own repair does not come back from a silent path while data waits to be sent (nats.py#671), so a connection
that does not answer a ping within its deadline is aborted, and a new client takes its place. Nothing that waited to be
sent outlives its connection: what is old must not arrive as if it were new. Event loop only.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from udprism.node.mesh.plan import MeshPlan

log = logging.getLogger(__name__)

Handler = Callable[[Msg], Awaitable[None]]

_CONNECT_S: Final = 2.0
_PING_S: Final = 1.0
_SILENT_S: Final = 2.0
_CLOSE_S: Final = 5.0
_RETRY_S: Final = (0.1, 1.0)
MAX_QUEUED_BYTES: Final = 32 << 20
MAX_QUEUED: Final = 2048
_TROUBLE: Final = (OSError, nats.errors.Error, TimeoutError, ssl.SSLError, EOFError)


class Connection:
    """One of a node's two: control, or bulk."""

    def __init__(self, plan: MeshPlan, kind: str, handlers: Mapping[str, Handler], lost: Callable[[], None]) -> None:
        """lost: called when a connection ends; what was asked over it will not be answered."""
        self._plan = plan
        self._kind = kind
        self._handlers = handlers
        self._lost = lost
        self._queue: asyncio.Queue[tuple[str, bytes, str]] = asyncio.Queue(MAX_QUEUED)
        self._queued_bytes = 0
        self._client: Client | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self.since_s = time.monotonic()
        """Since when it is connected, or is not."""
        self.made = 0
        self.dropped = 0
        """Messages that were not sent: no connection, or a full queue."""
        self.trouble: str | None = None
        """Why there is no connection."""

    @property
    def is_up(self) -> bool:
        """Whether there is a connection that has answered lately."""
        return self._client is not None

    @property
    def round_trip_s(self) -> float | None:
        """Of the last ping; None without a connection."""
        return self._round_trip_s if self.is_up else None

    _round_trip_s: float | None = None

    def send(self, subject: str, payload: bytes, reply: str = "") -> bool:
        """Queue a message; false, and counted, if there is no connection or no room."""
        has_room = self._queued_bytes + len(payload) <= MAX_QUEUED_BYTES and not self._queue.full()
        if self._client is None or not has_room:
            self.dropped += 1
            return False
        self._queue.put_nowait((subject, payload, reply))
        self._queued_bytes += len(payload)
        return True

    async def run(self) -> None:
        """For ever: connect, serve until it fails, throw away, again."""
        while True:
            try:
                await self._once()
            except* _TROUBLE as errors:
                self._note(errors.exceptions[0])
            await asyncio.sleep(random.uniform(*_RETRY_S))

    async def flushed(self, timeout_s: float) -> None:
        """Wait until what was queued has reached the server, or the time is over."""
        if self._client is None:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._queue.join()
                await self._client.flush()
        except _TROUBLE as error:
            log.debug("the farewell was not delivered: %s", error)

    async def _once(self) -> None:
        client = Client()
        try:
            async with asyncio.timeout(_CONNECT_S):
                await client.connect(**options(self._plan, self._kind))
                for subject, handler in self._handlers.items():
                    await client.subscribe(
                        subject, cb=_callback(handler), pending_msgs_limit=4096, pending_bytes_limit=MAX_QUEUED_BYTES
                    )
                await client.flush()
            if self.trouble is not None:
                log.info("NATS (%s) is connected again", self._kind)
            self._client, self.trouble, self.since_s = client, None, time.monotonic()
            self.made += 1
            async with asyncio.TaskGroup() as group:
                group.create_task(self._send_all(client))
                group.create_task(self._ping(client))
        finally:
            was_up, self._client = self._client is not None, None
            if was_up:
                self.since_s = time.monotonic()
            self._forget_queue()
            self._throw_away(client)
            self._lost()

    async def _send_all(self, client: Client) -> None:
        while True:
            subject, payload, reply = await self._queue.get()
            self._queued_bytes -= len(payload)
            try:
                await client.publish(subject, payload, reply)
            finally:
                self._queue.task_done()

    async def _ping(self, client: Client) -> None:
        while True:
            began_s = time.monotonic()
            async with asyncio.timeout(_SILENT_S):
                await client.flush(int(_SILENT_S) + 1)
            self._round_trip_s = time.monotonic() - began_s
            await asyncio.sleep(_PING_S)

    def _forget_queue(self) -> None:
        while not self._queue.empty():
            self._queue.get_nowait()
            self._queue.task_done()
            self.dropped += 1
        self._queued_bytes = 0

    def _throw_away(self, client: Client) -> None:
        """Abort its socket, so that nothing old leaves later; its own `close` may hang, and is left to a timer."""
        task = asyncio.ensure_future(thrown_away(client))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _note(self, error: BaseException) -> None:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        text = str(error) or type(error).__name__
        if self.trouble is None:
            log.warning("NATS (%s) does not answer: %s; trying again", self._kind, text)
        self.trouble = text


def _callback(handler: Handler) -> Handler:
    """nats-py takes no plain function, and would report a bug to `error_cb` only."""

    async def callback(message: Msg) -> None:
        try:
            await handler(message)
        except Exception:  # one message's bug is logged; the connection serves the others
            log.exception("a bug in handling a message on %s", message.subject)

    return callback


def options(plan: MeshPlan, kind: str) -> dict[str, Any]:
    """What nats-py is given for one connection. Raises: OSError if the credentials cannot be read."""
    options: dict[str, Any] = {
        "servers": list(plan.urls),
        "name": f"udprism {plan.name} {kind}",
        "allow_reconnect": False,
        "max_reconnect_attempts": 1,  # 0 would mean for ever (nats.py#718)
        "connect_timeout": 1,
        "ping_interval": 3600,  # ours have a deadline
        "no_echo": False,  # messages with our own id from elsewhere must arrive
        "pending_size": -1,
        "error_cb": partial(_complain, kind),
    }
    if plan.creds is not None:
        text = Path(plan.creds).read_text()
        if "NATS USER JWT" in text:
            options["user_credentials"] = str(plan.creds)
        else:
            options["nkeys_seed_str"] = text.strip().splitlines()[-1]
    if plan.is_encrypted:  # only with the handshake first can no false server have the password in clear
        options |= {"tls": ssl.create_default_context(cafile=plan.ca), "tls_handshake_first": True}
    return options


async def _complain(kind: str, error: Exception) -> None:
    if "permissions violation" in str(error).lower():
        log.warning("NATS (%s) refused: %s", kind, error)


async def thrown_away(client: Client) -> None:
    """Abort its socket, so that nothing old leaves later; then its own `close`, which may hang, with a deadline."""
    transport: Any = client._transport
    for name in ("_io_writer", "_bare_io_writer"):
        writer = getattr(transport, name, None)
        if writer is not None:
            writer.transport.abort()
    if transport is None:
        return  # it has not even begun, and cannot be closed then
    try:
        async with asyncio.timeout(_CLOSE_S):
            await client.close()
    except _TROUBLE:
        pass


def new_token() -> str:
    """For one inbox, or one command."""
    return secrets.token_hex(12)
