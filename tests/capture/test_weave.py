"""Pieces of any length, one behind the other."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from udprism.capture.weave import Strand, strand_of, weave


def strand(pieces: list[bytes]) -> Strand:
    """With something between the pieces, so that a wrong place shows."""
    data = np.frombuffer(b"#" + b"#".join(pieces) + b"#", np.uint8)
    length = np.array([len(piece) for piece in pieces], np.int64)
    return Strand(data, np.cumsum(length + 1) - length, length)


@given(st.lists(st.tuples(st.binary(max_size=70), st.binary(max_size=3)), max_size=20), st.sampled_from([1, 2, 4, 8]))
def test_rows_are_their_pieces_in_turn(rows: list[tuple[bytes, bytes]], pad: int) -> None:
    out, begin = weave([strand([row[0] for row in rows]), strand([row[1] for row in rows])], pad)
    expected = [first + second + bytes(-len(first + second) % pad) for first, second in rows]
    assert out.tobytes() == b"".join(expected)
    assert begin.tolist() == [len(b"".join(expected[:number])) for number in range(len(rows))]


def test_a_matrix_is_a_strand_of_its_rows() -> None:
    rows = np.arange(12, dtype=np.uint8).reshape(3, 4)
    out, _ = weave([strand_of(rows), strand([b"x", b"", b"yz"])])
    assert out.tobytes() == bytes([0, 1, 2, 3]) + b"x" + bytes([4, 5, 6, 7]) + bytes([8, 9, 10, 11]) + b"yz"
