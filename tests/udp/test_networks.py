"""Where hosted clients may send."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from support.namespaces import namespace
from udprism.errors import RequestError
from udprism.udp.networks import Targets, has_name, own_networks

OWN = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"), ipaddress.ip_network("192.0.2.0/24")]
targets = Targets(["198.51.100.0/24"], [8000], own=lambda: OWN)


@pytest.mark.parametrize("target", ["127.0.0.1:5000", "[::1]:5000", "192.0.2.7:1024", "198.51.100.1:65535"])
def test_this_machine_its_networks_and_what_was_allowed_are_targets(target: str) -> None:
    assert {port for _, port in targets.resolve(target)} == {int(target.rpartition(":")[2])}


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("127.0.0.1", "HOST:PORT"),
        ("127.0.0.1:1023", "1024"),
        ("127.0.0.1:8000", "own web port"),
        ("203.0.113.1:5000", "allow-target"),
        ("192.0.2.255:5000", "allow-target"),
        ("224.0.0.1:5000", "allow-target"),
        ("0.0.0.0:5000", "allow-target"),
        ("169.254.169.254:5000", "allow-target"),
        ("[::ffff:203.0.113.1]:5000", "allow-target"),
        ("no such host:5000", "resolve"),
    ],
)
def test_everything_else_is_refused_with_the_field_and_what_would_be_right(target: str, says: str) -> None:
    with pytest.raises(RequestError, match=says) as caught:
        targets.resolve(target)
    assert caught.value.field == "target"


def test_loopback_is_always_among_this_machines_networks() -> None:
    networks = own_networks()
    assert any(ipaddress.ip_address("127.0.0.1") in network for network in networks)


def test_target_is_allowed_on_an_address_that_came_after_the_start() -> None:
    own = [*OWN]
    late = Targets([], [], own=lambda: own)
    with pytest.raises(RequestError, match="allow-target"):
        late.resolve("10.9.0.1:5000")
    own = [*OWN, ipaddress.ip_network("10.9.0.0/24")]
    assert late.resolve("10.9.0.1:5000") == (("10.9.0.1", 5000),)


def test_all_allowed_addresses_of_a_name_are_there_in_the_systems_order(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ["::1", "203.0.113.1", "127.0.0.1", "::1"]
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port, **_: [(0, 0, 0, "", (one, port)) for one in found])
    assert targets.resolve("several:5000") == (("::1", 5000), ("127.0.0.1", 5000))


@pytest.mark.parametrize(
    ("target", "named"), [("127.0.0.1:1", False), ("[::1]:1", False), ("localhost:1", True), ("a.example:1", True)]
)
def test_what_has_to_be_looked_up(target: str, named: bool) -> None:
    assert has_name(target) is named


@pytest.mark.peer
def test_all_addresses_of_an_interface_are_this_machines() -> None:
    with namespace() as machine:
        machine.ip("addr add 10.7.0.1/24 dev lo")
        machine.ip("addr add 10.8.0.1/24 dev lo")  # `ip addr` shows it as a second address of the same interface
        machine.ip("addr add 10.7.0.2/24 dev lo")
        machine.ip("addr add fd00:7::1/64 dev lo")
        machine.ip("addr add 192.0.2.9 peer 192.0.2.10 dev lo")
        with machine.entered():
            late = Targets([], [])
            for target in ("10.7.0.1:5000", "10.8.0.1:5000", "10.7.0.2:5000", "[fd00:7::1]:5000", "192.0.2.9:5000"):
                assert late.resolve(target)[0][1] == 5000
            with pytest.raises(RequestError, match="allow-target"):
                late.resolve("10.9.0.1:5000")
            machine.ip("addr add 10.9.0.1/24 dev lo")
            assert late.resolve("10.9.0.1:5000") == (("10.9.0.1", 5000),)
