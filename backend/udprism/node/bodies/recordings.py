"""The JSON bodies of recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from typing_extensions import TypedDict

from udprism.capture.sightings import Point
from udprism.columns.types import NS_PER_MS
from udprism.node import recorder

_MS_PER_S: Final = 1000


class Points(TypedDict):
    """Datagrams by the point at which they were seen."""

    sender: int
    receiver: int


class Recording(TypedDict):
    """A recording. If an earlier run of the program made it, its beginning and what was recorded are null.

    Its files say both.
    """

    id: str
    state: Literal["running", "ended", "failed"]
    error: str | None
    format: Literal["pcapng", "pcap"]
    flows: Literal["all"] | list[str] | None
    began_unix_ms: int | None
    ended_unix_ms: int | None
    bytes: int
    files: list[str]
    recorded: Points | None
    missed: Points | None


class RecordingList(TypedDict):
    """All recordings, oldest first."""

    recordings: list[Recording]
    total: int


def of_running(one: recorder.Recording) -> Recording:
    """One that this run of the program has made."""
    return {
        "id": one.plan.id,
        "state": "failed" if one.fault is not None else "running" if one.running else "ended",
        "error": one.fault or one.reason,
        "format": one.plan.file_format,
        "flows": one.plan.flows if one.plan.flows is not None else "all",
        "began_unix_ms": one.began_unix_ns // NS_PER_MS,
        "ended_unix_ms": None if one.ended_unix_ns is None else one.ended_unix_ns // NS_PER_MS,
        "bytes": one.size_bytes,
        "files": [path.name for path in one.files],
        "recorded": _points(one.recorded),
        "missed": _points(one.missed),
    }


def of_files(recording_id: str, paths: list[Path]) -> Recording:
    """One of an earlier run, by its files."""
    states = [path.stat() for path in paths if path.exists()]
    times_ms = [round(state.st_mtime * _MS_PER_S) for state in states]
    return {
        "id": recording_id,
        "state": "ended",
        "error": None,
        "format": "pcap" if paths[0].suffix == ".pcap" else "pcapng",
        "flows": None,
        "began_unix_ms": None,
        "ended_unix_ms": max(times_ms, default=0),
        "bytes": sum(state.st_size for state in states),
        "files": [path.name for path in paths],
        "recorded": None,
        "missed": None,
    }


def _points(counts: dict[Point, int]) -> Points:
    return {"sender": counts[Point.SENDER], "receiver": counts[Point.RECEIVER]}
