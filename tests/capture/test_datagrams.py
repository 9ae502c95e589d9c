"""Packets as UDP datagrams: every link type, tags, options, extension headers, and what is counted instead."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pytest

from support import captures
from support.captures import (
    SOURCE,
    SOURCE6,
    TARGET,
    TARGET6,
    Order,
    enhanced,
    ethernet,
    interface,
    ip4,
    ip6,
    linked,
    option,
    pcap_head,
    record,
    section,
    udp,
)
from udprism.capture.datagrams import DatagramReader
from udprism.capture.skips import Skip

LINK_TYPES = [captures.NULL, captures.ETHERNET, 12, 14, captures.RAW, captures.LOOP, captures.SLL, captures.SLL2]
ORDERS: Sequence[Order] = ("<", ">")


class Datagram(NamedTuple):
    interface: int
    time_ns: int
    source: tuple[str, int]
    target: tuple[str, int]
    length: int
    payload: bytes


def read(data: bytes) -> tuple[DatagramReader, list[Datagram]]:
    reader = DatagramReader(np.frombuffer(data, np.uint8))
    seen: list[Datagram] = []
    for batch in reader.datagrams():
        rows = batch.rows(64)
        for number in range(len(batch)):
            addresses = batch.addresses[number].tobytes()
            payload = batch.payload(number)
            assert rows[number].tobytes()[: len(payload)] == payload[:64]
            seen.append(
                Datagram(
                    int(batch.interface[number]),
                    int(batch.time_ns[number]),
                    (address(addresses[:16]), int.from_bytes(addresses[32:34])),
                    (address(addresses[16:32]), int.from_bytes(addresses[34:36])),
                    int(batch.length[number]),
                    payload,
                )
            )
    return reader, seen


def address(packed: bytes) -> str:
    six = ipaddress.IPv6Address(packed)
    return str(six.ipv4_mapped or six)


def of_frames(frames: Iterable[bytes], link_type: int = captures.ETHERNET) -> tuple[dict[Skip, int], list[bytes]]:
    """What was skipped and the payloads of the rest, in a classic file of frames."""
    frames = list(frames)
    reader, seen = read(pcap_head(link_type=link_type) + b"".join(map(record, frames)))
    assert reader.packets == len(frames) == len(seen) + sum(reader.skips.count.values())
    return dict(reader.skips.count), [one.payload for one in seen]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("link_type", LINK_TYPES)
def test_both_versions_of_ip_are_found_behind_every_link_type(link_type: int, order: Order) -> None:
    packets = [
        ip4(udp(b"four")),
        ip6(udp(b"six!", SOURCE6, TARGET6)),
        ip4(udp(b"")),
        ip4(udp(b"x" * 1472)),
    ]
    data = pcap_head(order, link_type=link_type)
    data += b"".join(record(linked(packet, link_type, order), 1, at, order) for at, packet in enumerate(packets))
    reader, seen = read(data)
    assert seen == [
        Datagram(0, 10**9, SOURCE, TARGET, 4, b"four"),
        Datagram(0, 10**9 + 1, SOURCE6, TARGET6, 4, b"six!"),
        Datagram(0, 10**9 + 2, SOURCE, TARGET, 0, b""),
        Datagram(0, 10**9 + 3, SOURCE, TARGET, 1472, b"x" * 1472),
    ]
    assert not reader.skips.count


@pytest.mark.parametrize("tags", [(0x8100,), (0x88A8, 0x8100), (0x9100, 0x8100), (0x8100,) * 4], ids=str)
def test_tags_of_virtual_networks_are_stepped_over(tags: tuple[int, ...]) -> None:
    skipped, seen = of_frames(
        [ethernet(ip4(udp(b"a")), *tags), ethernet(ip4(udp(b"b"))), ethernet(ip6(udp(b"c")), *tags)]
    )
    assert (skipped, seen) == ({}, [b"a", b"b", b"c"])


def test_interfaces_of_several_link_types_keep_the_order_of_the_file() -> None:
    data = section() + b"".join(interface(kind) for kind in LINK_TYPES)
    for at in range(100):
        number = at * 5 % len(LINK_TYPES)
        packet = ip4(udp(b"%d" % at)) if at % 3 else ip6(udp(b"%d" % at))
        data += enhanced(linked(packet, LINK_TYPES[number]), at, number)
    _, seen = read(data)
    assert [(one.interface, one.time_ns, one.payload) for one in seen] == [
        (at * 5 % len(LINK_TYPES), 1000 * at, b"%d" % at) for at in range(100)
    ]


def test_options_of_ipv4_are_stepped_over() -> None:
    frames = [ethernet(ip4(udp(b"%d" % size), options=bytes(size))) for size in (0, 4, 40, 0, 12)]
    assert of_frames(frames) == ({}, [b"0", b"4", b"40", b"0", b"12"])


def extension(kind_behind: int, units: int = 0) -> bytes:
    """Hop-by-hop, routing or destination options."""
    return bytes([kind_behind, units]) + bytes(6 + 8 * units)


def test_extension_headers_of_ipv6_are_stepped_over() -> None:
    authentication = bytes([17, 4]) + bytes(22)  # its length counts words of 4, less 2
    atomic = bytes([17, 0, 0, 0, 0, 0, 0, 9])  # a fragment that is all of it, RFC 6946
    chains = [(0, extension(17)), (43, extension(17, 2)), (60, extension(17, 1)), (51, authentication), (44, atomic)]
    chains.append((0, extension(43) + extension(60, 1) + extension(51) + authentication))
    chains.append((0, extension(44) + atomic))
    frames = [ethernet(ip6(udp(b"%d" % at), extensions=e, following=f)) for at, (f, e) in enumerate(chains)]
    assert of_frames(frames) == ({}, [b"%d" % at for at in range(len(chains))])


def test_a_chain_of_extension_headers_has_an_end() -> None:
    circle = extension(0) * 200
    skipped, seen = of_frames([ethernet(ip6(udp(b"x"), extensions=circle, following=0)), captures.frame(b"good")])
    assert (skipped, seen) == ({Skip.BAD_IP: 1}, [b"good"])


def test_what_is_no_datagram_is_counted_by_reason() -> None:
    good = captures.frame(b"good")
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    tagged = ethernet(ip4(udp(b"x")), *(0x8100,) * 5)
    tcp, icmp6 = ethernet(ip4(bytes(20), protocol=6)), ethernet(ip6(bytes(8), following=58))
    no_next = ethernet(ip6(b"", extensions=extension(59), following=0))
    skipped, seen = of_frames([arp, good, tagged, tcp, good, icmp6, no_next, good])
    assert skipped == {Skip.NOT_IP: 2, Skip.NOT_UDP: 3}
    assert seen == [b"good"] * 3
    skipped, seen = of_frames([good, good], link_type=127)
    assert (skipped, seen) == ({Skip.LINK_TYPE: 2}, [])


def changed(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def test_lengths_that_contradict_each_other_are_counted() -> None:
    four, six = captures.frame(b"four"), ethernet(ip6(udp(b"six!")))
    bad_ip = [
        changed(four, 14, b"\x55"),  # an IPv5 in an IPv4's place
        changed(four, 14, b"\x44"),  # a header of 16 bytes
        changed(four, 16, b"\x00\x13"),  # all of it shorter than its header
        changed(four, 16, b"\x00\x21"),  # longer than the packet was
        changed(six, 18, b"\x00\x0d"),
        ethernet(ip6(b"", extensions=extension(17, 1)[:8], following=0)),  # 16 bytes of 8
    ]
    assert of_frames(bad_ip) == ({Skip.BAD_IP: 6}, [])
    bad_udp = [changed(four, 38, size) for size in (b"\x00\x00", b"\x00\x07", b"\x00\x0d")]
    assert of_frames(bad_udp) == ({Skip.BAD_UDP: 3}, [])


def test_bytes_behind_the_datagram_are_not_its_own() -> None:
    padded = captures.frame(b"short") + bytes(60)
    within_ip = changed(captures.frame(b"inside and behind"), 38, b"\x00\x0e")
    assert of_frames([padded, within_ip]) == ({}, [b"short", b"inside"])


def test_what_was_cut_into_segments_only_behind_the_capture_has_its_whole_length() -> None:
    four, six = captures.frame(b"f" * 3000), ethernet(ip6(udp(b"s" * 3000)))
    assert of_frames([changed(four, 16, b"\0\0"), changed(six, 18, b"\0\0")]) == ({}, [b"f" * 3000, b"s" * 3000])


@pytest.mark.parametrize("tags", [(), (0x8100,)])
def test_a_short_snaplen_leaves_what_was_captured_and_the_true_length(tags: tuple[int, ...]) -> None:
    for packet, head in ((ip4(udp(b"payload")), 28), (ip6(udp(b"payload")), 48)):
        frame = ethernet(packet, *tags)
        head += 14 + 4 * len(tags)
        data = pcap_head(snap_bytes=64)
        data += b"".join(record(frame[:size], original=len(frame)) for size in range(len(frame) + 1))
        reader, seen = read(data)
        assert [(one.length, one.payload) for one in seen] == [(7, b"payload"[:size]) for size in range(8)]
        assert sum(reader.skips.count.values()) == head
        assert reader.skips.count.keys() <= {Skip.CUT_SHORT, Skip.NOT_IP}
        assert reader.skips.count[Skip.CUT_SHORT] >= head - 14


def fragments(payload: bytes, *cuts: int, identification: int = 7, six: bool = False) -> list[bytes]:
    """A datagram in pieces that end at these offsets, counted from UDP's header."""
    whole = udp(payload)
    pieces = []
    for begin, end in zip((0, *cuts), (*cuts, len(whole)), strict=True):
        more = end < len(whole)
        if six:
            head = bytes([17, 0]) + (begin | more).to_bytes(2) + identification.to_bytes(4)
            pieces.append(ethernet(ip6(whole[begin:end], extensions=head, following=44)))
        else:
            pieces.append(ethernet(ip4(whole[begin:end], identification=identification, offset=begin, more=more)))
    return pieces


