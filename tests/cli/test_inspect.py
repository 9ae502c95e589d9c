"""`udprism inspect` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support import captures, program
from support.captures import enhanced, interface, section
from udprism.wire.measured import Colour, encode_colour

GOOD = section() + interface()
GOOD += b"".join(
    enhanced(captures.frame(encode_colour(Colour(7, number, number, b"\0\0\0"))), number * 1000)
    for number in range(20)
    if number != 5
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file.pcapng"
    path.write_bytes(GOOD)
    return path


def test_it_tells_flows_and_their_losses(path: Path) -> None:
    done = program.run("inspect", str(path))
    assert done.returncode == 0, done.stderr
    assert "10.0.0.1:40000 → 10.0.0.2:12345  measured on 0" in done.stdout
    assert "1 of 20 lost" in done.stdout
    assert "1 flows in 19 packets" in done.stdout
    body = json.loads(program.run("inspect", str(path), "--json").stdout)
    assert body["flows"][0]["ledger"]["lost"] == 1
    assert body["fault"] is None


def test_a_file_that_was_cut_is_read_as_far_as_it_goes(path: Path) -> None:
    path.write_bytes(GOOD[:-3])
    done = program.run("inspect", str(path))
    assert done.returncode == 0
    assert "was cut off or is still being written" in done.stdout
    assert "18 packets" in done.stdout


def test_a_broken_file_is_told_from_where_on_and_ends_with_1(path: Path) -> None:
    path.write_bytes(GOOD + b"\x06\0\0\0\xfc\xff\xff\xff" + bytes(40))
    done = program.run("inspect", str(path))
    assert done.returncode == 1
    assert f"broken at byte {len(GOOD)}" in done.stdout
    body = json.loads(program.run("inspect", str(path), "--json").stdout)
    assert (body["fault"]["offset"], body["fault"]["reason"]) == (len(GOOD), "block-length")
    assert body["flows"][0]["datagrams"] == 19


def test_what_is_no_capture_and_what_is_no_format_is_a_fault_of_usage(path: Path, tmp_path: Path) -> None:
    for content in (b"", b"hello, this is text"):
        path.write_bytes(content)
        assert program.run("inspect", str(path)).returncode == 2
    assert program.run("inspect", str(tmp_path / "none")).returncode == 2
    path.write_bytes(GOOD)
    for words in ("ddp", "x=ddp", "0=ddp", "70000=ddp", "4048=nothing"):
        done = program.run("inspect", str(path), "--as", words)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
