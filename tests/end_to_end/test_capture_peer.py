"""The ledger beside an independent witness: tcpdump on loopback, while several clients suffer from the same link.

Both sides are compared datagram by datagram, by client and sequence number. A capture sees what has left the server and
arrived at this machine, so what it does not show was lost. Times are compared stamp by stamp: the capture's against the
instant of receipt that the ledger shows, which makes the one-way delays differ by just as much, because both subtract
the sending time that the datagram itself carries.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import struct
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import pytest
from websockets.sync.client import connect

from support import capture, program
from support.capture import Capture, Frame
from support.program import DEADLINE_S, Program

CLIENTS, RATE_HZ, DATAGRAMS = 8, 250, 500
LINK = {
    "loss_ratio": 0.08,
    "duplicate_ratio": 0.05,
    "delay_ms": 20,
    "jitter_ms": 6,
    "reorder_ratio": 0.05,
    "seed": 17,
}
HEADER = struct.Struct("!BBBBIIq")
"""PROTOCOL.md, written down once more: the witness does not ask the program how to read."""
COLOUR = 1
AGREE_NS = 50_000
"""The kernel stamps a datagram on loopback once and shows it to both, so mostly they agree to the nanosecond."""
HISTOGRAM = 1 / 8
"""By how much a percentile of the program may be off: the width of its histogram's buckets."""


class Seen(NamedTuple):
    """One arrival."""

    sequence: int
    sent_ns: int
    arrived_ns: int


class Told(NamedTuple):
    """What the program says of one client, once nothing is in flight any more."""

    client: dict[str, Any]
    rows: list[dict[str, Any]]

    @property
    def came(self) -> list[dict[str, Any]]:
        """The datagrams that arrived, in the order of their arrival."""
        return sorted(
            (row for row in self.rows if row["fate"] in ("received", "late")), key=lambda row: row["received_at_ns"]
        )


class Both(NamedTuple):
    """What the program and the capture say of the same client."""

    told: Told
    seen: list[Seen]
    heard: list[int]
    """Sequence numbers in the order in which a websocket heard them, from when it was opened to the end."""


def test_a_capture_is_read_to_the_nanosecond() -> None:
    payload = bytes(range(23))
    udp = (12345).to_bytes(2) + (54321).to_bytes(2) + (8 + len(payload)).to_bytes(2) + b"\0\0" + payload
    ip = bytes([0x45]) + bytes(8) + bytes([17, 0, 0]) + bytes([127, 0, 0, 1]) + bytes([127, 0, 0, 2]) + udp
    frame = bytes(12) + b"\x08\x00" + ip
    words = (0xA1B23C4D, 4 << 16 | 2, 0, 0, 262_144, 1, 7, 123_456_789, len(frame), len(frame))
    data = b"".join(word.to_bytes(4, "little") for word in words) + frame
    expected = Frame(7_123_456_789, ("127.0.0.1", 12345), ("127.0.0.2", 54321), payload)
    assert capture.read(data) == [expected]
    assert capture.read(data + data[24:-1]) == [expected]


@pytest.fixture(scope="module")
def witnessed(tmp_path_factory: pytest.TempPathFactory) -> list[Both]:
    """One run of the program with a capture beside it, both to their end."""
    if shutil.which("tcpdump") is None and not os.environ.get("CI"):
        pytest.skip("needs tcpdump")
    words = ("--clients", "0", "--rate-hz", str(RATE_HZ))
    with program.ephemeral(*words, UDPRISM_HISTORY_DATAGRAMS="4096") as served:
        try:
            with capture.capturing(served.udp[1], tmp_path_factory.mktemp("capture")) as captured:
                told, heard = _run(served)
                captured.mark(b"end")
        except capture.NoCapture as error:
            pytest.skip(f"no right to capture: {error}")
        assert captured.dropped == 0, "the witness itself missed datagrams"
        seen = _seen(captured, served.udp)
    return [Both(one, seen[one.client["local_address"]], heard[one.client["id"]]) for one in told]


def _run(served: Program) -> tuple[list[Told], dict[str, list[int]]]:
    """Clients that come, listen for a while and stop; what became of their datagrams is known when this returns."""
    served.ask("PUT", "/api/links/default", LINK)
    ids = [one["id"] for one in served.ask("POST", "/api/clients", {"count": CLIENTS})["clients"]]
    heard: dict[str, list[int]] = {one: [] for one in ids}
    listeners = [threading.Thread(target=_listen, args=(served, one, heard[one])) for one in ids]
    for listener in listeners:
        listener.start()
    _wait(lambda: all((one["ledger"]["sent"] or 0) >= DATAGRAMS for one in served.get("/api/clients")["clients"]))
    for one in ids:
        served.ask("PATCH", f"/api/clients/{one}", {"paused": True})
    _wait(lambda: served.get("/api/sessions")["total"] == 0)
    _wait(lambda: served.get("/api/ledger")["in_flight"] == 0)
    told = [
        Told(served.get(f"/api/clients/{one}"), served.get(f"/api/clients/{one}/datagrams?limit=4096")["datagrams"])
        for one in ids
    ]
    served.ask("DELETE", "/api/clients")  # which ends the websockets too
    for listener in listeners:
        listener.join(DEADLINE_S)
        assert not listener.is_alive()
    return told, heard