LONG = bytes(range(256)) * 10


@pytest.mark.parametrize("six", [False, True])
def test_fragments_are_put_together_in_whatever_order(six: bool) -> None:
    pieces = fragments(LONG, 8, 1480, 2560, six=six)
    for order in ((0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)):
        skipped, seen = of_frames([captures.frame(b"before"), *(pieces[at] for at in order), captures.frame(b"after")])
        assert skipped == {Skip.FRAGMENT: 3}
        assert seen == [b"before", LONG, b"after"]


def test_datagrams_in_parts_stand_in_the_order_in_which_they_become_whole() -> None:
    one, two = fragments(LONG, 1480, identification=1), fragments(LONG[::-1], 1480, identification=2)
    skipped, seen = of_frames([one[0], two[1], captures.frame(b"a"), two[0], captures.frame(b"b"), one[1]])
    assert skipped == {Skip.FRAGMENT: 2}
    assert seen == [b"a", LONG[::-1], b"b", LONG]


def test_a_fragment_that_comes_twice_changes_nothing() -> None:
    first, last = fragments(LONG, 1480)
    assert of_frames([first, first, last]) == ({Skip.FRAGMENT: 2}, [LONG])


def test_parts_that_miss_others_are_lost_and_counted() -> None:
    first, second, third = fragments(LONG, 800, 1600)
    assert of_frames([first, third]) == ({Skip.LOST_FRAGMENT: 2}, [])
    assert of_frames([second]) == ({Skip.LOST_FRAGMENT: 1}, [])


