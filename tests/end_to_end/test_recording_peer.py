"""What the program records, read by other people's tools, beside a capture by tcpdump of the same traffic.

A capture sees what left the server and arrived at this machine. It must agree with the recording datagram by datagram:
what the recording calls lost is not in it, all else is, in the same order and at the same instants.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support import capture, peers, program
from support.capture import Frame
from support.program import DEADLINE_S, Program

pytestmark = pytest.mark.peer
CLIENTS, RATE_HZ, DATAGRAMS = 4, 200, 250
LINK = {
    "loss_ratio": 0.05,
    "burst": {"enter_ratio": 0.02, "leave_ratio": 0.2, "loss_ratio": 0.8},
    "duplicate_ratio": 0.05,
    "corrupt_ratio": 0.03,
    "delay_ms": 15,
    "jitter_ms": 6,
    "seed": 4,
}
AGREE_NS = 50_000
READERS = Path(__file__).parent.parent / "capture" / "peer_readers.py"
MAGIC, COLOUR_AT, COLOUR = 0xC7, 2, 1
"""PROTOCOL.md, written down once more."""


class Packet(NamedTuple):
    """One packet of a recording, as python-pcapng has it."""

    time_ns: int
    payload: str
    interface: str
    comment: str


class Run(NamedTuple):
    """What was recorded and what tcpdump saw. live: each client as the program showed it at the end."""

    files: dict[str, Path]
    frames: list[Frame]
    live: list[dict[str, Any]]
    recorded: dict[str, int]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    missing = [tool for tool in ("tcpdump", "tshark") if shutil.which(tool) is None]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"needs {missing}")
    folder = tmp_path_factory.mktemp("recorded")
    with program.serving(folder / "data", "--clients", "0", "--rate-hz", str(RATE_HZ)) as served:
        try:
            with capture.capturing(served.udp[1], folder) as captured:
                made, live = _record(served)
                captured.mark(b"end")
        except capture.NoCapture as error:
            pytest.skip(f"no right to capture: {error}")
        assert captured.dropped == 0, "the witness itself missed datagrams"
        frames = [one for one in captured.frames() if one.source == served.udp and _is_colour(one.payload)]
    files = {one["format"]: folder / "data" / "recordings" / one["files"][0] for one in made}
    assert all(one["missed"] == {"sender": 0, "receiver": 0} for one in made)
    return Run(files, frames, live, made[0]["recorded"])


def _record(served: Program) -> tuple[list[Any], list[Any]]:
    served.ask("PUT", "/api/links/default", LINK)
    begun = [served.ask("POST", "/api/recordings", {"format": form, "max_files": 1}) for form in ("pcapng", "pcap")]
    ids = [one["id"] for one in served.ask("POST", "/api/clients", {"count": CLIENTS})["clients"]]
    _wait(lambda: all((one["ledger"]["sent"] or 0) >= DATAGRAMS for one in served.get("/api/clients")["clients"]))
    for one in ids:
        served.ask("PATCH", f"/api/clients/{one}", {"paused": True})
    _wait(lambda: served.get("/api/sessions")["total"] == 0)
    _wait(lambda: served.get("/api/ledger")["in_flight"] == 0)
    made = [served.ask("POST", f"/api/recordings/{one['id']}/stop") for one in begun]
    return made, [served.get(f"/api/clients/{one}") for one in ids]


def _wait(done: Callable[[], bool]) -> None:
    until_s = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < until_s
        time.sleep(0.05)


def _is_colour(payload: bytes) -> bool:
    return len(payload) > COLOUR_AT and payload[0] == MAGIC and payload[COLOUR_AT] == COLOUR


@pytest.fixture(scope="module")
def packets(run: Run, readers: Path) -> list[Packet]:
    return [
        Packet(line[0], line[1], line[2], line[3] or "") for line in by_library(readers, "pcapng", run.files["pcapng"])
    ]


@pytest.fixture(scope="module")
def readers() -> Path:
    return peers.python_with(*peers.CAPTURE_READERS)


def by_library(python: Path, library: str, path: Path) -> list[list[Any]]:
    words = [str(python), str(READERS), library, str(path)]
    found: list[list[Any]] = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    return found


def good(*words: str | Path) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_tool_reads_every_datagram(run: Run, packets: list[Packet], readers: Path) -> None:
    payloads = [one.payload for one in packets]
    assert len(payloads) == sum(run.recorded.values())
    assert run.recorded["sender"] >= CLIENTS * DATAGRAMS
    for path in run.files.values():
        for library in ("dpkt", "scapy"):
            assert [line[1] for line in by_library(readers, library, path)] == payloads
        assert good("tcpdump", "-n", "-vv", "-r", path).count("[udp sum ok]") == len(payloads)
        checked = ("-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-d", "udp.port==0-65535,data")
        names = ("-e", "frame.time_epoch", "-e", "data.data", "-e", "udp.checksum.status", "-e", "ip.checksum.status")
        lines = good("tshark", "-n", "-r", path, *checked, "-T", "fields", *names).splitlines()
        expected = [f"{one.time_ns // 10**9}.{one.time_ns % 10**9:09}\t{one.payload}\t1\t1" for one in packets]
        assert lines == expected


def test_the_capture_has_what_was_not_lost(run: Run, packets: list[Packet]) -> None:
    """Fates and order. What the link damaged is at the sender as it was made, and at the receiver as it arrived."""
    arrived = [one for one in packets if one.interface == "receiver"]
    lost = [one for one in packets if one.interface == "sender" and one.comment.startswith("lost by the link")]
    assert [one.payload for one in arrived] == [frame.payload.hex() for frame in run.frames]
    seen = {frame.payload.hex() for frame in run.frames}
    assert not seen & {one.payload for one in lost}
    whole = {one.payload for one in packets if one.interface == "sender" and "corrupt" not in one.comment}
    assert whole - {one.payload for one in lost} <= seen
    assert {"lost by the link: at random", "lost by the link: burst"} <= {one.comment.partition(";")[0] for one in lost}


def test_instants_are_the_captures(run: Run, packets: list[Packet]) -> None:
    arrived = [one for one in packets if one.interface == "receiver"]
    apart_ns = [abs(one.time_ns - frame.stamp_ns) for one, frame in zip(arrived, run.frames, strict=True)]
    assert max(apart_ns) <= AGREE_NS


def test_the_sums_are_the_live_ledgers(run: Run, packets: list[Packet]) -> None:
    told = json.loads(good(sys.executable, "-m", "udprism", "inspect", run.files["pcapng"], "--json"))["flows"]
    found: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for flow in told:
        found[flow["to"]][flow["interface"]] = flow["ledger"]
    total = defaultdict[str, int](int)
    for client in run.live:
        live, points = client["ledger"], found[client["local_address"]]
        assert points[0]["sent"] == points[0]["received"] == live["sent"]
        for name in ("received", "duplicates", "reordered"):
            assert points[1][name] == live[name] > 0, name
        assert points[0]["received"] - points[1]["received"] == live["lost"] == live["lost_by_cause"]["link"]
        for name in ("lost", "corrupt", "late", "duplicates"):
            total[name] += live[name]
    comments = [one.comment for one in packets if one.interface == "sender"]
    assert sum(one.startswith("lost by the link") for one in comments) == total["lost"] > 0
    assert sum("corrupt" in one for one in comments) == total["corrupt"] > 0
    assert sum("late" in one for one in comments) == total["late"]
