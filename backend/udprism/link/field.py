"""What a link's field is: one description, which reads a body, documents the API, and makes the page's control."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

from udprism.errors import RequestError
from udprism.link import fields as read

Kind = Literal["ratio", "number", "whole", "flag", "choice", "group"]


@dataclass(frozen=True, slots=True)
class Slider:
    """The page's slider: a power curve from 0 to `most`, because the low end needs the finer hand.

    most, step: in the unit that is shown, which is per cent for a ratio.
    """

    most: float
    power: float = 2.5
    step: float = 1


@dataclass(frozen=True, slots=True)
class Field:
    """One field. low, high: bounds of a number. or_none: null stands for no limit. word: its name on the command line,
    "" for none. rare: the page shows it only when asked. note: what the bounds do not say. read_group: reads an object.
    """

    kind: Kind
    label: str
    low: float = 0
    high: float = 1
    unit: str = ""
    choices: tuple[str, ...] = ()
    or_none: bool = False
    word: str = ""
    slider: Slider | None = None
    rare: bool = False
    note: str = ""
    read_group: Callable[[object, str], Any] | None = None

    def read(self, value: object, name: str) -> Any:
        """The value as the link keeps it. Raises: RequestError, with the field and what would be right."""
        if value is None and self.or_none:
            return None
        match self.kind:
            case "flag":
                return read.flag(value, name)
            case "whole":
                return read.whole(value, name, int(self.low), int(self.high))
            case "choice":
                if value in self.choices:
                    return value
                raise RequestError(f"expected one of {', '.join(self.choices)}", field=name)
            case "group":
                assert self.read_group is not None
                return self.read_group(value, name)
            case _:
                return read.number(value, name, self.low, self.high)


def ratio(label: str, slider: Slider, *, word: str = "", rare: bool = False, note: str = "") -> Field:
    """A part of all datagrams, from 0 to 1."""
    return Field("ratio", label, unit="%", word=word, slider=slider, rare=rare, note=note)


def flag(label: str, *, word: str = "", rare: bool = False, note: str = "") -> Field:
    """On or off."""
    return Field("flag", label, word=word, rare=rare, note=note)


def fields_of(kind: type) -> dict[str, Field]:
    """The fields of a dataclass by name, in their order: each is declared as `Annotated[its type, Field(…)]`."""
    hints = get_type_hints(kind, include_extras=True)
    return {name: next(one for one in get_args(hint) if isinstance(one, Field)) for name, hint in hints.items()}
