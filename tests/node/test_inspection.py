"""Flows of a capture: what was lost, doubled and overtaken in each format, and how long it took between two points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from support import captures
from support.captures import enhanced, interface, option, section
from udprism.capture.datagrams import DatagramReader
from udprism.capture.series import Series
from udprism.node import inspection
from udprism.node.inspection import Inspection
from udprism.node.meetings import Meetings
from udprism.node.timed_counts import STEPS, TimedCounts
from udprism.wire import measured
from udprism.wire.format import Sending
from udprism.wire.formats import FORMATS

NOW_NS = 1_700_000_000_000_000_000
STEP_NS = 10_000_000
NUMBERED = sorted(
    name for name, form in FORMATS.items() if form.numbering.modulus and form.encoder(Sending(3, bytes(16)))
)


def colour(number: int, session_id: int = 7) -> bytes:
    return measured.encode_colour(measured.Colour(session_id, number % 2**32, NOW_NS + number * STEP_NS, b"\xff\0\0"))


def frame(payload: bytes, port: int = 40_000, source_port: int = 12_345) -> bytes:
    return captures.ethernet(captures.ip4(captures.udp(payload, ("10.0.0.1", source_port), ("10.0.0.2", port))))


def capture(packets: Sequence[tuple[int, int, bytes]], interfaces: int = 1) -> bytes:
    """(interface, time in ns, frame) each."""
    data = section() + b"".join(
        interface(options=option(2, b"if%d" % number) + option(9, b"\x09")) for number in range(interfaces)
    )
    return data + b"".join(enhanced(data, time_ns, number) for number, time_ns, data in packets)


def inspected(packets: Sequence[tuple[int, int, bytes]], interfaces: int = 1, **formats: int) -> dict[str, Any]:
    reader = DatagramReader(np.frombuffer(capture(packets, interfaces), np.uint8))
    one = Inspection(Series([(reader, lambda before: None)]), {port: name for name, port in formats.items()})
    one.read()
    return one.body()


def in_time(payloads: Sequence[bytes], port: int = 40_000) -> list[tuple[int, int, bytes]]:
    return [(0, NOW_NS + at * STEP_NS, frame(payload, port)) for at, payload in enumerate(payloads)]


def arrivals(count: int, seed: int = 1) -> tuple[list[int], dict[str, int]]:
    """Numbers as they arrive: a tenth lost, some twice, some overtaken; and the sums that must be told."""
    rng = np.random.default_rng(seed)
    order = [number for number in range(count) if number in (0, count - 1) or rng.random() > 0.1]
    lost = count - len(order)
    doubled = [number for number in order if rng.random() < 0.03]
    reordered = 0
    at = 1
    while at < len(order) - 2:
        if rng.random() < 0.05:
            order[at], order[at + 1] = order[at + 1], order[at]
            reordered += 1
            at += 1
        at += 1
    for number in doubled:
        order.insert(order.index(number) + 1, number)
    sums = {"sent": count, "received": count - lost, "lost": lost, "duplicates": len(doubled), "reordered": reordered}
    return order, sums


def told(body: dict[str, Any]) -> dict[str, int]:
    return {name: body["ledger"][name] for name in ("sent", "received", "lost", "duplicates", "reordered")}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_measured_stream_has_its_ledger(seed: int) -> None:
    order, sums = arrivals(3000, seed)
    (flow,) = inspected(in_time([colour(number) for number in order]))["flows"]
    assert (flow["format"], flow["numbering"], flow["key"]) == ("measured", "own", 7)
    assert (flow["from"], flow["to"]) == ("10.0.0.1:12345", "10.0.0.2:40000")
    assert told(flow) == sums
    assert flow["ledger"]["in_flight"] == 0
    assert flow["datagrams"] == len(order)
    assert sum(flow["counts"]) == len(order)


@pytest.mark.parametrize("name", NUMBERED)
def test_every_format_that_counts_has_its_losses_told(name: str) -> None:
    form = FORMATS[name]
    encoder = form.encoder(Sending(3, bytes(range(16))))
    assert encoder is not None
    order, sums = arrivals(3000)
    rows = np.zeros((len(order), encoder.width), np.uint8)
    number = np.array([form.numbering.at(one) for one in order], np.uint32)
    count = len(order)
    length = encoder.encode(
        rows, np.zeros(count, np.int32), number, np.zeros(count, np.int64), np.zeros((count, 3, 3), np.uint8)
    )
    payloads = [row[:size].tobytes() for row, size in zip(rows, length.tolist(), strict=True)]
    port = form.port or 5004
    (flow,) = inspected(in_time(payloads, port), **({} if form.port else {name: port}))["flows"]
    assert (flow["format"], flow["numbering"]) == (name, "believed")
    assert told(flow) == sums


def test_numbers_that_do_not_count_tell_no_loss() -> None:
    rng = np.random.default_rng(1)
    rtp = [bytes([0x80, 96]) + rng.bytes(2) + bytes(8) + b"x" for _ in range(200)]
    (flow,) = inspected(in_time(rtp, 5004), rtp=5004)["flows"]
    assert (flow["numbering"], flow["ledger"]) == ("does not count", None)
    (flow,) = inspected(in_time(rtp[:20], 5004), rtp=5004)["flows"]
    assert (flow["numbering"], flow["ledger"]) == ("not yet known", None)


def test_what_has_no_numbers_is_counted_and_nothing_else() -> None:
    (flow,) = inspected(in_time([b"red", b"blue"]))["flows"]
    assert (flow["format"], flow["numbering"], flow["ledger"], flow["datagrams"]) == ("opaque", None, None, 2)
    assert flow["rate_hz"] == pytest.approx(100)


def test_sessions_and_reports_of_one_address_are_flows_of_their_own() -> None:
    report = measured.encode_report(measured.Report(7, 0, NOW_NS, 1, 2, 3, 4, 5, 6, 7))
    packets = in_time([colour(0), colour(0, 8), report, colour(1), colour(2, 8)])
    flows = inspected(packets)["flows"]
    assert [(one["format"], one["key"], one["datagrams"]) for one in flows] == [
        ("measured", 7, 2),
        ("measured", 8, 2),
        ("measured control", 7, 1),
    ]
    assert [one["ledger"] and one["ledger"]["lost"] for one in flows] == [0, 1, None]


def test_a_datagram_on_two_interfaces_tells_how_long_it_took() -> None:
    rng = np.random.default_rng(5)
    packets = []
    delays = rng.integers(1_000_000, 9_000_000, 500)
    for number in range(500):
        at_ns = NOW_NS + number * STEP_NS
        packets.append((0, at_ns, frame(colour(number))))
        if number % 10:
            packets.append((1, at_ns + int(delays[number]), frame(colour(number))))
    packets.sort(key=lambda packet: packet[1])
    body = inspected(packets, 2)
    assert [flow["ledger"]["lost"] for flow in body["flows"]] == [0, 50]
    (route,) = body["delays"]
    came = delays[np.arange(500) % 10 > 0] / 1e6
    assert (route["from_interface"], route["to_interface"], route["datagrams"]) == (0, 1, 450)
    assert route["flows"] == [0, 1]
    assert (route["delay_ms"]["min"], route["delay_ms"]["max"]) == (came.min(), came.max())
    for name, ratio in (("p50", 50), ("p95", 95), ("p99", 99)):
        assert route["delay_ms"][name] == pytest.approx(np.percentile(came, ratio), rel=1 / 8)


def test_sightings_that_never_meet_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("udprism.node.meetings.MAX_WAITING", 100)
    meetings, ones = Meetings(), np.ones(60, np.int64)
    for number in range(10):
        place = np.arange(60) + 60 * number
        meetings.take(0 * ones, place, 0 * ones, place)
    assert meetings.forgotten == 500
    meetings.take(0 * ones, np.arange(540, 600), ones, np.arange(540, 600) + 7)
    ((_, body),) = meetings.bodies()
    assert body["datagrams"] == 60


def test_steps_double_as_the_capture_grows_and_lose_no_datagram() -> None:
    counts = TimedCounts(2)
    time_ns = np.sort(np.random.default_rng(1).integers(0, 3_600 * 10**9, 5000))
    flow = np.arange(5000) % 2
    for begin in range(0, 5000, 100):
        counts.add(flow[begin : begin + 100], time_ns[begin : begin + 100])
    assert 3_600 * 10**9 <= counts.step_ns * STEPS < 2.5 * 3_600 * 10**9
    for one in (0, 1):
        expected = np.bincount((time_ns[flow == one] - time_ns[0]) // counts.step_ns)
        found = counts.of(one, int(time_ns[-1]))
        assert found[: len(expected)] == expected.tolist()
        assert sum(found) == 2500


def test_flows_are_bounded_and_those_beyond_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "MAX_FLOWS", 3)
    packets = [(0, NOW_NS, frame(b"x", 1000 + number)) for number in range(5)] * 2
    body = inspected(packets)
    assert len(body["flows"]) == 3
    assert body["beyond"] == {"opaque": 4}


def test_what_was_not_kept_whole_is_not_decoded() -> None:
    whole = frame(colour(0))
    data = captures.pcap_head(snap_bytes=50) + captures.record(whole[:50], original=len(whole))
    one = Inspection(Series([(DatagramReader(np.frombuffer(data, np.uint8)), lambda before: None)]), {})
    one.read()
    (flow,) = one.body()["flows"]
    assert (flow["format"], flow["bytes"]) == ("opaque", 23)
