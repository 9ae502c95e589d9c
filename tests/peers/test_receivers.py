"""What we send, shown by real receivers: each prints the first levels that it has, for every frame that it takes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from peers.capture import Interpreters
from peers.hosts import DEADLINE_S, RECEIVER, Hosts
from torture.outside import wait_until

HERE = Path(__file__).parent
FRAMES, PIXELS = 300, 500
LAST = (FRAMES - 1) % 256
FORMATS_PAGE = HERE.parents[1] / "backend" / "FORMATS.md"


class Receiver(NamedTuple):
    """every: the receiver prints each frame; otherwise what it has whenever it is asked."""

    name: str
    receiver: str
    format: str
    script: str
    words: tuple[str, ...] = ()
    every: bool = True


RECEIVERS = (
    Receiver("sacn-hears", "sacn 1.11.0 (PyPI)", "e131", "sacn_hears.py"),
    Receiver("npm-sacn-hears", "sacn 4.6.2 (npm)", "e131", "sacn_npm_hears.js"),
    Receiver("npm-e131-hears", "e131 1.1.3 (npm)", "e131", "e131_npm_hears.js"),
    Receiver("ola-sacn-hears", "OLA 0.10.9 (Debian)", "e131", "ola_hears.sh", ("e131",), every=False),
    Receiver("stupidartnet-hears", "stupidArtnet 1.6.0", "artnet", "stupidartnet_hears.py"),
    Receiver("npartnet-hears", "npartnet 0.2.0", "artnet", "npartnet_hears.py", every=False),
    Receiver("aioartnet-hears", "aioartnet 0.2.1", "artnet", "aioartnet_hears.py"),
    Receiver("dmxnet-hears", "dmxnet 0.9.0", "artnet", "dmxnet_hears.js"),
    Receiver("ola-artnet-hears", "OLA 0.10.9 (Debian)", "artnet", "ola_hears.sh", ("artnet",), every=False),
    Receiver("python-led-ddp-hears", "python-led-ddp 1.0.1", "ddp", "ddp_hears.py"),
    Receiver("ffmpeg-hears", "FFmpeg 5.1 (Debian)", "rtp", "ffmpeg_hears.sh", (str(PIXELS),)),
)
MOST_LOST = 6
"""Frames that a receiver may miss: its first, or the last that it has not yet printed."""


@contextmanager
def hearing(hosts: Hosts, interpreters: Interpreters, receiver: Receiver) -> Iterator[list[Any]]:
    """What the receiver says, line by line, while it runs; it is ready."""
    words = hosts.receiver.command(*interpreters.command(receiver.script), *receiver.words)
    said: list[Any] = []
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        stdout = process.stdout
        assert stdout is not None
        reader = threading.Thread(target=lambda: said.extend(map(json.loads, stdout)))
        reader.start()
        try:
            wait_until(lambda: "ready" in said, DEADLINE_S)
            yield said
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
            reader.join()


def levels(said: list[Any]) -> list[list[int]]:
    return [line["levels"] for line in list(said) if "levels" in line and line.get("offset", 0) == 0]


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.parametrize("receiver", RECEIVERS, ids=lambda receiver: receiver.name)
def test_a_real_receiver_shows_what_we_send(hosts: Hosts, interpreters: Interpreters, receiver: Receiver) -> None:
    ours = [sys.executable, str(HERE / "send_ours.py"), receiver.format, RECEIVER, str(PIXELS), str(FRAMES)]
    with hearing(hosts, interpreters, receiver) as said:
        begun_s = time.monotonic()
        subprocess.run(hosts.sender.command(*ours), check=True, timeout=DEADLINE_S)
        print(f"{receiver.name}: {FRAMES} frames in {time.monotonic() - begun_s:.1f} s")
        wait_until(lambda: any(one[0] in (LAST, LAST - 1, LAST - 2) for one in levels(said)[-50:]), DEADLINE_S)
        shown = levels(said)
        lit = [one for one in shown if any(one)]
        assert {tuple(one[1:3]) for one in lit} <= {(7, 9), (2, 3)}
        if receiver.every:
            frames = [one[0] for one in lit if one[1:3] == [7, 9]]
            assert FRAMES - MOST_LOST <= len(frames) <= FRAMES
            steps = {(after - before) % 256 for before, after in pairwise(frames)}
            assert steps == {1}, "nothing lost where our numbers go round"
        if receiver.name == "sacn-hears":
            goodbye = {"universe": 1, "changed": "timeout"}
            wait_until(lambda: goodbye in said, 1.5)  # at once: without a goodbye its patience is 2.5 s
            assert {line["from"] for line in said if "from" in line} == {"udprism"}


def test_the_page_names_every_receiver() -> None:
    named = set(re.findall(r"`([a-z0-9-]+-hears)`", FORMATS_PAGE.read_text()))
    assert named == {receiver.name for receiver in RECEIVERS}
