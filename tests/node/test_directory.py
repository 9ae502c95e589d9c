"""Which hosted clients are kept: ids and names stay together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from udprism.errors import RequestError
from udprism.node.directory import Directory


def directory_of(count: int) -> Directory:
    directory = Directory()
    for client in directory.define(None, "", 10, 1, "auto", count):
        directory.put(client)
    return directory


def test_new_clients_get_the_lowest_free_numbers() -> None:
    directory = directory_of(3)
    second = next(one for one in directory.clients.values() if one.name == "client-002")
    directory.drop(second.id)
    names = [one.name for one in directory.define(None, "", 10, 1, "auto", 2)]
    assert names == ["client-002", "client-004"]
    assert len(directory) == 2, "what is defined is not yet there"


def test_a_name_is_taken_until_its_client_has_another_or_is_gone() -> None:
    directory = directory_of(1)
    (client,) = directory.clients.values()
    with pytest.raises(RequestError, match="client-001"):
        directory.require_free("client-001")
    directory.require_free("client-001", but=client.id)
    directory.put(replace(client, name="anna"))
    directory.require_free("client-001")
    assert directory.name_of(client.id) == "anna"
    directory.drop(client.id)
    directory.require_free("anna")
    assert directory.name_of(client.id) is None


def test_a_client_that_is_held_back_keeps_its_name_and_is_not_there() -> None:
    directory = Directory()
    (client,) = directory.define("anna", "", 10, 1, "auto", 1)
    directory.hold_back([client])
    assert client.id not in directory
    with pytest.raises(RequestError):
        directory.define("anna", "", 10, 1, "auto", 1)
    with pytest.raises(RequestError):
        directory.require(client.id)


def test_a_name_that_becomes_too_long_by_its_number_is_refused() -> None:
    with pytest.raises(RequestError, match="numbered"):
        Directory().define("x" * 62, "", 10, 1, "auto", 2)
