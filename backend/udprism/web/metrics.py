"""Prometheus' text format, version 0.0.4, by hand.

The figures live in columns of other threads and are read when somebody asks; a client library would want them kept
twice, and would be a dependency for these forty lines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TypeAlias

Number: TypeAlias = int | float
Family: TypeAlias = Number | Mapping[str, Number]

PREFIX: Final = "udprism_"
LABELS: Final = {"info": "version", "clients": "state", "thread_restarts_total": "thread"}
"""Label of families whose label is not `reason`."""
_NAME: Final = re.compile("[a-z][a-z0-9_]*")


def exposition(families: Mapping[str, Family]) -> str:
    """All families as text. `…_total` is a counter, everything else a gauge; a mapping has one label.

    Raises: ValueError for a name that Prometheus would not read: names are ours, never somebody's input.
    """
    return "".join(_family(name, family) for name, family in sorted(families.items()))


def _family(name: str, family: Family) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no metric's name")
    full = PREFIX + name
    kind = "counter" if name.endswith("_total") else "gauge"
    lines = [f"# HELP {full} {name.replace('_', ' ')}", f"# TYPE {full} {kind}"]
    if isinstance(family, Mapping):
        label = LABELS.get(name, "reason")
        lines += [f'{full}{{{label}="{_escaped(value)}"}} {number}' for value, number in family.items()]
    else:
        lines.append(f"{full} {family}")
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
