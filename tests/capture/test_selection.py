"""Which of a capture's datagrams are meant, in words."""

from __future__ import annotations

import numpy as np
import pytest

from support.captures import ethernet, ip4, ip6, pcap_head, record, udp
from udprism.capture.datagrams import DatagramReader
from udprism.capture.selection import Selection
from udprism.errors import RequestError

FOUR = [
    ip4(udp(b"a", ("10.0.0.1", 7000), ("10.0.0.2", 7001))),
    ip4(udp(b"b", ("10.0.0.1", 7001), ("10.0.0.2", 1)), ("10.0.0.1", 0), ("10.0.0.2", 0)),
    ip4(udp(b"c", ("10.0.0.2", 1), ("10.0.0.1", 7000)), ("10.0.0.2", 0), ("10.0.0.1", 0)),
    ip6(udp(b"d", ("2001:db8::1", 40_000), ("2001:db8::2", 12_345))),
]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", b"abcd"),
        (" ", b"abcd"),
        ("port=7000", b"ac"),
        ("port=7001", b"ab"),
        ("from=10.0.0.1", b"ab"),
        ("from=10.0.0.1:7001", b"b"),
        ("to=10.0.0.1:7000", b"c"),
        ("to=10.0.0.2: , port=7000", b"a"),
        ("from=10.0.0.9", b""),
        ("from=2001:db8::1", b"d"),
        ("from=[2001:db8::1]", b"d"),
        ("to=[2001:db8::2]:12345", b"d"),
        ("to=[2001:db8::2]:12346", b""),
    ],
)
def test_all_words_must_hold(words: str, expected: bytes) -> None:
    data = pcap_head() + b"".join(record(ethernet(packet)) for packet in FOUR)
    (batch,) = DatagramReader(np.frombuffer(data, np.uint8)).datagrams()
    chosen = batch.part(Selection(words).of(batch))
    assert b"".join(chosen.payload(number) for number in range(len(chosen))) == expected


@pytest.mark.parametrize(
    "words",
    ["x", "port", "port=", "port=99999", "port=-1", "from=name", "from=1.2.3.4:x", "from=[::1", "from=[::1]5", ","],
)
def test_words_that_are_none_are_refused(words: str) -> None:
    with pytest.raises(RequestError) as caught:
        Selection(words)
    assert caught.value.field == "filter"
