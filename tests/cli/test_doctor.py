"""The doctor: each check is seen to find its fault, and to leave a sound machine alone."""

from __future__ import annotations

import http.server
import json
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from udprism.cli import app
from udprism.cli.doctor import clocks, link, path, ports
from udprism.cli.doctor.finding import Severity
from udprism.settings import Settings


@pytest.fixture
def free() -> Settings:
    """Settings whose ports the kernel chooses, so that nobody can be in the way."""
    return Settings(udp="127.0.0.1:0", http="127.0.0.1:0")


def test_a_taken_udp_port_fails_and_names_the_port(free: Settings) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        finding = ports.check_udp_port(Settings(udp=f"127.0.0.1:{port}"))
    assert finding.severity is Severity.FAIL
    assert str(port) in finding.saw
    assert ports.check_udp_port(free).severity is Severity.OK


def test_a_slower_receiver_is_noted_with_its_reason_and_what_mends_it(free: Settings) -> None:
    finding = link.judge_receiver("epoll (io_uring: Operation not permitted)")
    assert finding.severity is Severity.NOTE
    assert "Operation not permitted" in finding.saw
    assert "io_uring_disabled" in finding.mend
    assert link.judge_receiver("io_uring").severity is Severity.OK
    assert link.check_receiver(free).saw.startswith("datagrams are received through")


def test_a_link_whose_delays_are_not_right_is_told_and_why(free: Settings) -> None:
    for finding in (link.judge_link(False, 8), link.judge_link(True, 1)):
        assert finding.severity is Severity.NOTE
        assert "accurate to some milliseconds only" in finding.means
        assert finding.mend
    assert link.judge_link(True, 2).severity is Severity.OK
    assert "delayed datagrams are sent" in link.check_link(free).saw or "only processor" in link.check_link(free).saw


def test_a_taken_http_port_fails_and_names_the_port(free: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finding = ports.check_http_port(Settings(http=f"127.0.0.1:{port}"))
    assert finding.severity is Severity.FAIL
    assert str(port) in finding.saw
    assert ports.check_http_port(free).severity is Severity.OK


@pytest.mark.parametrize(("hard", "words"), [(20_000, "20,000"), (resource.RLIM_INFINITY, "any number of")])
def test_enough_descriptors_are_told_with_their_number(monkeypatch: pytest.MonkeyPatch, hard: int, words: str) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda which: (hard, hard))
    finding = ports.check_descriptors(Settings(clients=3, max_clients=5))
    assert finding.severity is Severity.OK
    assert finding.saw.startswith(f"{words} file descriptors")


def test_too_few_descriptors_fail_with_the_number_of_clients_that_fit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard > 90_000:
        pytest.skip("this machine allows more descriptors than there may be clients")
    finding = ports.check_descriptors(Settings(clients=100_000, max_clients=100_000))
    assert finding.severity is Severity.FAIL
    assert "hosted clients fit" in finding.means
    assert finding.mend.startswith("ulimit -n")


def test_a_receive_buffer_beyond_what_the_kernel_grants_is_noted_with_the_line_that_mends_it() -> None:
    finding = link.check_receive_buffer(Settings(receive_buffer_bytes=1 << 30))
    assert finding.severity is Severity.NOTE
    assert finding.mend == f"sysctl -w net.core.rmem_max={1 << 30}"
    assert link.check_receive_buffer(Settings(receive_buffer_bytes=8192)).severity is Severity.OK


@pytest.mark.parametrize("mark", [".dockerenv", "run/.containerenv"])
def test_a_container_is_noted(tmp_path: Path, free: Settings, mark: str) -> None:
    assert path.check_container(free, tmp_path).severity is Severity.OK
    (tmp_path / mark).parent.mkdir(exist_ok=True)
    (tmp_path / mark).touch()
    assert path.check_container(free, tmp_path).severity is Severity.NOTE


def test_a_slow_clock_source_is_noted_and_an_unknown_one_is_not_guessed_at(tmp_path: Path, free: Settings) -> None:
    assert clocks.check_clock(free, tmp_path).severity is Severity.OK
    source = tmp_path / "sys/devices/system/clocksource/clocksource0/current_clocksource"
    source.parent.mkdir(parents=True)
    source.write_text("hpet\n")
    finding = clocks.check_clock(free, tmp_path)
    assert finding.severity is Severity.NOTE
    assert "hpet" in finding.saw
    source.write_text("tsc\n")
    assert clocks.check_clock(free, tmp_path).severity is Severity.OK


