"""Reading a body's fields: the value, or RequestError with the field and what would be right."""

from __future__ import annotations

from collections.abc import Iterable

from udprism.errors import RequestError


def table(value: object, field: str | None, known: Iterable[str]) -> dict[str, object]:
    """An object all of whose names are `known`."""
    if not isinstance(value, dict):
        raise RequestError(f"expected an object with some of: {', '.join(known)}", field=field)
    for name in value:
        if name not in known:
            raise RequestError(
                f"unknown field; known are {', '.join(known)}", field=f"{field}.{name}" if field else str(name)
            )
    return value


def number(value: object, field: str, low: float, high: float) -> float:
    """A number from `low` to `high`."""
    # A bool is an int to Python. `not low <= value` refuses NaN too, which `value < low` would let through.
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise RequestError(f"expected a number from {low:g} to {high:g}, not {_shown(value)}", field=field)
    return float(value)


def ratio(value: object, field: str) -> float:
    """A number from 0 to 1."""
    return number(value, field, 0.0, 1.0)


def whole(value: object, field: str, low: int, high: int) -> int:
    """A whole number from `low` to `high`; JSON's `3.0` is one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise RequestError(f"expected a whole number from {low} to {high}, not {_shown(value)}", field=field)
    return value


def flag(value: object, field: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise RequestError(f"expected true or false, not {_shown(value)}", field=field)
    return value


def text(value: object, field: str, max_characters: int) -> str:
    """Text of 1 to `max_characters`."""
    if not isinstance(value, str) or not 1 <= len(value) <= max_characters:
        raise RequestError(f"expected text of 1 to {max_characters} characters, not {_shown(value)}", field=field)
    return value


def _shown(value: object) -> str:
    # Python refuses to write whole numbers of thousands of digits.
    if isinstance(value, int) and value.bit_length() > 64:
        return "a huge number"
    return value if isinstance(value, str) and len(value) <= 32 else f"{value!r:.32}"
