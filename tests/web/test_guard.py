"""Each attack works on uvicorn as it comes, and does not work here."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.protocol import OPEN

from udprism.web.guard import Limits
from udprism.web.guarded_websocket import GuardedWebSocket
from web.fake_bridge import FakeBridge
from web.running import (
    CONT,
    DEADLINE_S,
    MORE,
    PING,
    TEXT,
    Running,
    ephemeral,
    frame,
    is_open_after,
    next_frame,
    running,
    running_plain,
    say,
    send_until_refused,
    upgraded,
    wait_for,
)

QUICK = Limits(request_timeout_s=0.5, stall_timeout_s=0.5)
PATIENCE_S = 1.5
"""On the plain stack, how long an attack is watched to see that nothing stops it: three times our deadlines."""


@pytest.fixture
def guarded() -> Iterator[Running]:
    with running(limits=QUICK) as here:
        yield here


@pytest.fixture
def plain() -> Iterator[Running]:
    with running_plain() as here:
        yield here


def cuts(here: Running, reason: str) -> int:
    """How often /metrics says that connections were cut so."""
    line = f'udprism_connections_cut_total{{reason="{reason}"}} '
    with here.client() as client:
        text = client.get("/metrics").text
    return int(float(next(one for one in text.splitlines() if one.startswith(line)).removeprefix(line)))


HALF_REQUESTS = {
    "silent": b"",
    "slow headers": b"GET / HTTP/1.1\r\nHost: localhost\r\nX-",
    "slow body": b"POST /api/clients HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 1000\r\n\r\n{",
    "second request": b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nX-",
}


def half_requests(here: Running, stack: ExitStack) -> list[socket.socket]:
    """One connection for each attack."""
    sockets = [stack.enter_context(here.raw()) for _ in HALF_REQUESTS]
    for sock, sent in zip(sockets, HALF_REQUESTS.values(), strict=True):
        sock.sendall(sent)
    return sockets


def test_unfinished_requests_are_cut_at_their_deadline(guarded: Running) -> None:
    with ExitStack() as stack:
        for attack, sock in zip(HALF_REQUESTS, half_requests(guarded, stack), strict=True):
            assert not is_open_after(sock, DEADLINE_S), attack
    assert cuts(guarded, "slow") == len(HALF_REQUESTS)


def test_unfinished_requests_stay_for_ever_on_the_plain_stack(plain: Running) -> None:
    with ExitStack() as stack:
        sockets = half_requests(plain, stack)
        assert is_open_after(sockets[0], PATIENCE_S)
        for attack, sock in zip(HALF_REQUESTS, sockets, strict=True):
            assert is_open_after(sock, 0.01), attack


def test_line_feeds_between_requests_do_not_keep_a_connection(guarded: Running) -> None:
    with guarded.raw() as sock:
        sock.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert sock.recv(65_536).startswith(b"HTTP/1.1 200")
        sock.sendall(b"\r\n")
        assert not is_open_after(sock, DEADLINE_S)


def test_finished_requests_are_not_cut(guarded: Running) -> None:
    with guarded.raw() as sock:
        for _ in range(3):
            sock.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert sock.recv(65_536).startswith(b"HTTP/1.1 200")
            assert is_open_after(sock, QUICK.request_timeout_s * 1.5)
    assert cuts(guarded, "slow") == 0


def test_headers_without_end_are_cut_by_size() -> None:
    with running(limits=Limits(max_discarded_bytes=1 << 20)) as here, here.raw() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
        assert send_until_refused(sock, b"a" * 65_536, 200)
        assert cuts(here, "headers") == 1


def test_headers_without_end_are_all_kept_on_the_plain_stack(plain: Running) -> None:
    with plain.raw() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
        assert not send_until_refused(sock, b"a" * 65_536, 200)


CHUNKED = b"POST /api/clients HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"


def test_trailers_without_end_are_cut_by_size() -> None:
    with running() as here, here.raw() as sock:
        sock.sendall(CHUNKED)
        assert send_until_refused(sock, b"X-Trailer: " + b"a" * 65_000 + b"\r\n", 200)
        assert cuts(here, "request") == 1


def test_trailers_without_end_are_all_kept_on_the_plain_stack(plain: Running) -> None:
    with plain.raw() as sock:
        sock.sendall(CHUNKED)
        assert not send_until_refused(sock, b"X-Trailer: " + b"a" * 65_000 + b"\r\n", 200)


def test_viewer_that_pings_without_reading_is_cut() -> None:
    with running() as here, upgraded(here, receive_buffer_bytes=4096) as sock:
        assert send_until_refused(sock, frame(PING, b"x" * 125) * 100, 2_000)
        assert cuts(here, "pings") == 1


def test_viewer_that_pings_without_reading_is_buffered_on_the_plain_stack(plain: Running) -> None:
    with upgraded(plain, receive_buffer_bytes=4096) as sock:
        assert not send_until_refused(sock, frame(PING, b"x" * 125) * 100, 2_000)
        waiting = max(one.transport.get_write_buffer_size() for one in plain.server.server_state.connections)
        assert waiting > 5_000_000


def test_viewer_that_pings_and_reads_is_served(guarded: Running) -> None:
    with upgraded(guarded) as sock:
        for _ in range(300):
            sock.sendall(frame(PING, b"x" * 125))
            assert sock.recv(65_536)
    assert cuts(guarded, "pings") == 0


def test_message_in_too_many_fragments_is_cut() -> None:
    with running() as here, upgraded(here) as sock:
        sock.sendall(frame(TEXT, fin=False))
        assert send_until_refused(sock, frame(CONT, fin=False) * 1_000, 1_000)
        assert cuts(here, "fragments") == 1


def test_message_in_too_many_fragments_is_kept_on_the_plain_stack(plain: Running) -> None:
    with upgraded(plain) as sock:
        sock.sendall(frame(TEXT, fin=False))
        assert not send_until_refused(sock, frame(CONT, fin=False) * 1_000, 100)
        (connection,) = plain.server.server_state.connections
        wait_for(lambda: len(connection.frames) == 100_001)


def test_fragments_up_to_the_bound_are_one_message(guarded: Running) -> None:
    text = b'{"type":"more"' + b" " * 61 + b"}"
    pieces = [text[:14], *[b" "] * 61, b"}", b""]
    assert len(pieces) == 64
    with upgraded(guarded) as sock:
        sock.sendall(frame(TEXT, pieces[0], fin=False))
        for piece in pieces[1:-1]:
            sock.sendall(frame(CONT, piece, fin=False))
        sock.sendall(frame(CONT, pieces[-1]))
        received = b""
        while b"\x50\x01" not in received:  # a frame's magic and version
            received += sock.recv(65_536)


def test_flood_of_messages_is_cut() -> None:
    with running() as here, upgraded(here) as sock:
        assert send_until_refused(sock, MORE * 10_000, 100)
        assert cuts(here, "messages") == 1


def test_flood_of_messages_is_queued_on_the_plain_stack(plain: Running) -> None:
    longest = 0
    with upgraded(plain) as sock:
        (connection,) = plain.server.server_state.connections
        put = connection.queue.put_nowait

        def watched(message: object) -> None:
            nonlocal longest
            put(message)  # type: ignore[arg-type]
            longest = max(longest, connection.queue.qsize())

        connection.queue.put_nowait = watched  # type: ignore[method-assign]
        sock.sendall(MORE * 10_000)
        wait_for(lambda: longest > 1_000)


def crowded(clients: int) -> FakeBridge:
    """Answers and frames too large for a small receive buffer."""
    return FakeBridge(ephemeral(frame_hz=120), first_clients=clients)


def fill(here: Running, sock: socket.socket) -> None:
    """Ask for frames, read none, until the server's writes wait."""

    def waiting() -> bool:
        return any(one.transport.get_write_buffer_size() > 0 for one in here.server.server_state.connections)

    while not waiting():
        before = here.bridge.snapshots
        sock.sendall(MORE)
        wait_for(lambda: waiting() or here.bridge.snapshots > before)  # noqa: B023