def test_the_smallest_step_of_a_coarse_clock_is_found() -> None:
    reading = iter(range(10_000_000))
    assert clocks.clock_step_ns(lambda: next(reading) // 10 * 15_600_000) == 15_600_000


def test_an_interface_with_a_small_mtu_is_noted_with_the_colours_that_fit(tmp_path: Path, free: Settings) -> None:
    for name, mtu, state in [("lo", 65536, "unknown"), ("wg0", 1280, "up"), ("old0", 576, "down")]:
        interface = tmp_path / "sys/class/net" / name
        interface.mkdir(parents=True)
        (interface / "mtu").write_text(f"{mtu}\n")
        (interface / "operstate").write_text(f"{state}\n")
    finding = path.check_mtu(free, tmp_path)
    assert finding.severity is Severity.NOTE
    assert finding.saw == "small MTU: wg0 1280"
    assert "colours=410" in finding.mend
    (tmp_path / "sys/class/net/wg0/mtu").write_text("1500\n")
    assert path.check_mtu(free, tmp_path).severity is Severity.OK


def test_one_lost_round_trip_fails() -> None:
    assert path.judge_round_trips([20_000] * 999).severity is Severity.FAIL
    assert path.judge_round_trips([20_000] * 1_000).severity is Severity.OK


def test_slow_round_trips_are_noted() -> None:
    assert path.judge_round_trips([20_000] * 980 + [9_000_000] * 20).severity is Severity.NOTE


def test_datagrams_go_round_here(free: Settings) -> None:
    assert path.check_round_trips(free).severity in (Severity.OK, Severity.NOTE)


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A web server that gives one answer to every request; yields HOST:PORT."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_running_udprism_that_is_not_ready_fails_with_its_own_reasons() -> None:
    checks = [{"name": "server", "ok": True, "detail": ""}, {"name": "pool", "ok": False, "detail": "hangs"}]
    with answering(503, json.dumps({"checks": checks}).encode()) as address:
        finding = ports.check_running(Settings(http=address))
    assert finding is not None
    assert finding.severity is Severity.FAIL
    assert finding.means == "pool: hangs"


def test_a_running_udprism_that_keeps_its_reasons_for_callers_with_the_token() -> None:
    checks = [{"name": "pool", "ok": False, "detail": None}]
    with answering(503, json.dumps({"ready": False, "checks": checks}).encode()) as address:
        finding = ports.check_running(Settings(http=address))
    assert finding is not None
    assert finding.severity is Severity.FAIL
    assert finding.means.startswith("pool: ")
    assert "UDPRISM_TOKEN" in finding.means


def test_a_running_udprism_that_is_ready_although_its_store_fails_is_not_called_unready() -> None:
    checks = [{"name": "store", "ok": False, "detail": "No space left on device"}]
    with answering(200, json.dumps({"ready": True, "checks": checks}).encode()) as address:
        finding = ports.check_running(Settings(http=address))
    assert finding is not None
    assert finding.severity is Severity.NOTE
    assert "No space left" in finding.means


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>"), (404, b"{}"), (200, b"[]")])
def test_somebody_else_on_the_port_is_not_taken_for_a_udprism(status: int, body: bytes) -> None:
    with answering(status, body) as address:
        assert ports.check_running(Settings(http=address)) is None


def test_a_silent_server_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert ports.check_stream(Settings(udp=f"127.0.0.1:{port}")).severity is Severity.FAIL


def test_the_command_prints_every_finding_and_exits_with_1_where_one_failed() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        udp = f"127.0.0.1:{taken.getsockname()[1]}"
        result = CliRunner().invoke(app, ["doctor", "--udp", udp, "--http", "127.0.0.1:0"])
    assert result.exit_code == 1
    assert f"FAIL  cannot bind UDP {udp}" in result.output
    assert "fix:" in result.output
    assert "round trips over loopback" in result.output


@pytest.mark.parametrize("said", [b"SSH-2.0-OpenSSH_9.6\r\n", b"", b"\xff\xfe\0"])
def test_a_program_that_speaks_no_http_at_our_port_is_no_udprism(said: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        settings = Settings(http=f"127.0.0.1:{listening.getsockname()[1]}")
        assert ports.check_running(settings) is None
        thread.join()
