"""Kills recordings under load, at moments drawn from a seed, and reads every file that they leave.

    python -m torture.recording_kills [--kills 500] [--program-every 10] [--seed 1]      (in tests/)

Most kills hit the process that writes, one in ten the whole program. A file may end in the midst of its last block;
every block before that must be read, and every datagram in it must be whole.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import program
from support.program import Program
from udprism.capture.datagrams import DatagramReader

CLIENTS, RATE_HZ = 100, 50
LOSS_AFTER_S = 0.2
LINK = {"loss_ratio": 0.05, "duplicate_ratio": 0.05, "delay_ms": 10, "jitter_ms": 5, "seed": 1}
LONGEST_S = 1.5
"""A recording holds datagrams back for 0.5 s here; some are killed before they have written anything."""
BLOCK_HEAD_BYTES = 8


class Left(NamedTuple):
    """What one file held. cut: whether it ends in the midst of a block."""

    datagrams: int
    cut: bool


def whole_blocks(data: bytes) -> int:
    """Up to where blocks are whole, by walking over them: what is checked must not only be read by what wrote it."""
    at = 0
    while at + BLOCK_HEAD_BYTES <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if length < 12 or at + length > len(data):
            break
        if data[at + length - 4 : at + length] != data[at + 4 : at + 8]:
            raise AssertionError(f"at byte {at}: a block's lengths differ")
        at += length
    return at


def read(path: Path) -> Left:
    """Raises: AssertionError or CaptureError, if it cannot be read."""
    data = path.read_bytes()
    end = whole_blocks(data)
    reader = DatagramReader(np.frombuffer(data, np.uint8))
    count = 0
    for batch in reader.datagrams():
        assert (batch.captured == batch.length).all(), f"{path.name}: a datagram is not whole"
        count += len(batch)
    assert not reader.skips.count, f"{path.name}: {reader.skips.count}"
    assert reader.file.cut_at == (None if end == len(data) else end)
    return Left(count, end < len(data))


def writers_of(pid: int) -> list[int]:
    """Processes of a program that write recordings."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        children = (task / "children").read_text().split()
        found += [int(one) for one in children if "recording_process" in Path(f"/proc/{one}/cmdline").read_text()]
    return found


def kill_some(served: Program, folder: Path, chance: random.Random, kills: int, program_last: bool) -> list[Left]:
    """Kill that many recordings of one program; the last one with the program if asked. What each left."""
    left: list[Left] = []
    for number in range(kills):
        made = served.ask("POST", "/api/recordings", {"max_files": 1})
        time.sleep(chance.random() * LONGEST_S)  # the moment is what is drawn
        last = program_last and number == kills - 1
        (writer,) = writers_of(served.process.pid)
        os.kill(served.process.pid if last else writer, signal.SIGKILL)
        if last:
            served.process.wait()
        while Path(f"/proc/{writer}").exists():  # after its program it writes what has come, and ends
            time.sleep(0.01)
        left += [read(path) for path in folder.glob(f"{made['id']}-*")]
        if not last:
            served.ask("DELETE", f"/api/recordings/{made['id']}")
    return left


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--program-every", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    chance = random.Random(asked.seed)
    left: list[Left] = []
    begun_s = time.monotonic()
    while len(left) < asked.kills:
        count = min(asked.program_every, asked.kills - len(left))
        with tempfile.TemporaryDirectory() as folder:
            words = ("--clients", str(CLIENTS), "--rate-hz", str(RATE_HZ))
            with program.serving(Path(folder), *words, UDPRISM_LOSS_AFTER_S=str(LOSS_AFTER_S)) as served:
                served.ask("PUT", "/api/links/default", LINK)
                found = kill_some(served, Path(folder) / "recordings", chance, count, program_last=True)
        assert len(found) == count, "a recording left no file"
        left += found
        print(f"{len(left)} killed, {sum(one.datagrams > 0 for one in left)} with datagrams", flush=True)
    datagrams = sum(one.datagrams for one in left)
    cut = sum(one.cut for one in left)
    spent_s = time.monotonic() - begun_s
    print(f"{len(left)} files, all read: {datagrams:,} datagrams; {cut} end inside a block; {spent_s:.0f} s")


if __name__ == "__main__":
    main()
