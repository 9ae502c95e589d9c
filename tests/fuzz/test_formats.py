"""Each format under hostile datagrams, in columns and one by one; `python -m tests.fuzz.columns` does millions."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from fuzz.formats import REAL, WIDTH, check_one, check_rows, hostile
from support.plain_formats import DECODERS, One
from udprism.wire.formats import FORMATS

ROWS = 20_000
ONE_BY_ONE = 2_000


@pytest.mark.parametrize("name", FORMATS)
def test_hostile_batches_decode_as_their_datagrams_do(name: str) -> None:
    rows, length = hostile(np.random.default_rng(3), name, ROWS)
    check_rows(name, rows, length)
    decoded = FORMATS[name].decode(rows[:ONE_BY_ONE], length[:ONE_BY_ONE])
    for row, size in enumerate(length[:ONE_BY_ONE].tolist()):
        check_one(name, rows[row, : min(size, WIDTH)].tobytes().ljust(size, b"\0"), decoded, row)


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_sound_is_decoded_as_it_is(name: str) -> None:
    form = FORMATS[name]
    for data in REAL[name]:
        row = np.zeros((1, max(len(data), form.row_bytes)), np.uint8)
        row[0, : len(data)] = np.frombuffer(data, np.uint8)
        check_one(name, data, form.decode(row, np.array([len(data)], np.int32)), 0)


@pytest.mark.parametrize(
    ("name", "verdicts"),
    [
        ("ddp", {"row", "control", "short", "version"}),
        ("wled", {"row", "control", "short", "kind"}),
        ("artnet", {"row", "control", "short", "version", "kind", "foreign", "length"}),
        ("e131", {"row", "control", "short", "kind", "foreign", "length"}),
        ("rtp", {"row", "control", "short", "version", "length"}),
        ("text", {"row", "length", "empty", "foreign", "kind"}),
        ("opaque", {"row"}),
    ],
)
def test_the_hostile_datagrams_reach_every_verdict(name: str, verdicts: set[str]) -> None:
    rows, length = hostile(np.random.default_rng(4), name, 3_000)
    found = Counter[str]()
    for row, size in zip(rows, length.tolist(), strict=True):
        verdict = DECODERS[name](row[: min(size, WIDTH)].tobytes().ljust(size, b"\0"))
        found["row" if isinstance(verdict, One) else verdict] += 1
    assert set(found) == verdicts
    assert found["row"] > 300, found


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_batch_is_a_batch(name: str) -> None:
    decoded = FORMATS[name].decode(np.zeros((0, 256), np.uint8), np.zeros(0, np.int32))
    assert decoded.all_valid
    assert len(decoded.key) == 0
