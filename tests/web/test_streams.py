"""`/ws/clients/{id}`: one JSON text a datagram, for scripts."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from udprism.errors import RequestError
from web.fake_bridge import FakeBridge
from web.fake_clients import Tap
from web.running import Running, ephemeral, running, wait_for


@pytest.fixture
def here() -> Iterator[Running]:
    with running(FakeBridge(ephemeral(rate_hz=200), first_clients=2)) as served:
        yield served


def ids(here: Running) -> list[str]:
    with here.client() as client:
        return [one["id"] for one in client.get("/api/clients").json()["clients"]]


def test_datagrams_of_one_client_come_as_they_arrive(here: Running) -> None:
    (first, _) = ids(here)
    with here.viewer(f"/ws/clients/{first}") as stream:
        datagrams = [json.loads(stream.recv()) for _ in range(5)]
    assert {one["client_id"] for one in datagrams} == {first}
    sequences = [one["sequence"] for one in datagrams]
    assert sequences == list(range(sequences[0], sequences[0] + 5))
    assert {"colour", "rgb", "received_at_ns", "delay_ms"} <= set(datagrams[0])


def test_stream_ends_when_its_client_is_removed(here: Running) -> None:
    (first, _) = ids(here)
    with here.viewer(f"/ws/clients/{first}") as stream:
        stream.recv()
        with here.client() as client:
            client.delete(f"/api/clients/{first}")
        for _ in stream:  # ends without an exception only after a normal close
            pass
        assert stream.close_code == 1000


def test_unknown_client_is_refused_before_the_handshake(here: Running) -> None:
    with pytest.raises(InvalidStatus) as refused, here.viewer("/ws/clients/c-nobody"):
        pass
    assert refused.value.response.status_code == 404
    assert json.loads(refused.value.response.body or b"")["type"] == "urn:udprism:problem:not-found"


def test_bridge_that_takes_no_more_listeners_is_heard(here: Running) -> None:
    def full(client_id: str) -> Tap:
        raise RequestError("64 streams are open already", kind="busy")

    here.bridge.clients.tap = full  # type: ignore[method-assign]
    with pytest.raises(InvalidStatus) as refused, here.viewer(f"/ws/clients/{ids(here)[0]}"):
        pass
    assert refused.value.response.status_code == 503
    assert refused.value.response.headers["Retry-After"] == "5"


def test_listener_that_talks_is_closed_with_a_reason(here: Running) -> None:
    with here.viewer(f"/ws/clients/{ids(here)[0]}") as stream:
        stream.send("hello?")
        with pytest.raises(ConnectionClosed) as closed:
            for _ in stream:
                pass
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "this websocket accepts no messages")


def test_listener_that_goes_leaves_its_tap_closed(here: Running) -> None:
    opened: list[Tap] = []
    tap = here.bridge.clients.tap

    def remembered(client_id: str) -> Tap:
        opened.append(tap(client_id))
        return opened[-1]

    here.bridge.clients.tap = remembered  # type: ignore[method-assign]
    for _ in range(5):
        with here.viewer(f"/ws/clients/{ids(here)[0]}") as stream:
            stream.recv()
    wait_for(lambda: here.is_idle)
    assert [one.is_open for one in opened] == [False] * 5


def test_unknown_websocket_path_is_refused(here: Running) -> None:
    with pytest.raises(InvalidStatus) as refused, here.viewer("/ws/nothing"):
        pass
    assert refused.value.response.status_code == 403


def test_page_can_ask_what_its_handshake_was_refused_for(here: Running) -> None:
    with here.client() as client:
        answer = client.post("/ws/live", headers={"Origin": f"http://{here.address}"})
        assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")
        assert "proxy" in answer.json()["detail"]
        assert client.post("/ws/live", headers={"Origin": "http://evil.example"}).status_code == 403
        assert client.post("/ws/live", headers={"Host": "evil.example"}).status_code == 421
    with running(FakeBridge(ephemeral(max_viewers=1))) as small, small.client() as client, small.viewer() as viewer:
        viewer.recv()
        answer = client.post("/ws/live")
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:udprism:problem:too-many-viewers"
