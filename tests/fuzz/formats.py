"""What must hold of any bytes on any format's port, and hostile datagrams for each."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

from support.plain_formats import DECODERS, One
from udprism.columns.types import I32Column, Rows
from udprism.wire.e131 import PREAMBLE
from udprism.wire.format import MAX_CHANNELS, Decoded, Format, Sending
from udprism.wire.formats import FORMATS

WIDTH = 160
"""More than any format reads; behind a datagram's end stands rubbish."""
BATCH = 20_000
_SENDING = Sending(180, bytes(range(1, 17)), 1, "a sender")


def _sent(name: str) -> list[bytes]:
    """What this program sends in a format."""
    encoder = FORMATS[name].encoder(_SENDING)
    if encoder is None:
        return []
    parts = len(encoder.parts)
    out = np.zeros((parts, encoder.width), np.uint8)
    part, number = np.arange(parts, dtype=np.int32), np.full(parts, 7, np.uint32)
    rgb = np.arange(parts * 540, dtype=np.int64).astype(np.uint8).reshape(parts, 180, 3)
    found = []
    for length in (encoder.encode(out, part, number, np.full(parts, 10**18), rgb), encoder.goodbye(out, part, number)):
        found += [row[:size].tobytes() for row, size in zip(out, length.tolist(), strict=True)]
    return found


_E131_SYNC = PREAMBLE + bytes.fromhex("7021 00000008") + bytes(16) + bytes.fromhex("700b 00000001 05 1f40 0000")
REAL: dict[str, list[bytes]] = {name: _sent(name) for name in FORMATS}
"""Sound datagrams of each format, to be changed."""
REAL["ddp"] += [
    struct.pack(">BBBBIHI", 0x51, 3, 0x0B, 1, 0, 6, 0x12345678) + bytes(range(6)),
    struct.pack(">BBBBIH", 0x41, 3, 0x1B, 1, 0, 8) + bytes(range(8)),
    struct.pack(">BBBBIH", 0x41, 3, 0x23, 1, 0, 2) + bytes(range(2)),
    struct.pack(">BBBBIH", 0x42, 0, 0, 251, 0, 0),
    struct.pack(">BBBBIH", 0x41, 9, 0x0D, 1, 1440, 3) + bytes(range(3)),
]
REAL["wled"] += [bytes((protocol, 2)) + bytes(range(24)) for protocol in range(6)]
REAL["artnet"] += [b"Art-Net\0\0\x20\0\x0e\2\0", b"Art-Net\0\0\x52\0\x0e\0\0", b"Art-Net\0\0\x21" + bytes(197)]
REAL["e131"] += [_E131_SYNC]
REAL["rtp"] += [
    struct.pack(">BBHII", 0x92, 0x80, 1, 2, 3) + bytes(8) + b"\xbe\xde\0\1" + bytes(4),
    struct.pack(">BBHII", 0x80, 200, 6, 2, 3) + bytes(16),
]
REAL["text"] += [b"red", b"Red\r\n", b"desk:#10ff00\n", b"temperature: 21.5", b"lampu meja:kuning", b"a:b:teal", b"::"]
REAL["opaque"] += [b"", b"anything"]


def hostile(rng: np.random.Generator, name: str, count: int) -> tuple[Rows, I32Column]:
    """`count` datagrams: real ones with up to four changed bytes, of another length, or made up.

    rows: uint8[count, WIDTH], with rubbish behind each datagram's end. length: int32[count], beyond WIDTH for some.
    """
    real = REAL[name]
    rows = rng.integers(0, 256, (count, WIDTH), np.uint8)
    length = rng.integers(0, WIDTH, count).astype(np.int32)
    kind = rng.integers(0, len(real) + 1, count)  # one more: made up from nothing
    for number, data in enumerate(real):
        chosen = kind == number
        rows[chosen, : min(len(data), WIDTH)] = np.frombuffer(data[:WIDTH], np.uint8)
        length[chosen] = len(data)
    for flip in range(4):
        chosen = np.flatnonzero(rng.random(count) < 0.5 / (1 + flip))
        near = rng.integers(0, FORMATS[name].row_bytes + 1, len(chosen))
        rows[chosen, near] = rng.integers(0, 256, len(chosen), np.uint8)
    shorter = np.flatnonzero(rng.random(count) < 0.2)
    length[shorter] = (rng.random(len(shorter)) * (length[shorter] + 1)).astype(np.int32)
    longer = np.flatnonzero(rng.random(count) < 0.05)
    length[longer] += rng.integers(1, 5, len(longer), np.int32)
    return rows, length


def check_rows(name: str, rows: Rows, length: I32Column) -> None:
    """Rubbish behind the end changes nothing, a batch decodes as its parts do, and the columns are of their types."""
    form = FORMATS[name]
    whole = form.decode(rows, length)
    clean = rows * (np.arange(rows.shape[1]) < length[:, None])
    narrow = np.ascontiguousarray(clean[:, : form.row_bytes])
    middle = len(rows) // 2
    _check_shape(form, whole, len(rows))
    _check_same(whole, form.decode(narrow, length), slice(None))
    _check_same(whole, form.decode(rows[:middle], length[:middle]), slice(None, middle))
    _check_same(whole, form.decode(rows[middle:], length[middle:]), slice(middle, None))


