"""sACN by multicast: only the groups asked for, only on the interface named, only from there."""

from __future__ import annotations

import socket
import sys
import uuid

import numpy as np
import pytest

from support.namespaces import Namespace, namespace, two_machines
from udprism.columns.types import Address
from udprism.errors import BindError
from udprism.settings import Settings
from udprism.udp.clock import SystemClock
from udprism.udp.listening import Listening
from udprism.udp.multicast import bind_group
from udprism.wire.e131 import group_of
from udprism.wire.format import Sending
from udprism.wire.formats import FORMATS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux hears one interface alone")
PORT = 5568
BUFFER_BYTES = 1 << 16


def frame(universe: int) -> bytes:
    """One frame as our own sender makes it."""
    encoder = FORMATS["e131"].encoder(Sending(4, uuid.uuid4().bytes, universe))
    assert encoder is not None
    out, one = np.zeros((1, encoder.width), np.uint8), np.zeros(1, np.int32)
    length = encoder.encode(out, one, one.astype(np.uint32), one.astype(np.int64), np.full((1, 4, 3), 7, np.uint8))
    return out[0, : length[0]].tobytes()


def send(here: Namespace, data: bytes, target: Address, source_ip: str) -> None:
    with here.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(source_ip))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        sock.sendto(data, target)


def test_the_groups_of_universes_are_those_of_the_standard() -> None:
    assert [group_of(universe) for universe in (1, 256, 63_999)] == ["239.255.0.1", "239.255.1.0", "239.255.249.255"]


def test_a_group_is_heard_on_the_named_interface_alone_and_beside_other_programs() -> None:
    with two_machines() as (here, there):
        here.ip("address add 10.9.0.1/24 dev wire")
        there.ip("address add 10.9.0.2/24 dev wire")
        there.ip("link set lo multicast on")
        with there.entered():
            other = bind_group(group_of(1), PORT, "lo", BUFFER_BYTES)  # another program joined elsewhere
            ours = bind_group(group_of(1), PORT, "wire", BUFFER_BYTES)
        with other, ours:
            for sock in (other, ours):
                sock.settimeout(5)
            send(there, b"on lo", (group_of(1), PORT), "127.0.0.1")
            assert other.recv(100) == b"on lo"
            send(here, b"another universe", (group_of(2), PORT), "10.9.0.1")
            send(here, b"unicast", ("10.9.0.2", PORT), "10.9.0.1")
            send(here, b"on wire", (group_of(1), PORT), "10.9.0.1")
            assert ours.recv(100) == b"on wire"


def test_an_interface_that_does_not_exist_is_named_in_the_error() -> None:
    with pytest.raises(BindError, match="on nowhere0"):
        bind_group(group_of(1), 0, "nowhere0", BUFFER_BYTES)


def test_a_group_is_joined_again_when_the_interface_comes_back_and_meanwhile_the_receiver_says_why() -> None:
    with namespace() as here, here.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unicast:
        unicast.bind(("127.0.0.1", 0))
        plug_in(here)
        ours = bind_group(group_of(1), PORT, "wire", BUFFER_BYTES)
        ours.settimeout(5)
        listening = Listening(Settings(), SystemClock())
        endpoint = listening.endpoint("p-1", FORMATS["e131"], unicast, [ours])
        listening.loop.stop()
        endpoint.act(0)
        assert endpoint.error is None
        here.ip("link del wire")
        endpoint.act(endpoint.next_due_ns())
        assert endpoint.error == "cannot hear multicast on wire: no interface with this name"
        plug_in(here)
        send(here, b"not heard", (group_of(1), PORT), "10.9.0.2")
        endpoint.act(endpoint.next_due_ns())
        assert endpoint.error is None
        send(here, b"heard", (group_of(1), PORT), "10.9.0.2")
        assert ours.recv(100) == b"heard"
        ours.close()


def plug_in(here: Namespace) -> None:
    """Its interface `wire`, with an address."""
    here.ip("link add wire type veth peer name far")
    here.ip("address add 10.9.0.2/24 dev wire")
    here.ip("link set wire up")
    here.ip("link set far up")
