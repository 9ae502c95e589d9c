"""Commands to other nodes: each ends as done or as never done; until then its outcome is unknown. Event loop.

A command has a random id. After the deadline it is cancelled: the other node then says that it was done, or that it
never will be. No clock is compared with another.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from udprism.errors import RequestError
from udprism.node.mesh.asks import Answer, Unanswered
from udprism.node.mesh.received import SENDER_ASKS_S, Reply
from udprism.node.mesh.service import Request
from udprism.node.mesh.transport import new_token

DEADLINE_S: Final = 2.0
CANCEL_S: Final = 0.8
RUNNING_S: Final = 8.0
"""A command that its node says is running is waited for: a relay's process takes seconds to start on a busy machine."""
_ASK_AGAIN_S: Final = 0.2
MAX_UNKNOWN: Final = 1024

Tell = Callable[[str, bytes, float], Awaitable[Answer]]
"""Sends one message to a node's `do`. Raises: Unanswered."""


@dataclass
class _Sent:
    node_id: str
    at_s: float


class Commands:
    """Those of this node to others, and those among them whose outcome is not known yet."""

    def __init__(self, tell: Tell) -> None:
        self.outcomes: Counter[str] = Counter()
        self._tell = tell
        self._unknown: dict[str, _Sent] = {}

    @property
    def unknown(self) -> int:
        """Commands whose outcome is not known yet."""
        return len(self._unknown)

    async def do(self, node_id: str, instance: str, request: Request, command_id: str | None = None) -> Reply:
        """Do it there, once. command_id: the caller's own; the same one again gets the same answer.

        Raises: RequestError (503 `never-done`, 504 `outcome-unknown` with the id, 403 `remote-off`).
        """
        id = command_id or new_token()
        self._remember(id, node_id)
        asked: dict[str, Any] = {
            "id": id,
            "instance": instance,
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "body": request.body.decode(errors="replace"),
        }
        try:
            answer = await self._tell(node_id, json.dumps(asked).encode(), DEADLINE_S)
        except Unanswered as error:
            if error.why in ("nobody", "full"):  # it was delivered to no one
                self._settled(id, "never")
                raise _unreachable() from None
            return await self.outcome(id)
        return self._understood(id, answer)

    async def outcome(self, command_id: str) -> Reply:
        """Cancel it, which tells what became of it. Raises: as `do`, and RequestError (404) for an unknown id."""
        sent = self._unknown.get(command_id)
        if sent is None:
            raise RequestError("no command of this id waits for its outcome", kind="not-found")
        asked = json.dumps({"id": command_id, "cancel": True}).encode()
        until_s = time.monotonic() + RUNNING_S
        while True:
            try:
                answer = await self._tell(sent.node_id, asked, CANCEL_S)
            except Unanswered:
                self.outcomes["unknown"] += 1
                raise _unknown(command_id) from None
            if answer.header.get("standing") != "running" or time.monotonic() >= until_s:
                break
            await asyncio.sleep(_ASK_AGAIN_S)
        if answer.header.get("standing") not in ("done", "never", "refused"):
            raise _unknown(
                command_id
            )  # it still runs, or that node is too busy to look, or without room to remember: that is no `never`
        return self._understood(command_id, answer)

    def _understood(self, id: str, answer: Answer) -> Reply:
        header = answer.header
        standing = header.get("standing") or header.get("refused")
        if standing == "done":
            self._settled(id, "done")
            if "status" not in header:  # its process died between the change and the answer
                return Reply(200, "application/json", b'{"done": true}')
            return Reply(int(header["status"]), str(header["type"]), answer.body)
        self._settled(id, "never")
        if standing == "refused":
            raise RequestError("that node does not let others change anything (`--remote on` would)", kind="remote-off")
        raise RequestError(f"it was not done, and will not be ({standing}): try again", kind="never-done")

    def _remember(self, id: str, node_id: str) -> None:
        now_s = time.monotonic()
        self._unknown = {one: sent for one, sent in self._unknown.items() if now_s - sent.at_s <= SENDER_ASKS_S}
        if len(self._unknown) >= MAX_UNKNOWN:
            raise RequestError(f"{MAX_UNKNOWN} commands wait for their outcome already", kind="busy")
        self._unknown[id] = _Sent(node_id, now_s)

    def _settled(self, id: str, outcome: str) -> None:
        self._unknown.pop(id, None)
        self.outcomes[outcome] += 1


def _unknown(command_id: str) -> RequestError:
    return RequestError(
        f"whether command {command_id} was done is not known until its node can be reached: "
        f"GET /api/commands/{command_id} asks again",
        kind="outcome-unknown",
    )


def _unreachable() -> RequestError:
    return RequestError("no program answers for that node; nothing was done", kind="node-unreachable")
