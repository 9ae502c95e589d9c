"""Text commands: the golden vectors, and what must hold for any bytes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from udprism.errors import WireError
from udprism.serving import commands
from udprism.serving.commands import (
    Command,
    Connect,
    Disconnect,
    Response,
    encode_connect,
    encode_disconnect,
    parse_command,
)
from udprism.wire import colours as palette
from udprism.wire import measured as wire

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "wire.json").read_text("utf-8"))
REASONS = {"too-long", "empty", "not-text", "bad-command", "bad-option", "duplicate-option", "server-text"}

tokens = st.text("ABCXYZabcxyz0189_-", min_size=11, max_size=11)
names = st.text(min_size=1, max_size=64).filter(commands.is_name)
connects = st.builds(
    Connect,
    measured=st.booleans(),
    rate_hz=st.none() | st.floats(commands.MIN_RATE_HZ, commands.MAX_RATE_HZ),
    colours=st.none() | st.integers(1, wire.MAX_COLOURS),
    palette=st.none() | st.sampled_from(palette.PALETTES),
    name=st.none() | names,
    token=st.none() | tokens,
    line_feed=st.booleans(),
)
trailing = st.text("\r\n \0", max_size=4).map(str.encode)
words = st.sampled_from(
    ["v=1", "rate_hz=5", "colours=3", "palette=css", "name=a%20b", "token=AAAAAAAAAAA", "x=", "=", ""]
)
shaped = st.tuples(st.sampled_from(["connect", "disconnect", "retry"]), st.lists(words | st.text(max_size=9)), trailing)
near_commands = shaped.map(lambda s: " ".join([s[0], *s[1]]).encode("utf-8", "surrogatepass") + s[2])


def command_or_reason(data: bytes) -> Command | str:
    try:
        return parse_command(data)
    except WireError as error:
        return error.reason


def golden_value(value: dict[str, Any]) -> Command:
    if "connect" in value:
        return Connect(**value["connect"])
    return Response(value["response"]) if "response" in value else Disconnect()


@pytest.mark.parametrize("vector", GOLDEN["commands"], ids=lambda v: repr(bytes.fromhex(v["hex"]))[:40])
def test_golden_commands_parse(vector: dict[str, Any]) -> None:
    assert parse_command(bytes.fromhex(vector["hex"])) == golden_value(vector["value"])


@pytest.mark.parametrize(
    "vector", GOLDEN["bad_commands"], ids=lambda v: f"{v['reason']}-{bytes.fromhex(v['hex'])!r}"[:60]
)
def test_golden_bad_commands_say_what_is_wrong(vector: dict[str, Any]) -> None:
    with pytest.raises(WireError) as caught:
        parse_command(bytes.fromhex(vector["hex"]))
    assert caught.value.reason == vector["reason"]


def test_golden_retries() -> None:
    for vector in GOLDEN["retries"]:
        assert commands.parse_retry(bytes.fromhex(vector["hex"])) == vector["token"]
        assert bytes.fromhex(vector["hex"]).rstrip(b"\n") == commands.encode_retry(vector["token"])
    for data in GOLDEN["bad_retries"]:
        with pytest.raises(WireError, match="not-retry"):
            commands.parse_retry(bytes.fromhex(data))


@given(st.one_of(st.binary(max_size=300), near_commands, near_commands.map(lambda data: data + b"\xff")))
@example(b"connect rate_hz=\xc2\xb2")  # a superscript two: str.isdigit says yes, float says no
@example("connect colours=\u0663".encode())  # an Arabic-Indic three: int says 3
def test_any_bytes_parse_or_raise_the_one_error(data: bytes) -> None:
    command = command_or_reason(data)
    if isinstance(command, str):
        assert command in REASONS
    if isinstance(command, Response):
        assert command.text.isprintable()
        assert 1 <= len(command.text.encode()) <= 64
    if isinstance(command, Connect):
        assert parse_command(encode_connect(command)) == command


@given(connects)
def test_what_is_asked_for_is_what_is_understood(connect: Connect) -> None:
    data = encode_connect(connect)
    assert len(data) <= commands.MAX_COMMAND_BYTES
    assert data.isascii()
    assert parse_command(data) == connect


LONGEST = Connect(True, math.nextafter(commands.MIN_RATE_HZ, 1), 480, "basic", None, "A" * 11, line_feed=True)


@pytest.mark.parametrize("letter", ["a", "/", "%", "ж", "日", "🟥"])
def test_a_name_s_length_is_counted_as_it_is_encoded_so_that_every_name_fits_beside_every_option(letter: str) -> None:
    longest = max((letter * count for count in range(1, 65) if commands.is_name(letter * count)), key=len)
    assert len(encode_connect(replace(LONGEST, name=longest))) <= commands.MAX_COMMAND_BYTES
    one_more = longest + letter
    fault = commands.name_fault(one_more)
    assert fault is not None
    assert ("64 printable characters" if letter in "a/" else "at most 160 bytes in a command") in fault


@pytest.mark.parametrize("name", ["日" * 25, "ж" * 37, " padded", "padded ", "", "a\n", "a" * 65])
def test_what_is_no_name_of_ours(name: str) -> None:
    assert not commands.is_name(name)


def test_a_raw_client_may_have_any_name_that_its_own_command_has_room_for() -> None:
    assert parse_command(b"connect name=" + b"%E6%97%A5" * 25) == Connect(name="日" * 25)


@given(connects.filter(lambda c: not c.line_feed), trailing)
def test_trailing_bytes_are_ignored_and_a_line_feed_among_them_is_noticed(connect: Connect, tail: bytes) -> None:
    short = Connect(measured=connect.measured, rate_hz=connect.rate_hz, token=connect.token)
    expected = Connect(measured=short.measured, rate_hz=short.rate_hz, token=short.token, line_feed=b"\n" in tail)
    assert parse_command(encode_connect(short) + tail) == expected


def test_the_bare_connect_is_what_a_foreign_server_compares_with() -> None:
    assert encode_connect(Connect()) == b"connect"


@given(st.sampled_from(palette.PALETTES), st.integers(0, 4095), st.booleans())
def test_no_colour_that_a_server_sends_is_accepted(name: palette.PaletteName, index: int, line_feed: bool) -> None:
    table = palette.plain_rows(name, line_feed)
    row = index % len(table.rows)
    with pytest.raises(WireError, match="server-text"):
        parse_command(table.rows[row, : table.length[row]].tobytes())


@given(tokens)
def test_a_retry_is_17_bytes_and_never_accepted_by_a_server(token: str) -> None:
    data = commands.encode_retry(token)
    assert len(data) == 17
    assert commands.parse_retry(data) == token
    with pytest.raises(WireError, match="server-text"):
        parse_command(data)


@given(st.integers(1, 4), st.binary(min_size=19, max_size=60))
def test_no_binary_datagram_is_text(kind: int, tail: bytes) -> None:
    with pytest.raises(WireError):
        parse_command(bytes((wire.MAGIC, wire.VERSION, kind)) + tail)


def test_basic_names_in_indonesian_are_responses() -> None:
    for name in palette.INDONESIAN.values():
        assert parse_command(name.encode()) == Response(name)


def test_rates_at_the_bounds_survive_the_wire() -> None:
    for rate_hz in (commands.MIN_RATE_HZ, math.nextafter(commands.MIN_RATE_HZ, 1), 1 / 3, commands.MAX_RATE_HZ):
        assert parse_command(encode_connect(Connect(rate_hz=rate_hz))) == Connect(rate_hz=rate_hz)


def test_a_command_that_no_server_would_read_is_not_made() -> None:
    name = "é" * 40  # 240 bytes when percent-encoded
    with pytest.raises(ValueError, match="at most 256"):
        encode_connect(Connect(measured=True, rate_hz=12.5, colours=480, name=name, token="AbCd_-01234"))
    assert parse_command(encode_disconnect()) == Disconnect()


@pytest.mark.parametrize("line_feed", [False, True])
def test_who_asks_is_said_last_and_left_out_if_a_long_name_leaves_no_room(line_feed: bool) -> None:
    asks = Connect(measured=True, name="a", asker="n-00000001.c-a", line_feed=line_feed)
    assert encode_connect(asks) == b"connect v=1 name=a id=n-00000001.c-a" + b"\n" * line_feed
    assert parse_command(encode_connect(asks)) == asks
    long = replace(asks, name="é" * 26, rate_hz=math.pi, colours=64, palette="basic", token="A" * 11)
    assert len(encode_connect(replace(long, asker=None))) <= commands.MAX_COMMAND_BYTES
    assert parse_command(encode_connect(long)) == replace(long, asker=None)
