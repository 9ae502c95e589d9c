"""Rows of the database as a damaged disk may give them back: what is a client or a link is taken, the rest is said."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from udprism.link.link import Link
from udprism.node.kept import KeptClient, read
from udprism.web import bodies

GOOD: list[Any] = ["c-1", "north", "127.0.0.1:12345", "auto", 10.0, 1, 0]
ANY = (
    st.none()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.sampled_from(["", "auto", "c-1", "127.0.0.1:1", "\udc80"])
)


def changed(place: int, value: Any) -> list[Any]:
    return [*GOOD[:place], value, *GOOD[place + 1 :]]


def test_what_was_written_is_read() -> None:
    kept = read([GOOD, ["c-2", "south", "", "plain", 0.01, 480, 1]], [("c-1", '{"delay_ms": 5}')], begun=True)
    assert kept.clients == [
        KeptClient("c-1", "north", "127.0.0.1:12345", "auto", 10.0, 1, False),
        KeptClient("c-2", "south", "", "plain", 0.01, 480, True),
    ]
    assert kept.links == {"c-1": {"delay_ms": 5}}
    assert kept.left_out == []


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (0, "", "id"),
        (0, b"c-1", "id"),
        (0, "c-\x00", "id"),
        (1, None, "name"),
        (1, "no\nrth", "name"),
        (1, "n" * 65, "name"),
        (1, "north\udc80", "name"),
        (2, "127.0.0.1", "HOST:PORT"),
        (2, "127.0.0.1:99999", "HOST:PORT"),
        (2, 5, "target"),
        (3, "iuto", "mode"),
        (4, 0.001, "rate_hz"),
        (4, math.inf, "rate_hz"),
        (4, math.nan, "rate_hz"),
        (4, "10", "rate_hz"),
        (5, 0, "colours"),
        (5, 481, "colours"),
        (5, 1.5, "colours"),
        (6, 2, "paused"),
        (6, None, "paused"),
    ],
)
def test_a_row_beyond_the_bounds_is_left_out_and_said_and_the_others_stay(place: int, value: Any, says: str) -> None:
    kept = read([changed(place, value), ["c-2", "south", "", "auto", 1.0, 1, 0]], [], begun=True)
    assert [client.id for client in kept.clients] == ["c-2"]
    (line,) = kept.left_out
    assert says in line
    assert line.isprintable()


@pytest.mark.parametrize(("place", "value"), [(0, "c-2"), (1, "south")])
def test_two_rows_of_one_id_or_name_are_one_client(place: int, value: str) -> None:
    twice = [["c-2", "south", "", "auto", 1.0, 1, 0], changed(place, value)]
    kept = read(twice, [], begun=True).with_names_once()
    assert [client.id for client in kept.clients] == ["c-2"]
    assert len(kept.left_out) == 1


@pytest.mark.parametrize(
    ("owner", "text"),
    [
        ("c-9", "{}"),
        ("c-1", "{"),
        ("c-1", '"text"'),
        ("c-1", '{"loss_ratio": 2}'),
        ("c-1", '{"l\u0000ss_ratio": 1}'),
        ("c-1", b"{}"),
        ("c-1", "[" * 100_000),
        ("default", "null"),
        (None, "{}"),
    ],
)
def test_a_link_that_is_none_is_left_out_and_said(owner: Any, text: Any) -> None:
    kept = read([GOOD], [(owner, text)], begun=True)
    assert (kept.links, kept.default_link) == ({}, None)
    assert len(kept.left_out) == 1
    assert len(kept.clients) == 1


def test_a_file_with_clients_is_no_first_start_though_the_fact_is_gone() -> None:
    assert not read([GOOD], [], begun=False).first_start
    assert not read([changed(3, "iuto")], [], begun=False).first_start
    assert read([], [], begun=False).first_start


@given(st.lists(st.tuples(*([ANY] * 7))), st.lists(st.tuples(ANY, ANY | st.sampled_from(["{}", '{"delay_ms": 1}']))))
def test_of_any_rows_only_what_the_api_would_take_is_read(clients: Any, links: Any) -> None:
    kept = read(clients, links, begun=True)
    assert len(kept.clients) + len(kept.links) + (kept.default_link is not None) + len(kept.left_out) <= len(
        clients
    ) + len(links)
    for client in kept.clients:
        TypeAdapter(bodies.RateHz).validate_python(client.rate_hz)
        TypeAdapter(bodies.Colours).validate_python(client.colours)
        TypeAdapter(bodies.Id).validate_python(client.id)
        if client.target:
            TypeAdapter(bodies.Target).validate_python(client.target)
    for body in kept.links.values():
        Link.from_body(body)
        json.dumps(body)
