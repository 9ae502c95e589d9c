"""The snapshots behind tests/golden/live.json, whose bytes Python and the page's tests both read.

`PYTHONPATH=tests python -m web.live_vectors` writes the file anew: only where the protocol was changed on purpose.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

from udprism.node.view import ROW_STATS, Snapshot
from udprism.web.live.encoded_snapshot import EncodedSnapshot

GOLDEN = Path(__file__).parents[1] / "golden" / "live.json"
NAN = math.nan


def snapshot(**changes: Any) -> Any:
    """One snapshot with every corner of the columns: three slots, the last one free."""
    cells = np.zeros((2, 256, 4), np.uint8)
    cells[0, 252] = (255, 0, 0, 1)
    cells[0, 253] = (0, 0, 0, 2 | 1 << 5)
    cells[0, 254] = (0, 128, 0, 3 | 4 | 8 | 16)
    cells[0, 255] = (1, 0, 0, 0)
    cells[1, :] = (255, 165, 0, 1)
    stats = np.array(
        [
            (4_294_967_299, 9_007_199_254_740_991, 2, 4_294_967_300, 10, 0.25, 0.5, -1.5, 12.5),
            (NAN, 7, NAN, NAN, 0, NAN, NAN, NAN, NAN),
        ],
        ROW_STATS,
    )
    columns: dict[str, Any] = {
        "frame": 4_294_967_298,  # wraps to 2
        "unix_ns": 1_700_000_000_123_500_000,
        "n": 3,
        "state": np.array([2, 3, 0], np.uint8),
        "rgba": np.array([[255, 0, 0, 255], [255, 165, 0, 255], [0, 0, 0, 0]], np.uint8),
        "flags": np.array([1 | 2 | 4 | 8, 16 | 32 | 64, 0], np.uint8),
        "age_ms": np.array([0, 65_534, 65_535], np.uint16),
        "rate_hz": np.array([10, 2_000, 0], np.float32),
        "loss_ratio": np.array([0.5, 0, NAN], np.float32),
        "jitter_ms": np.array([0.25, 1e6, NAN], np.float32),
        "delay_ms": np.array([-3, 12.5, NAN], np.float32),
        "version": np.array([5, 7, 0], np.uint32),
        "roster_version": 77,
        "rows": np.array([0, 1], np.int32),
        "row_stats": stats,
        "cells": cells,
    }
    return Snapshot(**(columns | changes))


def nobody() -> Any:
    """A server without clients."""
    empty = {name: np.zeros(0, np.uint8) for name in ("state", "flags")}
    empty |= {name: np.zeros(0, np.float32) for name in ("rate_hz", "loss_ratio", "jitter_ms", "delay_ms")}
    whole = snapshot()
    return snapshot(
        n=0,
        frame=1,
        rgba=np.zeros((0, 4), np.uint8),
        age_ms=np.zeros(0, np.uint16),
        version=np.zeros(0, np.uint32),
        rows=np.zeros(0, np.int32),
        row_stats=whole.row_stats[:0],
        cells=whole.cells[:0],
        **empty,
    )


CASES: dict[str, tuple[Any, bool, tuple[int, ...] | None]] = {
    "columns alone": (snapshot, False, None),
    "with stats": (snapshot, True, None),
    "with rows, in the order asked for": (snapshot, False, (1, 0)),
    "with both": (snapshot, True, (0,)),
    "with rows, and none of them watched": (snapshot, False, ()),
    "nobody": (nobody, True, None),
}
"""Name: snapshot, whether with stats, which rows."""


def decode(frame: bytes) -> dict[str, Any]:
    """A frame, read as PROTOCOL.md says and slowly, by other means than those that wrote it."""
    magic, version, flags, number, unix_ms, n, roster_version, k, reserved = struct.unpack_from("<BBHIdIIII", frame)
    assert (magic, version, reserved) == (0x50, 1, 0)
    at = 32

    def take(code: str, count: int) -> list[Any]:
        nonlocal at
        values = struct.unpack_from(f"<{count}{code}", frame, at)
        size = struct.calcsize(f"<{count}{code}")
        padding = -size % 4
        assert frame[at + size : at + size + padding] == bytes(padding)
        at += size + padding
        return list(values)

    decoded: dict[str, Any] = {
        "number": number,
        "unix_ms": unix_ms,
        "slots": n,
        "roster_version": roster_version,
        "rgba": take("B", 4 * n),
        "state": take("B", n),
        "flags": take("B", n),
        "age_ms": take("H", n),
        "stats": {name: take("H", n) for name in ("rate", "loss", "jitter", "delay")} if flags & 1 else None,
        "rows": None,
    }
    assert flags & ~3 == 0
    if flags & 2:
        rows = []
        for _ in range(k):
            slot, cells, *numbers = struct.unpack_from("<IIddddffffd", frame, at)
            assert cells == 256
            names = (
                "newest",
                "received",
                "lost",
                "sent",
                "rate_hz",
                "loss_ratio",
                "jitter_ms",
                "delay_ms",
                "silence_ms",
            )
            known = {name: None if math.isnan(value) else value for name, value in zip(names, numbers, strict=True)}
            rows.append({"slot": slot, **known})
            at += 64
        for row in rows:
            row["cells_hex"] = frame[at : at + 1024].hex()
            at += 1024
        decoded["rows"] = rows
    else:
        assert k == 0
    assert at == len(frame)
    return decoded


def encoded(name: str) -> bytes:
    """The frame of one case."""
    make, stats, rows = CASES[name]
    return EncodedSnapshot(make(), {}).frame(stats, rows)


if __name__ == "__main__":
    vectors = [{"name": name, "hex": encoded(name).hex(), "decoded": decode(encoded(name))} for name in CASES]
    GOLDEN.write_text(json.dumps(vectors, indent=1) + "\n")
