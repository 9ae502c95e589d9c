"""The live feed over real websockets: viewers ask, and get the newest state."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from udprism.web import bodies
from udprism.web.live.encoded_snapshot import EncodedSnapshot
from udprism.web.live.slow import FIND_SHARE, SlowMessages
from udprism.web.live.viewer import Viewer
from web.fake_bridge import FakeBridge
from web.live_vectors import decode, snapshot
from web.running import (
    MORE,
    TEXT,
    Clock,
    Running,
    ephemeral,
    frame,
    next_frame,
    read_frame,
    running,
    say,
    until_frame,
    upgraded,
    wait_for,
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def here(clock: Clock) -> Iterator[Running]:
    with running(FakeBridge(ephemeral(frame_hz=120), unix_ns=clock, first_clients=8)) as running_here:
        yield running_here


@pytest.fixture
def viewer(here: Running) -> Iterator[ClientConnection]:
    with here.viewer() as connection:
        assert json.loads(connection.recv())["type"] == "hello"
        yield connection


def add(here: Running, count: int) -> list[dict[str, Any]]:
    """More clients, as the REST API adds them."""
    with here.client() as client:
        made: list[dict[str, Any]] = client.post("/api/clients", json={"count": count}).json()["clients"]
        return made


def test_first_credit_brings_everything_once(viewer: ClientConnection) -> None:
    first = next_frame(viewer)
    assert set(first.messages) == {"roster", "status"}
    assert first.messages["roster"]["base"] == 0
    assert [row[0] for row in first.messages["roster"]["upsert"]] == list(range(8))
    assert first.messages["status"]["viewers"] == 1
    read = decode(first.frame)
    assert read["slots"] == 8
    assert read["roster_version"] == first.messages["roster"]["version"]
    assert read["stats"] is not None
    assert read["rows"] is None


def test_second_frame_repeats_nothing_that_has_not_changed(viewer: ClientConnection) -> None:
    next_frame(viewer)
    second = next_frame(viewer)
    assert second.messages == {}
    assert decode(second.frame)["stats"] is None


def test_each_frame_is_newer_than_the_last(viewer: ClientConnection) -> None:
    numbers = [decode(next_frame(viewer).frame)["number"] for _ in range(5)]
    assert numbers == sorted(set(numbers))


def test_nothing_is_taken_while_nobody_asks(here: Running, viewer: ClientConnection) -> None:
    next_frame(viewer)
    taken = here.bridge.snapshots
    say(viewer, type="watch", rows=[1])
    viewer.ping().wait(10)
    assert here.bridge.snapshots == taken


def test_two_credits_bring_two_frames(viewer: ClientConnection) -> None:
    say(viewer, type="more")
    say(viewer, type="more")
    first, second = until_frame(viewer), until_frame(viewer)
    assert decode(first.frame)["number"] < decode(second.frame)["number"]


def test_more_credits_than_two_are_ignored_and_counted() -> None:
    one = Viewer()
    for _ in range(5):
        one.hear(bodies.More(type="more", rows=True))
    assert one.ignored_credits == 3

    async def spend() -> list[bool]:
        spent = [await one.credit(), await one.credit()]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(one.credit(), 0)
        return spent

    assert asyncio.run(spend()) == [True, True]


def test_frames_come_no_faster_than_frame_hz() -> None:
    """By their own times: a viewer that was busy may read several at once."""
    with running(FakeBridge(ephemeral(frame_hz=20))) as here, here.viewer() as viewer:
        viewer.recv()
        taken_ms = [decode(next_frame(viewer).frame)["unix_ms"] for _ in range(6)]
        assert taken_ms[-1] - taken_ms[0] > 0.9 * 5 / 20 * 1000


def test_rows_come_only_to_the_credit_that_asks_for_them(here: Running, viewer: ClientConnection, clock: Clock) -> None:
    clock.advance(10)
    say(viewer, type="watch", rows=[3, 1, 3, 4_000])
    assert decode(next_frame(viewer).frame)["rows"] is None
    assert here.bridge.watched[-1] == []
    rows = decode(next_frame(viewer, rows=True).frame)["rows"]
    assert [row["slot"] for row in rows] == [3, 1]
    assert rows[0]["received"] == 100
    cells = bytes.fromhex(rows[1]["cells_hex"])
    fates = [cell & 3 for cell in cells[3::4]]
    assert fates[:156] == [0] * 156
    assert fates.count(2) == rows[1]["lost"] == 8


def test_new_watch_replaces_the_old_one(viewer: ClientConnection) -> None:
    say(viewer, type="watch", rows=[1, 2])
    say(viewer, type="watch", rows=[5])
    assert [row["slot"] for row in decode(next_frame(viewer, rows=True).frame)["rows"]] == [5]


def test_viewers_share_a_snapshot_but_each_gets_its_own_rows(here: Running) -> None:
    with here.viewer() as left, here.viewer() as right:
        for viewer, slot in ((left, 1), (right, 2)):
            viewer.recv()
            say(viewer, type="watch", rows=[slot])
        for _ in range(3):
            for viewer in (left, right):
                say(viewer, type="more", rows=True)
            slots = [decode(until_frame(viewer).frame)["rows"][0]["slot"] for viewer in (left, right)]
            assert slots == [1, 2]
    assert {1, 2} in [set(watched) for watched in here.bridge.watched]


def test_frame_is_encoded_once_for_all_who_ask_for_the_same() -> None:
    picture = EncodedSnapshot(snapshot(), {})
    assert picture.frame(True, (0, 1)) is picture.frame(True, (0, 1))
    assert picture.frame(True, (0, 1)) != picture.frame(True, (1, 0))
    assert picture.frame(True, None) is picture.frame(True, None)


def test_fifty_viewers_of_one_view_cost_the_encoding_of_one() -> None:
    rounds, viewers = 4, 50
    with running(FakeBridge(ephemeral(frame_hz=20), first_clients=8)) as here, ExitStack() as stack:
        crowd = [stack.enter_context(here.viewer()) for _ in range(viewers)]
        for viewer in crowd:
            say(viewer, type="watch", rows=[1, 2])
        for _ in range(rounds):
            for viewer in crowd:
                say(viewer, type="more", rows=True)
            for viewer in crowd:
                until_frame(viewer)
        with here.client() as client:
            told = dict(re.findall(r"^udprism_(frames\w*) (\d+)\.0$", client.get("/metrics").text, re.MULTILINE))
        assert int(told["frames_total"]) == rounds * viewers
        assert int(told["frames_encoded_total"]) <= 2 * here.bridge.snapshots  # with the slow columns, and without


def test_roster_tells_only_what_changed(here: Running, viewer: ClientConnection) -> None:
    before = next_frame(viewer).messages["roster"]["version"]
    (made,) = add(here, 1)
    change = next_frame(viewer).messages["roster"]
    assert change["base"] == before
    assert [row[:2] for row in change["upsert"]] == [[8, made["id"]]]
    with here.client() as client:
        client.delete(f"/api/clients/{made['id']}")
    removal = next_frame(viewer).messages["roster"]
    assert (removal["upsert"], removal["remove"]) == ([], [8])


def slow_message(viewer: ClientConnection, kind: str) -> Any:
    """The next message of a kind that comes at most four times a second."""
    for _ in range(1_000):
        received = next_frame(viewer)
        if kind in received.messages:
            return received.messages[kind]
    raise AssertionError(f"no {kind} message")


def test_open_drawer_gets_its_client(here: Running, viewer: ClientConnection) -> None:
    (made,) = add(here, 1)
    say(viewer, type="watch", client=made["id"])
    assert slow_message(viewer, "client")["client"]["name"] == made["name"]


def test_unknown_client_is_null_and_the_feed_goes_on(viewer: ClientConnection) -> None:
    say(viewer, type="watch", client="c-nobody")
    assert slow_message(viewer, "client") == {"type": "client", "id": "c-nobody", "client": None}
    assert decode(next_frame(viewer).frame)["slots"] == 8


def test_drawer_that_is_opened_again_gets_its_client_again(here: Running, viewer: ClientConnection) -> None:
    (made,) = add(here, 1)
    for _ in range(2):
        say(viewer, type="watch", client=made["id"])
        assert slow_message(viewer, "client")["id"] == made["id"]
        say(viewer, type="watch")
        next_frame(viewer)


def test_watched_sessions_come_raw_ones_first(viewer: ClientConnection) -> None:
    say(viewer, type="watch", sessions=True)
    listed = slow_message(viewer, "sessions")
    assert [one["kind"] for one in listed["sessions"]][:3] == ["raw", "raw", "hosted"]
    assert listed["total"] == 10


def test_sessions_are_found_by_words(viewer: ClientConnection) -> None:
    say(viewer, type="watch", sessions=True, find="40002 raw")
    found = slow_message(viewer, "sessions")
    assert (found["find"], found["total"]) == ("40002 raw", 1)
    assert [one["address"] for one in found["sessions"]] == ["127.0.0.1:40002"]


def test_open_session_drawer_gets_its_session(viewer: ClientConnection) -> None:
    say(viewer, type="watch", session="raw-40001")
    assert slow_message(viewer, "session")["session"]["address"] == "127.0.0.1:40001"
    say(viewer, type="watch", session="raw-1")
    assert slow_message(viewer, "session") == {"type": "session", "id": "raw-1", "session": None}


def test_account_of_a_viewer_closes(viewer: ClientConnection, clock: Clock) -> None:
    next_frame(viewer)
    for seconds in (1, 3, 2):
        clock.advance(seconds)
        next_frame(viewer)
    clock.advance(1)
    account = slow_message(viewer, "status")["viewer"]
    # Eight clients at 10 Hz for 7 s; slot 7 falls silent after 5 s; slot 1 loses four, slot 4 one.
    assert account["received"] == 8 * 70 - 20 - 5
    assert account["relayed"] == 4 * 8 - 1  # one datagram a client and frame, but slot 7 has none for the last
    assert account["received"] == account["relayed"] + account["conflated"]


def accounted(*versions: list[int]) -> tuple[int, int, int]:
    """Received, relayed and conflated by a viewer that gets snapshots with these counts by slot."""
    one = Viewer()
    for version in versions:
        one.account(snapshot(n=len(version), version=np.array(version, np.uint32)))
    return one.received, one.relayed, one.conflated


def test_viewer_that_skips_frames_is_charged_for_them() -> None:
    assert accounted([5, 7, 0], [45, 7, 0]) == (40, 1, 39)


def test_what_came_before_a_viewer_is_not_in_its_account() -> None:
    assert accounted([1_000, 1_000]) == (0, 0, 0)


def test_client_that_joins_is_in_the_account_from_its_first_datagram() -> None:
    assert accounted([5], [5, 3]) == (3, 1, 2)


def test_slot_that_another_client_has_taken_over_counts_from_zero() -> None:
    assert accounted([5, 900], [5, 2]) == (2, 1, 1)
    assert accounted([5, 900], [5]) == (0, 0, 0)


def test_count_that_wraps_goes_on() -> None:
    assert accounted([2**32 - 2], [3]) == (5, 1, 4)


def test_viewer_that_does_not_read_delays_nobody() -> None:
    bridge = FakeBridge(ephemeral(frame_hz=120), first_clients=5_000)
    with running(bridge) as here, upgraded(here, receive_buffer_bytes=4096) as stalled, here.viewer() as fast:
        stalled.sendall(MORE * 2)
        fast.recv()
        numbers = [decode(next_frame(fast).frame)["number"] for _ in range(20)]
        assert numbers == sorted(set(numbers))
        waiting: list[int] = []

        def something_waits() -> bool:
            waiting[:] = [one.transport.get_write_buffer_size() for one in here.server.server_state.connections]
            return max(waiting) > 0

        wait_for(something_waits)
        assert max(waiting) < 1_000_000, "one message waits, and no second one"


def test_picture_is_not_taken_before_it_can_be_sent(clock: Clock) -> None:
    bridge = FakeBridge(ephemeral(frame_hz=120), unix_ns=clock, first_clients=20_000)
    with running(bridge) as here, upgraded(here, receive_buffer_bytes=4096) as sock:
        sock.sendall(MORE)
        read_frame(sock)
        sock.sendall(MORE * 2)
        (connection,) = here.server.server_state.connections
        wait_for(lambda: connection.transport.get_write_buffer_size() > 0)
        clock.advance(60)  # meanwhile the viewer does not read
        stalled_at_ms, read_at_ms = (decode(read_frame(sock))["unix_ms"] for _ in range(2))
        assert read_at_ms - stalled_at_ms == 60_000


def test_pool_that_does_not_answer_stops_the_frames_and_its_return_brings_them_back(
    here: Running, viewer: ClientConnection
) -> None:
    next_frame(viewer)
    here.bridge.down = True
    say(viewer, type="more")
    with pytest.raises(TimeoutError):
        viewer.recv(timeout=0.2)
    here.bridge.down = False
    assert decode(until_frame(viewer).frame)["slots"] == 8


def test_pool_that_is_too_busy_costs_frames_but_not_the_connection(here: Running, viewer: ClientConnection) -> None:
    next_frame(viewer)
    here.bridge.busy = True
    say(viewer, type="more")
    with pytest.raises(TimeoutError):
        viewer.recv(timeout=0.2)
    here.bridge.busy = False
    assert decode(until_frame(viewer).frame)["slots"] == 8


def test_bug_in_the_bridge_ends_the_feed_and_is_logged(
    here: Running, viewer: ClientConnection, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(watch_slots: list[int]) -> Any:
        raise ZeroDivisionError("a defect")

    here.bridge.snapshot = broken  # type: ignore[method-assign]
    say(viewer, type="more")
    with pytest.raises(ConnectionClosed):
        viewer.recv(timeout=10)
    wait_for(lambda: "a defect" in caplog.text)


@pytest.fixture(scope="module")
def one_server() -> Iterator[Running]:
    """For tests that leave nothing behind."""
    with running(FakeBridge(ephemeral(frame_hz=120), first_clients=8)) as served:
        yield served


@pytest.fixture
def talker(one_server: Running) -> Iterator[ClientConnection]:
    """A viewer of `one_server` that has something to say."""
    with one_server.viewer() as connection:
        connection.recv()
        yield connection


RUBBISH = {
    "no json": "hello?",
    "no object": "[]",
    "no type": "{}",
    "unknown type": '{"type":"push"}',
    "unknown field": '{"type":"more","rowz":true}',
    "wrong type": '{"type":"more","rows":1}',
    "text as number": '{"type":"watch","rows":["1"]}',
    "negative slot": '{"type":"watch","rows":[-1]}',
    "huge slot": '{"type":"watch","rows":[99999999999999999999999]}',
    "not a number": '{"type":"watch","rows":[NaN]}',
    "too many rows": json.dumps({"type": "watch", "rows": list(range(257))}),
    "long id": json.dumps({"type": "watch", "client": "x" * 65}),
    "bottomless": '{"type":"watch","rows":' + "[" * 30_000,
    "endless number": '{"type":"watch","rows":[' + "9" * 30_000 + "]}",
    "empty": "",
}


@pytest.mark.parametrize("rubbish", RUBBISH)
def test_rubbish_closes_with_a_reason(talker: ClientConnection, rubbish: str) -> None:
    talker.send(RUBBISH[rubbish])
    code, reason = closing(talker)
    assert code == 1008
    assert reason


def closing(viewer: ClientConnection) -> tuple[int, str]:
    """Code and reason with which the server closes."""
    with suppress(ConnectionClosed):
        while True:
            viewer.recv(timeout=10)
    assert viewer.close_code is not None
    assert viewer.close_reason is not None
    return viewer.close_code, viewer.close_reason


def test_reason_does_not_repeat_what_was_sent(talker: ClientConnection) -> None:
    talker.send('{"type":"<script>alert(1)</script>"}')
    assert closing(talker) == (1008, "type: must be 'watch' or 'more'")


def test_binary_message_is_refused_as_such(talker: ClientConnection) -> None:
    talker.send(b"\x50\x01")
    assert closing(talker)[0] == 1003


def test_too_large_a_message_is_refused_as_such(talker: ClientConnection) -> None:
    talker.send(" " * (64 << 10) + "x")
    assert closing(talker)[0] == 1009


def test_message_that_is_not_utf8_is_refused_as_such(talker: ClientConnection) -> None:
    talker.send(b"\xff\xfe", text=True)
    assert closing(talker)[0] == 1007


def test_rubbish_of_one_viewer_is_no_matter_to_another(here: Running, viewer: ClientConnection) -> None:
    with here.viewer() as other:
        other.recv()
        other.send("rubbish")
        assert closing(other)[0] == 1008
    assert decode(next_frame(viewer).frame)["slots"] == 8


def test_viewer_that_says_rubbish_and_runs_is_not_worth_a_log_line(
    here: Running, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(20):
        with upgraded(here) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closes with a reset
            sock.sendall(MORE + frame(TEXT, b"rubbish"))
    wait_for(lambda: here.is_idle)
    assert not caplog.records


def test_one_viewer_too_many_is_refused_before_the_handshake_until_a_place_is_free() -> None:
    with running(FakeBridge(ephemeral(max_viewers=1))) as here:
        with here.viewer() as first:
            first.recv()
            with pytest.raises(InvalidStatus) as refused:
                here.viewer()
            assert refused.value.response.status_code == 503
            assert refused.value.response.headers["Retry-After"] == "5"
            assert refused.value.response.body is not None
            assert json.loads(refused.value.response.body)["type"] == "urn:udprism:problem:too-many-viewers"
        wait_for(lambda: here.is_idle)
        with here.viewer() as second:
            assert json.loads(second.recv())["type"] == "hello"


def test_viewers_that_come_and_go_leave_nothing_behind(here: Running) -> None:
    for _ in range(20):
        with here.viewer() as viewer:
            viewer.recv()
            next_frame(viewer)
    wait_for(lambda: here.is_idle)
    with here.client() as client:
        assert "udprism_viewers 0.0\n" in client.get("/metrics").text


class SlowSearch:
    """A bridge whose sessions take a while to be looked through."""

    TAKES_S = 0.01

    def __init__(self) -> None:
        self.found: list[str] = []

    async def status(self) -> dict[str, Any]:
        return {}

    @property
    def sessions(self) -> SlowSearch:
        return self

    async def page(self, limit: int, find: str) -> tuple[list[dict[str, Any]], int]:
        self.found.append(find)
        await asyncio.sleep(self.TAKES_S)
        return [], 0

    async def left(self) -> list[dict[str, Any]]:
        return []


def test_however_many_viewers_look_for_other_words_searching_takes_a_small_share_and_each_has_its_turn() -> None:
    async def main() -> None:
        bridge = SlowSearch()
        slow = SlowMessages(bridge)  # type: ignore[arg-type]  # it has what is asked of a bridge here
        viewers = {Viewer() for _ in range(150)}
        for number, viewer in enumerate(viewers):
            viewer.topics = (("sessions", f"word-{number}"),)
        began_s = time.monotonic()
        for _ in range(40):
            await slow.refreshed(viewers)
            await asyncio.sleep(0.05)
        took_s = time.monotonic() - began_s
        assert len(bridge.found) <= 2 + took_s / (FIND_SHARE * bridge.TAKES_S)
        assert len(set(bridge.found)) == len(bridge.found) >= 2, "nobody twice before all others"

    asyncio.run(main())
