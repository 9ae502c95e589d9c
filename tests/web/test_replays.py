"""/api/captures and /api/replays over real HTTP: uploaded files and recordings, inspected and sent again."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support import captures, program
from support.captures import enhanced, interface, option, section
from udprism.node.bridge import Bridge
from udprism.node.captures import MAX_CAPTURES
from udprism.node.replays import MAX_REPLAYS
from udprism.node.store import Store
from udprism.settings import Settings
from web.running import serving, wait_for

MS = 1_000_000
TCP = captures.ethernet(captures.ip4(bytes(20), protocol=6))


def file_of(count: int, every_ms: int = 1) -> bytes:
    described = section() + interface(options=option(9, b"\x09"))
    frames = (enhanced(captures.frame(b"%d" % at), at * every_ms * MS) for at in range(count))
    return described + enhanced(TCP, 0) + b"".join(frames)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[httpx.Client]:
    bridge = Bridge(Settings(udp="127.0.0.1:0", clients=2, rate_hz=50, loss_after_s=0.2), Store.open(tmp_path))
    with serving(bridge) as client:
        yield client


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(30)
        yield sock


def address(receiver: socket.socket) -> str:
    return f"127.0.0.1:{receiver.getsockname()[1]}"


def uploaded(api: httpx.Client, data: bytes, piece_bytes: int = 64 << 10) -> str:
    made = api.post("/api/captures", json={"name": "some.pcapng", "bytes": len(data)})
    assert made.status_code == 201, made.text
    path = f"/api/captures/{made.json()['id']}"
    at = 0
    while at < len(data):
        put = api.put(f"{path}/bytes", params={"at": at}, content=data[at : at + piece_bytes])
        assert put.status_code == 200, put.text
        at = put.json()["received"]
    return str(made.json()["id"])


def begun(api: httpx.Client, **asked: Any) -> dict[str, Any]:
    made = api.post("/api/replays", json=asked)
    assert made.status_code == 201, made.text
    body: dict[str, Any] = made.json()
    return body


def ended(api: httpx.Client, replay_id: str) -> dict[str, Any]:
    path = f"/api/replays/{replay_id}"
    wait_for(lambda: api.get(path).json()["state"] != "playing")
    body: dict[str, Any] = api.get(path).json()
    return body


def test_an_uploaded_file_is_inspected_as_the_command_line_does(api: httpx.Client, tmp_path: Path) -> None:
    data = file_of(3000)
    name = uploaded(api, data)
    path = tmp_path / "same.pcapng"
    path.write_bytes(data)
    expected = json.loads(program.run("inspect", str(path), "--json").stdout)
    found = api.get(f"/api/captures/{name}/inspection")
    assert found.status_code == 200
    assert found.json() == expected
    assert expected["flows"][0]["datagrams"] == 3000
    assert expected["skipped"] == {"not-udp": 1}
    assert api.delete(f"/api/captures/{name}").status_code == 204
    assert api.get(f"/api/captures/{name}/inspection").status_code == 404
    assert list((tmp_path / "captures").iterdir()) == []


def test_pieces_that_come_again_or_out_of_turn_do_no_harm(api: httpx.Client) -> None:
    data = file_of(10)
    made = api.post("/api/captures", json={"name": "x", "bytes": len(data)}).json()
    path = f"/api/captures/{made['id']}"
    assert api.put(f"{path}/bytes?at=5", content=b"x").status_code == 422
    assert api.get(f"{path}/inspection").json()["type"].endswith("not-whole")
    for at, size in ((0, 100), (0, 100), (50, 100)):
        assert api.put(f"{path}/bytes?at={at}", content=data[at : at + size]).status_code == 200
    assert api.put(f"{path}/bytes?at=150", content=data[150:] + b"x").status_code == 422
    assert api.put(f"{path}/bytes?at=150", content=data[150:]).status_code == 200
    again = api.put(f"{path}/bytes?at=0", content=b"x")
    assert (again.status_code, again.json()["type"].rpartition(":")[2]) == (409, "whole")
    assert api.put(f"{path}/bytes?at=0", content=b"x" * 70_000).status_code == 413
    assert api.get(f"{path}/inspection").json()["packets"] == 11


def test_a_file_that_ends_in_the_midst_of_a_record_says_so(api: httpx.Client, receiver: socket.socket) -> None:
    replay = begun(api, file=uploaded(api, file_of(20)[:-5]), target=address(receiver))
    assert ended(api, replay["id"])["skipped"] == {"not-udp": 1, "file-cut-off": 1}
    assert [receiver.recv(100) for _ in range(19)] == [b"%d" % at for at in range(19)]


def test_a_piece_of_an_upload_without_bytes_is_refused(api: httpx.Client) -> None:
    made = api.post("/api/captures", json={"name": "a", "bytes": 2}).json()
    put = api.put(f"/api/captures/{made['id']}/bytes?at=0")
    assert (put.status_code, put.json()["detail"]) == (422, "the body holds no bytes of the file")


def test_what_is_no_capture_is_said_and_the_oldest_upload_makes_room(api: httpx.Client) -> None:
    first = uploaded(api, b"no capture")
    refused = api.get(f"/api/captures/{first}/inspection")
    assert (refused.status_code, refused.json()["detail"]) == (422, "at byte 0: neither a pcap nor a pcapng file")
    dropped = [api.post("/api/captures", json={"name": "x", "bytes": 1}).json()["dropped"] for _ in range(MAX_CAPTURES)]
    assert dropped == [None] * (MAX_CAPTURES - 1) + [first]
    assert "captures_dropped_total 1" in api.get("/metrics").text
    assert api.get("/api/captures").json()["total"] == MAX_CAPTURES
    assert api.get(f"/api/captures/{first}").status_code == 404
    assert api.post("/api/captures", json={"name": "x", "bytes": 1 << 40}).status_code == 422


def test_a_file_is_sent_again_and_says_what_it_skipped(api: httpx.Client, receiver: socket.socket) -> None:
    name = uploaded(api, file_of(20))
    replay = begun(api, file=name, target=address(receiver), loop=2, speed=2.0)
    assert [receiver.recv(100) for _ in range(40)] == [b"%d" % at for at in range(20)] * 2
    body = ended(api, replay["id"])
    assert (body["state"], body["error"], body["skipped"]) == ("ended", None, {"not-udp": 1})
    assert body["ledger"] == {
        "offered": 40,
        "passed_on": 40,
        "lost": 0,
        "lost_by_cause": {"link": 0, "sender_kernel": 0},
    }
    assert body["late_ms"]["p99"] is not None
    flow = api.get(f"/api/flows/{body['flows'][0]}").json()
    assert (flow["kind"], flow["state"], flow["to"]) == ("replay", "ended", address(receiver))
    listed = api.get("/api/flows", params={"kind": "replay"}).json()
    assert listed["flows"] == [flow]
    assert api.delete(f"/api/replays/{replay['id']}").status_code == 204
    assert api.get("/api/replays").json() == {"replays": [], "total": 0}
    assert "udprism_replay_datagrams_total 40.0" in api.get("/metrics").text


def test_the_same_seed_loses_the_same_datagrams(api: httpx.Client, receiver: socket.socket) -> None:
    name = uploaded(api, file_of(200))
    came = []
    for seed in (7, 7, 8):
        link = {"loss_ratio": 0.3, "seed": seed}
        body = ended(api, begun(api, file=name, target=address(receiver), speed=100.0, link=link)["id"])
        assert 20 < body["ledger"]["lost_by_cause"]["link"] < 100
        came.append([receiver.recv(100) for _ in range(body["sent"])])
    assert came[0] == came[1] != came[2]


def test_all_files_of_a_recording_are_sent_again(api: httpx.Client, receiver: socket.socket) -> None:
    made = api.post("/api/recordings", json={}).json()
    path = f"/api/recordings/{made['id']}"
    wait_for(lambda: api.get(path).json()["recorded"]["receiver"] > 20)
    recorded = api.post(f"{path}/stop").json()["recorded"]
    inspected = api.get(f"{path}/inspection").json()
    assert [one["name"] for one in inspected["interfaces"]] == ["sender", "receiver"]
    body = ended(api, begun(api, recording=made["id"], target=address(receiver), speed=100.0)["id"])
    assert body["ledger"]["offered"] == recorded["sender"]
    assert body["skipped"] == {"other-interface": recorded["receiver"]}


def test_one_that_never_ends_is_stopped_and_one_whose_process_dies_says_so(
    api: httpx.Client, receiver: socket.socket
) -> None:
    name = uploaded(api, file_of(2, every_ms=10))
    replays = [begun(api, file=name, target=address(receiver), loop=0)["id"] for _ in range(MAX_REPLAYS)]
    assert api.post("/api/replays", json={"file": name, "target": address(receiver)}).status_code == 409
    for _ in range(30):
        receiver.recv(100)
    stopped = api.post(f"/api/replays/{replays[0]}/stop").json()
    assert stopped["state"] == "stopped"
    assert stopped["ledger"]["offered"] > 0
    children = Path(f"/proc/{os.getpid()}/task")
    pids = [int(pid) for task in children.iterdir() for pid in (task / "children").read_text().split()]
    played = [pid for pid in pids if b"replay_process" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(played) == MAX_REPLAYS - 1
    os.kill(played[0], signal.SIGKILL)
    wait_for(lambda: [api.get(f"/api/replays/{one}").json()["state"] for one in replays].count("failed") == 1)


def test_one_that_finds_nothing_to_send_says_so_and_why(api: httpx.Client, receiver: socket.socket) -> None:
    replay = begun(api, file=uploaded(api, file_of(3)), target=address(receiver), interface="eth9")
    assert ended(api, replay["id"])["error"] == "nothing was sent: skipped 1 not-udp, 3 other-interface"


def test_what_a_stopped_one_held_back_is_lost(api: httpx.Client, receiver: socket.socket) -> None:
    link = {"delay_ms": 60_000}
    replay = begun(api, file=uploaded(api, file_of(10)), target=address(receiver), link=link)
    wait_for(lambda: api.get(f"/api/replays/{replay['id']}").json()["held"] == 10)
    stopped = api.post(f"/api/replays/{replay['id']}/stop").json()
    assert (stopped["held"], stopped["ledger"]["lost_by_cause"]["link"], stopped["error"]) == (0, 10, None)


@pytest.mark.parametrize(
    ("asked", "status", "field"),
    [
        ({}, 422, "target"),
        ({"target": "127.0.0.1:5000"}, 422, "recording"),
        ({"target": "127.0.0.1:5000", "file": "cap-none"}, 404, None),
        ({"target": "127.0.0.1:5000", "recording": "rec-000000000000"}, 404, None),
        ({"target": "8.8.8.8:5000", "file": "x"}, 403, "target"),
        ({"target": "127.0.0.1:5000", "file": "x", "filter": "who"}, 422, "filter"),
        ({"target": "127.0.0.1:5000", "file": "x", "speed": 0}, 422, "speed"),
        ({"target": "127.0.0.1:5000", "file": "x", "link": {"loss_ratio": 2}}, 422, "loss_ratio"),
    ],
)
def test_what_cannot_be_replayed_is_named(
    api: httpx.Client, asked: dict[str, Any], status: int, field: str | None
) -> None:
    refused = api.post("/api/replays", json=asked)
    assert (refused.status_code, refused.json()["field"]) == (status, field)
