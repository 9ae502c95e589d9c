"""Capture files whose disk or folder is in trouble, and the process that looks into one."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from udprism.errors import RequestError
from udprism.node.captures import Captures


def reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> Path:
    """A file to look into, by this script instead of Python."""
    executable = tmp_path / "reader"
    executable.write_text(f"#!/bin/sh\n{script}\n")
    executable.chmod(0o700)
    monkeypatch.setattr("udprism.node.captures.sys", SimpleNamespace(executable=str(executable)))
    file = tmp_path / "file"
    file.touch()
    return file


def refusal(file: Path) -> RequestError:
    with pytest.raises(RequestError) as refused:
        asyncio.run(Captures(None).inspect(file))
    return refused.value


def test_one_that_is_killed_while_it_writes_is_no_bug(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = refusal(reader(monkeypatch, tmp_path, "printf '{\"flows\": [' ; kill -9 $$"))
    assert (found.kind, found.detail) == ("unreadable", "the process that read it ended with -9")


def test_one_that_cannot_be_started_is_no_bug(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = reader(monkeypatch, tmp_path, "")
    (tmp_path / "reader").unlink()
    assert refusal(file).kind == "busy"


def test_it_ends_as_soon_as_nobody_waits_for_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = tmp_path / "pid"
    file = reader(monkeypatch, tmp_path, f"echo $$ > {told}; exec sleep 1000")

    async def leave() -> None:
        asking = asyncio.ensure_future(Captures(None).inspect(file))
        while not (told.exists() and told.read_text()):
            await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(leave())
    with pytest.raises((ProcessLookupError, ChildProcessError)):  # it was reaped by the loop, or here
        reap(int(told.read_text()))


def reap(process: int) -> None:
    while True:
        os.kill(process, 0)
        os.waitpid(process, 0)


def test_a_folder_that_somebody_took_away_is_made_again(tmp_path: Path) -> None:
    async def uploads() -> None:
        captures = Captures(tmp_path / "captures")
        await captures.add("before", 5)
        shutil.rmtree(tmp_path / "captures")
        again = await captures.add("after", 5)
        assert (await captures.write(again["id"], 0, b"12345"))["received"] == 5
        captures.stop()

    asyncio.run(uploads())


def test_a_full_disk_is_said_and_the_piece_can_come_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def upload() -> None:
        captures = Captures(tmp_path / "captures")
        one = await captures.add("one", 10)
        await captures.write(one["id"], 0, b"12345")

        def full(*write: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as disk:
            disk.setattr(os, "pwrite", full)
            with pytest.raises(RequestError, match="No space left") as refused:
                await captures.write(one["id"], 5, b"67890")
        assert refused.value.kind == "not-kept"
        assert (await captures.write(one["id"], 5, b"67890"))["received"] == 10
        assert captures.path(one["id"]).read_bytes() == b"1234567890"
        captures.stop()

    asyncio.run(upload())


def test_the_temporary_folders_of_killed_programs_are_removed_at_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with subprocess.Popen(["true"]) as process:
        process.wait()
    stale, mine = (tmp_path / f"udprism-captures-{one}-x" for one in (process.pid, os.getpid()))
    for folder in (stale, mine):
        folder.mkdir()
        (folder / "cap-1").write_bytes(b"x")
    Captures(None)
    assert list(tmp_path.iterdir()) == [mine]
