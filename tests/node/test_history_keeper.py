"""What happened over time outlives a restart, and nothing that befalls the file harms it or the start."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from udprism.columns.types import NS_PER_S
from udprism.ledger.timeline import FLOW_LEVELS, KEPT, WHOLE_LEVELS
from udprism.node import history_file
from udprism.node.bridge import Bridge
from udprism.node.events import Event
from udprism.node.history_file import KeptHistory
from udprism.node.store import Store
from udprism.settings import Settings

HOUR_S = 3600


def steps_until(ended_s: float, step_ns: int, count: int) -> npt.NDArray[np.void]:
    """`count` steps of a level, the last of which ended then; each received ten datagrams a second."""
    kept = np.zeros(count, KEPT)
    step_s = step_ns / NS_PER_S
    kept["ended_unix_ms"] = (ended_s - step_s * np.arange(count - 1, -1, -1)) * 1000
    steps = kept["step"]
    steps["length_s"] = step_s
    steps["received"] = 10 * step_s
    steps["delay_ms"] = 1.5
    return kept


def kept_until(ended_s: float, *flows: str) -> KeptHistory:
    return KeptHistory(
        [steps_until(ended_s, step_ns, 200) for step_ns, _ in WHOLE_LEVELS],
        {flow: [steps_until(ended_s, step_ns, 50) for step_ns, _ in FLOW_LEVELS] for flow in flows},
        [Event(round(ended_s * NS_PER_S), "link", "link of everybody: perfect")],
    )


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert history_file.read(tmp_path) is None
    written = kept_until(1_700_000_000, "a", "b")
    assert history_file.write(tmp_path, written) == (tmp_path / history_file.FILE_NAME).stat().st_size
    read = history_file.read(tmp_path)
    assert read is not None
    assert read.events == written.events
    assert list(read.flows) == ["a", "b"]
    for mine, theirs in zip([*read.whole, *read.flows["b"]], [*written.whole, *written.flows["b"]], strict=True):
        assert mine.tobytes() == theirs.tobytes()


def test_a_damaged_file_is_refused_and_never_believed(tmp_path: Path) -> None:
    history_file.write(tmp_path, kept_until(1_700_000_000, "a"))
    path = tmp_path / history_file.FILE_NAME
    whole = path.read_bytes()
    random = np.random.default_rng(7)
    for cut in random.integers(0, len(whole), 20).tolist():
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError):  # noqa: PT011 - whatever a cut file is said to be
            history_file.read(tmp_path)
    at = whole.index(b"whole_1.npy") + 4000  # within a column
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(ValueError, match="CRC"):
        history_file.read(tmp_path)


def test_a_full_disk_leaves_the_file_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history_file.write(tmp_path, kept_until(1_700_000_000))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        history_file.write(tmp_path, kept_until(1_800_000_000))
    assert [path.name for path in tmp_path.iterdir()] == [history_file.FILE_NAME]
    read = history_file.read(tmp_path)
    assert read is not None
    assert read.events[0].unix_ns == 1_700_000_000 * NS_PER_S


WRITER = """
import sys, itertools
from pathlib import Path
from node.test_history_keeper import kept_until
from udprism.node import history_file
for turn in itertools.count():
    history_file.write(Path(sys.argv[1]), kept_until(1_700_000_000 + turn, *map(str, range(20))))
    print(turn, flush=True)
"""


def test_a_process_that_is_killed_while_it_writes_leaves_a_whole_file(tmp_path: Path) -> None:
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, env={**os.environ, **paths}
    )
    assert writer.stdout is not None
    for _ in range(5):
        assert writer.stdout.readline()
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    read = history_file.read(tmp_path)
    assert read is not None
    assert len(read.flows) == 20


def test_a_restart_goes_on_with_the_figures_and_events_of_before(tmp_path: Path) -> None:
    client_id = run(tmp_path)["client"]
    now_s = time.time_ns() / NS_PER_S
    history_file.write(tmp_path, kept_until(now_s - 60, client_id, "gone"))
    told = run(tmp_path)
    for body in (told["whole"], told["flow"]):
        rates = body["columns"]["rate_hz"]
        assert rates.count(10.0) >= 20
        assert body["earlier_until"] == pytest.approx(now_s, abs=30)
        assert body["from"] < now_s - 300 < body["earlier_until"]
        kinds = [event["kind"] for event in body["events"]]
        assert kinds[0] == "link"
        assert "restart" in kinds
    kept = history_file.read(tmp_path)
    assert kept is not None
    assert list(kept.flows) == [client_id], "what is removed is kept no longer"
    assert len(kept.whole[0]) >= 200
    (tmp_path / history_file.FILE_NAME).write_bytes(b"rubbish")
    assert run(tmp_path)["whole"]["earlier_until"] is None
    assert history_file.read(tmp_path) is not None


def test_nothing_is_kept_unless_asked(tmp_path: Path) -> None:
    run(tmp_path, keep_history=False)
    assert not (tmp_path / history_file.FILE_NAME).exists()


def run(directory: Path, *, keep_history: bool = True) -> dict[str, Any]:
    """A run of the program: the id of its first client, and an hour of history of all and of this client."""
    settings = Settings(udp="127.0.0.1:0", clients=1, max_clients=8, keep_history=keep_history)
    bridge = Bridge(settings, Store.open(directory))
    bridge.start()
    try:

        async def ask() -> dict[str, Any]:
            [client] = (await bridge.clients.page())[0]
            end_ns = time.time_ns() + NS_PER_S
            whole = await bridge.history(None, end_ns - HOUR_S * NS_PER_S, end_ns, None)
            flow = await bridge.history(client["id"], end_ns - HOUR_S * NS_PER_S, end_ns, 10)
            return {"client": client["id"], "whole": whole, "flow": flow}

        return asyncio.run(ask())
    finally:
        bridge.stop()
