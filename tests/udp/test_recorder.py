"""A recording holds what it was offered or counts it, in a bounded ring of files that can be read whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from udprism.capture.datagrams import DatagramReader
from udprism.capture.recording import Point, RecordedFlow, Seen
from udprism.errors import RequestError
from udprism.udp.recorder import Recorder

FLOWS = [
    RecordedFlow("lamp", ("127.0.0.1", 12345), ("127.0.0.1", 40000)),
    RecordedFlow("lamp", ("::1", 12345), ("::1", 40001)),
]
COMMENTS = ("", "lost by the link")
BASE_NS = 1_700_000_000_000_000_000


def batch(first: int, count: int, point: Point = Point.SENDER, width: int = 24, comment: int = 0) -> Seen:
    """Rows numbered from `first`, alternating between both flows."""
    number = np.arange(first, first + count, dtype=np.int64)
    rows = np.zeros((count, width), np.uint8)
    rows[:, :8] = number.astype(">i8").view(np.uint8).reshape(count, 8)
    flow = (number % 2).astype(np.int32)
    length = np.full(count, width, np.int64)
    return Seen(point, flow, BASE_NS + number, number, length, rows, np.full(count, comment, np.int32))


def numbers(paths: list[Path]) -> list[int]:
    """What our reader finds; a block that was cut is no error."""
    found = []
    for path in paths:
        reader = DatagramReader(np.frombuffer(path.read_bytes(), np.uint8))
        for some in reader.datagrams():
            found += [int.from_bytes(some.payload(row)[:8]) for row in range(len(some))]
    return found


def test_everything_offered_is_in_the_file_in_its_order(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, FLOWS, COMMENTS, max_bytes=8 << 20, max_files=1)
    recorder.offer(batch(0, 1500))
    recorder.offer(batch(1500, 1, Point.RECEIVER))
    recorder.stop()
    assert numbers(recorder.files()) == list(range(1501))
    progress = recorder.progress()
    assert (progress.running, progress.recorded, progress.not_recorded, progress.error) == (False, 1501, 0, None)
    assert progress.size_bytes == recorder.files()[0].stat().st_size


def test_the_last_packet_says_the_sums_beside_its_own_fate(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, FLOWS, COMMENTS, max_bytes=8 << 20, max_files=1)
    recorder.offer(batch(0, 4))
    recorder.offer(batch(4, 2, comment=1))
    recorder.stop()
    data = recorder.files()[0].read_bytes()
    assert data.count(b"lost by the link") == 2
    assert data.count(b"lost by the link; recorded 6, not recorded 0") == 1


def test_rows_may_change_as_soon_as_they_were_offered(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, FLOWS, COMMENTS, max_bytes=8 << 20, max_files=1)
    rows = batch(0, 10)
    recorder.offer(rows)
    rows.rows[:] = 255
    recorder.stop()
    assert numbers(recorder.files()) == list(range(10))


def test_the_oldest_files_make_room_within_the_bound(tmp_path: Path) -> None:
    max_bytes = 3 * (1 << 17)
    recorder = Recorder(tmp_path, FLOWS, COMMENTS, max_bytes=max_bytes, max_files=3, max_queued=1000)
    for first in range(0, 10_000, 500):
        recorder.offer(batch(first, 500))
    recorder.stop()
    assert len(recorder.files()) == 3
    assert sum(path.stat().st_size for path in recorder.files()) <= max_bytes
    kept = numbers(recorder.files())
    assert kept == list(range(kept[0], 10_000))
    assert recorder.progress().files > 3


def test_what_the_disk_cannot_keep_up_with_is_counted_and_nothing_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(tmp_path, FLOWS, COMMENTS, max_bytes=8 << 20, max_files=1, max_queued=2)
    read, write = os.pipe()
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: (os.read(read, 1), real(fd, data))[1])
    for first in range(0, 100, 10):
        recorder.offer(batch(first, 10))
    dropped = recorder.progress().not_recorded
    assert dropped >= 60
    monkeypatch.undo()
    real(write, bytes(100))
    recorder.stop()
    os.close(read)
    os.close(write)
    assert len(numbers(recorder.files())) == 100 - dropped


def test_a_full_disk_ends_the_recording_with_its_reason_and_leaves_whole_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(tmp_path, FLOWS, COMMENTS, max_bytes=8 << 20, max_files=1)
    real, left = os.write, [1000]

    def write(fd: int, data: memoryview) -> int:
        if not left[0]:
            raise OSError(28, "No space left on device")
        done = real(fd, data[: left[0]])
        left[0] -= done
        return done

    monkeypatch.setattr(os, "write", write)
    for first in range(0, 100, 5):
        recorder.offer(batch(first, 5))
    recorder.stop()
    progress = recorder.progress()
    assert progress.error == "No space left on device; the recording stopped"
    assert not progress.running
    path = recorder.files()[0]
    kept = numbers([path])
    assert kept == list(range(len(kept)))
    assert len(kept) == progress.recorded
    assert path.stat().st_size == progress.size_bytes
    before = progress.not_recorded
    recorder.offer(batch(0, 7))
    assert recorder.progress().not_recorded == before + 7


def test_too_small_a_bound_is_refused_before_a_file_is_made(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="max_bytes leaves"):
        Recorder(tmp_path, FLOWS, COMMENTS, max_bytes=1 << 17, max_files=4)
    assert not list(tmp_path.iterdir())


_ENDLESS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from udp.test_recorder import COMMENTS, FLOWS, batch
from udprism.udp.recorder import Recorder
recorder = Recorder(Path(sys.argv[1]), FLOWS, COMMENTS, max_bytes=1 << 30, max_files=1)
first = 0
while True:
    recorder.offer(batch(first, 500))
    first += 500
    if recorder.progress().recorded > 2000:
        print("recorded", flush=True)
"""


@pytest.mark.parametrize("kill", range(5))
def test_a_killed_program_leaves_a_file_whose_whole_blocks_are_read(tmp_path: Path, kill: int) -> None:
    tests = str(Path(__file__).parents[1])
    with subprocess.Popen([sys.executable, "-c", _ENDLESS, str(tmp_path), tests], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(1 + 3 * kill):
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    kept = numbers(sorted(tmp_path.iterdir()))
    assert len(kept) >= 2000
    assert kept == sorted(set(kept))
