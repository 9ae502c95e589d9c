"""Fixtures of the tests with real senders and receivers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from peers.capture import Interpreters
from peers.hosts import Hosts, two_hosts


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with two_hosts() as made:
        yield made


@pytest.fixture(scope="session")
def interpreters(tmp_path_factory: pytest.TempPathFactory) -> Interpreters:
    """The pinned programs, each installed when it is first needed."""
    return Interpreters(tmp_path_factory.mktemp("peers"))
