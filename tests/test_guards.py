"""The guards themselves: each must be seen to fail a test that deserves it, and no other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import branches

TESTS = Path(__file__).parent

SUITE = """
import asyncio, gc, threading, time
import support.guards

support.guards.THREAD_DEADLINE_S = 0.0
release = threading.Event()

def test_that_leaves_a_thread():
    threading.Thread(target=release.wait, args=(0.3,), name="left behind").start()

def test_that_sleeps_in_the_event_loop():
    async def main():
        time.sleep(0.4)
    asyncio.run(main())

def test_that_computes_in_the_event_loop():
    async def main():
        started_s = time.thread_time()
        while time.thread_time() - started_s < 0.3:
            pass
    asyncio.run(main())

def test_that_collects_garbage_in_the_event_loop():
    heap = [[number] for number in range(300_000)]
    async def main():
        started_s = time.thread_time()
        while time.thread_time() - started_s < 0.4:
            gc.collect()
    asyncio.run(main())

def test_that_waits_and_joins_as_it_should():
    async def main():
        await asyncio.sleep(0.2)
        await asyncio.to_thread(time.sleep, 0.2)
    thread = threading.Thread(target=time.sleep, args=(0.01,))
    thread.start()
    asyncio.run(main())
    thread.join()
"""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest says of the suite above under this project's own conftest."""
    directory = tmp_path_factory.mktemp("guarded")
    (directory / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    (directory / "test_guarded.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "-o", f"pythonpath={TESTS}"]
    environment = {name: value for name, value in os.environ.items() if name != branches.VARIABLE}
    done = subprocess.run(
        [*command, str(directory)], capture_output=True, text=True, cwd=directory, env=environment, timeout=60
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def test_a_thread_left_behind_fails_its_test(outcome: str) -> None:
    assert "threads outlive their test: ['left behind']" in outcome


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("test_that_sleeps_in_the_event_loop", "ms in one callback"),
        ("test_that_computes_in_the_event_loop", "ms of CPU time in one callback"),
    ],
)
def test_a_callback_that_blocks_fails_its_test(outcome: str, name: str, why: str) -> None:
    assert f"ERROR test_guarded.py::{name}" in outcome
    assert why in outcome


def test_the_stack_shows_the_line_that_blocked(outcome: str) -> None:
    assert "time.sleep(0.4)" in outcome


def test_waiting_as_one_should_and_collecting_garbage_are_left_alone(outcome: str) -> None:
    assert "ERROR test_guarded.py::test_that_waits_and_joins_as_it_should" not in outcome
    assert "ERROR test_guarded.py::test_that_collects_garbage_in_the_event_loop" not in outcome
    assert "5 passed" in outcome
