"""Hosted clients of other nodes' servers: what those nodes report of their sends goes into the ledger here. See
`ledger/remote_send_log` for the reports, and `ledger/told` for their use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from udprism.columns.types import I32Column, I64Column
from udprism.ledger.ledger import Ledger
from udprism.ledger.remote_send_log import Word
from udprism.ledger.send_log import CORRUPT
from udprism.serving.book import ClientColumns

MAX_EARLY: Final = 65_536
"""Fates of sessions of which nothing has come yet."""


@dataclass
class _Node:
    """What one node has reported."""

    instance: str = ""
    since: int = 0
    named: int = 0
    names: dict[int, str] = field(default_factory=dict)
    """Client ids by session id."""
    slot_of: dict[int, int] = field(default_factory=dict)
    """Of sessions that are their clients' own now."""
    past: set[int] = field(default_factory=set)
    early: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """(number, cause) of sessions that are not their clients' yet."""
    gaps: set[int] = field(default_factory=set)
    """Of these sessions something is missing from before they were their clients'."""
    ripe_ns: int | None = None
    """By when, on that node's clock, all numbers of `ripening` are decided; None if there are none."""
    ripening: dict[int, int] = field(default_factory=dict)
    over: dict[int, int] = field(default_factory=dict)
    """How many numbers sessions were issued that are over there: the node says so once."""


