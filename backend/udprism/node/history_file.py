"""What happened over time, kept for the next start: one file of columns, replaced whole.

The new file is written beside the old one, synced to the disk, and renamed over it. If the program is killed meanwhile,
the old file stays whole. A file that cannot be read is no reason not to start.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from udprism.ledger.timeline import FLOW_LEVELS, KEPT, WHOLE_LEVELS
from udprism.node.events import MAX_EVENTS, Event

FILE_NAME = "history.npz"
StepsByLevel = list[npt.NDArray[np.void]]
"""KEPT[n] for each level, finest first."""


@dataclass(frozen=True)
class KeptHistory:
    """whole: of all flows together, by WHOLE_LEVELS. flows: by id, each by FLOW_LEVELS."""

    whole: StepsByLevel
    flows: dict[str, StepsByLevel]
    events: list[Event]


def write(directory: Path, kept: KeptHistory) -> int:
    """Replace the file, and return its size in bytes. May block for as long as the disk needs. Raises: OSError."""
    flows = list(kept.flows.values())
    columns = {f"whole_{level}": steps for level, steps in enumerate(kept.whole)}
    for level in range(len(FLOW_LEVELS)):
        of_level = [steps[level] for steps in flows]
        columns[f"flow_{level}"] = np.concatenate(of_level) if of_level else np.zeros(0, KEPT)
        columns[f"flow_{level}_count"] = np.array([len(steps) for steps in of_level], np.int32)
    texts = {"flows": list(kept.flows), "events": [asdict(event) for event in kept.events]}
    columns |= {name: np.frombuffer(json.dumps(value).encode(), np.uint8) for name, value in texts.items()}
    path = directory / FILE_NAME
    beside = path.with_suffix(".new")
    try:
        with beside.open("wb") as file:
            np.savez(file, allow_pickle=False, **columns)
            file.flush()
            os.fsync(file.fileno())
            size_bytes = file.tell()
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    return size_bytes


def read(directory: Path) -> KeptHistory | None:
    """What was kept; None if there is nothing. Raises: OSError, ValueError if it is not what `write` writes."""
    path = directory / FILE_NAME
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as columns_file:
            columns = {name.removesuffix(".npy"): _column(columns_file, name) for name in columns_file.namelist()}
        whole = [_steps(columns[f"whole_{level}"]) for level in range(len(WHOLE_LEVELS))]
        ids = json.loads(columns["flows"].tobytes())
        by_level = [_parted(columns, level, len(ids)) for level in range(len(FLOW_LEVELS))]
        events = [Event(**event) for event in json.loads(columns["events"].tobytes())[-MAX_EVENTS:]]
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, KeyError, TypeError, EOFError) as error:
        raise ValueError(str(error)) from error
    flows = {str(flow): [steps[place] for steps in by_level] for place, flow in enumerate(ids)}
    return KeptHistory(whole, flows, events)


def _column(file: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    with file.open(name) as column:
        read: npt.NDArray[Any] = np.lib.format.read_array(column, allow_pickle=False)
        column.read()  # to the end, where the checksum is compared
    return read


def _parted(columns: dict[str, npt.NDArray[Any]], level: int, flows: int) -> StepsByLevel:
    steps, count = _steps(columns[f"flow_{level}"]), columns[f"flow_{level}_count"]
    if len(count) != flows or (count < 0).any() or count.sum() != len(steps):
        raise ValueError("its counts do not agree")
    return np.split(steps, np.cumsum(count)[:-1]) if flows else []


def _steps(column: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    if column.dtype != KEPT or column.ndim != 1:
        raise ValueError("its steps are of another version")
    return column
