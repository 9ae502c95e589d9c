"""Rules choose the datagrams that they name, whatever the batches, and count what they hit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from udprism.errors import RequestError
from udprism.link.rules import Chosen, Rule, Rules

UP, DOWN = 2, 3  # directions of flow 1


def choose(rules: Rules, rows: list[tuple[int, int, bytes]]) -> Chosen:
    """rows: (direction, number, data), by direction."""
    data = np.zeros((len(rows), max(rules.reach, 1)), np.uint8)
    for row, (_, _, its) in enumerate(rows):
        data[row, : len(its)] = np.frombuffer(its[: data.shape[1]], np.uint8)
    return rules.choose(
        np.array([direction for direction, _, _ in rows], np.int32),
        np.array([number for _, number, _ in rows], np.int64),
        np.array([direction * 77 for direction, _, _ in rows], np.uint64),
        np.array([len(its) for _, _, its in rows], np.int32),
        data,
    )


def rules_of(*bodies: dict[str, Any]) -> tuple[Rules, Any]:
    hits = np.zeros(8, np.int64)
    return Rules([Rule.from_body(body) for body in bodies], 8, hits), hits


def numbers(count: int, direction: int = UP, first: int = 0) -> list[tuple[int, int, bytes]]:
    return [(direction, number, b"x") for number in range(first, first + count)]


def test_the_nth_of_each_flow_and_direction_is_dropped_once() -> None:
    rules, hits = rules_of({"action": "drop", "nth": 3})
    assert np.flatnonzero(choose(rules, numbers(2)).dropped).tolist() == []
    assert np.flatnonzero(choose(rules, numbers(5, first=2)).dropped).tolist() == [0]
    assert np.flatnonzero(choose(rules, numbers(5, DOWN)).dropped).tolist() == [2]
    assert hits[0] == 2


def test_every_nth_is_doubled_across_batches() -> None:
    rules, _ = rules_of({"action": "duplicate", "every": 4, "direction": "up"})
    rows = numbers(30)
    found = [n for at in range(0, 30, 7) for n in at + np.flatnonzero(choose(rules, rows[at : at + 7]).duplicated)]
    assert found == [3, 7, 11, 15, 19, 23, 27]
    assert not choose(rules, numbers(9, DOWN)).duplicated.any()


def test_bytes_are_matched_under_a_mask_and_short_datagrams_do_not_match() -> None:
    rules, hits = rules_of({"action": "hold", "hold_ms": 50, "offset": 1, "mask": "f00f", "value": "c003"})
    data = [b"\0\xc1\x33", b"\0\xd1\x33", b"\0\xcf\xf3more", b"\0\xc1", b""]
    chosen = choose(rules, [(UP, number, its) for number, its in enumerate(data)])
    assert chosen.hold_ns.tolist() == [50_000_000, 0, 50_000_000, 0, 0]
    assert hits[0] == 2


def test_nth_counts_those_that_match() -> None:
    rules, _ = rules_of({"action": "drop", "nth": 2, "value": "61"})
    chosen = choose(rules, [(UP, number, its) for number, its in enumerate([b"b", b"a", b"b", b"a", b"a"])])
    assert np.flatnonzero(chosen.dropped).tolist() == [3]


def test_a_ratio_is_drawn_from_seed_and_number_alone() -> None:
    body = {"action": "drop", "ratio": 0.3, "seed": 5}
    whole = choose(rules_of(body)[0], numbers(400)).dropped
    parts = np.concatenate([choose(rules_of(body)[0], numbers(50, first=at)).dropped for at in range(0, 400, 50)])
    assert (whole == parts).all()
    assert 80 < whole.sum() < 160
    assert (choose(rules_of({**body, "seed": 6})[0], numbers(400)).dropped != whole).any()


def test_a_new_flow_is_counted_from_the_start() -> None:
    rules, _ = rules_of({"action": "drop", "nth": 2})
    choose(rules, numbers(1))
    rules.forget(np.array([UP], np.int32))
    assert np.flatnonzero(choose(rules, numbers(3)).dropped).tolist() == [1]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "action"),
        ({"action": "explode"}, "action"),
        ({"action": "drop", "nth": 0}, "nth"),
        ({"action": "drop", "nth": 1, "every": 2}, "every"),
        ({"action": "hold"}, "hold_ms"),
        ({"action": "drop", "hold_ms": 5}, "hold_ms"),
        ({"action": "drop", "value": "xyz"}, "value"),
        ({"action": "drop", "value": "00" * 17}, "value"),
        ({"action": "drop", "mask": "ff"}, "mask"),
        ({"action": "drop", "value": "0011", "mask": "ff"}, "mask"),
        ({"action": "drop", "direction": "left"}, "direction"),
        ({"action": "drop", "which": 3}, "which"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_field(body: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestError) as refused:
        Rule.from_body(body)
    assert refused.value.field == field


def test_a_body_gives_the_same_rule_again() -> None:
    rule = Rule("hold", "down", every=7, offset=3, mask="f0", value="c0", ratio=0.5, seed=9, hold_ms=12.5)
    assert Rule.from_body(rule.to_body()) == rule


def test_what_a_rule_does_not_name_comes_back_as_not_named() -> None:
    rule = Rule("drop", nth=3)
    assert (rule.to_body()["every"], rule.to_body()["mask"]) == (None, None)
    assert Rule.from_body(rule.to_body()) == rule
