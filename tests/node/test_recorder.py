"""A recording's queue and files: bounded, counted, and whole after a kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from support.program import ANY_PORTS, running
from udprism.capture.sightings import Point, Seen
from udprism.columns.types import NS_PER_S
from udprism.node.recorder import Chosen, Recording, RecordingPlan
from udprism.udp.sight_queue import SightQueue
from web.running import wait_for


def sightings(count: int, time_ns: int = 1) -> Seen:
    return Seen(
        np.arange(1, count + 1).astype(np.uint64) << np.uint64(32),
        np.full(count, time_ns, np.int64),
        np.zeros((count, 36), np.uint8),
        np.full(count, 8, np.int32),
        np.full(count, 8, np.int32),
        np.zeros((count, 8), np.uint8),
        np.zeros(count, np.uint16),
    )


def began(folder: Path, *rest: Any, **changes: Any) -> tuple[Recording, SightQueue]:
    """A recording whose clock stands still, and the queue to it."""
    recording = Recording(plan(**changes), folder, lambda: 10, lambda: 0, *rest)
    return recording, recording.open()[1]


def test_what_finds_no_room_is_counted_and_said_in_the_file(tmp_path: Path) -> None:
    recording, queue = began(tmp_path, max_bytes=100 << 20)
    os.kill(recording.pid, signal.SIGSTOP)
    shown = 0
    while recording.missed[Point.SENDER] < 6000:
        queue.see(Point.SENDER, sightings(3000))
        shown += 3000
    os.kill(recording.pid, signal.SIGCONT)
    recording.end()
    assert recording.recorded[Point.SENDER] + recording.missed[Point.SENDER] == shown
    (path,) = recording.files
    assert f"{recording.missed[Point.SENDER]} not recorded".encode() in path.read_bytes()


def test_a_process_that_dies_ends_the_recording_and_what_it_had_not_written_is_missed(tmp_path: Path) -> None:
    ended: list[BaseException | None] = []
    recording, queue = began(tmp_path, lambda recording: None, ended.append)
    queue.see(Point.SENDER, sightings(50, time_ns=1))
    queue.see(Point.SENDER, sightings(7, time_ns=2))
    wait_for(lambda: recording.recorded[Point.SENDER] == 50)
    os.kill(recording.pid, signal.SIGKILL)
    queue.see(Point.SENDER, sightings(3, time_ns=3))
    wait_for(lambda: bool(ended))
    recording.end()
    assert (recording.fault, ended) == ("its process was ended by signal 9", [None])
    assert recording.missed[Point.SENDER] == 10


def plan(**changes: Any) -> RecordingPlan:
    usual: dict[str, Any] = {"file_format": "pcapng", "max_bytes": 1 << 20, "max_files": 1, "flows": None}
    return RecordingPlan("rec-000000000000", **usual | changes)


def test_one_turn_of_many_datagrams_keeps_to_the_bound_of_the_files(tmp_path: Path) -> None:
    recording, queue = began(tmp_path, max_bytes=2 << 20, max_files=2)
    queue.see(Point.SENDER, sightings(60_000))
    recording.end()
    assert recording.recorded[Point.SENDER] == 60_000
    assert len(recording.files) == 2
    assert recording.size_bytes <= 2 << 20
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == recording.size_bytes


def test_a_folder_that_is_taken_away_ends_it_once_and_what_was_not_written_is_missed(tmp_path: Path) -> None:
    ended: list[BaseException | None] = []
    folder = tmp_path / "recordings"
    folder.mkdir()
    recording, queue = began(folder, lambda recording: None, ended.append)
    shutil.rmtree(folder)
    queue.see(Point.SENDER, sightings(30_000))
    recording.end()
    assert (recording.fault, ended) == ("No such file or directory", [None])
    assert 0 < recording.missed[Point.SENDER] == 30_000 - recording.recorded[Point.SENDER]
    queue.see(Point.SENDER, sightings(5))
    queue.note(np.array([1 << 32], np.uint64), np.array([1], np.uint16))
    assert recording.missed[Point.SENDER] == 30_000 - recording.recorded[Point.SENDER]


def test_the_sums_stand_in_the_last_packet_even_if_nothing_came_at_the_end(tmp_path: Path) -> None:
    recording, queue = began(tmp_path)
    queue.see(Point.SENDER, sightings(3, time_ns=1))
    queue.see(Point.SENDER, sightings(1, time_ns=2))
    wait_for(lambda: recording.recorded[Point.SENDER] == 3)
    recording.end()
    (path,) = recording.files
    assert b"end of the recording: 4 datagrams recorded at the sender" in path.read_bytes()


def test_a_chosen_client_is_known_some_seconds_longer_than_it_is_there() -> None:
    seen, now_ns = sightings(2), 0
    seen.addresses[:, 34:36] = [[0, 80], [1, 0]]
    ends = [row.tobytes() for row in np.concatenate((seen.addresses[:, 16:32], seen.addresses[:, 34:36]), axis=1)]
    there = {ends[1]}
    chosen = Chosen(lambda: there)
    assert len(chosen.of(seen)) == 0
    chosen.refresh(now_ns)
    assert chosen.of(seen).key.tolist() == [2 << 32]
    there = {ends[0]}
    chosen.refresh(now_ns + 1)
    assert len(chosen.of(seen)) == 2
    chosen.refresh(now_ns + 60 * NS_PER_S)
    assert chosen.of(seen).key.tolist() == [1 << 32]


@pytest.mark.parametrize("after", [50, 400, 900])
def test_a_killed_program_leaves_a_file_whose_whole_blocks_are_read(tmp_path: Path, after: int) -> None:
    with running("serve", *ANY_PORTS, "--clients", "5", "--rate-hz", "200", "--data", str(tmp_path)) as program:
        url = program.page
        with httpx.Client(base_url=url, timeout=30) as api:
            made = api.post("api/recordings", json={}).json()
            wait_for(lambda: api.get(f"api/recordings/{made['id']}").json()["recorded"]["sender"] > after)
        program.process.send_signal(signal.SIGKILL)
        program.process.wait()
    (path,) = (tmp_path / "recordings").iterdir()
    done = subprocess.run(
        [sys.executable, "-m", "udprism", "inspect", str(path), "--json"], capture_output=True, text=True
    )
    flows = json.loads(done.stdout)["flows"]
    assert sum(flow["datagrams"] for flow in flows if flow["interface"] == 0) > after
