"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """OK; NOTE: it works, within the bounds that the finding names; FAIL: it would not start, or show wrong figures."""

    OK = "ok"
    NOTE = "note"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Finding:
    """The result of one check. means: the impact. mend: the fix."""

    severity: Severity
    saw: str
    means: str = ""
    mend: str = ""
