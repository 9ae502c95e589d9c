"""Colour names and their RGB: the three palettes, the plain stream's rows, and names for people.

Names are English, lower case, and mean what CSS Color 4 section 6.1 says. One table for all: the six of `basic` come
first, then the rest of `css`; an *index* is a row of it. The palette `rgb` has no names: on a plain stream its colours
are written `#rrggbb`.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np

from udprism.columns.types import I32Column, Rows, U8Column, U64Column

PaletteName: TypeAlias = Literal["basic", "css", "rgb"]
PALETTES: Final[tuple[PaletteName, ...]] = ("basic", "css", "rgb")

INDONESIAN: Final[dict[str, str]] = {
    "red": "merah",
    "green": "hijau",
    "blue": "biru",
    "yellow": "kuning",
    "purple": "ungu",
    "orange": "oranye",
}

_CSS: Final = """
red ff0000 green 008000 blue 0000ff yellow ffff00 purple 800080 orange ffa500
aliceblue f0f8ff antiquewhite faebd7 cyan 00ffff aqua 00ffff aquamarine 7fffd4 azure f0ffff beige f5f5dc bisque ffe4c4
black 000000 blanchedalmond ffebcd blueviolet 8a2be2 brown a52a2a burlywood deb887 cadetblue 5f9ea0 chartreuse 7fff00
chocolate d2691e coral ff7f50 cornflowerblue 6495ed cornsilk fff8dc crimson dc143c darkblue 00008b darkcyan 008b8b
darkgoldenrod b8860b darkgrey a9a9a9 darkgray a9a9a9 darkgreen 006400 darkkhaki bdb76b darkmagenta 8b008b
darkolivegreen 556b2f darkorange ff8c00 darkorchid 9932cc darkred 8b0000 darksalmon e9967a darkseagreen 8fbc8f
darkslateblue 483d8b darkslategrey 2f4f4f darkslategray 2f4f4f darkturquoise 00ced1 darkviolet 9400d3 deeppink ff1493
deepskyblue 00bfff dimgrey 696969 dimgray 696969 dodgerblue 1e90ff firebrick b22222 floralwhite fffaf0
forestgreen 228b22 magenta ff00ff fuchsia ff00ff gainsboro dcdcdc ghostwhite f8f8ff gold ffd700 goldenrod daa520
grey 808080 gray 808080 greenyellow adff2f honeydew f0fff0 hotpink ff69b4 indianred cd5c5c indigo 4b0082 ivory fffff0
khaki f0e68c lavender e6e6fa lavenderblush fff0f5 lawngreen 7cfc00 lemonchiffon fffacd lightblue add8e6
lightcoral f08080 lightcyan e0ffff lightgoldenrodyellow fafad2 lightgrey d3d3d3 lightgray d3d3d3 lightgreen 90ee90
lightpink ffb6c1 lightsalmon ffa07a lightseagreen 20b2aa lightskyblue 87cefa lightslategrey 778899
lightslategray 778899 lightsteelblue b0c4de lightyellow ffffe0 lime 00ff00 limegreen 32cd32 linen faf0e6 maroon 800000
mediumaquamarine 66cdaa mediumblue 0000cd mediumorchid ba55d3 mediumpurple 9370db mediumseagreen 3cb371
mediumslateblue 7b68ee mediumspringgreen 00fa9a mediumturquoise 48d1cc mediumvioletred c71585 midnightblue 191970
mintcream f5fffa mistyrose ffe4e1 moccasin ffe4b5 navajowhite ffdead navy 000080 oldlace fdf5e6 olive 808000
olivedrab 6b8e23 orangered ff4500 orchid da70d6 palegoldenrod eee8aa palegreen 98fb98 paleturquoise afeeee
palevioletred db7093 papayawhip ffefd5 peachpuff ffdab9 peru cd853f pink ffc0cb plum dda0dd powderblue b0e0e6
rebeccapurple 663399 rosybrown bc8f8f royalblue 4169e1 saddlebrown 8b4513 salmon fa8072 sandybrown f4a460
seagreen 2e8b57 seashell fff5ee sienna a0522d silver c0c0c0 skyblue 87ceeb slateblue 6a5acd slategrey 708090
slategray 708090 snow fffafa springgreen 00ff7f steelblue 4682b4 tan d2b48c teal 008080 thistle d8bfd8 tomato ff6347
turquoise 40e0d0 violet ee82ee wheat f5deb3 white ffffff whitesmoke f5f5f5 yellowgreen 9acd32
"""

_WORDS: Final = _CSS.split()
NAMES: Final[tuple[str, ...]] = tuple(_WORDS[::2])
"""All 148 names; an index is a place in here, and `basic` is the first six."""

RGB: Final[U8Column] = np.array([list(bytes.fromhex(digits)) for digits in _WORDS[1::2]], dtype=np.uint8)
"""uint8[148, 3]: the colour of each name."""
RGB.setflags(write=False)

INDEX_OF: Final[dict[str, int]] = {name: index for index, name in enumerate(NAMES)}
BASIC_COUNT: Final = len(INDONESIAN)
HEX_INDEX: Final = len(NAMES)
"""What `decode_plain` returns for a colour written `#rrggbb`."""

_RGB_LEVELS: Final = 16
_NAME_BYTES: Final = 24  # the longest name has 20 letters; three words of eight compare as integers


class PlainTable(NamedTuple):
    """A palette as plain datagrams: rows uint8[k, width], length int32[k], rgb uint8[k, 3]; shared and read-only."""

    rows: Rows
    length: I32Column
    rgb: U8Column


def _rgb_cube() -> U8Column:
    """uint8[4096, 3]: sixteen levels a channel, 00 to ff."""
    level = np.arange(_RGB_LEVELS, dtype=np.uint8) * 17
    return np.stack(np.meshgrid(level, level, level, indexing="ij"), axis=-1).reshape(-1, 3)


def colours_of(palette: PaletteName) -> U8Column:
    """The palette's colours, uint8[k, 3], read-only: 6 of basic, 148 of css, 4096 (16 levels a channel) of rgb.

    Row i is the colour of row i of `plain_rows(palette, …)`, so that one random index serves both streams.
    """
    return plain_rows(palette, False).rgb


@cache
def plain_rows(palette: PaletteName, line_feed: bool) -> PlainTable:
    """The palette's plain datagrams, ready to be taken by index."""
    if palette == "rgb":
        rgb = _rgb_cube()
        texts = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in rgb.tolist()]
    else:
        count = BASIC_COUNT if palette == "basic" else len(NAMES)
        rgb = RGB[:count]
        texts = list(NAMES[:count])
    ending = "\n" if line_feed else ""
    payloads = [(text + ending).encode("ascii") for text in texts]
    length = np.array([len(payload) for payload in payloads], dtype=np.int32)
    width = int(length.max())
    rows = np.frombuffer(b"".join(payload.ljust(width, b"\0") for payload in payloads), dtype=np.uint8)
    rows = rows.reshape(len(payloads), width)
    for column in (length, rgb):
        column.setflags(write=False)
    return PlainTable(rows, length, rgb)


