"""`udprism client` against a server that the test speaks for, word by word."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from typer.testing import CliRunner

from support.dialogue import DEADLINE_S, ScriptedServer, next_line, scripted_server, started
from support.namespaces import namespace, two_machines
from udprism.cli import app
from udprism.cli.client import Terminal
from udprism.serving.commands import Connect, encode_retry, parse_command
from udprism.wire import measured as wire

SESSION = 0x0A0B0C0D
RED, GREEN, NAMELESS = b"\xff\x00\x00", b"\x00\x80\x00", b"\xfe\x00\x01"


@contextmanager
def client_of(server: ScriptedServer, *flags: str) -> Iterator[subprocess.Popen[str]]:
    """`udprism client` that asks this server."""
    host, port = server.address
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    with started(sys.executable, "-m", "udprism", "client", target, *flags) as process:
        yield process


def colour(sequence: int, pixels: bytes = RED) -> bytes:
    return wire.encode_colour(wire.Colour(SESSION, sequence, time.time_ns(), pixels))


class Server:
    """Answers each new `connect v=1` with a session, and sends it ten colours a second. Port 5000 of `host`."""

    def __init__(self, host: str) -> None:
        self.client = ("", 0)
        self.said_last = b""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 5000))
        self._socket.settimeout(0.1)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        session_id = sequence = 0
        while not self._over.is_set():
            with contextlib.suppress(OSError):
                data, source = self._socket.recvfrom(2048)
                if data.startswith(b"connect"):
                    if source != self.client:
                        session_id, sequence = session_id + 1, 0
                    self.client, self.said_last = source, data
            with contextlib.suppress(OSError):
                if session_id:
                    datagram = wire.Colour(session_id, sequence, time.time_ns(), RED)
                    self._socket.sendto(wire.encode_colour(datagram), self.client)
                    sequence += 1


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and what it said on standard error."""
    assert process.stderr is not None
    words = process.stderr.read()
    return process.wait(DEADLINE_S), words


