"""Encodes the live feed: frames and JSON texts, made from a snapshot. Pure: no loop, no clock, no socket.

The layout is PROTOCOL.md's ("The live feed"); tests/golden/live.* holds bytes that the page's tests read as well.
Everything is little-endian; each column is padded to a multiple of 4 bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from udprism import __version__
from udprism.columns.types import I32Column, U16Column
from udprism.web import bodies
from udprism.wire import colours as palette
from udprism.wire.formats import FORMATS, SENT

if TYPE_CHECKING:
    from udprism.node.bridge import Bridge, Roster, Snapshot

MAGIC: Final = 0x50
PROTOCOL: Final = 1
WITH_STATS: Final = 1
WITH_ROWS: Final = 2
HEADER: Final = struct.Struct("<BBHIdIIII")
CELLS: Final = 256
CREDIT: Final = 2
"""Frames that a viewer may have asked for and not yet got."""

UNKNOWN: Final = 65_535
SATURATED: Final = 65_534
RATE_UNITS_PER_HZ: Final = 50
LOSS_UNITS: Final = 65_534
JITTER_UNITS_PER_MS: Final = 100
DELAY_UNITS_PER_MS: Final = 10

ROW_HEADER: Final = np.dtype(
    [
        ("slot", "<u4"),
        ("cells", "<u4"),
        ("newest", "<f8"),
        ("received", "<f8"),
        ("lost", "<f8"),
        ("sent", "<f8"),
        ("rate_hz", "<f4"),
        ("loss_ratio", "<f4"),
        ("jitter_ms", "<f4"),
        ("delay_ms", "<f4"),
        ("silence_ms", "<f8"),
    ]
)
_ROW_FIELDS: Final = ROW_HEADER.names[2:]  # type: ignore[index]


def frame(snapshot: Snapshot, columns: bytes, stats: bytes | None, rows: bytes | None, row_count: int) -> bytes:
    """One binary message of parts that were encoded before; `stats` and `rows` are None if they are left out."""
    flags = (WITH_STATS if stats is not None else 0) | (WITH_ROWS if rows is not None else 0)
    header = HEADER.pack(
        MAGIC,
        PROTOCOL,
        flags,
        snapshot.frame & 0xFFFF_FFFF,
        snapshot.unix_ns / 1e6,
        snapshot.n,
        snapshot.roster_version & 0xFFFF_FFFF,
        row_count,
        0,
    )
    return b"".join((header, columns, stats or b"", rows or b""))


def columns(snapshot: Snapshot) -> bytes:
    """The columns of every frame: rgba, state, flags, age_ms."""
    return b"".join(
        (
            _padded(snapshot.rgba, np.uint8),
            _padded(snapshot.state, np.uint8),
            _padded(snapshot.flags, np.uint8),
            _padded(snapshot.age_ms, "<u2"),
        )
    )


def stats(snapshot: Snapshot) -> bytes:
    """The slow columns: rate, loss, jitter, delay."""
    return b"".join(
        _padded(column, "<u2")
        for column in (
            _units(snapshot.rate_hz, RATE_UNITS_PER_HZ, UNKNOWN, 0),
            _units(snapshot.loss_ratio, LOSS_UNITS, LOSS_UNITS, UNKNOWN),
            _units(snapshot.jitter_ms, JITTER_UNITS_PER_MS, SATURATED, UNKNOWN),
            _units(snapshot.delay_ms, DELAY_UNITS_PER_MS, SATURATED, UNKNOWN),
        )
    )


def rows(snapshot: Snapshot, places: I32Column) -> bytes:
    """Row headers, then cells, of the watched rows at `places` in `snapshot.rows`."""
    headers = np.zeros(len(places), ROW_HEADER)
    headers["slot"] = snapshot.rows[places]
    headers["cells"] = CELLS
    stats = snapshot.row_stats[places]
    for field in _ROW_FIELDS:
        headers[field] = stats[field]
    return headers.tobytes() + snapshot.cells[places].tobytes()


def _units(values: npt.NDArray[np.float32], per_unit: int, top: int, unknown: int) -> U16Column:
    """Whole units, 0 to `top`; `unknown` if a value is NaN."""
    scaled = np.clip(np.rint(values * np.float32(per_unit)), 0, top)
    return np.where(np.isnan(scaled), np.float32(unknown), scaled).astype(np.uint16)


def _padded(column: npt.NDArray[Any], dtype: npt.DTypeLike) -> bytes:
    """The column's bytes, filled up with zeros to a multiple of 4."""
    raw = np.ascontiguousarray(column, dtype).tobytes()
    return raw + bytes(-len(raw) % 4)