# What decode_plain compares with: each name as three integers, found by one multiplicative hash. Letters are folded to
# lower case (a foreign server may say `Red`), and what may trail a name (LF, CR, space, NUL) becomes NUL.
_FOLD: Final[U8Column] = np.arange(256, dtype=np.uint8)
_FOLD[ord("A") : ord("Z") + 1] += 32
_FOLD[[0x0A, 0x0D, 0x20]] = 0
_PLACE: Final = np.arange(_NAME_BYTES, dtype=np.int32)
_MIX: Final[U64Column] = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64)


def _hash(words: U64Column) -> U64Column:
    """uint64[n, 3] → uint64[n]; no two names share a hash, which the tests hold."""
    mixed: U64Column = (words * _MIX).sum(axis=1, dtype=np.uint64)
    return mixed


_NAME_WORDS: Final[U64Column] = np.frombuffer(
    b"".join(name.encode("ascii").ljust(_NAME_BYTES, b"\0") for name in NAMES), dtype=np.uint64
).reshape(-1, 3)
_BY_HASH: Final = np.argsort(_hash(_NAME_WORDS), kind="stable").astype(np.int32)
_HASHES: Final[U64Column] = _hash(_NAME_WORDS)[_BY_HASH]


def decode_plain(rows: Rows, length: I32Column) -> tuple[I32Column, U8Column]:
    """The colours of n plain datagrams: (index int32[n], rgb uint8[n, 3]).

    index: a place in NAMES, HEX_INDEX for `#rrggbb`, -1 (and black) if it is not a known colour. Upper case is
    taken as lower case; trailing LF, CR, space and NUL are ignored, in a datagram of at most 24 bytes.
    """
    n = len(rows)
    text = np.zeros((n, _NAME_BYTES), dtype=np.uint8)
    width = min(rows.shape[1], _NAME_BYTES)
    inside = _PLACE[:width] < length[:, None]
    np.multiply(_FOLD[rows[:, :width]], inside, out=text[:, :width])
    words = text.view(np.uint64)
    candidate = _BY_HASH[np.minimum(np.searchsorted(_HASHES, _hash(words)), len(NAMES) - 1)]
    known = (_NAME_WORDS[candidate] == words).all(axis=1) & (length <= width)
    index = np.where(known, candidate, np.int32(-1))
    rgb = RGB[candidate] * known[:, None]
    if not known.all():
        _decode_hex(text, length, index, rgb)
    return index, rgb


