"""A relay whose machine's own addresses change, as they do with Wi-Fi, DHCP and VPNs."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from support.namespaces import DEADLINE_S, Namespace, two_machines
from udprism.testing import UdpRelay

TARGET, BEFORE, AFTER = "192.0.2.1", "192.0.2.50", "192.0.2.60"


@contextmanager
def udp(host: str, timeout_s: float) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        sock.settimeout(timeout_s)
        yield sock


def heard_from(target: socket.socket, client: socket.socket, relay: UdpRelay, wanted: str) -> tuple[str, int]:
    """Send until the target hears it from this address; it then answers there, and the client hears it."""
    until_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < until_s:
        client.sendto(b"ask", relay.address)
        try:
            _, source = target.recvfrom(100)
        except TimeoutError:
            continue
        if source[0] == wanted:
            target.sendto(b"answer", source)
            assert client.recv(100) == b"answer"
            return str(source[0]), int(source[1])
    pytest.fail(f"nothing came from {wanted}")


def by_dhcp(here: Namespace, there: Namespace) -> None:
    here.ip(f"addr del {BEFORE}/24 dev wire")
    here.ip(f"addr add {AFTER}/24 dev wire")


def by_a_vpn(here: Namespace, there: Namespace) -> None:
    """The old address is still there, nothing fails, and what leaves from it is never answered."""
    here.ip(f"addr add {AFTER}/24 dev wire")
    here.ip(f"route replace {TARGET}/32 dev wire src {AFTER}")
    there.ip(f"route add blackhole {BEFORE}/32")


@pytest.mark.peer
@pytest.mark.parametrize("change", [by_dhcp, by_a_vpn])
@pytest.mark.parametrize("any_port", [False, True])
def test_a_conversation_goes_on_from_the_machines_new_address_and_the_same_port(
    change: Callable[[Namespace, Namespace], None], any_port: bool
) -> None:
    with two_machines() as (here, there):
        there.ip(f"addr add {TARGET}/24 dev wire")
        here.ip(f"addr add {BEFORE}/24 dev wire")
        with ExitStack() as stack:
            with there.entered():
                target = stack.enter_context(udp(TARGET, 0.1))
            stack.enter_context(here.entered())
            relay = stack.enter_context(UdpRelay(to=target.getsockname(), any_port=any_port))
            client = stack.enter_context(udp("127.0.0.1", DEADLINE_S))
            before = heard_from(target, client, relay, BEFORE)
            change(here, there)
            assert heard_from(target, client, relay, AFTER)[1] == before[1]
            assert len(relay.flows) == 1