def text(message: Mapping[str, Any]) -> str:
    """A JSON message. ASCII only, so that a lone surrogate in somebody's name cannot break the websocket.

    Raises: ValueError for NaN and infinity, which JSON does not know.
    """
    return json.dumps(message, separators=(",", ":"), allow_nan=False)


def items(several: Sequence[Mapping[str, Any]]) -> bytes:
    """The inside of a JSON list, as `text`."""
    return json.dumps(several, separators=(",", ":"), allow_nan=False)[1:-1].encode()


def hello(bridge: Bridge, server_unix_ms: int) -> str:
    """The first message that a viewer gets."""
    settings = bridge.settings
    host, port = bridge.udp_address
    return text(
        {
            "type": "hello",
            "protocol": PROTOCOL,
            "instance": bridge.instance_id,
            "version": __version__,
            "server_unix_ms": server_unix_ms,
            "udp": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            "frame_hz": settings.frame_hz,
            "history": CELLS,
            "max_clients": settings.max_clients,
            "palette": {
                "basic": [
                    [name, "#" + bytes(palette.RGB[index]).hex(), palette.INDONESIAN[name]]
                    for index, name in enumerate(palette.NAMES[: palette.BASIC_COUNT])
                ],
                "names": [[name, "#" + bytes(rgb).hex()] for name, rgb in zip(palette.NAMES, palette.RGB, strict=True)],
            },
            "formats": [[name, form.label, name in SENT] for name, form in FORMATS.items()],
            "limits": {
                "clients": settings.max_clients,
                "viewers": settings.max_viewers,
                "name_characters": bodies.NAME_CHARACTERS,
                "rate_hz": bodies.RATE_HZ,
                "colours": bodies.COLOURS,
                "rows": bodies.WATCHED_ROWS,
                "credit": CREDIT,
            },
        }
    )


def roster(change: Roster) -> str:
    """Who is in which slot: all of it if `base` is 0, otherwise what changed since version `base`."""
    return text(
        {
            "type": "roster",
            "version": change.version,
            "base": change.base,
            "upsert": change.upsert,
            "remove": change.remove,
        }
    )


def status(totals: Mapping[str, Any], viewers: int) -> str:
    """Totals, the same for every viewer; `for_viewer` adds what is one viewer's own."""
    return text({"type": "status", **totals, "viewers": viewers})


def for_viewer(shared_status: str, received: int, relayed: int, conflated: int) -> str:
    """The status message with this viewer's account: received = relayed + conflated."""
    account = f'"viewer":{{"received":{received},"relayed":{relayed},"conflated":{conflated}}}'
    return f"{shared_status[:-1]},{account}}}"


def client(client_id: str, body: Mapping[str, Any] | None) -> str:
    """The client that a viewer's drawer shows; None if there is no such client (any more)."""
    return text({"type": "client", "id": client_id, "client": body})


def session(session_id: str, body: Mapping[str, Any] | None) -> str:
    """The session that a viewer's drawer shows; None if there is no such session (any more)."""
    return text({"type": "session", "id": session_id, "session": body})


def sessions(find: str, listed: Sequence[Mapping[str, Any]], total: int, left: Sequence[Mapping[str, Any]] = ()) -> str:
    """The colour server's sessions that match these words, raw ones first. left: raw clients that have left."""
    return text({"type": "sessions", "find": find, "sessions": listed, "total": total, "left": left})
