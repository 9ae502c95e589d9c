"""What a recording holds: flows at two points, datagrams with their marks, and the blocks that they become."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np

from udprism.capture.frames import make_frames
from udprism.capture.pcapng_writer import INBOUND, OUTBOUND, Described, Marks, blocks
from udprism.capture.weave import Strand
from udprism.columns.types import Address, I32Column, I64Column, Rows, U8Column, U64Column, format_address

NUMBER_BITS: Final = 40
"""A packet's id is its flow's index above so many bits of its number: the same at both points."""


class Point(IntEnum):
    """Where a datagram was seen. An interface is 2 × flow + point."""

    SENDER = 0
    RECEIVER = 1


class RecordedFlow(NamedTuple):
    """One flow of a recording. Names may repeat: the flow's index tells interfaces apart."""

    name: str
    source: Address
    target: Address


class Seen(NamedTuple):
    """n datagrams seen at one point.

    flow: int32[n], an index of the recording's flows. time_ns: int64[n], Unix. number: int64[n], extended. length:
    int64[n], bytes on the wire. rows: uint8[n, width]; a row narrower than the length holds the beginning. comment:
    int32[n], an index of the recording's comments; 0 is none.
    """

    point: Point
    flow: I32Column
    time_ns: I64Column
    number: I64Column
    length: I64Column
    rows: Rows
    comment: I32Column

    @property
    def interface(self) -> I32Column:
        """int32[n]."""
        return (2 * self.flow + self.point).astype(np.int32)

    def part(self, which: slice) -> Seen:
        """Some of them: views."""
        return Seen(
            self.point,
            self.flow[which],
            self.time_ns[which],
            self.number[which],
            self.length[which],
            self.rows[which],
            self.comment[which],
        )

    def copy(self) -> Seen:
        """The same, in memory of its own."""
        return Seen(
            self.point,
            self.flow.copy(),
            self.time_ns.copy(),
            self.number.copy(),
            self.length.copy(),
            self.rows.copy(),
            self.comment.copy(),
        )


def interfaces(flows: Sequence[RecordedFlow]) -> list[Described]:
    """Two for each flow, in the order of their numbers; all names differ."""
    described = []
    for index, flow in enumerate(flows):
        path = f"{flow.name}, {format_address(flow.source)} → {format_address(flow.target)}"
        described.append(Described(f"{index}/sender", f"{path}, as it left"))
        described.append(Described(f"{index}/receiver", f"{path}, as it came"))
    return described


def packed_addresses(flows: Sequence[RecordedFlow]) -> Rows:
    """uint8[flows, 36]: both addresses of each, as in `ip`."""
    packed = b"".join(_packed(flow) for flow in flows)
    return np.frombuffer(packed, np.uint8).reshape(len(flows), 36)


def _packed(flow: RecordedFlow) -> bytes:
    hosts = [ipaddress.ip_address(host.partition("%")[0]) for host, _ in (flow.source, flow.target)]
    wide = [host.packed if host.version == 6 else bytes(10) + b"\xff\xff" + host.packed for host in hosts]
    return b"".join(wide) + flow.source[1].to_bytes(2) + flow.target[1].to_bytes(2)


def packet_blocks(seen: Seen, addresses: Rows, drops: U64Column, comments: Sequence[str]) -> U8Column:
    """The datagrams as pcapng blocks. addresses: `packed_addresses`. drops: uint64[n], see `Marks`."""
    count, width = seen.rows.shape
    payloads = Strand(
        np.ascontiguousarray(seen.rows).reshape(-1), np.arange(count) * width, np.minimum(seen.length, width)
    )
    frames = make_frames(addresses[seen.flow], payloads, seen.length)
    direction = INBOUND if seen.point is Point.RECEIVER else OUTBOUND
    number = (seen.number & (1 << NUMBER_BITS) - 1).astype(np.uint64)
    packet_id: U64Column = (seen.flow.astype(np.uint64) << np.uint64(NUMBER_BITS)) | number
    marks = Marks(seen.interface, np.full(count, direction, np.uint32), packet_id, drops, seen.comment)
    return blocks(seen.time_ns, frames, marks, comments)
