"""What this process's colour server reports to other nodes about their clients' sessions: the send log for other nodes.

A hosted client of another node names itself in its `connect` (`id=NODE.CLIENT`). That node then asks what was issued
to its clients' sessions, and which datagrams never left and why. A request says up to where it has been told, so
that the same request returns the same again. Fates are kept until there are too many; a node that asks too late sees
that some are missing.
"""

from __future__ import annotations

import json
from collections import deque
from typing import Final, NamedTuple

import numpy as np

from udprism.columns.types import I64Column, U8Column, U32Column
from udprism.ledger.fates import Cause
from udprism.ledger.send_log import CORRUPT, FateReport

MAX_KEPT: Final = 262_144
"""Fates, of all nodes' clients."""
MAX_TOLD: Final = 65_536
"""Fates in one answer; the others follow in the next one."""
MAX_ENDED: Final = 4096
"""Ended sessions that are still reported."""
_HEAD: Final = ("instance", "oldest", "next", "named", "left_until_ns", "released_by_ns")
_CAUSES: Final = (Cause.LINK, Cause.SENDER_KERNEL, CORRUPT)


class Word(NamedTuple):
    """One answer.

    oldest, next: fates before the one are forgotten; the asker goes on with the other. named: the same for names.
    left_until_ns: all that was held back until then has left, or is among the fates. released_by_ns: when the last of
    what was issued will have left; both on the sender's clock. names: client ids by session id. ended: sessions that
    are over. session_id: uint32[n] and issued: int64[n], how many numbers each was issued. fate_session: uint32[m],
    fate_number: int64[m], fate_cause: uint8[m]: a Cause, or CORRUPT.
    """

    instance: str
    oldest: int
    next: int
    named: int
    left_until_ns: int
    released_by_ns: int
    names: dict[int, str]
    ended: list[int]
    session_id: U32Column
    issued: I64Column
    fate_session: U32Column
    fate_number: I64Column
    fate_cause: U8Column


class _Guest(NamedTuple):
    session_id: int
    node: str
    client: str
    order: int


class RemoteSendLog:
    """Server thread only, but for `nodes`."""

    def __init__(self, max_sessions: int) -> None:
        self._guest = np.zeros(max_sessions, np.bool_)
        self._guests: dict[int, _Guest] = {}
        """By slot."""
        self._of_node: dict[str, dict[int, int]] = {}
        """Session ids by slot, by node."""
        self._ended: deque[tuple[_Guest, int]] = deque(maxlen=MAX_ENDED)
        self._order = 0
        self._fates: deque[FateReport] = deque()
        self._oldest = self._next = 0

    @property
    def nodes(self) -> list[str]:
        """Nodes whose clients are served. Any thread."""
        return list(self._of_node)

    @property
    def kept(self) -> int:
        """Stored fates. Any thread."""
        return self._next - self._oldest

    def connected(self, slot: int, session_id: int, asker: str | None) -> None:
        """A session has begun or was renewed. asker: `NODE.CLIENT`, if it said so."""
        known = self._guests.get(slot)
        if known is None and asker is None:
            self._guest[slot] = False
            return
        node, _, client = (asker or "").partition(".")
        if known is not None and known[:3] == (session_id, node, client):
            return
        self._forget(slot)
        self._guest[slot] = asker is not None
        if asker is not None:
            self._order += 1
            self._guests[slot] = _Guest(session_id, node, client, self._order)
            self._of_node.setdefault(node, {})[slot] = session_id

    def end(self, slot: int, issued: int) -> None:
        """A session is over. What is still reported of it is told as well, until the slot has another one."""
        guest = self._forget(slot)
        if guest is not None:
            self._order += 1
            self._ended.append((guest._replace(order=self._order), issued))

    def _forget(self, slot: int) -> _Guest | None:
        guest = self._guests.pop(slot, None)
        if guest is not None:
            del self._of_node[guest.node][slot]
            if not self._of_node[guest.node]:
                del self._of_node[guest.node]
        return guest

    def report(self, report: FateReport) -> None:
        """Keep what concerns other nodes' clients."""
        mine = self._guest[report.session_slot]
        if mine.any():
            self._fates.append(report.part(mine))
            self._next += int(np.count_nonzero(mine))
        while self._next - self._oldest > MAX_KEPT:
            self._oldest += len(self._fates.popleft().sequence)

    def word(
        self, node: str, instance: str, since: int, named: int, next_sequence: I64Column, times_ns: tuple[int, int]
    ) -> Word:
        """For one node. times_ns: left_until_ns, released_by_ns. What an asker heard from before counts from 0."""
        of_node = self._of_node.get(node, {})
        slots = np.fromiter(of_node, np.int64, len(of_node))
        session_id = np.fromiter(of_node.values(), np.uint32, len(of_node))
        gone = [(guest, issued) for guest, issued in self._ended if guest.node == node]
        ended = [(guest, issued) for guest, issued in gone if guest.order > named]
        names = {one.session_id: one.client for one in map(self._guests.__getitem__, of_node) if one.order > named}
        over = np.array([guest.session_id for guest, _ in ended], np.uint32)
        every = np.concatenate((session_id, over))
        held_back = np.array([guest.session_id for guest, _ in gone], np.uint32)
        next, fates = self._since(since, np.concatenate((session_id, held_back)))
        left_until_ns, released_by_ns = times_ns
        return Word(
            instance,
            self._oldest,
            next,
            self._order,
            left_until_ns if next == self._next else 0,  # not all of it is in here
            released_by_ns,
            names,
            over.tolist(),
            every,
            np.concatenate((next_sequence[slots], np.array([issued for _, issued in ended], np.int64))),
            fates.session_id,
            fates.sequence,
            fates.cause,
        )

    def _since(self, since: int, session_id: U32Column) -> tuple[int, FateReport]:
        """Fates of these sessions from number `since` on: (up to where, fates)."""
        start, newer = self._next, []
        for report in reversed(self._fates):
            if start <= since:
                break
            start -= len(report.sequence)
            skipped = max(0, since - start)
            newer.append(report if not skipped else report.part(slice(skipped, None)))
        at, taken, count = max(start, since), [_NONE], 0
        while newer and count < MAX_TOLD:
            part = newer.pop()
            at += len(part.sequence)
            mine = np.isin(part.session_id, session_id)
            taken.append(part.part(mine))
            count += len(taken[-1].sequence)
        return at, FateReport(
            np.concatenate([part.session_slot for part in taken]),
            np.concatenate([part.session_id for part in taken]),
            np.concatenate([part.sequence for part in taken]),
            np.concatenate([part.cause for part in taken]),
        )


