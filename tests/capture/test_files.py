"""pcap and pcapng as packets: both byte orders, every kind of block, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from support import captures
from support.captures import Order, enhanced, interface, obsolete, option, pcap_head, record, section, simple
from udprism.capture.buffer import Buffer
from udprism.capture.datagrams import open_capture
from udprism.capture.packets import UNKNOWN_NS, CaptureFile
from udprism.errors import CaptureError

NOW_S = 1_700_000_000
ORDERS: Sequence[Order] = ("<", ">")


def opened(data: bytes) -> CaptureFile:
    return open_capture(Buffer(np.frombuffer(data, np.uint8)))


Packet = tuple[int, int, bytes, int]
"""(interface, time in ns, data, original length)"""


def read(data: bytes) -> tuple[CaptureFile, list[Packet]]:
    file = opened(data)
    seen: list[Packet] = []
    for packets in file.packets():
        for number in range(len(packets)):
            at, size = int(packets.data_at[number]), int(packets.captured[number])
            seen.append(
                (
                    int(packets.interface[number]),
                    int(packets.time_ns[number]),
                    data[at : at + size],
                    int(packets.original[number]),
                )
            )
    return file, seen


def refused(data: bytes) -> tuple[CaptureError, int]:
    """The fault, and how many packets came before it."""
    sizes: list[int] = []
    with pytest.raises(CaptureError) as caught:
        sizes.extend(len(packets) for packets in opened(data).packets())
    return caught.value, sum(sizes)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("magic", "tick_ns"), [(captures.MAGIC_US, 1000), (captures.MAGIC_NS, 1)])
def test_a_classic_file_is_read_in_both_orders_and_resolutions(order: Order, magic: int, tick_ns: int) -> None:
    data = pcap_head(order, magic, snap_bytes=0) + record(b"abc", NOW_S, 7, order) + record(b"", 2**32 - 1, 0, order, 9)
    file, packets = read(data)
    assert packets == [
        (0, NOW_S * 10**9 + 7 * tick_ns, b"abc", 3),
        (0, (2**32 - 1) * 10**9, b"", 9),
    ]
    assert file.cut_at is None
    assert [one.link_type for one in file.interfaces] == [captures.ETHERNET]


def test_flags_about_check_sequences_are_no_link_type() -> None:
    file, _ = read(pcap_head(link_type=0x1400_0000 | captures.SLL2))
    assert file.interfaces[0].link_type == captures.SLL2


@pytest.mark.parametrize("left", range(1, 16 + 5))
def test_a_record_that_is_not_whole_is_where_the_file_was_cut(left: int) -> None:
    whole = pcap_head() + record(b"first")
    file, packets = read(whole + record(b"second")[:left])
    assert [packet[2] for packet in packets] == [b"first"]
    assert file.cut_at == len(whole)


@pytest.mark.parametrize("order", ORDERS)
def test_every_kind_of_packet_block_is_read(order: Order) -> None:
    data = section(order) + interface(order=order, snap_bytes=4) + interface(captures.RAW, order=order)
    data += enhanced(b"enhanced", 5, 1, order, original=99) + obsolete(b"obsolete", 6, 1, order)
    data += simple(b"simp", order, original=6)
    data += enhanced(b"again", 2**40, 0, order)
    file, packets = read(data)
    assert packets == [
        (1, 5000, b"enhanced", 99),
        (1, 6000, b"obsolete", 8),
        (0, UNKNOWN_NS, b"simp", 6),
        (0, 2**40 * 1000, b"again", 5),
    ]
    assert [one.link_type for one in file.interfaces] == [captures.ETHERNET, captures.RAW]


def test_each_interface_has_a_name_and_a_clock_of_its_own() -> None:
    data = section()
    data += interface(options=option(2, b"lo") + option(3, "Käfig".encode()) + option(9, b"\x09") + option(0, b""))
    data += interface(options=option(14, (3600).to_bytes(8, "little")) + option(9, b"\x80") + option(1, b"why"))
    data += interface(options=option(2, b"\xff"))
    data += b"".join(enhanced(b"", NOW_S, number) for number in (0, 1, 2, 1, 0))
    file, packets = read(data)
    assert [(one.name, one.description) for one in file.interfaces] == [("lo", "Käfig"), (None, None), ("\ufffd", None)]
    assert [time for _, time, _, _ in packets] == [
        NOW_S,
        (NOW_S + 3600) * 10**9,
        NOW_S * 1000,
        (NOW_S + 3600) * 10**9,
        NOW_S,
    ]


def test_sections_have_interfaces_and_byte_orders_of_their_own() -> None:
    data = b""
    for number, order in enumerate(("<", ">", ">", "<")):
        data += section(order) + interface(number, option(9, b"\x09", order), order)  # type: ignore[arg-type]
        data += enhanced(b"%d" % number, number, 0, order)  # type: ignore[arg-type]
    file, packets = read(data)
    assert packets == [(number, number, b"%d" % number, 1) for number in range(4)]
    assert [one.link_type for one in file.interfaces] == [0, 1, 2, 3]


def test_blocks_that_say_nothing_here_are_stepped_over() -> None:
    strange = captures.block(0xBAD, b"custom") + captures.block(4, bytes(8)) + captures.block(5, bytes(12))
    data = section() + strange + interface() + strange + enhanced(b"a") + strange + interface() + enhanced(b"b", 0, 1)
    _, packets = read(data)
    assert [(packet[0], packet[2]) for packet in packets] == [(0, b"a"), (1, b"b")]


def test_packets_with_comments_are_read_as_those_without() -> None:
    comment = option(1, b"lost by the link: burst") + option(2, bytes(4)) + option(0, b"")
    _, packets = read(section() + interface() + enhanced(b"abcde", options=comment) + enhanced(b"next"))
    assert [packet[2] for packet in packets] == [b"abcde", b"next"]


@pytest.mark.parametrize("left", range(1, 40))
def test_a_block_that_is_not_whole_is_where_the_file_was_cut(left: int) -> None:
    whole = section() + interface() + enhanced(b"first")
    last = enhanced(b"second")
    assert len(last) == 40
    file, packets = read(whole + last[:left])
    assert [packet[2] for packet in packets] == [b"first"]
    assert file.cut_at == len(whole)


@pytest.mark.parametrize("left", range(4, 12))
def test_a_file_that_was_cut_in_its_first_section_holds_nothing(left: int) -> None:
    file, packets = read(section()[:left])
    assert packets == []
    assert file.cut_at == 0


@pytest.mark.parametrize("data", [b"", b"abc", b"abcdefgh", b"\x1f\x8b\x08\x00 gzip"])
def test_what_is_no_capture_is_refused(data: bytes) -> None:
    with pytest.raises(CaptureError) as caught:
        opened(data)
    assert (caught.value.offset, caught.value.reason) == (0, "magic")


def test_a_header_that_is_not_whole_is_refused() -> None:
    with pytest.raises(CaptureError) as caught:
        opened(pcap_head()[:23])
    assert (caught.value.offset, caught.value.reason) == (0, "header")


HEAD = section() + interface() + enhanced(b"good")


def with_word(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + value.to_bytes(4, "little") + data[at + 4 :]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (with_word(enhanced(b"bad!"), 4, 2**32 - 4), "block-length"),
        (with_word(enhanced(b"bad!"), 4, 0), "block-length"),
        (with_word(enhanced(b"bad!"), 4, 8), "block-length"),
        (with_word(enhanced(b"bad!"), 4, 35), "block-length"),
        (with_word(enhanced(b"bad!"), 32, 40), "block-trailer"),
        (with_word(enhanced(b"bad!"), 8, 1), "interface"),
        (with_word(enhanced(b"bad!"), 8, 2**32 - 1), "interface"),
        (with_word(enhanced(b"bad!"), 20, 5), "packet-length"),
        (with_word(enhanced(b"bad!"), 20, 2**32 - 1), "packet-length"),
        (captures.block(6, bytes(8)), "packet-length"),
        (captures.block(3, b""), "packet-length"),
        (captures.block(1, bytes(4)), "block-length"),
        (section()[:8] + bytes(4) + section()[12:], "byte-order"),
    ],
)
def test_a_broken_block_is_refused_by_its_offset_after_what_was_good(bad: bytes, reason: str) -> None:
    for behind in (b"", enhanced(b"behind") * 3, bytes(100), section() + interface()):
        fault, before = refused(HEAD + bad + behind)
        assert (fault.offset, fault.reason, before) == (len(HEAD), reason, 1)
        assert f"at byte {len(HEAD)}" in str(fault)


def test_an_option_longer_than_its_block_is_refused_where_it_is() -> None:
    for options in (b"\x02\x00\xff\xff", option(1, b"fine") + b"\x03\x00\x05\x00abcd"):
        fault, before = refused(HEAD + interface(options=options) + enhanced(b"behind"))
        assert fault.reason == "option-length"
        assert fault.offset == len(HEAD) + 16 + len(options) - 4 - (4 if len(options) > 4 else 0)
        assert before == 1


def test_options_end_where_they_say_so_and_may_end_with_their_block() -> None:
    behind_the_end = option(0, b"") + b"\x02\x00\xff\xff"
    file, _ = read(section() + interface(options=option(2, b"a") + behind_the_end) + interface(options=option(2, b"b")))
    assert [one.name for one in file.interfaces] == ["a", "b"]


def test_interfaces_are_bounded() -> None:
    fault, _ = refused(section() + interface() * 65_537)
    assert fault.reason == "interfaces"
    assert fault.offset == len(section()) + 65_536 * len(interface())


def test_a_packet_of_more_than_a_snaplen_can_be_is_refused_in_a_classic_file() -> None:
    good = pcap_head() + record(b"good")
    fault, before = refused(good + with_word(record(b"bad"), 8, 262_145) + bytes(300_000))
    assert (fault.offset, fault.reason, before) == (len(good), "packet-length", 1)


def test_thousands_of_sections_take_no_longer_than_as_many_packets() -> None:
    one = section() + interface() + enhanced(b"x")
    file, packets = read(one * 2000)
    assert len(packets) == len(file.interfaces) == 2000
