"""Guards hold where one protocol hands a connection over to another, and where one request follows another."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import pytest

from udprism.web.guard import Limits
from web.running import (
    DEADLINE_S,
    Running,
    is_open_after,
    running,
    running_plain,
    send_until_refused,
    upgraded,
    wait_for,
)

QUICK = Limits(request_timeout_s=0.5, stall_timeout_s=0.5, linger_timeout_s=0.5)
PATIENT = Limits(request_timeout_s=60.0, stall_timeout_s=60.0, linger_timeout_s=60.0)
PATIENCE_S = 1.5


@pytest.fixture
def here() -> Iterator[Running]:
    """Waits for its caller, however long this machine takes."""
    with running(limits=PATIENT) as served:
        yield served


@pytest.fixture
def quick() -> Iterator[Running]:
    """Cuts whoever is slow."""
    with running(limits=QUICK) as served:
        yield served


@pytest.fixture
def plain() -> Iterator[Running]:
    with running_plain() as served:
        yield served


def handshake(*headers: bytes, method: bytes = b"GET", path: bytes = b"/ws/live", host: bytes = b"localhost") -> bytes:
    """A websocket handshake with further headers."""
    lines = (
        method + b" " + path + b" HTTP/1.1",
        b"Host: " + host,
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        b"Sec-WebSocket-Version: 13",
        *headers,
    )
    return b"\r\n".join(lines) + b"\r\n\r\n"


def answer_to(sent: bytes, where: Running) -> tuple[int, bytes]:
    """Status and body, read to the connection's end."""
    with where.raw() as sock:
        sock.sendall(sent)
        return read_answer(sock)


