"""One flow's datagrams as values: bounded for each listener, and null where nothing can be known."""

from __future__ import annotations

import numpy as np

from udprism.columns.arrivals import SOCKADDR_BYTES, Arrivals
from udprism.ledger.fates import DUPLICATE, LATE, REORDERED
from udprism.ledger.taps import Tap, Taps
from udprism.wire import measured

SENT_UNIX_NS = 1_700_000_000_000_000_000
DELAY_NS = 2_500_000


def opened(taps: Taps, slot: int = 1, most: int = 10) -> tuple[Tap, list[None]]:
    woken: list[None] = []
    tap = Tap(f"c-{slot}", slot, most, lambda: woken.append(None))
    taps.open(tap)
    return tap, woken


def batch(*slots: int) -> tuple[Arrivals, measured.ColourBatch]:
    """Measured red datagrams 0, 1, …, one for each slot."""
    data = [
        measured.encode_colour(measured.Colour(7, number, SENT_UNIX_NS, b"\xff\0\0")) for number in range(len(slots))
    ]
    arrivals = Arrivals(
        np.array(slots, np.int32),
        np.full(len(slots), SENT_UNIX_NS + DELAY_NS),
        np.array([len(one) for one in data], np.int32),
        np.array([list(one) for one in data], np.uint8),
        np.zeros((len(slots), SOCKADDR_BYTES), np.uint8),
    )
    return arrivals, measured.decode_colours(arrivals.rows, arrivals.length)


def feed(taps: Taps, *slots: int, flags: int = 0, shared_clock: bool = True) -> None:
    arrivals, decoded = batch(*slots)
    numbers, marks = np.arange(len(slots)), np.full(len(slots), flags, np.uint8)
    taps.feed(arrivals.slot, numbers, marks, decoded, arrivals, np.full(4, shared_clock))


def test_a_listener_gets_its_own_flows_datagrams_alone() -> None:
    taps = Taps()
    tap, woken = opened(taps)
    feed(taps, 0, 1, 2, 1)
    values = tap.take()
    assert [value["sequence"] for value in values] == [1, 3]
    assert len(woken) == 1
    assert values[0] == {
        "client_id": "c-1",
        "sequence": 1,
        "fate": "received",
        "duplicate": False,
        "reordered": False,
        "colour": "red",
        "rgb": "#ff0000",
        "sent_at_ns": SENT_UNIX_NS,
        "received_at_ns": SENT_UNIX_NS + DELAY_NS,
        "delay_ms": 2.5,
    }
    feed(taps, 0, 2)
    assert tap.take() == []


def test_marks_are_told_and_a_delay_without_a_shared_clock_is_not() -> None:
    taps = Taps()
    tap, _ = opened(taps)
    feed(taps, 1, flags=LATE | DUPLICATE | REORDERED, shared_clock=False)
    (value,) = tap.take()
    assert (value["fate"], value["duplicate"], value["reordered"], value["delay_ms"]) == ("late", True, True, None)


def test_of_a_plain_datagram_only_its_colour_and_its_arrival_are_known() -> None:
    taps = Taps()
    tap, _ = opened(taps)
    arrivals, decoded = batch(0, 1)
    taps.feed_plain(arrivals.slot, arrivals, decoded.rgb)
    (value,) = tap.take()
    known = {key for key, one in value.items() if one is not None}
    assert known == {"client_id", "fate", "colour", "rgb", "received_at_ns"}
    taps.feed_plain(arrivals.slot[:1], arrivals, decoded.rgb)
    assert tap.take() == []


def test_a_slow_listener_loses_the_oldest_and_the_loss_is_counted() -> None:
    taps = Taps()
    tap, _ = opened(taps, most=2)
    feed(taps, 1, 1, 1, 1, 1)
    assert [value["sequence"] for value in tap.take()] == [3, 4]
    assert tap.dropped == taps.dropped == 3


def test_taps_end_with_their_flow_and_are_forgotten_when_they_close() -> None:
    taps = Taps()
    (first, _), (second, _), (other, _) = opened(taps), opened(taps), opened(taps, slot=2)
    taps.close(other)
    taps.close(other)
    taps.close(first)
    assert taps.any
    taps.end(1)
    assert second.ended
    assert not first.ended
    assert not taps.any
