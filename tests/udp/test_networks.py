"""Where hosted clients may send."""

from __future__ import annotations

import ipaddress

import pytest

from udprism.errors import RequestError
from udprism.udp.networks import Targets, own_networks

OWN = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"), ipaddress.ip_network("192.0.2.0/24")]
targets = Targets(OWN, ["198.51.100.0/24"], [8000])


@pytest.mark.parametrize("target", ["127.0.0.1:5000", "[::1]:5000", "192.0.2.7:1024", "198.51.100.1:65535"])
def test_this_machine_its_networks_and_what_was_allowed_are_targets(target: str) -> None:
    assert targets.resolve(target)[1] == int(target.rpartition(":")[2])


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
