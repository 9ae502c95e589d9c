"""The log: readable, parsable, and quiet about what it has said already."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from support.clock import FakeClock
from udprism.cli.logs import JsonFormatter, OnceInAWhile, TextFormatter, set_up

NS_PER_S = 1_000_000_000


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    """A logger of the test's own; the root's handlers are as before afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield logging.getLogger("udprism.test")
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def lines(log: logging.Logger, clock: FakeClock) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(OnceInAWhile(lambda: clock.now_ns() / NS_PER_S))
    handler.setFormatter(TextFormatter())
    log.addHandler(handler)
    yield stream
    log.removeHandler(handler)


def test_a_message_is_written_once_in_ten_seconds_whatever_its_arguments(
    log: logging.Logger, lines: io.StringIO, clock: FakeClock
) -> None:
    for number in range(1_000):
        log.warning("client %d cannot be reached", number)
        clock.advance(0.009)
    assert lines.getvalue().count("\n") == 1
    clock.advance(1.0)
    log.warning("client %d cannot be reached", 7)
    last = lines.getvalue().splitlines()[-1]
    assert last.endswith("warning udprism.test: client 7 cannot be reached (999 more like it suppressed)")


def test_other_messages_are_not_held_back_with_it(log: logging.Logger, lines: io.StringIO) -> None:
    log.warning("one")
    log.warning("two")
    log.error("two")
    assert lines.getvalue().count("\n") == 3


def test_memory_for_messages_is_bounded(log: logging.Logger) -> None:
    quiet = OnceInAWhile(lambda: 0.0)
    for number in range(10_000):
        quiet.filter(log.makeRecord("a", logging.INFO, "", 0, f"text {number}", (), None))
    assert len(quiet._seen) <= 256


def test_json_lines_carry_the_exception_and_stay_one_line(log: logging.Logger) -> None:
    stream = io.StringIO()
    set_up(as_json=True, stream=stream)
    try:
        raise ValueError("wrong\nin two lines")
    except ValueError:
        log.exception("it failed with %s", "grün")
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert entry["level"] == "error"
    assert entry["logger"] == "udprism.test"
    assert entry["message"] == "it failed with grün"
    assert "ValueError: wrong" in entry["exception"]
    assert entry["time"].endswith("+00:00")


def test_json_lines_say_how_many_were_held_back(log: logging.Logger) -> None:
    record = log.makeRecord("a", logging.INFO, "", 0, "again", (), None)
    record.held_back = 3
    assert json.loads(JsonFormatter().format(record))["held_back"] == 3
