"""The page's types of bodies are those that the backend sends."""

from __future__ import annotations

from typing import Any, Literal, get_type_hints

import pytest
from typing_extensions import TypedDict

from support.page_types import PATH, page_types, shape_text, type_text
from udprism.node import bodies


def test_the_pages_types_are_made_from_todays_shapes() -> None:
    assert PATH.read_text() == page_types(), "run `python -m tests.support.page_types`"


def test_every_shape_that_another_one_names_is_there_too() -> None:
    named = {
        word
        for name in bodies.__all__
        for hint in get_type_hints(getattr(bodies, name)).values()
        for word in type_text(hint).replace("(", " ").replace(")", " ").replace("[]", " ").replace(">", " ").split()
        if word[0].isupper() and not word.startswith("Record")
    }
    assert named <= set(bodies.__all__)


def test_types_become_those_of_typescript() -> None:
    class Small(TypedDict):
        """What  it is,
        in words."""

        some: list[int | None]
        word: Literal["a", "b"] | None

    assert shape_text("Small", Small) == (
        "/** What it is, in words. */\n"
        "export interface Small {\n"
        "  some: (number | null)[];\n"
        '  word: "a" | "b" | null;\n'
        "}\n"
    )
    assert type_text(dict[str, Any]) == "Record<string, unknown>"
    with pytest.raises(TypeError, match="no JSON body"):
        type_text(bytes)