def _decode_hex(text: Rows, length: I32Column, index: I32Column, rgb: U8Column) -> None:
    """Fills in those rows that are written `#rrggbb`."""
    digit = _HEX_VALUE[text[:, 1:7]]
    is_hex = (index < 0) & (text[:, 0] == ord("#")) & (length <= _NAME_BYTES)
    is_hex &= (digit < 16).all(axis=1) & ~text[:, 7:].any(axis=1)
    index[is_hex] = HEX_INDEX
    rgb[is_hex] = (digit[:, ::2] << 4 | digit[:, 1::2])[is_hex]


_HEX_DIGITS: Final = frozenset(b"0123456789abcdef")
_HEX_VALUE: Final[U8Column] = np.full(256, 255, np.uint8)
"""Of each lower-case digit's byte; 255 for any other."""
_HEX_VALUE[list(b"0123456789abcdef")] = np.arange(16)


def parse_hex(text: bytes) -> tuple[int, int, int] | None:
    """`#rrggbb`, lower case, as a colour; None if it is not written so."""
    if len(text) != 7 or text[:1] != b"#" or not _HEX_DIGITS.issuperset(text[1:]):
        return None
    value = int(text[1:], 16)
    return value >> 16, value >> 8 & 0xFF, value & 0xFF


def is_plain_colour(text: bytes) -> bool:
    """Whether these bytes, without trailing ones, are what a plain stream sends: a name, exactly, or `#rrggbb`."""
    return text.decode("latin-1") in INDEX_OF or parse_hex(text) is not None


_NAME_OF: Final[dict[tuple[int, int, int], str]] = {}
"""The name of exactly this colour; of two names (cyan, aqua) the first in NAMES."""
for _name, _colour in zip(NAMES, RGB.tolist(), strict=True):
    _NAME_OF.setdefault((_colour[0], _colour[1], _colour[2]), _name)


@lru_cache(maxsize=4096)
def nearest_name(rgb: tuple[int, int, int]) -> str:
    """The name nearest to this colour, for people: weighted RGB distance (compuphase.com/cmetric.htm, "redmean")."""
    exact = _NAME_OF.get(rgb)
    if exact is not None:
        return exact
    table = RGB.astype(np.int64)
    difference = table - np.array(rgb, dtype=np.int64)
    mean_red = (table[:, 0] + rgb[0]) / 2
    weight = np.stack([2 + mean_red / 256, np.full(len(table), 4.0), 2 + (255 - mean_red) / 256], axis=1)
    return NAMES[int((weight * difference**2).sum(axis=1).argmin())]


def hex_of(rgb: tuple[int, int, int]) -> str:
    """`#rrggbb`."""
    return f"#{rgb[0]:02x}{rgb[1]:02x}{rgb[2]:02x}"


def text_of(rgb: tuple[int, int, int]) -> str:
    """As a plain stream would write it: the exact name, else `#rrggbb`."""
    return _NAME_OF.get(rgb) or hex_of(rgb)
