"""Hostile datagrams by the batch: random ones, and real ones with something wrong."""

from __future__ import annotations

import numpy as np

from udprism.columns.types import I32Column, Rows
from udprism.serving import commands
from udprism.wire import colours as palette
from udprism.wire import measured as wire

WIDTH = 1600
"""Longer than anything that the protocol allows."""
_RANDOM_PART = 0.3
_MOST_FLIPS = 4

_REPORT = wire.Report(0x01020304, 5, 1_700_000_000_000_000_000, 6, 7, 8, 9, 10, 11, 12)
REAL: tuple[bytes, ...] = (
    b"connect",
    b"connect\n",
    b"connect v=1",
    b"connect v=1 rate_hz=20 colours=3 palette=css name=desk%20lamp token=AAAAAAAAAAA",
    b"connect rate_hz=1000.00000000000000000001",
    b"disconnect",
    b"merah",
    "warna kuning — ?".encode(),
    b"retry AAAAAAAAAAA",
    b"#ff00ff",
    *(name.encode() for name in palette.NAMES[: palette.BASIC_COUNT]),
    wire.encode_colour(wire.Colour(0x01020304, 5, 1_700_000_000_000_000_000, bytes(range(9)))),
    wire.encode_report(_REPORT),
    wire.encode_report_ack(wire.ReportAck(_REPORT)),
    wire.encode_bye(wire.Bye(0x01020304, 0, 0, wire.ByeReason.OPERATOR)),
    b"x" * commands.MAX_COMMAND_BYTES,
    b"connect name=" + b"%F0%9F%8C%88" * 19,
)


def hostile(rng: np.random.Generator, count: int) -> tuple[Rows, I32Column]:
    """`count` datagrams: rows uint8[count, WIDTH] and their lengths, int32[count], 0 to WIDTH."""
    rows = np.zeros((count, WIDTH), np.uint8)
    length = np.zeros(count, np.int32)
    kind = rng.integers(0, len(REAL), count)
    for number, data in enumerate(REAL):
        rows[kind == number, : len(data)] = np.frombuffer(data, np.uint8)
        length[kind == number] = len(data)
    _change_bytes(rng, rows, length)
    _change_lengths(rng, length)
    made_up = np.flatnonzero(rng.random(count) < _RANDOM_PART)
    rows[made_up, :64] = rng.integers(0, 256, (len(made_up), 64), np.uint8)
    rows[made_up[::2], 0] = wire.MAGIC  # or most of them would be bad text at their first byte
    rows[made_up[::4], 1] = wire.VERSION
    rows[made_up[::4], 2] = rng.integers(0, 6, len(made_up[::4]))
    length[made_up] = rng.integers(0, WIDTH + 1, len(made_up))
    return rows, length


def _change_bytes(rng: np.random.Generator, rows: Rows, length: I32Column) -> None:
    count = len(rows)
    for flip in range(_MOST_FLIPS):
        chosen = np.flatnonzero(rng.random(count) < 1 / (1 + flip))
        place = (rng.random(len(chosen)) * np.maximum(length[chosen], 1)).astype(np.intp)
        rows[chosen, place] = rng.integers(0, 256, len(chosen), np.uint8)


def _change_lengths(rng: np.random.Generator, length: I32Column) -> None:
    count = len(length)
    cut = rng.random(count) < 0.2
    length[cut] = (rng.random(count) * (length + 1)).astype(np.int32)[cut]
    longer = rng.random(count) < 0.1
    length[longer] += rng.integers(1, 5, count, np.int32)[longer]