def read_answer(sock: socket.socket) -> tuple[int, bytes]:
    """Status and body of the answer, which must be the last."""
    received = b""
    while piece := sock.recv(65_536):
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def one_answer(sock: socket.socket) -> int:
    """Status of one answer, read to its end; the connection stays."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = sock.recv(65_536)
        assert piece, "closed"
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += sock.recv(length - len(body))
    return int(head.split()[1])


MANY = [b"X-%d: 1" % number for number in range(200)]
TOO_LARGE = {
    "one header of 9,000 bytes": (handshake(b"X-Long: " + b"a" * 9_000), 431),
    "200 headers": (handshake(*MANY), 431),
    "an address of 9,000 bytes": (handshake(path=b"/ws/live?" + b"a" * 9_000), 414),
    "too large and for another host": (handshake(*MANY, host=b"evil.example"), 431),
    "a body": (handshake(b"Content-Length: 2") + b"{}", 400),
    "a body in chunks": (handshake(b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
}


@pytest.mark.parametrize(("sent", "status"), TOO_LARGE.values(), ids=TOO_LARGE.keys())
def test_handshake_that_the_websocket_parser_refuses_is_answered_and_ended(
    here: Running, sent: bytes, status: int
) -> None:
    got, body = answer_to(sent, here)
    assert got == status
    assert json.loads(body)["status"] == status
    wait_for(lambda: here.is_idle)


def test_handshake_that_the_websocket_parser_refuses_stays_for_ever_on_the_plain_stack(plain: Running) -> None:
    with plain.raw() as sock:
        sock.sendall(TOO_LARGE["one header of 9,000 bytes"][0])
        sock.settimeout(PATIENCE_S)
        with pytest.raises(TimeoutError):
            sock.recv(65_536)


def test_refused_handshakes_are_counted(here: Running) -> None:
    for sent, _ in TOO_LARGE.values():
        answer_to(sent, here)
    with here.client() as client:
        counted = client.get("/metrics").text
    cut = {line for line in counted.splitlines() if line.startswith("udprism_connections_cut_total")}
    assert sum(float(line.split()[-1]) for line in cut) == len(TOO_LARGE)


def test_shutdown_with_a_refused_handshake_open_is_clean(caplog: pytest.LogCaptureFixture) -> None:
    with running() as served, served.raw() as sock:
        sock.sendall(TOO_LARGE["200 headers"][0])
        assert sock.recv(65_536).startswith(b"HTTP/1.1 431 ")
    assert not caplog.records


def test_shutdown_with_a_refused_handshake_open_fails_on_the_plain_stack() -> None:
    with running_plain() as plain, plain.raw() as sock:
        sock.sendall(TOO_LARGE["200 headers"][0])
        wait_for(lambda: any(hasattr(one, "handshake_complete") for one in plain.server.server_state.connections))
        (connection,) = plain.server.server_state.connections
        with pytest.raises(AssertionError):
            connection.shutdown()
        connection.connections.discard(connection)  # or the server's own attempt would end its thread


def test_browser_with_many_cookies_of_others_gets_its_websocket(here: Running) -> None:
    cookies = b"; ".join(b"somebody%d=%s" % (number, b"a" * 1_000) for number in range(30))
    with here.raw() as sock:
        sock.sendall(handshake(b"Cookie: " + cookies))
        assert sock.recv(65_536).startswith(b"HTTP/1.1 101 ")


def test_websocket_may_not_begin_while_an_answer_is_owed(here: Running) -> None:
    with here.raw() as sock:
        sock.sendall(b"GET /api/clients HTTP/1.1\r\nHost: localhost\r\n\r\n" + handshake())
        assert not is_open_after(sock, DEADLINE_S)
    wait_for(lambda: here.is_idle)


def test_answer_that_is_owed_comes_in_the_middle_of_the_websocket_on_the_plain_stack(plain: Running) -> None:
    with plain.raw() as sock:
        sock.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" + handshake())
        received = b""
        while not (b"HTTP/1.1 101 " in received and b"alive" in received):
            received += sock.recv(65_536)


def test_websocket_after_an_answer_is_served(here: Running) -> None:
    with here.raw() as sock:
        sock.sendall(GET)
        assert one_answer(sock) == 200
        sock.sendall(handshake())
        assert sock.recv(65_536).startswith(b"HTTP/1.1 101 ")


GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_few_pipelined_requests_are_all_answered(here: Running) -> None:
    with here.raw() as sock:
        sock.sendall(GET * 16)
        received = b""
        while received.count(b"alive") < 16:
            piece = sock.recv(65_536)
            assert piece
            received += piece


def test_many_pipelined_requests_are_cut(here: Running) -> None:
    with here.raw() as sock:
        assert send_until_refused(sock, GET * 1_000, 200)
    with here.client() as client:
        assert 'connections_cut_total{reason="pipelined"} 1.0\n' in client.get("/metrics").text


def test_pipelined_requests_pile_up_on_the_plain_stack(plain: Running) -> None:
    with plain.raw() as sock:
        sock.sendall(GET * 1_000)
        wait_for(lambda: plain.connections == 1)
        (connection,) = plain.server.server_state.connections
        wait_for(lambda: len(connection.pipeline) > 100)


def test_more_headers_than_any_browser_sends_are_refused(here: Running) -> None:
    status, body = answer_to(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"\r\n".join(MANY) + b"\r\n\r\n", here)
    assert status == 431
    assert json.loads(body)["type"] == "urn:udprism:problem:headers"


def test_headers_over_the_limit_are_refused_and_the_caller_can_read_it(here: Running) -> None:
    with here.raw() as sock:
        sock.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nCookie: " + b"a" * 1_000_000 + b"\r\n\r\n")
        assert read_answer(sock)[0] == 431


def test_what_is_not_http_is_told_so_and_counted(here: Running) -> None:
    status, body = answer_to(b"\x16\x03\x01 this is TLS\r\n\r\n", here)
    assert status == 400
    assert json.loads(body)["type"] == "urn:udprism:problem:malformed"
    with here.client() as client:
        assert 'connections_cut_total{reason="malformed"} 1.0\n' in client.get("/metrics").text


BODY_BYTES = 20_000_000


@pytest.mark.parametrize("how", ["keep-alive", "close"])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_caller_of_a_body_over_the_limit_sends_it_all_and_reads_the_413(here: Running, framing: str, how: str) -> None:
    head = b"POST /api/clients HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: %s\r\n"
    frame = b"Content-Length: %d\r\n\r\n" % BODY_BYTES
    if framing == "chunks":
        frame = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % BODY_BYTES
    with here.raw() as sock:
        sock.sendall(head % how.encode() + frame)
        sock.sendall(b"x" * BODY_BYTES)
        status, body = read_answer(sock)
    assert status == 413
    assert json.loads(body)["type"] == "urn:udprism:problem:too-large"


def test_caller_that_sends_on_and_on_after_the_413_is_cut() -> None:
    with running(limits=Limits(max_discarded_bytes=1 << 20)) as served, served.raw() as sock:
        sock.sendall(b"POST /api/clients HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n")
        assert send_until_refused(sock, b"x" * 65_536, 1_000)


def test_caller_that_sends_slowly_after_the_413_is_cut_in_time(quick: Running) -> None:
    with quick.raw() as sock:
        sock.sendall(b"POST /api/clients HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n")
        until_s = time.monotonic() + DEADLINE_S
        while not send_until_refused(sock, b"x", 1):
            time.sleep(0.01)  # what a slow sender does
            assert time.monotonic() < until_s


def test_answer_to_a_post_that_nobody_read_leaves_the_connection_usable(here: Running) -> None:
    with here.raw() as sock:
        sock.sendall(b"POST /api/nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        assert one_answer(sock) == 404
        sock.sendall(b"x" * 1_000 + GET)
        assert one_answer(sock) == 200


def test_upgrade_to_what_is_not_spoken_here_is_answered_as_if_it_had_not_been_asked_for(here: Running) -> None:
    ask = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    with here.raw() as sock:
        for _ in range(2):
            sock.sendall(ask)
            assert one_answer(sock) == 200


def test_websocket_that_is_open_outlives_the_deadline_of_a_request(quick: Running) -> None:
    with upgraded(quick) as sock:
        assert is_open_after(sock, QUICK.request_timeout_s * 2)