def _columns(decoded: Decoded) -> dict[str, npt.NDArray[np.generic]]:
    """Every column, with what means nothing set to 0."""
    valid, coloured = decoded.valid, decoded.valid & decoded.coloured
    found: dict[str, npt.NDArray[np.generic]] = {"valid": valid, "control": decoded.control, "reason": decoded.reason}
    for column in ("key", "number", "numbered", "part", "marks", "media_ticks", "media_hz"):
        values = getattr(decoded, column)
        found[column] = np.zeros(len(valid)) if values is None else values * valid
    found["coloured"] = coloured
    found["rgb"] = decoded.rgb * coloured[:, None]
    return found


def _check_same(whole: Decoded, other: Decoded, rows: slice) -> None:
    theirs = _columns(other)
    for column, ours in _columns(whole).items():
        assert (ours[rows] == theirs[column]).all(), column


_TYPES = {
    "valid": np.bool_, "control": np.bool_, "reason": np.uint8, "key": np.uint64, "number": np.uint32,
    "numbered": np.bool_, "part": np.uint32, "marks": np.uint16, "rgb": np.uint8, "coloured": np.bool_,
    "media_ticks": np.uint32, "media_hz": np.int32,
}  # fmt: skip


def _check_shape(form: Format, decoded: Decoded, count: int) -> None:
    for column, dtype in _TYPES.items():
        values = getattr(decoded, column)
        if values is not None:
            assert values.dtype == dtype, (form.name, column, values.dtype)
            assert values.shape == ((count, 3) if column == "rgb" else (count,)), (form.name, column)
    assert (decoded.valid.astype(int) + decoded.control + (decoded.reason != 0) == 1).all()
    assert (decoded.reason < len(form.reasons)).all()
    assert decoded.all_valid == bool(decoded.valid.all())
    if form.numbering.modulus:
        counted = decoded.number[decoded.valid & decoded.numbered].astype(np.int64) - form.numbering.first
        assert ((counted >= 0) & (counted < form.numbering.modulus)).all()
    else:
        assert not decoded.numbered.any()


def check_one(name: str, data: bytes, decoded: Decoded, row: int) -> None:
    """A row of a batch says what the plain decoder says of the datagram; nobody trips over it."""
    form, expected = FORMATS[name], DECODERS[name](data)
    if isinstance(expected, str):
        found = "control" if decoded.control[row] else form.reasons[decoded.reason[row]]
        assert found == expected, (data, found, expected)
        assert len(form.pixels(data).place) == 0
    else:
        assert decoded.valid[row], (data, form.reasons[decoded.reason[row]], expected)
        found_one = _one(decoded, row)
        if expected.media is not None and expected.media[1] < 0:  # a payload type that the plain decoder does not know
            expected = expected._replace(media=found_one.media)
        assert found_one == expected, (data, found_one, expected)
        form.flow_name(data)
        pixels = form.pixels(data)
        assert len(pixels.over(np.zeros(0, np.uint8))) <= MAX_CHANNELS
        if expected.rgb is not None:
            first = pixels.value[:3].tolist() if pixels.channels > 1 else pixels.value[:1].tolist() * 3
            assert tuple(first) == expected.rgb
            assert pixels.place[0] == 0
    for field in form.fields(data):
        assert 0 <= field.offset <= field.offset + field.length <= len(data), field
        assert field.value.isprintable(), field


def _one(decoded: Decoded, row: int) -> One:
    media = None
    if decoded.media_ticks is not None and decoded.media_hz is not None and decoded.marks[row] & 64:
        media = int(decoded.media_ticks[row]), int(decoded.media_hz[row])
    red, green, blue = decoded.rgb[row].tolist()
    return One(
        key=int(decoded.key[row]),
        number=int(decoded.number[row]),
        numbered=bool(decoded.numbered[row]),
        part=0 if decoded.part is None else int(decoded.part[row]),
        marks=int(decoded.marks[row]),
        rgb=(red, green, blue) if decoded.coloured[row] else None,
        media=media,
    )


def run(runs: int, seed: int = 1) -> None:
    """So many datagrams of each format in columns, a hundredth of them one by one too."""
    rng = np.random.default_rng(seed)
    for name in FORMATS:
        for _ in range(runs // BATCH):
            rows, length = hostile(rng, name, BATCH)
            check_rows(name, rows, length)
            decoded = FORMATS[name].decode(rows[: BATCH // 100], length[: BATCH // 100])
            for row, size in enumerate(length[: BATCH // 100].tolist()):
                check_one(name, rows[row, : min(size, WIDTH)].tobytes().ljust(size, b"\0"), decoded, row)
        print(f"{name}: {runs // BATCH * BATCH:,} datagrams hold (seed {seed})", flush=True)
