"""Looking targets up beside everything else: each once at a time, and nobody waits for a name server that is silent."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from udprism.columns.types import Address
from udprism.errors import RequestError
from udprism.udp.lookups import MAX_AT_ONCE, Lookups

DEADLINE_S = 20.0


class NameServer:
    """Answers when it is told to, and notes who was asked for."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.asked: list[str] = []
        self.busy = threading.Semaphore(0)

    def __call__(self, target: str) -> tuple[Address, ...]:
        self.asked.append(target)
        self.busy.release()
        self.may_answer.wait(DEADLINE_S)
        if target.startswith("bad"):
            raise RequestError("no such name", field="target")
        return (("127.0.0.1", 5000),)


@pytest.fixture
def server() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.may_answer.set()


def test_a_target_is_looked_up_once_however_many_ask(server: NameServer) -> None:
    lookups = Lookups(server)
    first, second = lookups.look_up("a:5000"), lookups.look_up("a:5000")
    server.may_answer.set()
    assert first.result(DEADLINE_S) == second.result(DEADLINE_S) == (("127.0.0.1", 5000),)
    assert server.asked == ["a:5000"]
    lookups.look_up("a:5000").result(DEADLINE_S)
    assert len(server.asked) == 2, "nothing is remembered"


def test_what_is_wrong_with_a_target_reaches_whoever_asked(server: NameServer) -> None:
    server.may_answer.set()
    with pytest.raises(RequestError, match="no such name"):
        Lookups(server).look_up("bad:5000").result(DEADLINE_S)


def test_few_are_looked_up_at_once_and_all_in_the_end(server: NameServer) -> None:
    lookups = Lookups(server)
    futures = [lookups.look_up(f"n-{number}:5000") for number in range(3 * MAX_AT_ONCE)]
    for _ in range(MAX_AT_ONCE):
        assert server.busy.acquire(timeout=DEADLINE_S)
    assert len(server.asked) == MAX_AT_ONCE
    server.may_answer.set()
    assert len({future.result(DEADLINE_S) for future in futures}) == 1


def test_the_end_waits_for_no_name_server(server: NameServer) -> None:
    lookups = Lookups(server)
    futures = [lookups.look_up(f"n-{number}:5000") for number in range(2 * MAX_AT_ONCE)]
    lookups.close()
    for future in futures:
        with pytest.raises(RequestError, match="stopping"):
            future.result(0)
