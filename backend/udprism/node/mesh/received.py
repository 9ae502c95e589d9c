"""What became of the commands that other nodes sent here: each is done once, or never. Pure."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

MAX_COMMANDS: Final = 16_384
MAX_REPLIES: Final = 1024
"""How many answers are kept; of an older command only the fact that it was done is known."""
KEPT_S: Final = 1200.0
"""Longer than a sender asks for an outcome."""
SENDER_ASKS_S: Final = 600.0
_COMMAND_ID: Final = re.compile(r"[A-Za-z0-9_-]{8,64}")


class Reply(NamedTuple):
    """What an HTTP request would have been answered."""

    status: int
    media_type: str
    body: bytes


Standing: TypeAlias = Literal["new", "running", "done", "never", "full"]


@dataclass
class _Command:
    standing: Standing
    at_s: float
    reply: Reply | None = None


def is_command_id(text: object) -> bool:
    """Whether it may name a command."""
    return isinstance(text, str) and _COMMAND_ID.fullmatch(text) is not None


class Received:
    """By id. A cancelled id is refused for as long as anything of it may still be on its way."""

    def __init__(self, kept: Mapping[str, Reply | None], now_s: float) -> None:
        """kept: those that the store knows as done, with their answers if they were kept too."""
        self._answered: deque[str] = deque(kept)
        self._commands = {id: _Command("done", now_s, reply) for id, reply in kept.items()}

    def __len__(self) -> int:
        return len(self._commands)

    def begin(self, command_id: str, now_s: float) -> Standing:
        """`new`: do it, and then say `finish`. Anything else: do not."""
        known = self._commands.get(command_id)
        if known is not None:
            return known.standing
        if not self._has_room(now_s):
            return "full"
        self._commands[command_id] = _Command("running", now_s)
        return "new"

    def finish(self, command_id: str, reply: Reply) -> None:
        """It was done, or refused by what it asked for: this is its answer from now on."""
        command = self._commands[command_id]
        command.standing, command.reply = "done", reply
        self._answered.append(command_id)
        if len(self._answered) > MAX_REPLIES and (old := self._commands.get(self._answered.popleft())) is not None:
            old.reply = None

    def cancel(self, command_id: str, now_s: float) -> Standing:
        """`never` if it had not begun, and then it never will; otherwise how it stands."""
        known = self._commands.get(command_id)
        if known is None:
            if not self._has_room(now_s):
                return "full"
            known = self._commands[command_id] = _Command("never", now_s)
        return known.standing

    def reply(self, command_id: str) -> Reply | None:
        """The answer of one that is done; None if only that it was done is known."""
        return self._commands[command_id].reply

    def _has_room(self, now_s: float) -> bool:
        if len(self._commands) >= MAX_COMMANDS:
            old = [id for id, one in self._commands.items() if now_s - one.at_s > KEPT_S and one.standing != "running"]
            for id in old:
                del self._commands[id]
        return len(self._commands) < MAX_COMMANDS
