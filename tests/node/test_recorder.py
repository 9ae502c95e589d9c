"""A recording's queue and files: bounded, counted, and whole after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import numpy as np
import pytest

from support.program import ANY_PORTS, running
from udprism.capture.sightings import Point, Seen
from udprism.node import recorder
from udprism.node.recorder import Recording, RecordingPlan
from web.running import wait_for


def sightings(count: int, time_ns: int = 1) -> Seen:
    return Seen(
        np.arange(1, count + 1).astype(np.uint64) << np.uint64(32),
        np.full(count, time_ns, np.int64),
        np.zeros((count, 36), np.uint8),
        np.full(count, 8, np.int32),
        np.full(count, 8, np.int32),
        np.zeros((count, 8), np.uint8),
        np.zeros(count, np.uint8),
    )


def test_what_finds_no_room_is_counted_and_said_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MAX_WAITING", 100)
    blocked, real = threading.Event(), os.write
    monkeypatch.setattr(os, "write", lambda fd, data: (blocked.wait(), real(fd, data))[1])
    blocked.set()
    plan = RecordingPlan("rec-000000000000", "pcapng", 10 << 20, 1, None)
    recording = Recording(plan, tmp_path, lambda: 10, lambda: 0, None)
    blocked.clear()
    for _ in range(20):
        recording.see(Point.SENDER, sightings(30))
    assert recording.missed[Point.SENDER] >= 600 - 2 * 100  # what the thread has taken meanwhile makes room once
    blocked.set()
    recording.end()
    assert recording.recorded[Point.SENDER] + recording.missed[Point.SENDER] == 600
    (path,) = recording.files
    assert f"{recording.missed[Point.SENDER]} not recorded".encode() in path.read_bytes()


@pytest.mark.parametrize("after", [50, 400, 900])
def test_a_killed_program_leaves_a_file_whose_whole_blocks_are_read(tmp_path: Path, after: int) -> None:
    with running("serve", *ANY_PORTS, "--clients", "5", "--rate-hz", "200", "--data", str(tmp_path)) as program:
        url = program.page
        with httpx.Client(base_url=url) as api:
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
