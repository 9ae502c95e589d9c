"""Whatever callers send either is one of ours or is refused with words: nothing else can happen."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from udprism.errors import RequestError
from udprism.link.link import Burst, Link
from udprism.serving.clients import State
from udprism.web import bodies

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NEARLY_OURS = st.fixed_dictionaries(
    {"type": st.sampled_from(["watch", "more", "mare", 1])},
    optional={
        "rows": ANY_JSON | st.lists(st.integers(-2, 5)),
        "client": ANY_JSON,
        "sessions": ANY_JSON,
        "session": ANY_JSON,
        "x": ANY_JSON,
    },
)


@given(st.text() | (ANY_JSON | NEARLY_OURS).map(json.dumps))
def test_any_text_from_a_viewer_is_a_message_or_is_refused_with_a_reason(text: str) -> None:
    try:
        message = bodies.ViewerMessage.validate_json(text)
    except ValidationError as error:
        for one in error.errors():
            field, detail = bodies.fault(one)
            assert detail
            assert len(field) <= bodies.NAME_CHARACTERS
    else:
        assert isinstance(message, bodies.Watch | bodies.More)
        assert bodies.ViewerMessage.validate_json(message.model_dump_json()) == message


@pytest.mark.parametrize("kind", [bodies.AddClients, bodies.ClientChanges, bodies.ListQuery, bodies.RemoveQuery])
@given(value=ANY_JSON)
def test_any_value_as_a_body_is_taken_or_refused_with_words(kind: Any, value: Any) -> None:
    assert all(detail for _, detail in faults(kind, value))


def faults(kind: Any, value: Any) -> list[tuple[str, str]]:
    """What is wrong with a value; nothing where it is taken."""
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        return [bodies.fault(one) for one in error.errors()]
    return []


@given(st.text(max_size=70))
def test_name_that_is_taken_can_be_shown_in_one_line(name: str) -> None:
    try:
        taken = bodies.AddClients(name=name).name
    except ValidationError:
        return
    assert taken == name
    assert 1 <= len(name) <= 64
    assert name.isprintable()
    assert len(name.splitlines()) == 1
    name.encode()


@pytest.mark.parametrize("name", ["日" * 25, "ж" * 37, "🟥" * 14])
def test_name_that_would_not_fit_in_a_command_is_refused_with_the_bytes_that_it_takes(name: str) -> None:
    for kind in (bodies.AddClients, bodies.ClientChanges):
        ((field, detail),) = faults(kind, {"name": name})
        assert field == "name"
        assert "at most 160 bytes" in detail


def test_states_that_can_be_asked_for_are_those_of_a_client() -> None:
    for state in State:
        if state != State.FREE:
            assert bodies.ListQuery(state=state.name.lower()).state == state.name.lower()


def test_fault_does_not_repeat_the_value() -> None:
    found = faults(bodies.AddClients, {"rate_hz": "sesame", "mode": "sesame", "name": "sesame\n"})
    assert len(found) == 3
    assert "sesame" not in str(found)


def link_schema() -> dict[str, Any]:
    return TypeAdapter(bodies.LinkBody).json_schema()


def parts(schema: dict[str, Any], *above: str) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Each field of a link by its path, and what the document says of it where it is not null."""
    for name, said in schema["properties"].items():
        value = said["anyOf"][0] if "anyOf" in said else said
        if "properties" in value:
            yield from parts(value, *above, name)
        else:
            yield (*above, name), value


def is_taken(path: tuple[str, ...], value: object) -> bool:
    others: dict[str, Any] = {"burst": {"leave_ratio": 0.5}, "delay_ms": 5}  # what some fields need beside them
    place = others.setdefault(path[0], {}) if len(path) == 2 else others
    place[path[-1]] = value
    try:
        Link.from_body(others)
    except RequestError:
        return False
    return True


@pytest.mark.parametrize(("path", "said"), [pytest.param(*one, id=".".join(one[0])) for one in parts(link_schema())])
def test_document_says_of_a_link_what_is_checked(path: tuple[str, ...], said: dict[str, Any]) -> None:
    if said["type"] == "boolean":
        assert is_taken(path, True)
        assert not is_taken(path, 1)
    elif "enum" in said:
        assert all(is_taken(path, value) for value in said["enum"])
        assert not is_taken(path, "another")
    else:
        step = 1 if said["type"] == "integer" else 0.001
        low, high = said["minimum"], said["maximum"]
        assert is_taken(path, low)
        assert is_taken(path, high)
        assert not is_taken(path, low - step)
        assert not is_taken(path, high + step)
        assert is_taken(path, low + 0.5) == (said["type"] == "number")


def test_document_names_each_field_of_a_link_and_no_other() -> None:
    names = [".".join(path) for path, _ in parts(link_schema())]
    assert names == [
        f"{one.name}.{part.name}" if one.name == "burst" else one.name
        for one in dataclasses.fields(Link)
        for part in (dataclasses.fields(Burst) if one.name == "burst" else (one,))
    ]
    assert link_schema()["additionalProperties"] is False


def allows(schema: dict[str, Any], body: dict[str, Any]) -> bool:
    """As much of JSON Schema as says that one field needs another."""

    def fits(rule: dict[str, Any]) -> bool:
        return all(name in body for name in rule["required"]) and all(
            (value > said["exclusiveMinimum"] if "exclusiveMinimum" in said else value == said["const"])
            for name, said in rule["properties"].items()
            if (value := body.get(name)) is not None
        )

    return not fits(schema["if"]) or fits(schema["then"])


values = st.sampled_from([0, 0.5])
burst_bodies = st.fixed_dictionaries({}, optional={"enter_ratio": values, "leave_ratio": values})


@given(
    st.fixed_dictionaries({}, optional={"reorder_ratio": values, "delay_ms": values, "keep_order": st.booleans()}),
    burst_bodies,
)
def test_document_says_which_fields_of_a_link_need_others(body: dict[str, Any], burst: dict[str, Any]) -> None:
    schema = link_schema()
    is_allowed = allows(schema, body) and allows(schema["properties"]["burst"]["anyOf"][0], burst)
    try:
        Link.from_body({**body, "burst": burst})
    except RequestError:
        assert not is_allowed
    else:
        assert is_allowed


@given(st.text(max_size=5))
def test_document_says_no_more_of_a_name_than_is_checked(name: str) -> None:
    (pattern,) = (
        one["pattern"] for one in TypeAdapter(bodies.AddClients).json_schema()["properties"]["name"]["anyOf"][:1]
    )
    try:
        TypeAdapter(bodies.Name).validate_python(name)
    except ValidationError:
        assert not name.isprintable() or not re.search(pattern, name)
    else:
        assert re.search(pattern, name)
