"""What a suite says in the end."""

from __future__ import annotations

from typing import NamedTuple


class Figure(NamedTuple):
    """One line with figures, and whether the promise held."""

    text: str
    ok: bool
