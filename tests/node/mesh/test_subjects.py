"""Messages in parts, and what is refused of them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udprism.node.mesh import subjects


@pytest.mark.parametrize("size", [0, 1, 100_000, 2_000_000])
def test_a_body_comes_back_from_its_parts_in_any_order(size: int) -> None:
    body = random.Random(size).randbytes(size)
    parts = [subjects.parted(part) for part in subjects.packed({"status": 200}, body)]
    assert all(len(piece) <= subjects.MAX_PART_BYTES for _, piece in parts)
    random.Random(1).shuffle(parts)
    assert subjects.unpacked({header["part"]: piece for header, piece in parts}) == body
    assert {header["status"] for header, _ in parts} == {200}


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        header, piece = subjects.parted(data)
        subjects.unpacked({header["part"]: piece})
    except subjects.BadMeshMessage:
        pass


def test_a_small_message_that_grows_without_end_is_refused() -> None:
    (part,) = subjects.packed({}, bytes(1 << 20))
    _, piece = subjects.parted(part)
    with pytest.raises(subjects.BadMeshMessage):
        subjects.unpacked({0: piece}, limit_bytes=1000)


def test_the_sender_is_what_permissions_hold_it_to() -> None:
    assert subjects.sender_of(subjects.here("n-00000001")) == "n-00000001"
    assert subjects.sender_of(subjects.ask("n-00000002", "n-00000001", "read")) == "n-00000001"
    assert subjects.sender_of(subjects.do("n-00000002", "n-00000001")) == "n-00000001"
    for bad in ("udprism.1.here.*", "udprism.1.here", "x", "udprism.1.do.n-00000002"):
        with pytest.raises(subjects.BadMeshMessage):
            subjects.sender_of(bad)
