"""Rules for chosen datagrams: drop, duplicate or hold the n-th, every n-th, or those that match."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from udprism.columns.turns import Turns
from udprism.columns.types import NS_PER_MS, BoolColumn, I32Column, I64Column, Rows, U64Column
from udprism.errors import RequestError
from udprism.link import fields as read
from udprism.link.link import MAX_DELAY_MS, MAX_SEED
from udprism.link.philox import WORD_RANGE, philox

ACTIONS = ("drop", "duplicate", "hold")
DIRECTIONS = ("up", "down", "both")
MAX_MATCH_BYTES = 16
MAX_OFFSET = 65_506


@dataclass(frozen=True, slots=True)
class Rule:
    """Which datagrams, and what is done to them. All conditions must hold; nth and every count those that match.

    nth: the n-th of each flow and direction, from 1. every: every so many of them. offset, mask, value: bytes at
    `offset` that, masked, equal `value`, both in hex. ratio, seed: only so many of what is chosen, drawn as a link's
    loss is. hold_ms: for `hold`.
    """

    action: Literal["drop", "duplicate", "hold"]
    direction: Literal["up", "down", "both"] = "both"
    nth: int | None = None
    every: int | None = None
    offset: int = 0
    mask: str | None = None
    value: str | None = None
    ratio: float = 1.0
    seed: int = 0
    hold_ms: float = 0.0

    @classmethod
    def from_body(cls, body: object) -> Rule:
        """Raises: RequestError, with the field at fault and what would be right."""
        given = read.table(body, None, _READERS)
        if "action" not in given:
            raise RequestError(f"expected one of {', '.join(ACTIONS)}", field="action")
        rule = cls(**{name: _READERS[name](value, name) for name, value in given.items()})
        rule._refuse_contradictions()
        return rule

    def to_body(self) -> dict[str, Any]:
        """Every field; `from_body` gives the same rule again."""
        return asdict(self)

    def _refuse_contradictions(self) -> None:
        if self.nth is not None and self.every is not None:
            raise RequestError("set nth or every, not both", field="every")
        if (self.hold_ms > 0) != (self.action == "hold"):
            raise RequestError("a hold needs a hold_ms above 0, and nothing else has one", field="hold_ms")
        if self.mask is not None and (self.value is None or len(self.mask) != len(self.value)):
            raise RequestError("a mask needs a value of as many bytes", field="mask")


class Chosen(NamedTuple):
    """What the rules do to n datagrams: dropped, duplicated: bool[n]; hold_ns: int64[n], 0 for not held."""

    dropped: BoolColumn
    duplicated: BoolColumn
    hold_ns: I64Column


class Rules:
    """The rules of one relay: they count for each direction of each flow. One thread at a time."""

    def __init__(self, rules: Sequence[Rule], slots: int, hits: I64Column) -> None:
        """slots: directions, those up even. hits: int64[≥ len(rules)], where it is counted what each one hit."""
        self.rules = tuple(rules)
        self._hits = hits
        self._seen = np.zeros((len(self.rules), slots), np.int64)

    @property
    def reach(self) -> int:
        """How many of a datagram's bytes the rules look at."""
        return max((rule.offset + len(rule.value) // 2 for rule in self.rules if rule.value is not None), default=0)

    def forget(self, slots: I32Column) -> None:
        """New flows begin in these slots."""
        self._seen[:, slots] = 0

    def choose(self, slots: I32Column, number: I64Column, key: U64Column, length: I32Column, rows: Rows) -> Chosen:
        """slots: int32[n], each slot's rows in order. key: uint64[n], the link's key of each row's direction.

        rows: uint8[n, ≥ reach].
        """
        count = len(slots)
        chosen = Chosen(np.zeros(count, np.bool_), np.zeros(count, np.bool_), np.zeros(count, np.int64))
        for place, rule in enumerate(self.rules):
            hit = self._matches(rule, slots, length, rows)
            hit &= self._counted(place, rule, slots, hit)
            if rule.ratio < 1 and hit.any():
                hit &= _drawn(rule, number, key)
            self._hits[place] += int(hit.sum())
            if rule.action == "drop":
                chosen.dropped[hit] = True
            elif rule.action == "duplicate":
                chosen.duplicated[hit] = True
            else:
                chosen.hold_ns[hit] = round(rule.hold_ms * NS_PER_MS)
        return chosen

    def _matches(self, rule: Rule, slots: I32Column, length: I32Column, rows: Rows) -> BoolColumn:
        if rule.direction == "both":
            matches = np.ones(len(slots), np.bool_)
        else:
            matches = slots % 2 == DIRECTIONS.index(rule.direction)
        if rule.value is not None:
            value = np.frombuffer(bytes.fromhex(rule.value), np.uint8)
            mask = np.frombuffer(bytes.fromhex(rule.mask or "ff" * len(value)), np.uint8)
            end = rule.offset + len(value)
            matches &= length >= end
            at = np.flatnonzero(matches)
            matches[at] = ((rows[at, rule.offset : end] & mask) == (value & mask)).all(axis=1)
        return matches

    def _counted(self, place: int, rule: Rule, slots: I32Column, matches: BoolColumn) -> BoolColumn:
        """bool[n]: which of those that match are chosen."""
        if not matches.any() or (rule.nth is None and rule.every is None):
            return matches
        turns = Turns(slots, matches)
        seen = self._seen[place]
        which = turns.spread(seen[turns.slots]) + turns.sum_before(np.ones(len(turns.rows), np.int64)) + 1
        seen[turns.slots] += turns.lengths
        its_turn = np.zeros(len(slots), np.bool_)
        its_turn[turns.rows] = which == rule.nth if rule.every is None else which % rule.every == 0
        return its_turn


def _drawn(rule: Rule, number: I64Column, key: U64Column) -> BoolColumn:
    seed = np.full(len(number), rule.seed, np.uint64)
    drawn: BoolColumn = philox(seed, number.astype(np.uint64), key)[0] < round(rule.ratio * WORD_RANGE)
    return drawn


def _hex(value: object, field: str) -> str | None:
    if value is None:
        return None
    try:
        data = bytes.fromhex(value if isinstance(value, str) else "?")
    except ValueError:
        data = b""
    if not 1 <= len(data) <= MAX_MATCH_BYTES:
        raise RequestError(f"expected 1 to {MAX_MATCH_BYTES} bytes in hex", field=field)
    return data.hex()


def _one_of(known: tuple[str, ...]) -> Callable[[object, str], str]:
    def word(value: object, field: str) -> str:
        if value not in known:
            raise RequestError(f"expected one of {', '.join(known)}", field=field)
        return str(value)

    return word


def _count(value: object, field: str) -> int | None:
    return None if value is None else read.whole(value, field, 1, 1 << 53)


_READERS: dict[str, Callable[[object, str], Any]] = {
    "action": _one_of(ACTIONS),
    "direction": _one_of(DIRECTIONS),
    "nth": _count,
    "every": _count,
    "offset": lambda value, field: read.whole(value, field, 0, MAX_OFFSET),
    "mask": _hex,
    "value": _hex,
    "ratio": read.ratio,
    "seed": lambda value, field: read.whole(value, field, 0, MAX_SEED),
    "hold_ms": lambda value, field: read.number(value, field, 0.0, MAX_DELAY_MS),
}