ASK_FOR_MUCH = b"GET /api/clients HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_viewer_that_does_not_read_is_cut() -> None:
    with running(crowded(5_000), QUICK) as here:
        with upgraded(here, receive_buffer_bytes=4096) as sock:
            fill(here, sock)
            wait_for(lambda: here.connections == 0)
        assert cuts(here, "stalled") == 1


class Transport:
    """Keeps what is written, as it is."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def writelines(self, pieces: Iterable[bytes]) -> None:
        self.written += pieces


@pytest.mark.parametrize("message", [{"bytes": b"picture" * 100_000}, {"text": "roster" * 100_000}], ids=["b", "t"])
def test_big_message_waits_for_all_who_do_not_read_as_one_and_the_same_bytes(message: dict[str, Any]) -> None:
    transport = Transport()

    async def send_to_many() -> None:
        for _ in range(3):
            socket = GuardedWebSocket.__new__(GuardedWebSocket)
            vars(socket).update(
                transport=transport,
                conn=SimpleNamespace(state=OPEN, extensions=[]),
                writable=asyncio.Event(),
                handshake_complete=True,
                close_sent=False,
                disconnected=False,
            )
            socket.writable.set()
            await socket.send({"type": "websocket.send", **message})  # type: ignore[arg-type]

    asyncio.run(send_to_many())
    assert len({id(piece) for piece in transport.written[1::2]}) == 1


def test_big_messages_arrive_as_they_were_sent() -> None:
    with running(crowded(2_000)) as here, here.viewer() as viewer:
        say(viewer, type="watch", rows=list(range(200)))
        received = next_frame(viewer, rows=True)
    assert len(received.frame) >= 64 << 10
    assert len(json.dumps(received.messages["roster"])) >= 64 << 10


def test_answer_that_nobody_reads_is_cut() -> None:
    with running(crowded(1_000), QUICK) as here:
        with here.raw(receive_buffer_bytes=4096) as sock:
            sock.sendall(ASK_FOR_MUCH)
            wait_for(lambda: here.connections == 1)
            wait_for(lambda: here.connections == 0)
        assert cuts(here, "stalled") == 1


def test_answer_that_nobody_reads_stays_on_the_plain_stack() -> None:
    with running_plain(crowded(1_000)) as plain, plain.raw(receive_buffer_bytes=4096) as sock:
        sock.sendall(ASK_FOR_MUCH * 8)  # its kernel holds some megabytes
        wait_for(lambda: plain.connections == 1)
        with pytest.raises(AssertionError, match="never came to pass"):
            wait_for(lambda: plain.connections == 0, deadline_s=PATIENCE_S)


def test_reader_that_is_slow_but_reads_is_not_cut() -> None:
    limits = Limits(stall_timeout_s=0.2, stall_bytes=1)
    with running(crowded(1_000), limits) as here:
        with here.raw(receive_buffer_bytes=4096) as sock:
            sock.sendall(ASK_FOR_MUCH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            began_s = time.monotonic()
            while sock.recv(16_384):
                time.sleep(0.005)  # what a slow reader does
            assert time.monotonic() - began_s > 2 * limits.stall_timeout_s, "it was not slow"
        assert cuts(here, "stalled") == 0


def test_kernel_holds_little_of_what_a_viewer_has_not_read(guarded: Running) -> None:
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if option is None:
        pytest.skip("this system cannot bound what waits in the kernel")
    with upgraded(guarded):
        (connection,) = guarded.server.server_state.connections
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, option) == 16 << 10


def test_messages_are_never_compressed(guarded: Running) -> None:
    with guarded.viewer(compression="deflate") as viewer:
        assert viewer.protocol.extensions == []


def test_messages_would_be_compressed_on_the_plain_stack(plain: Running) -> None:
    with plain.viewer(compression="deflate") as viewer:
        assert viewer.protocol.extensions


def test_shutdown_tells_readers_and_does_not_wait_for_stalled_viewers() -> None:
    with running(crowded(5_000)) as here, upgraded(here, receive_buffer_bytes=4096) as sock, here.viewer() as reader:
        fill(here, sock)
        here.server.should_exit = True
        reader.recv()
        with pytest.raises(ConnectionClosed) as closed:
            reader.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        wait_for(lambda: here.connections == 0)


REFUSED_HANDSHAKE = (
    b"GET /ws/live HTTP/1.1\r\nHost: evil.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def test_refused_handshake_is_not_worth_a_log_line(guarded: Running, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(10):
        with guarded.raw() as sock:
            sock.sendall(REFUSED_HANDSHAKE)
            assert sock.recv(65_536).startswith(b"HTTP/1.1 421 ")
            assert not is_open_after(sock, DEADLINE_S)
    wait_for(lambda: not guarded.server.server_state.tasks)
    assert not caplog.records