def test_parts_that_overlap_or_contradict_are_lost() -> None:
    first, last = fragments(LONG, 1480)
    overlap = ethernet(ip4(LONG[:96], identification=7, offset=1400, more=True))
    other = ethernet(ip4(LONG[:1480], identification=7, offset=0, more=True))
    odd = ethernet(ip4(LONG[:15], identification=7, offset=0, more=True))
    far = ethernet(ip4(LONG, identification=7, offset=65_528))
    for hostile in ([first, overlap, last], [first, other], [odd], [far], [last, far]):
        skipped, seen = of_frames(hostile)
        assert (skipped, seen) == ({Skip.LOST_FRAGMENT: len(hostile)}, [])


def test_parts_beyond_the_end_that_a_last_one_names_are_lost_with_it() -> None:
    beyond = ethernet(ip4(LONG[:8], identification=7, offset=16, more=True))
    first = ethernet(ip4(LONG[:8], identification=7, offset=0, more=True))
    last = ethernet(ip4(LONG[:8], identification=7, offset=8))
    assert of_frames([beyond, first, last]) == ({Skip.LOST_FRAGMENT: 3}, [])


def test_fragments_wait_half_a_minute_and_no_longer() -> None:
    first, last = fragments(LONG, 1480)
    for later_s, whole in ((30, True), (31, False)):
        reader, seen = read(pcap_head() + record(first, 1000) + record(last, 1000 + later_s))
        assert len(seen) == whole
        assert reader.skips.count == ({Skip.FRAGMENT: 1} if whole else {Skip.LOST_FRAGMENT: 2})


def test_parts_from_two_interfaces_are_two_datagrams() -> None:
    first, last = fragments(LONG, 1480)
    data = section() + interface() * 2
    data += b"".join(enhanced(part, 5, number) for part in (first, last) for number in (0, 1))
    reader, seen = read(data)
    assert [(one.interface, one.payload) for one in seen] == [(0, LONG), (1, LONG)]
    assert reader.skips.count == {Skip.FRAGMENT: 2}


def test_many_fragments_that_never_become_whole_take_bounded_memory() -> None:
    parts = [fragments(bytes(8000), 8000, identification=number)[0] for number in range(3000)]
    last = fragments(LONG, 1480, identification=60_000)
    skipped, seen = of_frames([*parts, *last])
    assert skipped == {Skip.LOST_FRAGMENT: 3000, Skip.FRAGMENT: 1}
    assert seen == [LONG]


def test_a_fragment_that_was_cut_short_is_no_part() -> None:
    first, last = fragments(LONG, 1480)
    reader, seen = read(pcap_head() + record(first) + record(last[:-1], original=len(last)))
    assert seen == []
    assert reader.skips.count == {Skip.CUT_SHORT: 1, Skip.LOST_FRAGMENT: 1}


def test_large_files_come_in_batches_in_order() -> None:
    frames = [captures.frame(b"%d" % (at % 1000)) for at in range(1000)]
    count = 150_000
    options = option(9, b"\x09")
    data = section() + interface(options=options)
    data += b"".join(enhanced(frames[at % 1000], at) for at in range(count))
    reader = DatagramReader(np.frombuffer(data, np.uint8))
    batches = list(reader.datagrams())
    assert len(batches) > 2
    assert max(map(len, batches)) <= 1 << 16
    assert np.array_equal(np.concatenate([batch.time_ns for batch in batches]), np.arange(count))
    lengths = np.concatenate([batch.length for batch in batches])
    assert np.array_equal(lengths, [len(b"%d" % (at % 1000)) for at in range(count)])
