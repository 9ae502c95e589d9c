"""The definition of a number that is shown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Definition:
    """One number. `id` is its name in JSON or /metrics; unit, source and caveat are None if there is none."""

    id: str
    name: str
    unit: str | None
    formula: str
    source: str | None = None
    caveat: str | None = None
