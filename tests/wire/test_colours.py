"""Colour names: tables that agree with one another, and the plain stream read in batches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udprism.wire import colours as palette

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "wire.json").read_text("utf-8"))
WIDTH = 64


def decode_one(payload: bytes, width: int = WIDTH) -> tuple[int, tuple[int, ...]]:
    row = np.full((1, width), ord("x"), dtype=np.uint8)
    row[0, : min(len(payload), width)] = np.frombuffer(payload[:width], dtype=np.uint8)
    index, rgb = palette.decode_plain(row, np.array([len(payload)], dtype=np.int32))
    return int(index[0]), tuple(rgb[0].tolist())


def reference(payload: bytes) -> tuple[int, tuple[int, ...]]:
    """The slow plain way."""
    text = payload.rstrip(b"\r\n \0").lower()
    if len(payload) <= 24 and text.decode("latin-1") in palette.INDEX_OF:
        index = palette.INDEX_OF[text.decode("latin-1")]
        return index, tuple(palette.RGB[index].tolist())
    digits = text[1:].decode("latin-1")
    if len(payload) <= 24 and len(text) == 7 and text[:1] == b"#" and all(c in "0123456789abcdef" for c in digits):
        return palette.HEX_INDEX, tuple(bytes.fromhex(digits))
    return -1, (0, 0, 0)


@pytest.mark.parametrize("vector", GOLDEN["plain"], ids=lambda vector: vector["hex"])
def test_golden_plain_colours_decode(vector: dict[str, Any]) -> None:
    expected = palette.HEX_INDEX if vector["name"] is None else palette.NAMES.index(vector["name"])
    assert decode_one(bytes.fromhex(vector["hex"])) == (expected, tuple(vector["rgb"]))


@pytest.mark.parametrize("data", GOLDEN["bad_plain"])
def test_golden_rubbish_is_no_colour(data: str) -> None:
    assert decode_one(bytes.fromhex(data)) == (-1, (0, 0, 0))


def test_there_are_148_names_and_each_is_there_once() -> None:
    assert len(palette.NAMES) == len(set(palette.NAMES)) == 148
    assert palette.NAMES[:6] == ("red", "green", "blue", "yellow", "purple", "orange")
    assert list(palette.INDONESIAN) == list(palette.NAMES[:6])
    assert list(palette.INDONESIAN.values()) == ["merah", "hijau", "biru", "kuning", "ungu", "oranye"]


def test_no_two_names_share_a_hash() -> None:
    assert len(np.unique(palette._HASHES)) == len(palette.NAMES)


@pytest.mark.parametrize("name", palette.PALETTES)
@pytest.mark.parametrize("line_feed", [False, True])
def test_plain_rows_decode_to_their_own_colours(name: palette.PaletteName, line_feed: bool) -> None:
    table = palette.plain_rows(name, line_feed)
    _, rgb = palette.decode_plain(table.rows, table.length)
    assert (rgb == table.rgb).all()
    assert (palette.colours_of(name) == table.rgb).all()
    endings = {row[:n].tobytes()[-1:] == b"\n" for row, n in zip(table.rows, table.length, strict=True)}
    assert endings == {line_feed}


def test_palettes_have_six_148_and_4096_colours() -> None:
    assert [len(palette.colours_of(name)) for name in palette.PALETTES] == [6, 148, 4096]
    assert palette.plain_rows("basic", False).rows[0, :3].tobytes() == b"red"


def test_shared_tables_cannot_be_written_to() -> None:
    table = palette.plain_rows("css", False)
    for column in table:
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 0


payloads = st.one_of(
    st.binary(max_size=40),
    st.tuples(st.sampled_from(palette.NAMES), st.sampled_from([str.lower, str.upper, str.title])).map(
        lambda pair: pair[1](pair[0]).encode()
    ),
    st.tuples(st.sampled_from(palette.NAMES), st.text("\r\n \0x", max_size=6)).map(lambda t: (t[0] + t[1]).encode()),
    st.text("#0123456789abcdefg\n", min_size=6, max_size=9).map(lambda text: ("#" + text).encode()),
)


@given(st.lists(payloads, max_size=10))
def test_a_batch_decodes_as_the_slow_plain_way(batch: list[bytes]) -> None:
    rows = np.full((len(batch), WIDTH), ord("e"), dtype=np.uint8)
    for row, payload in zip(rows, batch, strict=True):
        row[: len(payload)] = np.frombuffer(payload, dtype=np.uint8)
    index, rgb = palette.decode_plain(rows, np.array([len(payload) for payload in batch], dtype=np.int32))
    assert index.dtype == np.int32
    assert [(i, tuple(c)) for i, c in zip(index.tolist(), rgb.tolist(), strict=True)] == [
        reference(payload) for payload in batch
    ]


def test_a_name_cut_off_by_narrow_rows_is_no_colour() -> None:
    assert decode_one(b"redd", width=3) == (-1, (0, 0, 0))
    assert decode_one(b"red", width=3) == (0, (255, 0, 0))


@pytest.mark.parametrize("name", palette.NAMES)
def test_the_name_of_a_colour_is_a_name_for_that_colour(name: str) -> None:
    red, green, blue = palette.RGB[palette.INDEX_OF[name]].tolist()
    found = palette.text_of((red, green, blue))
    assert palette.RGB[palette.INDEX_OF[found]].tolist() == [red, green, blue]
    assert palette.nearest_name((red, green, blue)) == found


def test_a_colour_without_a_name_is_written_in_hex_and_has_a_near_one() -> None:
    assert palette.text_of((254, 0, 1)) == "#fe0001"
    assert palette.nearest_name((254, 0, 1)) == "red"
    assert palette.nearest_name((1, 2, 1)) == "black"


def test_only_basic_colours_have_an_indonesian_name() -> None:
    assert palette.INDONESIAN["red"] == "merah"
    assert "teal" not in palette.INDONESIAN