def _wait(done: Callable[[], bool]) -> None:
    until_s = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < until_s
        time.sleep(0.05)


def _listen(served: Program, client_id: str, heard: list[int]) -> None:
    with connect(f"{served.page.replace('http', 'ws')}/ws/clients/{client_id}", proxy=None) as websocket:
        for message in websocket:
            value = json.loads(message)
            if "sequence" in value:
                heard.append(value["sequence"])


def _seen(captured: Capture, server: tuple[str, int]) -> dict[str, list[Seen]]:
    """Colours in the order of their arrival, by the address that they went to."""
    seen = defaultdict(list)
    for frame in captured.frames():
        if frame.source == server and len(frame.payload) > HEADER.size:
            _, _, kind, _, _, sequence, sent_ns = HEADER.unpack_from(frame.payload)
            if kind == COLOUR:
                seen["{}:{}".format(*frame.target)].append(Seen(sequence, sent_ns, frame.stamp_ns))
    return seen


@pytest.mark.peer
def test_what_the_capture_has_not_seen_is_what_was_lost(witnessed: list[Both]) -> None:
    for told, seen, _ in witnessed:
        ledger, rows = told.client["ledger"], told.rows
        came = {one.sequence for one in seen}
        assert [row["sequence"] for row in rows] == list(range(ledger["sent"]))  # all of it, so the sets are whole
        assert len(rows) >= DATAGRAMS
        assert {row["sequence"] for row in rows if row["fate"] == "lost"} == set(range(len(rows))) - came
        assert {row["sequence"] for row in told.came} == came
        assert (ledger["received"], ledger["lost"]) == (len(came), len(rows) - len(came))
        assert ledger["lost"] == ledger["lost_by_cause"]["link"] > 0


@pytest.mark.peer
def test_the_same_datagrams_came_twice(witnessed: list[Both]) -> None:
    for told, seen, _ in witnessed:
        again = Counter(one.sequence for one in seen)
        again.subtract(set(again))
        assert {row["sequence"]: row["duplicates"] for row in told.came} == again
        assert told.client["ledger"]["duplicates"] == again.total() > 0


@pytest.mark.peer
def test_they_arrived_in_the_same_order(witnessed: list[Both]) -> None:
    for told, seen, heard in witnessed:
        sequences = [one.sequence for one in seen]
        first = list(dict.fromkeys(sequences))
        assert [row["sequence"] for row in told.came] == first
        assert len(heard) > DATAGRAMS // 2
        assert heard == sequences[-len(heard) :]  # duplicates too
        highest = accumulate(first, max)
        overtaken = {one for one, so_far in zip(first, highest, strict=True) if one < so_far}
        assert {row["sequence"] for row in told.came if row["reordered"]} == overtaken
        assert told.client["ledger"]["reordered"] == len(overtaken) > 0


@pytest.mark.peer
def test_delays_are_the_captures_datagram_by_datagram(witnessed: list[Both]) -> None:
    differences_ns = []
    for told, seen, _ in witnessed:
        first = first_of(seen)
        for row in told.came:
            one = first[row["sequence"]]
            assert row["sent_at_ns"] == one.sent_ns
            assert row["delay_ms"] == pytest.approx((row["received_at_ns"] - row["sent_at_ns"]) / 1e6)
            differences_ns.append(abs(row["received_at_ns"] - one.arrived_ns))
    differs = sum(difference > 0 for difference in differences_ns)
    print(f"{len(differences_ns)} datagrams, {differs} stamps differ, the worst by {max(differences_ns)} ns")
    assert max(differences_ns) <= AGREE_NS


@pytest.mark.peer
def test_delay_percentiles_and_jitter_are_the_captures(witnessed: list[Both]) -> None:
    for told, seen, _ in witnessed:
        delays_ns = sorted(one.arrived_ns - one.sent_ns for one in first_of(seen).values())
        rows_ns = sorted(row["received_at_ns"] - row["sent_at_ns"] for row in told.came)
        shown_ms = told.client["delay_ms"]
        for name, ratio in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            at = math.ceil(ratio * len(delays_ns)) - 1
            assert abs(rows_ns[at] - delays_ns[at]) <= AGREE_NS
            assert shown_ms[name] * 1e6 == pytest.approx(delays_ns[at], rel=HISTOGRAM, abs=AGREE_NS)
        assert shown_ms["min"] * 1e6 == pytest.approx(delays_ns[0], abs=AGREE_NS)
        assert shown_ms["max"] * 1e6 == pytest.approx(delays_ns[-1], abs=AGREE_NS)
        assert told.client["jitter_ms"] * 1e6 == pytest.approx(jitter_of(seen), abs=AGREE_NS)


def first_of(seen: list[Seen]) -> dict[int, Seen]:
    """By sequence number, each one's first arrival."""
    return {one.sequence: one for one in reversed(seen)}


def jitter_of(seen: list[Seen]) -> float:
    """Interarrival jitter in ns, RFC 3550 section 6.4.1, over all arrivals."""
    jitter_ns = 0.0
    for one, following in pairwise(seen):
        change_ns = abs((following.arrived_ns - following.sent_ns) - (one.arrived_ns - one.sent_ns))
        jitter_ns += (change_ns - jitter_ns) / 16
    return jitter_ns
