"""Random words: the known answers, and that each row stands alone."""

import numpy as np
import pytest

from udprism.link.philox import philox

# Random123 1.14, tests/kat_vectors: counter, key, answer of philox4x32 with 10 rounds.
KNOWN_ANSWERS = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


def pairs(words: list[int]) -> list[np.ndarray]:
    return [np.array([low | high << 32], np.uint64) for low, high in zip(words[::2], words[1::2], strict=True)]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_words_are_the_known_answers_of_random123(counter: list[int], key: list[int], answer: list[int]) -> None:
    assert philox(*pairs(key), *pairs(counter))[:, 0].tolist() == answer


def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    rng = np.random.default_rng(1)
    key, low, high = rng.integers(0, 1 << 64, (3, 100), np.uint64)
    together = philox(key, low, high)
    for row in range(0, 100, 7):
        alone = philox(key[row : row + 1], low[row : row + 1], high[row : row + 1])
        assert (alone[:, 0] == together[:, row]).all()


def test_no_row_gives_no_words() -> None:
    empty = np.empty(0, np.uint64)
    assert philox(empty, empty, empty).shape == (4, 0)
