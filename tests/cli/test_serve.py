"""Parts of `serve`; end_to_end/test_serve.py runs all of it as a person does."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from udprism.cli.serve import end_on_signals


@pytest.fixture
def handlers() -> Iterator[None]:
    """This process's own handlers, back again afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_an_event_and_no_exception(handlers: None, number: signal.Signals) -> None:
    ended = end_on_signals()
    assert not ended.is_set()
    signal.raise_signal(number)
    assert ended.is_set()
