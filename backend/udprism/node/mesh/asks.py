"""Requests to other nodes over one connection, numbered, each with a deadline; answers come in parts. Event loop."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from nats.aio.msg import Msg

from udprism.node.mesh import subjects
from udprism.node.mesh.transport import Connection

log = logging.getLogger(__name__)

MAX_OUTSTANDING: Final = 512


class Unanswered(Exception):
    """No answer: `nobody` listens there, `cut-off` (our own connection), `timeout`, or `full` (too many requests)."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Answer(NamedTuple):
    """What came, and when it was asked for and had come by our own monotonic clock, and by both wall clocks."""

    header: Mapping[str, Any]
    body: bytes
    asked_s: float
    answered_s: float
    asked_unix_s: float


@dataclass
class _Open:
    future: asyncio.Future[tuple[dict[str, Any], bytes]]
    pieces: dict[int, bytes] = field(default_factory=dict)


class Asks:
    """All requests over one connection."""

    def __init__(self, node_id: str) -> None:
        self.inbox = f"_INBOX.{node_id}.{secrets.token_hex(8)}"
        self.outcomes: Counter[str] = Counter()
        """answered, and the reasons of `Unanswered`; `late` for answers that were given up, `bad` for damaged ones."""
        self._number = 0
        self._open: dict[str, _Open] = {}

    @property
    def subscription(self) -> str:
        """Where the answers come."""
        return f"{self.inbox}.*"

    async def ask(self, connection: Connection, subject: str, body: bytes, deadline_s: float) -> Answer:
        """Ask once. Raises: Unanswered; then a later answer is dropped."""
        try:
            answer = await self._asked(connection, subject, body, deadline_s)
        except Unanswered as error:
            self.outcomes[error.why] += 1
            raise
        self.outcomes["answered"] += 1
        return answer

    async def _asked(self, connection: Connection, subject: str, body: bytes, deadline_s: float) -> Answer:
        if len(self._open) >= MAX_OUTSTANDING:
            raise Unanswered("full")
        self._number += 1
        number = str(self._number)
        one = self._open[number] = _Open(asyncio.get_running_loop().create_future())
        asked_s, asked_unix_s = time.monotonic(), time.time_ns() / 1e9
        try:
            if not connection.send(subject, body, f"{self.inbox}.{number}"):
                raise Unanswered("cut-off")
            async with asyncio.timeout(deadline_s):
                header, whole = await one.future
        except TimeoutError:
            raise Unanswered("timeout") from None
        finally:
            del self._open[number]
        return Answer(header, whole, asked_s, time.monotonic(), asked_unix_s)

    async def hear(self, message: Msg) -> None:
        """A part of an answer, or the server's word that nobody listens."""
        one = self._open.get(message.subject.rpartition(".")[2])
        if one is None or one.future.done():
            self.outcomes["late"] += 1
            return
        if not message.data and (message.headers or {}).get("Status") == "503":
            one.future.set_exception(Unanswered("nobody"))
            return
        try:
            header, piece = subjects.parted(message.data)
            one.pieces[header["part"]] = piece
            if len(one.pieces) == header["of"]:
                one.future.set_result((header, subjects.unpacked(one.pieces)))
        except subjects.BadMeshMessage as error:
            self.outcomes["bad"] += 1
            log.debug("a damaged answer on %s: %s", message.subject, error)

    def lost(self) -> None:
        """The connection ended: what is open will not be answered."""
        for one in self._open.values():
            if not one.future.done():
                one.future.set_exception(Unanswered("cut-off"))
