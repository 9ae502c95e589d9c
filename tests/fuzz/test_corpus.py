"""Everything that a fuzzer ever found worth keeping, and fresh mutations, through the same checks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fuzz.harness import HARNESSES
from fuzz.mutation import REAL, hostile

CORPUS = Path(__file__).parent / "corpus"
MUTATIONS = 5_000


@pytest.mark.parametrize("name", HARNESSES)
def test_the_corpus_holds(name: str) -> None:
    files = sorted((CORPUS / name).iterdir())
    assert len(files) >= 10
    for path in files:
        HARNESSES[name](path.read_bytes())


@pytest.mark.parametrize("name", ["command", "datagram"])
def test_mutations_of_real_datagrams_hold(name: str) -> None:
    rows, length = hostile(np.random.default_rng(1), MUTATIONS)
    for row, size in zip(rows, length.tolist(), strict=True):
        HARNESSES[name](row[:size].tobytes())


def test_mutations_decode_in_batches_as_they_do_one_by_one() -> None:
    rows, length = hostile(np.random.default_rng(2), MUTATIONS)
    for row, size in zip(rows, length.tolist(), strict=True):
        size = min(size, 127)
        HARNESSES["batch"](bytes([size]) + row[:size].tobytes())


def test_mutations_of_real_captures_hold() -> None:
    rng = np.random.default_rng(3)
    files = [path.read_bytes() for path in sorted((CORPUS / "capture").iterdir())]
    for number in range(MUTATIONS):
        data = bytearray(files[number % len(files)])
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(0, len(data)))
            data[at] = rng.choice((0, 1, 4, 6, 12, 127, 255, int(rng.integers(256))))
        HARNESSES["capture"](bytes(data[: len(data) if number % 3 else int(rng.integers(len(data)))]))


@pytest.mark.parametrize("data", REAL)
def test_what_is_real_is_taken_by_one_parser_or_the_other(data: bytes) -> None:
    for check in HARNESSES.values():
        check(data)