_NONE: Final = FateReport(np.zeros(0, np.int32), np.zeros(0, np.uint32), np.zeros(0, np.int64), np.zeros(0, np.uint8))


def encode(word: Word) -> bytes:
    """One line of JSON, then the columns, little-endian."""
    head = {name: getattr(word, name) for name in _HEAD}
    head |= {"names": list(word.names.items()), "ended": word.ended}
    head |= {"sessions": len(word.session_id), "fates": len(word.fate_session)}
    columns = (
        word.session_id.astype("<u4"), word.issued.astype("<i8"),
        word.fate_session.astype("<u4"), word.fate_number.astype("<i8"), word.fate_cause,
    )  # fmt: skip
    return json.dumps(head).encode() + b"\n" + b"".join(column.tobytes() for column in columns)


def decode(data: bytes) -> Word:
    """The inverse of `encode`. Raises: ValueError for anything else."""
    line, _, rest = data.partition(b"\n")
    try:
        head = json.loads(line)
        names = {int(session_id): str(client) for session_id, client in head["names"]}
        ended = [int(one) for one in head["ended"]]
        numbers = [head[name] for name in _HEAD[1:]]
        instance = str(head["instance"])
        sessions, fates = head["sessions"], head["fates"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"no word of a node: {error}") from None
    if not all(type(one) is int for one in (*numbers, sessions, fates)) or sessions < 0 or fates < 0:
        raise ValueError("no word of a node: numbers")
    if len(rest) != 12 * sessions + 13 * fates:
        raise ValueError("no word of a node: length")
    at = 0
    columns = []
    for count, dtype in ((sessions, "<u4"), (sessions, "<i8"), (fates, "<u4"), (fates, "<i8"), (fates, "u1")):
        column = np.frombuffer(rest, dtype, count, at)
        at += column.nbytes
        columns.append(column)
    if (columns[1] < 0).any() or (columns[3] < 0).any() or not np.isin(columns[4], _CAUSES).all():
        raise ValueError("no word of a node: columns")
    oldest, next, named, left_until_ns, released_by_ns = numbers
    return Word(instance, oldest, next, named, left_until_ns, released_by_ns, names, ended, *columns)