class OtherNodes:
    """Pool thread only."""

    def __init__(self, columns: ClientColumns, receiver_drops: Callable[[I32Column], I64Column]) -> None:
        """receiver_drops: as of `Losses.expire`."""
        self.missing = 0
        """How often a part of a node's reports came too late."""
        self._table, self._ledger, self._history = columns.table, columns.ledger, columns.history
        self._drops = receiver_drops
        self._nodes: dict[str, _Node] = {}
        self._early = 0

    @property
    def told(self) -> int:
        """How many clients' sessions other nodes report on."""
        return sum(len(node.slot_of) for node in self._nodes.values())

    def wanted(self, node_id: str) -> dict[str, Any]:
        """What to ask a node for."""
        node = self._nodes.get(node_id, _Node())
        return {"instance": node.instance, "since": node.since, "named": node.named}

    def hear(self, node_id: str, word: Word) -> None:
        """A node's answer to what `wanted` returned."""
        node = self._nodes.setdefault(node_id, _Node())
        if word.instance != node.instance:
            self._forget(node)
            node = self._nodes[node_id] = _Node(instance=word.instance)
        missed = word.oldest > node.since
        self.missing += missed
        self._learn(node, word)
        if missed:
            self._miss(node)
        node.since, node.named = word.next, word.named
        self._join(node)
        self._hear_fates(node, word)
        self._hear_issued(node, word)

    def _forget(self, node: _Node) -> None:
        """Its process has ended: there will be no more reports."""
        self._leave(node)
        for slot in node.slot_of.values():
            self._ledger.of_told.end(slot)
        for session_id in node.past:
            self._end_past(session_id, whole=False)
        self._early -= sum(map(len, node.early.values()))

    def _learn(self, node: _Node, word: Word) -> None:
        node.names |= word.names
        there = _issued(word)
        node.over |= {session_id: there[session_id] for session_id in word.ended if session_id in there}
        for session_id in node.names.keys() - there.keys() - node.slot_of.keys() - node.past:
            del node.names[session_id]
            self._early -= len(node.early.pop(session_id, ()))
            node.gaps.discard(session_id)
        self._leave(node)
        node.over = {session_id: count for session_id, count in node.over.items() if session_id in node.names}

    def _miss(self, node: _Node) -> None:
        for slot in node.slot_of.values():
            self._ledger.of_told.miss(slot)
        for session_id in node.past:
            self._end_past(session_id, whole=False)
        node.past.clear()
        node.gaps |= node.names.keys() - node.slot_of.keys()

    # -- sessions

    def _leave(self, node: _Node) -> None:
        """Clients that have gone on to other sessions: the ledger keeps the earlier ones for a while."""
        ledger = self._ledger
        gone = [one for one, slot in node.slot_of.items() if ledger.session[slot] != one or not ledger.told[slot]]
        known = ledger.past.told() if gone else {}
        for session_id in gone:
            del node.slot_of[session_id]
            if session_id in known:
                node.past.add(session_id)
            else:
                node.names.pop(session_id, None)

    def _join(self, node: _Node) -> None:
        """Sessions that have become their clients' own."""
        table, ledger = self._table, self._ledger
        for session_id in node.names.keys() - node.slot_of.keys() - node.past:
            slot = table.slot_of_id.get(node.names[session_id])
            if slot is None or ledger.session[slot] != session_id or ledger.in_process[slot] or ledger.told[slot]:
                continue
            ledger.of_told.begin(slot, whole=session_id not in node.gaps)
            node.slot_of[session_id] = slot
            node.gaps.discard(session_id)
            early = node.early.pop(session_id, [])
            self._early -= len(early)
            for number, cause in early:
                self._tell(slot, [number], [cause])

    def _end_past(self, session_id: int, *, whole: bool) -> None:
        if session_id in self._ledger.past.told():
            self._ledger.past.tell_over(session_id, whole=whole)

    # -- what is said

    def _hear_fates(self, node: _Node, word: Word) -> None:
        rows: dict[int, tuple[list[int], list[int]]] = {}
        columns = (word.fate_session.tolist(), word.fate_number.tolist(), word.fate_cause.tolist())
        for session_id, number, cause in zip(*columns, strict=True):
            numbers, causes = rows.setdefault(session_id, ([], []))
            numbers.append(number)
            causes.append(cause)
        for session_id, (numbers, causes) in rows.items():
            slot = node.slot_of.get(session_id)
            if slot is not None:
                self._tell(slot, numbers, causes)
            elif session_id in node.past:
                for number, cause in zip(numbers, causes, strict=True):
                    if cause != CORRUPT:
                        self._ledger.past.tell_unsent(session_id, number, cause)
            elif session_id in node.names:
                self._keep_early(node, session_id, list(zip(numbers, causes, strict=True)))

    def _keep_early(self, node: _Node, session_id: int, fates: list[tuple[int, int]]) -> None:
        if self._early + len(fates) > MAX_EARLY:
            node.gaps.add(session_id)
            return
        node.early.setdefault(session_id, []).extend(fates)
        self._early += len(fates)

    def _tell(self, slot: int, numbers: list[int], causes: list[int]) -> None:
        number, cause = np.array(numbers, np.int64), np.array(causes, np.uint8)
        slots = np.full(len(numbers), slot, np.int32)
        damaged = cause == CORRUPT
        self._history.mark_lost(*self._ledger.report_unsent(slots[~damaged], number[~damaged], cause[~damaged]))
        if damaged.any():
            self._history.mark_corrupt(*self._ledger.report_corrupt(slots[damaged], number[damaged]))

    def _hear_issued(self, node: _Node, word: Word) -> None:
        issued = node.over | _issued(word)
        pairs = [(node.slot_of[one], count) for one, count in issued.items() if one in node.slot_of]
        if pairs:
            slots, counts = zip(*pairs, strict=True)
            self._ledger.set_sent(np.array(slots, np.int32), np.array(counts, np.int64))
        if not word.left_until_ns:
            return  # more is to come
        if node.ripe_ns is not None and word.left_until_ns > node.ripe_ns:
            self._decide(node, node.ripening)
            node.ripe_ns = None
        if word.released_by_ns < word.left_until_ns:  # nothing is held back
            self._decide(node, issued)
            node.ripe_ns = None
        elif node.ripe_ns is None:
            node.ripe_ns, node.ripening = word.released_by_ns, issued
        self._close_past(node, issued)

    def _decide(self, node: _Node, issued: dict[int, int]) -> None:
        """All was said of numbers below these: int by session id."""
        pairs = [(node.slot_of[one], count) for one, count in issued.items() if one in node.slot_of]
        if pairs:
            slots, counts = zip(*pairs, strict=True)
            ledger: Ledger = self._ledger
            named = ledger.of_told.hear(np.array(slots, np.int64), np.array(counts, np.int64), self._drops)
            self._history.mark_lost(*named)
        known = self._ledger.past.told() if node.past else {}
        for session_id in [one for one in node.past if issued.get(one, -1) >= known.get(one, 0)]:
            self._end_past(session_id, whole=True)
            node.past.discard(session_id)

    def _close_past(self, node: _Node, issued: dict[int, int]) -> None:
        """Of sessions that the node has forgotten before it said that they were over, nothing more will be said."""
        for session_id in [one for one in node.past if one not in issued and one not in node.ripening]:
            self._end_past(session_id, whole=False)
            node.past.discard(session_id)


def _issued(word: Word) -> dict[int, int]:
    """How many numbers the sessions were issued that a word names, by id."""
    return dict(zip(word.session_id.tolist(), word.issued.tolist(), strict=True))
