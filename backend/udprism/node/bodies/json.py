"""Encodes a body as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias, cast

Json: TypeAlias = dict[str, Any]
"""A body whose shape its maker was held to; from here on it is passed on, not looked into."""


def as_json(body: Mapping[str, object]) -> Json:
    """The same body. mypy does not take a TypedDict for a dict, which it is."""
    return cast(Json, body)
