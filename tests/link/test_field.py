"""The table of a link's fields: one row for each, from which body, API, command line and page are made."""

from __future__ import annotations

from typing import Annotated, get_args, get_origin, get_type_hints

import pytest

from udprism.errors import RequestError
from udprism.link.field import Field, fields_of
from udprism.link.link import DISTRIBUTIONS, LINK_FIELDS, Burst, Link, table
from udprism.link.words import read_link
from udprism.node.bodies import links as bodies
from udprism.web.bodies import LinkBody

ROWS = table()


def schema_of(path: str) -> dict[str, object]:
    """What the API's description says of one field."""
    schema = get_args(LinkBody)[1].json_schema
    for name in path.split("."):
        schema = schema["properties"][name] if "properties" in schema else schema["anyOf"][0]["properties"][name]
    return dict(schema["anyOf"][0] if "anyOf" in schema else schema)


def value_in(body: dict[str, object], path: str) -> object:
    for name in path.split("."):
        body = body[name]  # type: ignore[assignment]
    return body


def body_with(path: str, value: object) -> dict[str, object]:
    name, _, part = path.partition(".")
    return {name: {part: value} if part else value}


def test_every_field_of_a_link_has_its_row_with_its_default() -> None:
    off = Link().to_body()
    assert {row.path.partition(".")[0] for row in ROWS} == set(off)
    assert [value_in(off, row.path) for row in ROWS] == [row.default for row in ROWS]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.path)
def test_reader_and_api_have_the_same_bounds(row: tuple[str, object, Field]) -> None:
    path, default, field = row
    schema = schema_of(path)
    if field.kind in ("ratio", "number", "whole"):
        assert (schema["minimum"], schema["maximum"]) == (field.low, field.high)
        for beyond in (field.low - 1, field.high + 1):
            with pytest.raises(RequestError) as refused:
                Link.from_body(body_with(path, beyond))
            assert refused.value.field == path
        assert field.read(field.high, path) == field.high
    elif field.kind == "choice":
        assert schema["enum"] == list(DISTRIBUTIONS)
    else:
        assert (schema["type"], default) == ("boolean", False)


@pytest.mark.parametrize("name", [row.path for row in ROWS if row.field.word])
def test_a_word_on_the_command_line_sets_its_field(name: str) -> None:
    field = LINK_FIELDS[name]
    value = max(1, int(field.low))
    text = field.word if field.kind == "flag" else f"{field.word}={value}"
    needed = ",delay=1" if name == "reorder_ratio" else ""
    assert value_in(read_link(text + needed, "up").to_body(), name) == (True if field.kind == "flag" else value)


def test_the_body_that_is_sent_has_the_fields_and_types_of_the_link() -> None:
    for kind, shape in ((Link, bodies.Link), (Burst, bodies.Burst)):
        ours = get_type_hints(kind)
        theirs = get_type_hints(shape)
        assert list(ours) == list(theirs)
        assert all(theirs[name] == bodies.Burst if ours[name] is Burst else ours[name] == theirs[name] for name in ours)


def test_sliders_reach_no_further_than_what_can_be_asked_for() -> None:
    for path, _, field in ROWS:
        if field.slider is not None:
            most = field.slider.most / (100 if field.kind == "ratio" else 1)
            assert field.low < most <= field.high, path


def test_a_field_is_found_in_the_annotation_of_any_class() -> None:
    class Toy:
        drop_odd: Annotated[bool, Field("flag", "Drop every second one")]

    hint = get_type_hints(Toy, include_extras=True)["drop_odd"]
    assert get_origin(hint) is Annotated
    assert fields_of(Toy)["drop_odd"].label == "Drop every second one"
