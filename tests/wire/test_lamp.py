from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from udprism.wire.lamp import MAX_CHANGE_BYTES, Lamp, answer, change

LAMP = Lamp("desk", "127.0.0.1", bytes.fromhex("0242ac110002"), 300, uptime_s=7)


@pytest.mark.parametrize(
    "path",
    [
        "/json",
        "/json/",
        "/json/info",
        "/json/state",
        "/json/cfg",
        "/json/nodes",
        "/json/si",
        "/json/effects",
        "/json/palettes",
        "/json/fxdata",
        "/presets.json",
    ],
)
def test_every_program_s_first_question_has_an_answer_that_is_json(path: str) -> None:
    assert json.loads(json.dumps(answer(LAMP, path)))


def test_what_a_lamp_does_not_have_is_not_made_up() -> None:
    assert answer(LAMP, "/edit") is None
    assert answer(LAMP, "") is None


@pytest.mark.parametrize(
    ("body", "is_on", "brightness"),
    [
        (b'{"on": false}', False, 255),
        (b'{"on": "t"}', False, 255),
        (b'{"on": true, "bri": 12}', True, 12),
        (b'{"bri": 300}', True, 255),
        (b'{"bri": 0}', False, 255),
        (b'{"seg": [{"fx": 9}]}', True, 255),
        (b'{"on": 1, "bri": true}', True, 255),
        (b"on=False", False, 255),
        (b"bri=17", True, 17),
    ],
)
def test_a_change_is_obeyed_as_far_as_a_lamp_without_light_can(body: bytes, is_on: bool, brightness: int) -> None:
    changed, said = change(LAMP, body)
    assert (changed.is_on, changed.brightness) == (is_on, brightness)
    assert said == {"success": True}


def test_the_state_is_told_after_a_change_if_it_is_asked_for() -> None:
    _, said = change(LAMP, b'{"bri": 5, "v": true}')
    assert isinstance(said, dict)
    assert said["bri"] == 5


@pytest.mark.parametrize("body", [b"", b"[1]", b"nothing", b"\xff\xfe", b"{" * 5_000, b'{"a":' * 3_000])
def test_what_is_no_change_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="JSON"):
        change(LAMP, body)


def test_a_change_has_a_greatest_size() -> None:
    with pytest.raises(ValueError, match="at most"):
        change(LAMP, b" " * (MAX_CHANGE_BYTES + 1))


@given(st.binary(max_size=200))
def test_any_body_changes_the_lamp_or_is_refused(body: bytes) -> None:
    try:
        changed, said = change(LAMP, body)
    except ValueError:
        return
    assert 0 < changed.brightness <= 255
    json.dumps(said)
