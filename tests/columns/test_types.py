"""Addresses as text, and which hosts stay on this machine."""

from __future__ import annotations

import pytest

from udprism.columns.types import format_address, is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost", "::ffff:127.0.0.1"])
def test_what_stays_on_this_machine_is_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "::", "0.0.0.0", "fe80::1", "localhost.example", "", "::ffff:10.0.0.1"])
def test_nothing_else_is_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_an_ipv6_address_has_brackets() -> None:
    assert format_address(("127.0.0.1", 5)) == "127.0.0.1:5"
    assert format_address(("::1", 65_535)) == "[::1]:65535"
