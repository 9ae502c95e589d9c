"""What holds of every format: its own datagrams come back as they were sent."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from udprism.columns.types import I32Column, Rows, U8Column
from udprism.wire.format import NO_PIXELS, Decoded, Encoder, Format, Mark, Sending
from udprism.wire.formats import FORMATS, SENT, FormatName

IDENTITY = bytes(range(1, 17))
SENDERS = [name for name in FORMATS if name in SENT]
MULTIPLE = [name for name in SENDERS if name != "text"]


def encoder_of(name: str, pixels: int, universe: int = 1) -> Encoder:
    encoder = FORMATS[name].encoder(Sending(pixels, IDENTITY, universe))
    assert encoder is not None
    return encoder


def frame_of(pixels: int) -> U8Column:
    return np.random.default_rng(pixels).integers(0, 256, (pixels, 3), np.uint8)


def sent(form: Format, encoder: Encoder, frame: U8Column, number: int = 5) -> tuple[Rows, I32Column]:
    """One frame, part by part."""
    parts = len(encoder.parts)
    out = np.zeros((parts, max(encoder.width, form.row_bytes)), np.uint8)
    rgb = np.broadcast_to(frame, (parts, *frame.shape))
    numbers = np.full(parts, number, np.uint32)
    length = encoder.encode(out, np.arange(parts, dtype=np.int32), numbers, np.full(parts, 10**18), rgb)
    return out, length


def shown(form: Format, rows: Rows, length: I32Column) -> dict[int, U8Column]:
    """The picture of each flow."""
    pictures: dict[int, U8Column] = {}
    decoded = form.decode(rows, length)
    for row, size, key in zip(rows, length.tolist(), decoded.key.tolist(), strict=True):
        pixels = form.pixels(row[:size].tobytes())
        pictures[key] = pixels.over(pictures.get(key, np.zeros(0, np.uint8)))
    return pictures


def check_sent(form: Format, encoder: Encoder, decoded: Decoded, length: I32Column) -> None:
    assert decoded.all_valid
    assert not (decoded.marks & Mark.LENGTH_DISAGREES).any()
    assert decoded.key.tolist() == [part.key for part in encoder.parts]
    assert length.max() == encoder.width
    if form.numbering.modulus:
        assert decoded.numbered.all()
        assert set(decoded.number.tolist()) == {5}


@pytest.mark.parametrize("pixels", [1, 169, 170, 171, 480, 481, 490, 491, 1000])
@pytest.mark.parametrize("name", [name for name in MULTIPLE if name != "rtp"])
def test_a_frame_of_any_size_is_shown_as_it_was_sent(name: str, pixels: int) -> None:
    form, encoder, frame = FORMATS[name], encoder_of(name, pixels), frame_of(pixels)
    rows, length = sent(form, encoder, frame)
    decoded = form.decode(rows, length)
    assert decoded.all_valid
    assert decoded.key.tolist() == [part.key for part in encoder.parts]
    assert not (decoded.marks & Mark.LENGTH_DISAGREES).any()
    assert sum(part.pixels for part in encoder.parts) == pixels
    pictures = shown(form, rows, length)
    channels = 3 * pixels
    picture = np.concatenate([pictures[key] for key in dict.fromkeys(part.key for part in encoder.parts)])
    assert picture[:channels].tolist() == frame.reshape(-1).tolist()
    assert decoded.rgb[0].tolist() == frame[0].tolist()
    assert decoded.coloured[0]


@pytest.mark.parametrize("name", MULTIPLE)
def test_the_number_that_was_asked_for_is_on_the_wire(name: str) -> None:
    form, encoder = FORMATS[name], encoder_of(name, 500)
    for number in {form.numbering.first, form.numbering.first + max(form.numbering.modulus, 1) - 1}:
        rows, length = sent(form, encoder, frame_of(500), number)
        decoded = form.decode(rows, length)
        if form.numbering.modulus:
            assert decoded.numbered.all()
            assert set(decoded.number.tolist()) == {number}
        else:
            assert not decoded.numbered.any()


@pytest.mark.parametrize("name", MULTIPLE)
def test_one_part_alone_is_what_it_is_among_others(name: str) -> None:
    """A delayed part leaves on its own, with the rest of its frame long gone."""
    form, encoder, frame = FORMATS[name], encoder_of(name, 1000), frame_of(1000)
    whole, length = sent(form, encoder, frame)
    last = len(encoder.parts) - 1
    out = np.zeros((1, whole.shape[1]), np.uint8)
    numbers = np.full(1, 5, np.uint32)
    size = encoder.encode(out, np.array([last], np.int32), numbers, np.full(1, 10**18), frame[None])
    assert out[0, : size[0]].tobytes() == whole[last, : length[last]].tobytes()


@pytest.mark.parametrize("name", MULTIPLE)
def test_a_goodbye_ends_the_flow_and_nothing_else_does(name: str) -> None:
    form, encoder = FORMATS[name], encoder_of(name, 1000)
    parts = len(encoder.parts)
    rows, length = sent(form, encoder, frame_of(1000))
    assert not (form.decode(rows, length).marks & Mark.ENDS).any()
    length = encoder.goodbye(rows, np.arange(parts, dtype=np.int32), np.full(parts, 9, np.uint32))
    if not encoder.goodbyes:
        assert not length.any()
        return
    decoded = form.decode(rows, length)
    assert decoded.all_valid
    assert (decoded.marks & Mark.ENDS).all()
    assert decoded.key.tolist() == [part.key for part in encoder.parts]


@pytest.mark.parametrize(
    ("name", "pixels", "universe"), [("artnet", 171, 32_767), ("e131", 1, 0), ("wled", 70_000, 1), ("rtp", 32_768, 1)]
)
def test_what_a_format_cannot_address_is_refused(name: str, pixels: int, universe: int) -> None:
    with pytest.raises(ValueError, match=str(pixels)):
        encoder_of(name, pixels, universe)


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_not_valid_has_no_pixels(name: str) -> None:
    data = b"" if name != "opaque" else b"anything"
    assert FORMATS[name].pixels(data) == NO_PIXELS
    FORMATS[name].fields(data)


def test_a_thousand_universes_are_encoded_without_copying_their_frame() -> None:
    encoder, frame = encoder_of("e131", 170_000), frame_of(170_000)
    rows, length = sent(FORMATS["e131"], encoder, frame)
    assert len(encoder.parts) == 1000
    assert rows[999, 126:636].tolist() == frame[-170:].reshape(-1).tolist()
    assert set(length.tolist()) == {636}


def test_the_names_that_types_know_are_those_of_the_formats() -> None:
    assert set(get_args(FormatName)) == set(FORMATS)
    assert all(form.label for form in FORMATS.values())
