"""Standard streams that are closed, full, cut off or short of letters: a line at most, and the right exit code."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.dialogue import ScriptedServer, scripted_server
from support.program import ANY_PORTS, COMMAND, DEADLINE_S
from udprism.cli.scenario import EXIT_VOID
from udprism.wire import measured as wire

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full and a shell")

FULL = "udprism: cannot write to standard output: No space left on device\n"
QUICK = """
title = "…"
clients = 1
duration_s = 0.5
expect = [{expect}]
"""


def environment(**changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("UDPRISM_", "PYTHONIO"))}
    return kept | {"COLUMNS": "200"} | changes


def shell(line: str, **changes: str) -> subprocess.CompletedProcess[bytes]:
    """`udprism` is "$@" in this line."""
    command = ["sh", "-c", line, "sh", *COMMAND]
    return subprocess.run(command, capture_output=True, timeout=DEADLINE_S, env=environment(**changes), check=False)


def judged(line: str, **changes: str) -> subprocess.CompletedProcess[bytes]:
    """As `shell`, until this machine keeps the scenario's schedule: without that there is no verdict."""
    until_s = time.monotonic() + DEADLINE_S
    while (done := shell(line, **changes)).returncode == EXIT_VOID:
        assert time.monotonic() < until_s, done.stderr
    return done


@pytest.fixture
def scenario(tmp_path: Path) -> tuple[Path, Path]:
    """One whose expectations are met, and one whose are not."""
    paths = tmp_path / "good.toml", tmp_path / "bad.toml"
    for path, expect in zip(paths, ('"received >= 0"', '"received < 0"'), strict=True):
        path.write_text(QUICK.format(expect=expect), encoding="utf-8")
    return paths


def test_a_full_disk_behind_a_report_is_a_line_and_74_or_the_verdict_where_that_says_more(
    scenario: tuple[Path, Path],
) -> None:
    good, bad = scenario
    for path, code in ((good, 74), (bad, 1)):
        done = judged(f'"$@" run {path} > /dev/full')
        assert (done.returncode, done.stderr.decode().endswith(FULL)) == (code, True), done.stderr
    done = shell('"$@" --help > /dev/full')
    assert (done.returncode, done.stderr.decode()) == (74, FULL)


@pytest.mark.parametrize("closing", [">&-", "2>&-", "<&-", ">&- 2>&- <&-", "| true", "2> /dev/full"])
def test_streams_that_are_closed_or_cut_off_change_no_verdict(scenario: tuple[Path, Path], closing: str) -> None:
    good, bad = scenario
    for path, code in ((good, 0), (bad, 1)):
        told = path.with_suffix(".code")
        done = judged(f'{{ "$@" run {path}; echo $? > {told}; }} {closing}; exit $(cat {told})')
        assert done.returncode == code, done.stderr
        assert b"Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp932", "latin-1"])
def test_an_encoding_without_our_letters_costs_letters_and_no_verdict(
    scenario: tuple[Path, Path], encoding: str
) -> None:
    for path, code in zip(scenario, (0, 1), strict=True):
        done = judged(f'"$@" run {path}', PYTHONIOENCODING=encoding)
        assert done.returncode == code, done.stderr
        assert ("All 1 expectations" if code == 0 else "1 of 1 expectations failed") in done.stdout.decode(encoding)
    done = shell('"$@" doctor --udp 127.0.0.1:0 --http 127.0.0.1:0', PYTHONIOENCODING=encoding)
    assert done.returncode in (0, 1), done.stderr
    assert b"over loopback" in done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "cp932"])
def test_every_line_of_a_json_log_is_json_whatever_the_encoding(encoding: str) -> None:
    script = "import logging; from udprism.cli import logs, output; "
    script += "output.prepare(); logs.set_up(True); logging.warning('µ ☂ %s', '日')"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        timeout=DEADLINE_S,
        env=environment(PYTHONIOENCODING=encoding),
        check=True,
    )
    assert json.loads(done.stderr)["message"] == "µ ☂ 日"


@contextmanager
def serving_into(directory: Path, redirection: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`udprism serve` with standard streams redirected, and the port of its page."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    line = f'exec "$@" serve --udp 127.0.0.1:0 --http 127.0.0.1:{port} --data {directory} --clients 1 {redirection}'
    process = subprocess.Popen(["sh", "-c", line, "sh", *COMMAND], stderr=subprocess.PIPE, env=environment())
    try:
        yield process, port
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


@pytest.mark.parametrize("redirection", ["> /dev/full", ">&-", ">&- 2>&- <&-"])
def test_serve_goes_on_where_its_banner_cannot_be_written(tmp_path: Path, redirection: str) -> None:
    with serving_into(tmp_path, redirection) as (process, port):
        until_s = time.monotonic() + DEADLINE_S
        while True:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
                if sock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None
            assert time.monotonic() < until_s
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0


def colours_for(server: ScriptedServer, process: subprocess.Popen[bytes]) -> None:
    server.hear()
    sequence = 0
    while process.poll() is None:
        server.say(wire.encode_colour(wire.Colour(7, sequence, time.time_ns(), b"\xff\0\0")))
        sequence += 1
        time.sleep(0.01)


@pytest.mark.parametrize(("redirection", "code", "says"), [("> /dev/full", 74, FULL), ("| head -1", 0, "")])
def test_a_stream_in_the_terminal_ends_where_nobody_reads_it(redirection: str, code: int, says: str) -> None:
    with scripted_server() as server:
        host, port = server.address
        line = f'{{ "$@" client {host}:{port}; echo code $? >&2; }} {redirection}'
        process = subprocess.Popen(
            ["sh", "-c", line, "sh", *COMMAND], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        )
        colours_for(server, process)
        _, words = process.communicate(timeout=DEADLINE_S)
    assert words.decode() == f"{says}code {code}\n"


def test_an_answer_that_is_no_utf_8_is_a_wrong_answer() -> None:
    with scripted_server() as server:
        host, port = server.address
        command = [*COMMAND, "client", f"{host}:{port}", "--quiz"]
        with subprocess.Popen(
            command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"\xff\xfemerah\nhijau\n")
            process.stdin.flush()
            server.hear()
            for sequence, pixels in enumerate((b"\xff\0\0", b"\0\x80\0")):
                server.say(wire.encode_colour(wire.Colour(7, sequence, time.time_ns(), pixels)))
                process.stdout.readline()
                assert (b"Score: 0 (merah)" if pixels[0] else b"Score: 100") in process.stdout.readline()
            process.kill()


NO_HOME = """
import pwd

def unknown(uid):
    raise KeyError(uid)

pwd.getpwuid = unknown
from udprism.__main__ import main
main()
"""
"""The program for a user of whom the system knows nothing, as in many containers."""


def test_a_user_without_a_home_keeps_data_where_the_variable_says(tmp_path: Path) -> None:
    def started(**changes: str) -> subprocess.Popen[bytes]:
        kept = {name: value for name, value in environment(**changes).items() if name != "HOME"}
        command = [sys.executable, "-c", NO_HOME, "serve", *ANY_PORTS, "--clients", "0"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=kept)

    with started() as without:
        _, words = without.communicate(timeout=DEADLINE_S)
    assert without.returncode == 2
    assert words.decode().startswith("udprism: this user has no home directory: ")
    assert words.count(b"\n") == 1
    with started(XDG_DATA_HOME=str(tmp_path), PYTHONUNBUFFERED="1") as process:
        assert process.stdout is not None
        while b"stored in" not in (line := process.stdout.readline()):
            assert line
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert list((tmp_path / "udprism").glob("*.sqlite3"))
