"""The example clients do what the README says of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.dialogue import ScriptedServer, next_line, scripted_server, started
from support.program import running
from udprism.wire.colours import INDONESIAN

CLIENTS = Path(__file__).parents[2] / "frontend" / "examples"


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


@pytest.mark.parametrize("engine", ["batch", "threads"])
def test_the_client_command_hears_colours_of_either_engine(engine: str) -> None:
    """The engine `threads` answers from other ports, so the client has to fall back to a socket that hears them."""
    with running("server", "--udp", "127.0.0.1:0", "--engine", engine) as server:
        host, port = server.udp
        with started(sys.executable, "-m", "udprism", "client", f"{host}:{port}", "--json") as process:
            heard = [json.loads(next_line(process)) for _ in range(5)]
    assert {one["colour"] for one in heard} <= set(INDONESIAN)
    numbers = [one["sequence"] for one in heard]
    counted = [number for number in numbers if number is not None]
    assert counted == list(range(len(counted)))
    # On a slow machine the client may ask for the measured stream again before the first plain colour is there.
    assert len(counted) == 5 if engine == "batch" else numbers[0] is None


def test_every_example_hears_the_real_server(tmp_path: Path) -> None:
    subprocess.run([program("cc"), "-o", tmp_path / "client", CLIENTS / "client.c"], check=True)
    with running("server", "--udp", "127.0.0.1:0") as server:
        host, port = server.udp
        for words in (
            (sys.executable, str(CLIENTS / "client.py")),
            (program("node"), str(CLIENTS / "client.mjs")),
            (str(tmp_path / "client"),),
        ):
            with started(*words, host, str(port)) as process:
                assert next_line(process).removeprefix("Received colour: ") in INDONESIAN
