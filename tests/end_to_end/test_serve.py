"""`udprism serve` from outside: what a person with a terminal sees."""

from __future__ import annotations

import http.client
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from support import captures, program, readme
from support.program import DEADLINE_S, Program
from udprism.node.store import KeptClient, Store
from udprism.wire import measured as wire

BASIC = {"red", "green", "blue", "yellow", "purple", "orange"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """One program for all tests that leave it as it was."""
    with program.serving(tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest.fixture
def raw(served: Program) -> Iterator[socket.socket]:
    """A UDP socket that waits as long as it must."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(DEADLINE_S)
        yield sock
        sock.sendto(b"disconnect", served.udp)


def test_one_connect_is_answered_with_colours_for_as_long_as_one_listens(served: Program, raw: socket.socket) -> None:
    raw.sendto(b"connect rate_hz=100", served.udp)
    colours = [raw.recv(2048).decode() for _ in range(50)]
    assert set(colours) <= BASIC
    assert len(set(colours)) > 1


def test_a_connected_socket_that_ends_its_connect_with_a_newline_hears_lines(
    served: Program, raw: socket.socket
) -> None:
    raw.connect(served.udp)
    raw.send(b"connect\n")
    for _ in range(3):
        assert raw.recv(2048).decode().removesuffix("\n") + "\n" in {f"{colour}\n" for colour in BASIC}


def test_a_raw_client_is_on_the_page_within_a_second_of_its_connect(served: Program, raw: socket.socket) -> None:
    raw.sendto(b"connect name=kitchen", served.udp)
    raw.recv(2048)
    sessions = served.get("/api/sessions")["sessions"]
    mine = [session for session in sessions if session["name"] == "kitchen"]
    assert [session["kind"] for session in mine] == ["raw"]
    assert mine[0]["address"].endswith(f":{raw.getsockname()[1]}")


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("nc") is None and not os.environ.get("CI"), reason="needs nc")
def test_the_nc_line_of_the_readme_prints_colours(served: Program) -> None:
    line = readme.block("nc").replace("127.0.0.1 12345", f"{served.udp[0]} {served.udp[1]}")
    with subprocess.Popen(
        ["sh", "-c", f"exec 2>&1; {line}"], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as shell:
        assert shell.stdout is not None
        try:
            heard = [shell.stdout.readline().strip() for _ in range(5)]
        finally:
            os.killpg(shell.pid, signal.SIGKILL)
    assert set(heard) <= BASIC


def test_the_client_of_the_readme_prints_ten_colours(served: Program) -> None:
    source = readme.block("client").replace('"127.0.0.1", 12345', f"{served.udp[0]!r}, {served.udp[1]}")
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 10
    assert all(line.removeprefix("Received colour: ") in BASIC for line in lines)


def test_the_curl_lines_of_the_readme_do_what_they_say(tmp_path: Path) -> None:
    with program.serving(tmp_path) as served:
        for line in readme.curl_commands():
            method, path, body = "GET", "", None
            words = iter(shlex.split(line)[1:])
            for word in words:
                if word == "-X":
                    method = next(words)
                elif word == "-d":
                    body = next(words).encode()
                elif word == "-H":
                    assert next(words) == "Content-Type: application/json"
                else:
                    path = word.removeprefix("http://127.0.0.1:8000")
            assert path.startswith("/"), line
            served.ask_bytes(method, path, body)
        assert served.get("/api/clients")["total"] == 110
        assert served.get("/api/links/default")["loss_ratio"] == 0.02


def test_a_first_start_makes_ten_clients_that_live_and_a_second_brings_back_what_was_there(tmp_path: Path) -> None:
    with program.serving(tmp_path) as served:
        first = wait_for_live(served, 10)
        served.ask("DELETE", f"/api/clients/{first[0]['id']}")
        served.ask("PATCH", f"/api/clients/{first[1]['id']}", {"name": "renamed", "rate_hz": 33.0})
        served.end()
    with program.serving(tmp_path) as served:  # on another port, where they find it all the same
        second = wait_for_live(served, 9)
    assert {client["id"] for client in second} == {client["id"] for client in first[1:]}
    assert {"renamed": 33.0}.items() <= {client["name"]: client["rate_hz"] for client in second}.items()


def wait_for_live(served: Program, count: int) -> list[dict[str, str]]:
    """All clients, as soon as `count` of them are live."""
    until_s = time.monotonic() + DEADLINE_S
    while True:
        clients: list[dict[str, str]] = served.get("/api/clients?limit=1000")["clients"]
        if sum(client["state"] == "live" for client in clients) == count:
            return clients
        assert time.monotonic() < until_s, clients


def test_a_server_that_listens_everywhere_serves_its_own_clients_over_loopback(tmp_path: Path) -> None:
    with program.serving(tmp_path, "--udp", "0.0.0.0:0", "--clients", "2") as served:
        clients = wait_for_live(served, 2)
    assert {client["target"] for client in clients} == {f"127.0.0.1:{served.udp[1]}"}
    assert "open to other machines" in "".join(served.output)


def test_what_is_ephemeral_is_not_kept(tmp_path: Path) -> None:
    flags = ("serve", "--udp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ephemeral", "--clients", "2")
    with program.running(*flags, XDG_DATA_HOME=str(tmp_path), HOME=str(tmp_path)) as served:
        wait_for_live(served, 2)
        served.end()
    assert list(tmp_path.rglob("*.sqlite3*")) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_bye_to_measured_clients_and_exit_code_0(tmp_path: Path, number: int) -> None:
    with (
        program.serving(tmp_path, "--clients", "2") as served,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        sock.settimeout(DEADLINE_S)
        sock.sendto(b"connect v=1", served.udp)
        sock.recv(2048)
        wait_for_live(served, 2)
        assert served.end(number) == 0
        while wire.decode_datagram(datagram := sock.recv(2048)).__class__.__name__ != "Bye":
            pass
        assert datagram[2] == wire.Kind.BYE
    assert "Traceback" not in "".join(served.output)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_all_its_processes_is_taken_by_the_program_alone(number: int) -> None:
    """A service manager sends SIGTERM to all at once, a closed terminal SIGHUP; some child is the first to hear it."""
    with program.ephemeral("--clients", "1") as served:
        served.ask("PUT", "/api/links/default", {"delay_ms": 1})
        served.ask("POST", "/api/relays", {"listen": "127.0.0.1:0", "target": "127.0.0.1:9999"})
        capture = captures.section() + captures.interface() + captures.enhanced(captures.frame(b"red"), 0)
        file = served.ask("POST", "/api/captures", {"name": "one.pcapng", "bytes": len(capture)})["id"]
        served.ask_bytes("PUT", f"/api/captures/{file}/bytes?at=0", capture)
        replay = served.ask("POST", "/api/replays", {"file": file, "target": "127.0.0.1:9999", "loop": 0})["id"]
        while not served.get(f"/api/replays/{replay}")["ledger"]["offered"]:
            pass  # its process has not begun to play
        tasks = Path(f"/proc/{served.process.pid}/task")
        children = {int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()}
        assert len(children) == 3
        for pid in children:
            os.kill(pid, number)
        assert served.end(signal.SIGTERM) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    assert " warning " not in "".join(served.output)


def test_a_signal_in_the_middle_of_the_start_ends_it_as_well(tmp_path: Path) -> None:
    with program.serving(tmp_path) as served:
        code = served.end()  # the banner has only just named the port
    assert (code, "Traceback" in "".join(served.output)) == (0, False), "".join(served.output)


FAULT = """
import sys
from udprism.udp.server import ColourServer

def fail(self, now_ns):
    raise ArithmeticError("injected")

ColourServer._tick = fail
sys.argv = ["udprism", "serve", "--udp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ephemeral", "--log-json"]
from udprism.__main__ import main
main()
"""


def test_a_thread_that_fails_again_and_again_ends_the_process_with_70_and_its_cause_in_the_log() -> None:
    done = subprocess.run([sys.executable, "-c", FAULT], capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 70
    log = [json.loads(line) for line in done.stderr.splitlines()]
    assert any("ArithmeticError" in entry.get("exception", "") for entry in log)
    assert log[-1]["level"] == "critical"


@pytest.mark.parametrize("flag", ["--udp", "--http"])
def test_a_taken_port_ends_it_with_3_and_one_line_that_names_it_and_nothing_half_started(
    tmp_path: Path, flag: str
) -> None:
    kind = socket.SOCK_DGRAM if flag == "--udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        ports = {"--udp": "127.0.0.1:0", "--http": "127.0.0.1:0", flag: f"127.0.0.1:{port}"}
        words = [word for pair in ports.items() for word in pair]
        done = program.run("serve", *words, "--data", str(tmp_path / "data"))
    assert done.returncode == 3
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert str(port) in line
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("UDPRISM_HISTORY_DATAGRAMS", "1000", "power of two"),
        ("UDPRISM_CLIENTS", "20000", "max_clients"),
        ("UDPRISM_UDP_LEASE_S", "inf", "less than or equal to"),
        ("UDPRISM_RECEIVE_BUFFER_BYTES", "9" * 30, "less than or equal to"),
        ("UDPRISM_UDP", "a..b:5000", "not a valid host name"),
        ("UDPRISM_HTTP", "a" * 64 + ":5000", "not a valid host name"),
    ],
)
def test_a_setting_that_cannot_be_ends_it_with_2_and_its_name_and_starts_nothing(
    variable: str, value: str, says: str
) -> None:
    done = program.run(
        "serve", "--ephemeral", **{"UDPRISM_UDP": "127.0.0.1:0", "UDPRISM_HTTP": "127.0.0.1:0", variable: value}
    )
    assert (done.returncode, done.stdout) == (2, "")
    flat = " ".join(done.stderr.replace("│", " ").split())
    assert variable in flat
    assert says in flat


def test_a_data_directory_in_use_is_refused_in_one_line(tmp_path: Path) -> None:
    with program.serving(tmp_path):
        done = program.run("serve", "--udp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data", str(tmp_path))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "in use by another udprism" in line


def test_a_damaged_database_is_set_aside_and_said_so(tmp_path: Path) -> None:
    (tmp_path / "udprism.sqlite3").write_bytes(b"no database at all " * 500)
    with program.serving(tmp_path) as served:
        wait_for_live(served, 10)
    (aside,) = tmp_path.glob("*damaged*")
    assert aside.name in "".join(served.output)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit of open files")
def test_kept_clients_beyond_the_limit_of_open_files_are_there_in_error_and_one_line_says_so(tmp_path: Path) -> None:
    with program.serving(tmp_path, "--clients", "300") as served:
        wait_for_live(served, 300)
        assert served.end() == 0
    limited = ("sh", "-c", 'ulimit -n 450 && exec "$0" "$@"', *program.COMMAND)
    with program.running("serve", *program.ANY_PORTS, "--data", str(tmp_path), command=limited) as served:
        until_s = time.monotonic() + DEADLINE_S
        while (states := Counter(one["state"] for one in served.get("/api/clients")["clients"]))["live"] < 50:
            assert time.monotonic() < until_s, states
        assert states["error"] > 150
        assert states.total() == 300
        one = next(one for one in served.get("/api/clients?state=error")["clients"])
        assert "ulimit -n" in one["error"]
        served.ask(
            "DELETE",
            "/api/clients?" + "&".join(f"id={c['id']}" for c in served.get("/api/clients?state=live")["clients"]),
        )
        served.ask("PATCH", f"/api/clients/{one['id']}", {"paused": False})
        while served.get(f"/api/clients/{one['id']}")["state"] != "live":
            assert time.monotonic() < until_s
        assert served.end() == 0
    (line,) = [line for line in served.output if "cannot start yet" in line]
    assert "ulimit -n" in line


NAMES = """
import socket, sys, threading

system, tried = socket.getaddrinfo, []

def look_up(host, *arguments, **options):
    tried.append(host)
    if host == "both.test":  # as localhost is on most systems
        return system("::1", *arguments, **options) + system("127.0.0.1", *arguments, **options)
    if host == "late.test" and tried.count(host) > 2:
        return system("127.0.0.1", *arguments, **options)
    if str(host).startswith("nowhere"):
        threading.Event().wait(600)
    if str(host).endswith(".test"):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    return system(host, *arguments, **options)

socket.getaddrinfo = look_up
from udprism.__main__ import main
main()
"""
"""The program with a name server of its own."""


def test_a_name_server_that_does_not_answer_holds_up_nothing_but_the_clients_of_its_names(tmp_path: Path) -> None:
    names = [f"nowhere-{number}.test:5000" for number in range(30)]
    with closing(Store.open(tmp_path)) as store:
        store.add_clients(
            KeptClient(f"c-{number}", f"lost-{number}", name, "auto", 10, 1, False) for number, name in enumerate(names)
        )
        store.add_clients([KeptClient("c-own", "own", "", "auto", 10, 1, False)])
    command = (sys.executable, "-c", NAMES)
    with program.running("serve", *program.ANY_PORTS, "--data", str(tmp_path), command=command) as served:
        states = {client["id"]: client["state"] for client in wait_for_live(served, 1)}
        assert len(states) == 31
        assert (states.pop("c-own"), set(states.values())) == ("live", {"connecting"})
        adding = threading.Thread(target=try_to_add, args=(served, "nowhere.test:5000"))
        adding.start()
        for number in range(10):
            served.ask("PATCH", f"/api/clients/c-{number}", {"rate_hz": 20})
        assert len(served.ask("POST", "/api/clients", {"count": 3})["clients"]) == 3
        assert adding.is_alive()
        assert served.end(signal.SIGTERM) == 0
        adding.join()


def try_to_add(served: Program, target: str) -> None:
    with suppress(OSError, http.client.HTTPException):  # the program ends meanwhile
        served.ask("POST", "/api/clients", {"target": target})


def test_a_name_that_is_found_later_is_found(tmp_path: Path) -> None:
    with program.running("server", "--udp", "127.0.0.1:0") as other:
        target = f"late.test:{other.udp[1]}"
        with closing(Store.open(tmp_path)) as store:
            store.add_clients(KeptClient(f"c-{i}", f"n-{i}", target, "auto", 10, 1, False) for i in range(3))
        command = (sys.executable, "-c", NAMES)
        with program.running("serve", *program.ANY_PORTS, "--data", str(tmp_path), command=command) as served:
            clients = wait_for_live(served, 3)
        assert {client["target_address"] for client in clients} == {f"127.0.0.1:{other.udp[1]}"}


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_name_with_two_addresses_is_asked_where_a_server_is_and_the_one_that_answered_is_named(host: str) -> None:
    with (
        program.ephemeral("--clients", "0", command=(sys.executable, "-c", NAMES)) as served,
        socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as server,
    ):
        server.bind((host.strip("[]"), 0))
        server.settimeout(DEADLINE_S)
        port = server.getsockname()[1]
        (made,) = served.ask("POST", "/api/clients", {"target": f"both.test:{port}", "rate_hz": 50})["clients"]
        data, address = server.recvfrom(2048)
        assert data.startswith(b"connect")
        server.sendto(wire.encode_colour(wire.Colour(7, 0, time.time_ns(), b"\xff\0\0")), address)
        until_s = time.monotonic() + DEADLINE_S
        while (client := served.get(f"/api/clients/{made['id']}"))["last_colour"] is None:
            assert time.monotonic() < until_s
        assert (client["target"], client["target_address"]) == (f"both.test:{port}", f"{host}:{port}")


def test_a_foreign_server_that_knows_only_the_bare_word_and_answers_from_another_port_can_be_a_target(
    tmp_path: Path,
) -> None:
    with (
        program.serving(tmp_path, "--clients", "0") as served,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as answerer,
    ):
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(DEADLINE_S)
        target = f"127.0.0.1:{listener.getsockname()[1]}"
        (made,) = served.ask("POST", "/api/clients", {"target": target})["clients"]
        client = listener.recvfrom(2048)
        while client[0] != b"connect":
            client = listener.recvfrom(2048)
        until_s = time.monotonic() + DEADLINE_S
        while served.get(f"/api/clients/{made['id']}")["state"] != "live":
            answerer.sendto(b"purple", client[1])
            assert time.monotonic() < until_s
        assert served.get(f"/api/clients/{made['id']}")["last_colour"] is not None


def test_the_older_engine_serves_from_a_port_of_its_own(tmp_path: Path) -> None:
    with (
        program.serving(tmp_path, "--engine", "threads", "--clients", "3") as served,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        sock.settimeout(DEADLINE_S)
        sock.sendto(b"connect", served.udp)
        colour, source = sock.recvfrom(2048)
        assert colour.decode() in BASIC
        assert source[1] != served.udp[1]
        wait_for_live(served, 3)
        assert served.end() == 0
