"""What a recording sees of the UDP threads' datagrams: addresses and fates."""

from __future__ import annotations

import socket

import numpy as np

from udprism.capture.sightings import Point, Seen
from udprism.columns.arrivals import Arrivals
from udprism.columns.types import Address, U16Column, U64Column
from udprism.ledger.fates import LATE, NEW, Cause
from udprism.link.model import Part
from udprism.udp.sight import CAUSE_SHIFT, PART_SHIFT, Note, ReceiverTap, comments, endpoint_of, endpoints_of, key_of
from udprism.udp.sockets import sockaddr_row


class Notebook:
    """A recorder that keeps what it is shown."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []

    def see(self, point: Point, seen: Seen) -> None:
        assert point == Point.RECEIVER
        self.seen.append(seen)

    def note(self, key: U64Column, note: U16Column) -> None:
        """Not used here."""


def arrivals_of(*slots: int) -> Arrivals:
    count = len(slots)
    source = np.stack([sockaddr_row(("192.0.2.9", 7), socket.AF_INET)] * count)
    return Arrivals(
        np.array(slots, np.int32),
        np.arange(count),
        np.full(count, 9, np.int32),
        np.zeros((count, 4), np.uint8),
        source,
    )


def ports_of(seen: Seen) -> list[int]:
    return [int.from_bytes(row[34:36].tobytes()) for row in seen.addresses]


def test_a_client_with_a_new_session_is_looked_up_again_and_others_are_not() -> None:
    local: dict[int, Address] = {0: ("127.0.0.1", 1000), 1: ("::1", 1001)}
    asked: list[int] = []

    def local_of(slot: int) -> Address:
        asked.append(slot)
        return local[slot]

    tap, notebook = ReceiverTap(2, local_of), Notebook()
    flags = np.array([NEW, NEW | LATE], np.uint8)
    key = key_of(np.array([5, 6], np.uint32), np.array([0, 0], np.int64))
    tap.arrived(arrivals_of(0, 1), key, flags)
    assert asked == []  # nothing is recorded
    tap.recorder = notebook
    tap.arrived(arrivals_of(0, 1), key, flags)
    local[0] = ("127.0.0.1", 2000)
    tap.arrived(arrivals_of(0, 1), key, flags)
    moved = key_of(np.array([7, 6], np.uint32), np.array([0, 1], np.int64))
    tap.arrived(arrivals_of(0, 1), moved, flags)
    assert [ports_of(seen) for seen in notebook.seen] == [[1000, 1001], [1000, 1001], [2000, 1001]]
    assert asked == [0, 1, 0]
    first = notebook.seen[0]
    assert first.note.tolist() == [0, Note.LATE]
    assert (first.length.tolist(), first.kept.tolist()) == ([9, 9], [4, 4])


def test_addresses_of_both_families_are_the_same_from_text_and_from_the_kernel() -> None:
    for family, address in ((socket.AF_INET, ("127.0.0.1", 80)), (socket.AF_INET6, ("fe80::1", 443))):
        row = sockaddr_row(address, family)[None, :]
        assert endpoints_of(row).tolist() == [endpoint_of(address).tolist()]


def test_every_note_has_words_and_a_late_one_is_not_lost() -> None:
    texts = comments()
    assert texts[0] == ""
    assert texts[Cause.LINK << CAUSE_SHIFT] == "lost by the link"
    assert texts[Cause.LINK << CAUSE_SHIFT | Part.BURST << PART_SHIFT] == "lost by the link: burst"
    assert texts[Part.QUEUE << PART_SHIFT] == "lost by the link: its rate's queue was full"
    assert texts[Cause.LINK << CAUSE_SHIFT | Note.LATE].startswith("late")
    assert texts[Note.DUPLICATE | Note.CORRUPT] == "duplicate; corrupt: damaged by the link"
    assert all(texts[1:])