def answer(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(text)
    process.stdin.flush()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_it_asks_for_the_measured_stream_and_prints_each_colour(host: str) -> None:
    with scripted_server(host) as server, client_of(server) as process:
        assert server.hear() == b"connect v=1"
        for sequence, (pixels, words) in enumerate([(RED, "red"), (GREEN, "green"), (NAMELESS, "#fe0001")]):
            server.say(colour(sequence, pixels))
            assert next_line(process) == f"Received colour: {words}"


def test_json_is_one_object_a_datagram_with_null_for_nothing_known() -> None:
    with scripted_server() as server, client_of(server, "--json") as process:
        server.hear()
        server.say(colour(7))
        first: dict[str, Any] = json.loads(next_line(process))
        assert 0 <= first.pop("delay_ms") < 1000 * DEADLINE_S
        assert first.pop("received_at_ns") >= first.pop("sent_at_ns") > 0
        sequence = first.pop("sequence")
        assert first == {
            "fate": "received",
            "duplicate": False,
            "reordered": False,
            "colour": "red",
            "rgb": "#ff0000",
        }
        server.say(colour(7))
        second = json.loads(next_line(process))
        assert (second["sequence"], second["duplicate"]) == (sequence, True)


def test_the_environment_of_a_server_bound_to_all_addresses_leads_to_it() -> None:
    with scripted_server() as server:
        bound = f"0.0.0.0:{server.address[1]}"
        with started(sys.executable, "-m", "udprism", "client", bound, "--plain") as process:
            assert server.hear() == b"connect"
            server.say(b"orange")
            assert next_line(process) == "Received colour: orange"


def test_a_plain_stream_is_null_where_it_cannot_tell() -> None:
    with scripted_server() as server, client_of(server, "--plain", "--json") as process:
        assert server.hear() == b"connect"
        server.say(b"orange\n")
        heard = json.loads(next_line(process))
        known = {name: value for name, value in heard.items() if value is not None}
        assert known.pop("received_at_ns") > 0
        assert known == {"fate": "received", "colour": "orange", "rgb": "#ffa500"}


def test_a_foreign_server_that_knows_only_connect_and_answers_from_another_port() -> None:
    with scripted_server() as server, scripted_server() as other, client_of(server) as process:
        assert server.hear() == b"connect v=1"
        assert server.hear() == b"connect v=1"
        assert server.hear() == b"connect"
        other.client = server.client
        other.say(b"yellow")
        assert next_line(process) == "Received colour: yellow"


def test_colours_of_a_stranger_are_not_shown() -> None:
    with scripted_server() as server, scripted_server("127.0.0.2") as stranger, client_of(server, "--plain") as process:
        server.hear()
        stranger.client = server.client
        stranger.say(b"red")
        server.say(b"green")
        assert next_line(process) == "Received colour: green"


def test_it_proves_its_address_where_that_is_wanted() -> None:
    with scripted_server() as server, client_of(server) as process:
        server.hear()
        server.say(encode_retry("AbCd_-01234"))
        assert server.hear() == b"connect v=1 token=AbCd_-01234"
        server.say(colour(0))
        assert next_line(process) == "Received colour: red"


def test_it_reports_and_says_goodbye_at_ctrl_c_with_what_it_saw() -> None:
    with scripted_server() as server, client_of(server) as process:
        server.hear()
        for sequence in (0, 1, 3):
            server.say(colour(sequence))
            next_line(process)
        report = server.hear_until(wire.MAGIC_BYTE)
        decoded = wire.decode_report(report)
        assert (decoded.session_id, decoded.highest, decoded.received) == (SESSION, 3, 3)
        server.say(wire.acknowledge(report))
        while wire.decode_report(server.hear()).lost == 0:  # the hole has to be a second old
            pass
        process.send_signal(signal.SIGINT)
        assert server.hear_until(b"disconnect") == b"disconnect"
        code, words = ended(process)
        assert code == 0
        assert words.startswith("3 received, 1 lost, 0 late, 0 reordered, 0 duplicates, jitter ")
        assert "round trip" in words


def test_sigterm_ends_it_as_ctrl_c_does() -> None:
    with scripted_server() as server, client_of(server, "--plain") as process:
        server.hear()
        server.say(b"red")
        next_line(process)
        process.send_signal(signal.SIGTERM)
        assert server.hear() == b"disconnect"
        code, words = ended(process)
        assert code == 0
        assert words == "1 received; a plain stream has no sequence numbers, so its losses are unknown\n"


def test_bye_ends_it_with_the_reason() -> None:
    with scripted_server() as server, client_of(server) as process:
        server.hear()
        server.say(colour(0))
        server.say(wire.encode_bye(wire.Bye(SESSION, 0, time.time_ns(), wire.ByeReason.SHUTDOWN)))
        assert ended(process) == (0, "The server ended the session: it shuts down.\n")


def test_the_quiz_scores_100_or_0_and_sends_each_answer_as_a_response() -> None:
    with scripted_server() as server, client_of(server, "--quiz") as process:
        assert parse_command(server.hear()) == Connect(measured=True, rate_hz=0.2)
        server.say(colour(0))
        assert next_line(process) == "Received colour: red"
        answer(process, "Merah \n")
        assert server.hear_until(b"Merah") == b"Merah"
        assert next_line(process) == "What is red in Indonesian? Score: 100"
        server.say(colour(1, GREEN))
        assert next_line(process) == "Received colour: green"
        answer(process, "biru\n")
        assert server.hear_until(b"biru") == b"biru"
        assert next_line(process) == "What is green in Indonesian? Score: 0 (hijau)"


def test_the_quiz_ends_when_there_are_no_more_answers() -> None:
    with scripted_server() as server, client_of(server, "--quiz", "--plain") as process:
        assert process.stdin is not None
        process.stdin.close()
        server.hear()
        server.say(b"blue")
        assert server.hear() == b"disconnect"
        assert ended(process)[0] == 0


def test_colours_that_come_while_somebody_thinks_are_not_asked_for() -> None:
    with scripted_server() as server, client_of(server, "--quiz", "--plain") as process:
        server.hear()
        for name in (b"blue", b"red", b"teal"):
            server.say(name)
        assert next_line(process) == "Received colour: blue"
        answer(process, "biru\n")
        assert server.hear() == b"biru"
        assert next_line(process).endswith("Score: 100")


def test_a_reader_that_has_seen_enough_ends_it_in_peace() -> None:
    with scripted_server() as server, client_of(server, "--plain") as process:
        server.hear()
        server.say(b"red")
        next_line(process)
        assert process.stdout is not None
        process.stdout.close()
        server.say(b"green")
        assert ended(process) == (0, "")


def test_where_no_way_leads_it_says_so_in_one_line_and_goes_on() -> None:
    with namespace() as nowhere:
        command = nowhere.command(sys.executable, "-m", "udprism", "client", "198.51.100.7:5000")
        with started(*command) as process:
            assert process.stderr is not None
            line = process.stderr.readline()
            assert line.startswith("Cannot reach 198.51.100.7:5000 from here (Network is unreachable)")
            process.send_signal(signal.SIGINT)
            code, words = ended(process)
    assert code == 0
    assert "bug" not in words
    assert "Traceback" not in words


def test_it_waits_for_a_server_that_is_not_there_yet() -> None:
    with scripted_server() as gone:
        host, port = gone.address
    with started(sys.executable, "-m", "udprism", "client", f"{host}:{port}") as process:
        assert process.stderr is not None
        assert process.stderr.readline() == f"No program listens at {host}:{port} yet; trying again.\n"
        with scripted_server(host, port) as server:
            assert server.hear() == b"connect v=1"
            server.say(colour(0))
            assert next_line(process) == "Received colour: red"


def test_it_asks_the_next_address_of_a_name_and_names_the_one_that_answers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown: list[str] = []
    with scripted_server() as server:
        port = server.address[1]
        addresses = [("::1", port), server.address]  # as `localhost` often is
        with Terminal(addresses, plain=False, quiz=False, show=lambda heard: shown.append("red") or "red") as terminal:
            thread = threading.Thread(target=terminal.run)
            thread.start()
            assert server.hear() == b"connect v=1"
            server.say(colour(0))
            server.say(wire.encode_bye(wire.Bye(SESSION, 0, time.time_ns(), wire.ByeReason.SHUTDOWN)))
            thread.join(DEADLINE_S)
            assert not thread.is_alive()
    assert shown == ["red"]
    assert capsys.readouterr().err.splitlines() == [
        f"Colours now come from 127.0.0.1:{port}.",
        "The server ended the session: it shuts down.",
    ]


@pytest.mark.peer
def test_it_goes_on_after_this_machine_got_another_address_says_so_once_and_does_not_sum_up_what_it_cannot_know() -> (
    None
):
    with two_machines() as (here, there):
        there.ip("addr add 192.0.2.1/24 dev wire")
        here.ip("addr add 192.0.2.50/24 dev wire")
        with there.entered():
            server = Server("192.0.2.1")
        command = here.command(sys.executable, "-m", "udprism", "client", "192.0.2.1:5000", "--json")
        with server, started(*command) as process:
            assert json.loads(next_line(process))["sequence"] == 0
            here.ip("addr del 192.0.2.50/24 dev wire")
            assert process.stderr is not None
            assert process.stderr.readline().startswith("Cannot reach 192.0.2.1:5000 from here")
            here.ip("addr add 192.0.2.60/24 dev wire")
            while not next_line(process) or server.client[0] != "192.0.2.60":
                pass
            assert server.said_last.startswith(b"connect v=1"), "it is measured again"
            process.send_signal(signal.SIGINT)
            code, words = ended(process)
        assert code == 0
        assert words.count("\n") == 1, "the trouble was said once"
        assert "loss unknown" in words
        assert " 0 lost" not in words
        assert "what was sent in that time is unknown" in words


@pytest.mark.parametrize("target", ["127.0.0.1", "127.0.0.1:99999", ":12345", "127.0.0.1:x"])
def test_a_target_that_is_none_is_a_usage_error(target: str) -> None:
    result = CliRunner().invoke(app, ["client", target])
    assert result.exit_code == 2
    assert "HOST:PORT" in result.stderr


def test_a_name_that_cannot_be_found_is_told_in_one_line() -> None:
    with started(sys.executable, "-m", "udprism", "client", "nowhere.invalid:12345") as process:
        code, words = ended(process)
    assert code == 2
    assert words.startswith("udprism: cannot find nowhere.invalid")
    assert words.count("\n") == 1


def test_json_and_quiz_do_not_go_together() -> None:
    result = CliRunner().invoke(app, ["client", "--json", "--quiz"])
    assert result.exit_code == 2
    assert "--quiz" in result.stderr
