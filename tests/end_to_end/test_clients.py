"""The example clients do what the README says of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.dialogue import ScriptedServer, next_line, scripted_server, started

CLIENTS = Path(__file__).parent / "clients"


def hears_colours(server: ScriptedServer, *words: str) -> None:
    host, port = server.address
    with started(*words, host, str(port)) as process:
        assert server.hear() == b"connect"
        for colour in ("red", "lightgoldenrodyellow", "blue"):
            server.say(colour.encode())
            assert next_line(process) == f"Received colour: {colour}"


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def test_the_python_client_hears_colours() -> None:
    with scripted_server() as server:
        hears_colours(server, sys.executable, str(CLIENTS / "client.py"))


def test_the_python_client_is_ten_lines_long() -> None:
    assert len((CLIENTS / "client.py").read_text().strip().splitlines()) <= 11  # its docstring, and ten


def test_the_node_client_hears_colours() -> None:
    node = program("node")
    with scripted_server() as server:
        hears_colours(server, node, str(CLIENTS / "client.mjs"))


def test_the_c_client_hears_colours(tmp_path: Path) -> None:
    compiler = program("cc")
    binary = tmp_path / "client"
    subprocess.run([compiler, "-Wall", "-Wextra", "-Werror", "-o", binary, CLIENTS / "client.c"], check=True)
    with scripted_server() as server:
        hears_colours(server, str(binary))


def test_netcat_hears_a_colour_a_line() -> None:
    netcat = program("nc")
    with scripted_server() as server:
        host, port = server.address
        with started(netcat, "-u", host, str(port)) as process:
            assert process.stdin is not None
            process.stdin.write("connect\n")
            process.stdin.flush()
            assert server.hear() == b"connect\n"
            for colour in ("red", "green"):
                server.say(f"{colour}\n".encode())
                assert next_line(process) == colour
